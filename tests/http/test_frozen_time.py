"""freezegun and time-machine work in users' tests: no store and no other part of the package keeps a real clock."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.frozen import LIBRARIES, MOMENTS, frozen
from tests.support.stores import SERVER, Kind
from wsgi_session import SessionMiddleware, login, user_email_or_none
from wsgi_session.stores import Store

SECRET = "frozen-4f0d7c1e9b3a4d6f8e2a5c7b9d1f3e60"
ANN = {"id": 1, "email": "ann@example.com"}


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    session = environ["session"]
    if environ["PATH_INFO"] == "/login":
        login(environ, ANN)
        session["seen"] = {"at": datetime.now(timezone.utc), "day": date.today(), "local": datetime.now()}
        session["at"] = datetime.now(timezone.utc)
        session.flash("Welcome")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if user_email_or_none(environ) is None:
        return [session.state.encode()]
    assert session["seen"]["at"] == session["at"] == session.created
    assert session["seen"]["day"] == session["at"].date()
    return [f"{session['at']:%Y-%m-%d %H:%M} until {session.expires:%Y-%m-%d %H:%M}".encode()]


def see(client: Client, path: str = "/") -> str:
    """Return the text of a page."""
    answer = client.open(path)
    assert answer.code == 200
    return answer.text


@pytest.mark.parametrize("made_before", [True, False], ids=["made before", "made inside"])
@pytest.mark.parametrize("moment", MOMENTS, ids=["past", "future"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_session_lives_and_ends_by_the_frozen_time(
    store: Store, library: str, moment: datetime, made_before: bool
) -> None:
    early = SessionMiddleware(application, secret=SECRET, store=store)
    with frozen(library, moment) as move:
        visitor = Client(early if made_before else SessionMiddleware(application, secret=SECRET, store=store))
        began, until = f"{moment:%Y-%m-%d %H:%M}", f"{moment + timedelta(days=30):%Y-%m-%d %H:%M}"
        assert see(visitor, "/login") == f"{began} until {until}"
        move(timedelta(minutes=10))
        assert see(visitor) == f"{began} until {until}"
        move(timedelta(days=29))
        assert see(visitor) == f"{began} until {moment + timedelta(days=59, minutes=10):%Y-%m-%d %H:%M}"
        move(timedelta(days=30))
        assert see(visitor) == "unknown"


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_administrators_view_and_atomic_go_by_the_frozen_time(store: Store, library: str) -> None:
    middleware = SessionMiddleware(application, secret=SECRET, store=store)
    with frozen(library, MOMENTS[1]) as move:
        visitor = Client(middleware)
        see(visitor, "/login")
        move(timedelta(days=2))
        see(visitor)
        (info,) = middleware.sessions.of(ANN)
        assert (info.created, info.last_seen) == (MOMENTS[1], MOMENTS[1] + timedelta(days=2))
        assert info.data["at"] == MOMENTS[1]
        move(timedelta(days=31))
        assert middleware.sessions.of(ANN) == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_clock_that_was_given_as_time_time_is_frozen_too(library: str, kind: Kind, store: Store) -> None:
    middleware = SessionMiddleware(application, secret=SECRET, store=store, clock=time.time)
    with frozen(library, MOMENTS[0]) as move:
        visitor = Client(middleware)
        see(visitor, "/login")
        move(timedelta(days=31))
        assert see(visitor) == "unknown"


def test_what_is_imported_while_time_stands_still_works_after() -> None:
    """freezegun replaces ``datetime`` in modules imported meanwhile: no table of ours may contain its class."""
    pytest.importorskip("freezegun", reason="pip install freezegun")
    code = """
import datetime, warnings
warnings.simplefilter("ignore")
import freezegun
with freezegun.freeze_time("2030-01-01") as time:
    from wsgi_session.codec import packing as codec
    frozen = datetime.datetime.now()
    packed = codec.pack([frozen, frozen.date()], "k")
from datetime import date, datetime
assert codec.unpack(packed) == [datetime(2030, 1, 1), date(2030, 1, 1)]
assert [type(value) for value in codec.unpack(packed)] == [datetime, date]
assert codec.pack([datetime(2030, 1, 1), date(2030, 1, 1)], "k") == packed
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
