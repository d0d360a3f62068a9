"""The provider that a file of tests names as ``PROVIDER``, and the shop of its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.providers import Provider, program_of, serving_shop


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    provider: Provider = request.module.PROVIDER(request.config.cache)
    yield provider
    provider.kill()


@pytest.fixture
def shop(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with serving_shop(program_of(provider.page), provider, tmp_path, monkeypatch) as app:
        yield app
