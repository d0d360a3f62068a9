"""Sessions that an earlier version has stored are read as they were: the formats of the stores and of the cookies stay.

``stored_before.json`` was written by the version of 29 November 2026. Ann came as a guest, stored a value of each type,
logged in and was shown a message. If a format has to change, keep reading this one, and add a file.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from webob import Request

from tests.support.servers.valkey import Valkey
from wsgi_session import SessionMiddleware
from wsgi_session.testing import FakeClock

STORED = json.loads(Path(__file__).with_name("stored_before.json").read_text("utf-8"))
VALUES = {
    "text": "tea",
    "int": 2**70,
    "float": 1.5,
    "flag": True,
    "none": None,
    "bytes": b"\x00\xff",
    "list": [1, [2]],
    "tuple": (1, "two"),
    "dict": {"a": 1, 2: "b"},
    "set": {1, 2},
    "frozenset": frozenset({"x"}),
    "naive": datetime(2026, 11, 29, 12),
    "aware": datetime(2026, 11, 29, 12, tzinfo=timezone(timedelta(hours=2))),
    "date": date(2026, 11, 29),
    "time": time(12, 30),
    "timedelta": timedelta(days=1, microseconds=5),
    "uuid": UUID(int=5),
    "decimal": Decimal("1.10"),
    "user": {"id": 5, "email": "ann@example.com"},
}


def in_sqlite(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "sessions.db")) as database:
        database.executescript(STORED["sqlite"]["script"])
    return f"sqlite:///{folder}/sessions.db"


def in_valkey(server: Valkey) -> str:
    for key, value in STORED["redis"]["keys"].items():
        if isinstance(value, str):
            server.execute("SET", base64.b64decode(key), base64.b64decode(value))
        else:
            for member, score in value:
                server.execute("ZADD", base64.b64decode(key), str(score), base64.b64decode(member))
    return server.url


def visit(store: str, cookie: str) -> dict[str, Any]:
    """What a request with this cookie finds, a minute after it was stored."""
    found: dict[str, Any] = {}

    def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        session = environ["session"]
        found.update(state=session.state, data=dict(session), owner=session.owner, flashes=session.flashes())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    clock = FakeClock(STORED["now"] + 60)
    with SessionMiddleware(site, secret=STORED["secret"], store=store, clock=clock) as app:
        if store != "cookie://":
            found["devices"] = len(app.sessions.of({"id": 5}))
        Request.blank("/", headers={"Cookie": cookie}).get_response(app)
    return found


def check_ann(store: str, kind: str) -> None:
    ann = visit(store, STORED[kind]["ann"])
    assert (ann["state"], ann["owner"], ann["flashes"]) == ("live", "id:5", ["Saved."])
    assert ann["data"] == VALUES
    assert {key: type(value) for key, value in ann["data"].items()} == {key: type(VALUES[key]) for key in VALUES}


def check_stored(store: str, kind: str) -> None:
    guest = visit(store, STORED[kind]["guest"])
    assert (guest["state"], guest["data"], guest["devices"]) == ("rotated", {}, 1)
    check_ann(store, kind)


def test_a_session_that_an_earlier_version_stored_in_sqlite_is_read_as_it_was(tmp_path: Path) -> None:
    check_stored(in_sqlite(tmp_path), "sqlite")


@pytest.mark.engine
def test_a_session_that_an_earlier_version_stored_in_redis_is_read_as_it_was() -> None:
    server = Valkey()
    server.start()
    check_stored(in_valkey(server), "redis")
    server.kill()


def test_a_session_that_an_earlier_version_put_into_the_cookie_is_read_as_it_was() -> None:
    pytest.importorskip("cryptography", reason="pip install cryptography")
    check_ann("cookie://", "cookie")
