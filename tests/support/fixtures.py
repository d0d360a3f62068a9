"""The fixtures of the rules over HTTP. A test that takes ``store``, ``site`` or ``browser`` runs over every store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.site import Browser, MakeSite, Site
from tests.support.stores import ENGINE, KINDS, Kind
from wsgi_session.stores import Store
from wsgi_session.testing.clock import FakeClock

#: Linux's file system in memory; ``None`` elsewhere.
_IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return an empty folder, in memory in the quick run: there no store waits for the disk, thousands of times."""
    parent = _IN_MEMORY if request.config.option.quick else None
    with TemporaryDirectory(prefix="wsgi-session-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        needed = {flag for mark in metafunc.definition.iter_markers("needs") for flag in mark.args}
        kinds = [kind for kind in KINDS if needed <= kind.flags]
        # The quick run uses memory and SQLite. MigratingStore and encryption have their own tests.
        full = {True: [pytest.mark.engine], False: []}
        marks = [
            full[ENGINE in kind.flags]
            + [pytest.mark.full, pytest.mark.wrapper] * (kind.name in ("migrating", "encrypted"))
            for kind in kinds
        ]
        cases = [pytest.param(kind, id=kind.name, marks=its) for kind, its in zip(kinds, marks, strict=True)]
        if metafunc.config.option.quick:  # Those that it would leave out take a second to make.
            cases = [case for case in cases if not case.marks] or cases
        metafunc.parametrize("kind", cases)


@pytest.fixture
def store(kind: Kind, tmp_path: Path) -> Iterator[Store]:
    with kind.open(tmp_path) as store:
        yield store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_site(kind: Kind, store: Store, clock: FakeClock) -> MakeSite:
    """Return a function that makes a site over ``store`` with other options. All its sites share the store."""

    def make(**options: Any) -> Site:
        return Site(store, options.pop("clock", clock), **{**kind.options, **options})

    return make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()


@pytest.fixture
def browser(site: Site) -> Browser:
    return site.browser()
