from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from shutil import which

import pytest

from tests.support.site import SECRET
from tests.system.servers.client import Client
from tests.system.servers.launchers import LAUNCHERS, Launcher

#: What servers log when something goes wrong that no visitor sees.
COMPLAINTS = ("Exception ignored", "Fatal Python error", "Segmentation fault")
#: Set by ``tox -e servers``, which installs the packages: there nothing may be missing.
ALL_HERE = os.environ.get("SESSIONS_ALL_SERVERS") == "1"
PROGRAMS = ["apache2", "nginx", "openssl"]
REMEDY = (
    "apt-get install -y apache2 apache2-dev nginx openssl, and pip install -r tests/system/servers/requirements.txt"
)


@pytest.fixture(scope="session", autouse=True)
def _everything_is_installed() -> None:
    """Run this folder's tests with every server, or not at all: ``tox -e servers`` is where they run."""
    packages = {launcher.package for launcher in LAUNCHERS}
    missing = sorted(package for package in packages if find_spec(package) is None)
    missing += [program for program in PROGRAMS if which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing and ALL_HERE:
        pytest.fail(f"not installed: {missing}. {REMEDY}")
    if missing:
        pytest.skip(f"elsewhere: {REMEDY}, or tox -e servers")


@pytest.fixture(scope="session", params=LAUNCHERS, ids=lambda launcher: launcher.name)
def server(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    """Each server in turn, with ``site``, started once for all tests."""
    launcher: Launcher = request.param()
    launcher.settings["HURRIED_STORE"] = f"{launcher.store}?timeout=0.2"
    (launcher.folder / "download").write_bytes(os.urandom(1 << 20))
    try:
        launcher.start()
        yield launcher
        launcher.stop()
        log = "".join(path.read_text(errors="replace") for path in launcher.folder.rglob("*log"))
        with closing(sqlite3.connect(launcher.folder / "sessions.db")) as database:
            # Connections that cross a fork have corrupted databases.
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        launcher.remove(os.getpid())
    found = [line for line in log.splitlines() if any(complaint in line for complaint in COMPLAINTS)]
    assert found == [], log
    assert SECRET not in log


@pytest.fixture
def visitor(server: Launcher) -> Iterator[Client]:
    visitor = Client(server.port)
    yield visitor
    visitor.close()
