"""The servers that tests share, each started on first use. A test that breaks a server starts its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

from tests.support.servers.mariadb import MariaDB
from tests.support.servers.pgbouncer import PgBouncer
from tests.support.servers.postgres import Postgres
from tests.support.servers.valkey import Valkey, ValkeyCluster, ValkeySentinel


@cache
def _postgres() -> Postgres:
    server = Postgres()
    server.start()
    return server


def postgres() -> str:
    """Return the URL of a PostgreSQL."""
    return _once("POSTGRES", lambda: _postgres().url)


def pgbouncer() -> str:
    """Return the URL of a PgBouncer in transaction mode."""

    def start() -> str:
        server = PgBouncer(_postgres())
        server.start()
        return server.url

    return _once("PGBOUNCER", start)


def mariadb() -> str:
    """Return the URL of a MariaDB."""

    def start() -> str:
        server = MariaDB()
        server.start()
        return server.url

    return _once("MARIADB", start)


def valkey() -> str:
    """Return the URL of a Valkey."""
    return _once("VALKEY", lambda: _started(Valkey()))


def valkey_cluster() -> str:
    """Return the URL of a Valkey cluster."""
    return _once("VALKEY_CLUSTER", lambda: _started(ValkeyCluster()))


def valkey_sentinel() -> str:
    """Return the URL of a Valkey under Sentinels."""
    return _once("VALKEY_SENTINEL", lambda: _started(ValkeySentinel()))


def _started(server: Valkey | ValkeyCluster | ValkeySentinel) -> str:
    server.start()
    return server.url


def _once(name: str, start: Callable[[], str]) -> str:
    # In the environment, so that processes started by a test find the same server.
    variable = f"SESSIONS_TESTS_{name}"
    if variable not in os.environ:
        os.environ[variable] = start()
    return os.environ[variable]
