"""The stores, sites and browsers of tests/http, and sites that only some cases need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.wire import SERVERS, Wire
from tests.support.fixtures import browser, clock, make_site, pytest_generate_tests, site, store, tmp_path
from tests.support.site import Site
from wsgi_session.stores import MemoryStore
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.testing.clock import FakeClock

__all__ = ["browser", "clock", "make_site", "pytest_generate_tests", "site", "store", "tmp_path"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(*numbers): which known defects of other session layers the test repeats")
    config.addinivalue_line("markers", "needs(*flags): run over those stores only that have all these flags")


@pytest.fixture
def sealed(clock: FakeClock) -> Site:
    """A site whose sessions are in the cookie."""
    return Site(CookieStore(), clock)


@pytest.fixture
def in_memory(clock: FakeClock) -> Site:
    """A site over memory, for tests that do not depend on the store, or that make very many requests."""
    return Site(MemoryStore(), clock)


@pytest.fixture(scope="package", params=SERVERS, ids=lambda server: server.name)
def wire(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A client of a site behind a real server, which sends any bytes."""
    server = request.param(tmp_path_factory.mktemp("wire") / "sessions.db")
    server.start()
    yield Wire(server.port)
    server.remove_now()
