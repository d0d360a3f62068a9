"""Every example on every server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.servers import matrix
from tests.system.servers.launchers import LAUNCHERS, Launcher
from tests.system.servers.shop import NAMES, Shopper


@pytest.fixture(scope="module", params=LAUNCHERS, ids=lambda launcher: launcher.name)
def shops(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    with request.param(matrix.APPLICATION).running() as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_the_shop_works_on_each_server(shops: Launcher, name: str) -> None:
    shopper = Shopper(shops.port, name)
    try:
        shopper.visit()
    finally:
        shopper.close()


def test_the_table_in_the_manual_has_every_example_and_every_server() -> None:
    frameworks, servers = matrix.written()
    assert frameworks == NAMES
    assert servers == [launcher.name for launcher in LAUNCHERS]
