"""A store that is out of order: 503, and nobody is logged out."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.system.servers.client import Client
from tests.system.servers.launchers import Launcher


def test_an_outage_is_a_503_and_no_logout(server: Launcher, visitor: Client) -> None:
    visitor.get("/login", **{"as": "ann"})
    cookies = dict(visitor.jar)
    with closing(sqlite3.connect(server.folder / "sessions.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for method in ("GET", "HEAD"):
            answer = visitor.request(method, "/put", {"a": "1"}, headers={"X-Hurry": "yes"})
            assert (answer.status, answer.cookies) == (503, [])
            assert int(answer.all("Retry-After")[0]) > 0
            assert answer.all("Cache-Control") == ["no-store"]
    assert visitor.jar == cookies
    assert visitor.get("/put", a="2").seen["data"] == {"user": {"id": "ann"}, "a": "2"}
