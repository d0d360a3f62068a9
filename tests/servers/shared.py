"""The servers that tests share, each started when it is first asked for. For faults, a test starts its own."""

from __future__ import annotations

from functools import cache

from tests.servers.postgres import Postgres


@cache
def postgres() -> Postgres:
    server = Postgres()
    server.start()
    return server
