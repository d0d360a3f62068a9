from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.curl import FIREFOX, Curl, need_curl
from tests.support.demo import Demo


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start a demo with these options, on a free port."""
    started: list[Demo] = []

    def start_one(*options: str) -> Demo:
        started.append(Demo(tmp_path, "--port", "0", *options))
        return started[-1]

    yield start_one
    for demo in started:
        demo.end()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all tests of a file."""
    demo = Demo(tmp_path_factory.mktemp("demo"), "--port", "0")
    yield demo
    demo.end()
    # No test here may make the server raise, warn or complain, whatever it sends.
    assert demo.complaints() == ""


@pytest.fixture
def visitor(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Curl]:
    """Make a visitor of the shop, or of the demo at the address given."""
    need_curl()
    numbers = count()

    def make(agent: str = FIREFOX, address: str | None = None) -> Curl:
        return Curl(address or request.getfixturevalue("shop").address, tmp_path / f"jar{next(numbers)}", agent)

    return make
