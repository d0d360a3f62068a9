"""``middleware.sessions``: list, end, count and sweep sessions."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.requests import session_in
from tests.support.site import ANN, BOB, SECRET, Site
from wsgi_session import ConfigError, SessionMiddleware, StoreUnavailable, Unsupported, login, user_or_none
from wsgi_session.backends.revocation import MAX_PASSES
from wsgi_session.stores import MemoryStore, Outcome, Record, Scans, Store, has_sound_times
from wsgi_session.stores.sql import SQLStore
from wsgi_session.testing import FakeClock, plant, read

EVE = {"email": "eve@example.com"}


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


class Heard:
    """The events that were reported, by name."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, name: str, data: Mapping[str, Any]) -> None:
        self.events.append((name, dict(data)))

    def of(self, name: str) -> list[Mapping[str, Any]]:
        return [data for heard, data in self.events if heard == name]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def middleware(clock: FakeClock, heard: Heard) -> SessionMiddleware:
    return wrap(clock, heard)


def wrap(clock: Callable[[], float], heard: Heard | None = None, **options: Any) -> SessionMiddleware:
    given = {"secret": SECRET, "store": MemoryStore(), "clock": clock, "on_event": heard, **options}
    return SessionMiddleware(application, **given)


def live(middleware: SessionMiddleware, *cookies: str) -> list[bool]:
    return [bool(read(middleware, cookie)) for cookie in cookies]


# Listing.


def test_a_users_sessions_are_listed_newest_login_first(middleware: SessionMiddleware, clock: FakeClock) -> None:
    for device in ("phone", "laptop", "tablet"):
        plant(middleware, {"user": ANN, "device": device})
        clock.advance(60)
    plant(middleware, {"user": BOB})
    plant(middleware, {"cart": ["tea"]})
    listed = middleware.sessions.of(ANN)
    assert [info.data["device"] for info in listed] == ["tablet", "laptop", "phone"]
    assert [info.data["user"] for info in listed] == [ANN] * 3
    assert len({info.handle for info in listed}) == 3


def test_the_times_of_a_session_are_aware_utc(middleware: SessionMiddleware, clock: FakeClock) -> None:
    browser = Site(middleware.store, clock=clock).browser()
    browser.call(lambda environ: login(environ, ANN))
    clock.advance(timedelta(days=5))
    handle = browser.call(lambda environ: session_in(environ).handle)
    (info,) = browser.site.middleware.sessions.of(ANN)
    login_at = datetime.fromtimestamp(FakeClock.START, timezone.utc)
    assert info.handle == handle
    assert info.created == login_at
    assert info.last_seen == login_at + timedelta(days=5)
    assert info.expires == login_at + timedelta(days=35)
    assert {moment.tzinfo for moment in (info.created, info.last_seen, info.expires)} == {timezone.utc}


def test_no_listed_session_gives_access(middleware: SessionMiddleware) -> None:
    """CVE-2020-5224: the list of a user's sessions showed keys that gave access to them."""
    cookie = plant(middleware, {"user": ANN})
    token = cookie.partition("=")[2].partition(".")[0]
    (info,) = middleware.sessions.of(ANN)
    assert token not in repr(info)
    assert live(middleware, f"sid={info.handle}") == [False]


def test_data_is_a_copy_of_what_the_application_stored_and_of_nothing_else(middleware: SessionMiddleware) -> None:
    cookie = plant(middleware, {"user": ANN, "cart": [1]})
    (info,) = middleware.sessions.of(ANN)
    assert info.data == {"user": ANN, "cart": [1]}
    info.data["cart"].append(2)
    assert read(middleware, cookie)["cart"] == [1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.handle = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        (ANN, "id:1"),
        ({"id": "a:b"}, "id:a:b"),
        (EVE, "email:eve@example.com"),
        ({"id": UUID(int=7)}, f"id:{UUID(int=7)}"),
    ],
    ids=repr,
)
def test_a_user_is_a_mapping_or_the_owner_that_a_session_shows(
    middleware: SessionMiddleware, clock: FakeClock, user: dict[str, Any], owner: str
) -> None:
    browser = Site(middleware.store, clock=clock).browser()
    browser.call(lambda environ: login(environ, user))
    assert browser.call(lambda environ: session_in(environ).owner) == owner
    assert len(middleware.sessions.of(user)) == len(middleware.sessions.of(owner)) == 1
    assert middleware.sessions.of({"id": "somebody else"}) == []


@pytest.mark.parametrize("user", ["ann@example.com", "5", "", "ID:5", 5, None, {}, {"name": "Ann"}], ids=repr)
def test_what_is_no_owner_is_refused_rather_than_unknown(middleware: SessionMiddleware, user: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: middleware.sessions.of(user),
        lambda: middleware.sessions.revoke(user, "h"),
        lambda: middleware.sessions.revoke_all(user),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="user"):
            call()


def test_an_address_is_compared_byte_for_byte(middleware: SessionMiddleware) -> None:
    plant(middleware, {"user": EVE})
    assert middleware.sessions.of({"email": "Eve@example.com"}) == []
    assert middleware.sessions.of("email:eve@example.com ") == []


def test_a_session_that_the_current_settings_end_is_not_listed(clock: FakeClock) -> None:
    store = MemoryStore()
    plant(wrap(clock, store=store), {"user": ANN})
    clock.advance(1000)
    strict = wrap(clock, store=store, idle_timeout=900)
    lenient = wrap(clock, store=store, idle_timeout=1100)
    assert strict.sessions.of(ANN) == []
    (info,) = lenient.sessions.of(ANN)
    assert info.expires == datetime.fromtimestamp(FakeClock.START + 1100, timezone.utc)


def test_a_corrupt_session_is_listed_empty_told_and_can_be_revoked(
    middleware: SessionMiddleware, clock: FakeClock, heard: Heard
) -> None:
    plant(middleware, {"user": ANN})
    ((key, record),) = owned(middleware)
    broken = record._replace(data=b"\xc1", version=b"broken")
    assert middleware.store.replace(key, broken, record.version, clock()) is Outcome.SAVED
    (info,) = middleware.sessions.of(ANN)
    assert (info.handle, info.data) == (record.handle, {})
    assert heard.of("corrupt") == [{"handle": record.handle}]
    assert middleware.sessions.revoke(ANN, info.handle)


def owned(middleware: SessionMiddleware) -> Sequence[tuple[bytes, Record]]:
    store = middleware.store
    assert isinstance(store, MemoryStore)
    now = middleware._settings.clock()
    found = store.of_owner(middleware.sessions._key(ANN), now)
    return [(session.key, record) for session in found if (record := store.load(session.key, now))]


# Ending.


def test_revoke_ends_that_session_at_once_and_no_other(middleware: SessionMiddleware, heard: Heard) -> None:
    cookies = [plant(middleware, {"user": ANN, "n": number}) for number in range(3)]
    (target,) = [info.handle for info in middleware.sessions.of(ANN) if info.data["n"] == 1]
    assert middleware.sessions.revoke(ANN, target) is True
    assert live(middleware, *cookies) == [True, False, True]
    assert heard.of("revoked") == [{"handle": target, "owner": "id:1", "reason": "revoked", "count": 1}]
    assert middleware.sessions.revoke(ANN, target) is False
    assert len(heard.of("revoked")) == 1


def test_revoke_ends_no_session_of_another_user(middleware: SessionMiddleware) -> None:
    """CVE-2017-18878: a user ended the sessions of others by their handles."""
    cookie = plant(middleware, {"user": BOB})
    (info,) = middleware.sessions.of(BOB)
    assert middleware.sessions.revoke(ANN, info.handle) is False
    assert middleware.sessions.revoke(BOB, "") is False
    assert live(middleware, cookie) == [True]


def test_revoke_all_ends_every_session_of_the_user_and_says_how_many(
    middleware: SessionMiddleware, heard: Heard
) -> None:
    anns = [plant(middleware, {"user": ANN}) for _ in range(3)]
    bobs = plant(middleware, {"user": BOB})
    assert middleware.sessions.revoke_all(ANN) == 3
    assert live(middleware, *anns, bobs) == [False, False, False, True]
    assert heard.of("revoked") == [{"handle": None, "owner": "id:1", "reason": "revoked", "count": 3}]
    assert middleware.sessions.revoke_all(ANN) == 0
    assert len(heard.of("revoked")) == 1


@pytest.mark.parametrize("kept", ["session", "handle"])
def test_revoke_all_can_keep_the_one_it_is_called_from(clock: FakeClock, kept: str) -> None:
    browser = Site(clock=clock).browser()
    others = [plant(browser.site.middleware, {"user": ANN}) for _ in range(2)]
    browser.call(lambda environ: login(environ, ANN))

    def everywhere_else(environ: dict[str, Any]) -> int:
        session = session_in(environ)
        return browser.site.middleware.sessions.revoke_all(ANN, keep=session if kept == "session" else session.handle)

    assert browser.call(everywhere_else) == 2
    assert live(browser.site.middleware, *others) == [False, False]
    assert browser.call(user_or_none) == ANN


def test_keeping_a_session_that_is_not_stored_keeps_none(middleware: SessionMiddleware) -> None:
    cookie = plant(middleware, {"user": ANN})
    browser = Site().browser()
    ended = browser.call(lambda environ: middleware.sessions.revoke_all(ANN, keep=session_in(environ)))
    assert ended == 1
    assert live(middleware, cookie) == [False]


def test_a_session_from_a_machine_whose_clock_is_ahead_ends_too(clock: FakeClock) -> None:
    """The session existed at the call, whatever time its machine has."""
    store = MemoryStore()
    ahead = wrap(FakeClock(FakeClock.START + 60), store=store)
    here = wrap(clock, store=store)
    cookie = plant(ahead, {"user": ANN})
    assert here.sessions.revoke_all(ANN) == 1
    assert live(here, cookie) == [False]


class Racing(MemoryStore):
    """A store that calls a function after each listing of an owner's sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], object]] = []

    def of_owner(self, owner: bytes, now: float) -> Any:
        found = list(super().of_owner(owner, now))
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return iter(found)


def test_a_session_that_is_being_rotated_ends_and_a_later_login_lives(clock: FakeClock) -> None:
    store = Racing()
    browser = Site(store, clock=clock).browser()
    browser.call(lambda environ: login(environ, ANN))
    later: list[str] = []

    def rotate() -> None:
        browser.call(lambda environ: session_in(environ).rotate())

    def log_in_later() -> None:
        clock.advance(1)
        later.append(plant(browser.site.middleware, {"user": ANN}))

    store.meanwhile = [rotate, rotate, log_in_later]
    assert browser.site.middleware.sessions.revoke_all(ANN) == 1
    assert store.meanwhile == []
    assert live(browser.site.middleware, browser.header, *later) == [False, True]


class Stubborn(MemoryStore):
    """A store whose ``delete`` returns True but deletes nothing."""

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return True


def test_a_store_that_does_not_delete_is_found_out(clock: FakeClock) -> None:
    middleware = wrap(clock, store=Stubborn())
    plant(middleware, {"user": ANN})
    with pytest.raises(StoreUnavailable, match=f"After {MAX_PASSES} passes, some sessions still exist"):
        middleware.sessions.revoke_all(ANN)


# Counting and sweeping.


def test_count_counts_the_living_anonymous_ones_among_them(middleware: SessionMiddleware, clock: FakeClock) -> None:
    plant(middleware, {"user": ANN})
    plant(middleware, {"cart": []})
    browser = Site(middleware.store, clock=clock).browser()
    browser.call(lambda environ: session_in(environ).update(a=1))
    browser.call(lambda environ: session_in(environ).rotate())
    assert middleware.sessions.count() == 3
    clock.advance(timedelta(days=31))
    assert middleware.sessions.count() == 0


def test_sweep_removes_at_most_so_many_of_what_is_long_dead(middleware: SessionMiddleware, clock: FakeClock) -> None:
    for _ in range(3):
        plant(middleware, {"a": 1})
    clock.advance(timedelta(days=30, minutes=59))
    assert middleware.sessions.sweep(10) == 0
    clock.advance(timedelta(minutes=2))
    assert [middleware.sessions.sweep(2) for _ in range(3)] == [2, 1, 0]


class Plain(Store):
    """The eight abstract methods only."""

    def __init__(self) -> None:
        self._store = MemoryStore()

    def load(self, key: bytes, now: float) -> Record | None:
        return self._store.load(key, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._store.create(key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._store.replace(key, record, version, now)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._store.rotate(old, new, record, version, now)

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return self._store.touch(key, touched, expires, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return self._store.delete(key, version)

    def ping(self) -> None:
        self._store.ping()

    def close(self) -> None:
        self._store.close()


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("of", lambda sessions: sessions.of(ANN)),
        ("revoke", lambda sessions: sessions.revoke(ANN, "h")),
        ("revoke_all", lambda sessions: sessions.revoke_all(ANN)),
        ("sweep", lambda sessions: sessions.sweep(10)),
        ("count", lambda sessions: sessions.count()),
    ],
)
def test_what_a_store_does_not_offer_is_said_and_never_silence(operation: str, call: Callable[[Any], Any]) -> None:
    middleware = wrap(FakeClock(), store=Plain())
    cookie = plant(middleware, {"user": ANN})
    with pytest.raises(Unsupported, match=rf"Plain (does not support {operation}\(\)|has nothing to sweep)") as caught:
        call(middleware.sessions)
    assert caught.value.operation == operation
    assert read(middleware, cookie) == {"user": ANN}


class Scanned(Plain):
    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        return iter(())


def test_what_a_store_does_not_offer_is_said_with_what_to_do_instead() -> None:
    with pytest.raises(Unsupported, match="Run python -m wsgi_session stats URL, which does that"):
        wrap(FakeClock(), store=Scanned()).sessions.count()
    pytest.importorskip("cryptography", reason="pip install cryptography")
    sessions = wrap(FakeClock(), store="cookie://").sessions
    calls: list[Callable[[], object]] = [
        sessions.count,
        sessions.all,
        sessions.revoke_everyone,
        lambda: sessions.of(ANN),
        lambda: sessions.revoke_all(ANN),
        lambda: sessions.revoke_provider_session("sid-1"),
        lambda: sessions.sweep(1),
    ]
    for call in calls:
        with pytest.raises(Unsupported, match=r"sqlite:///sessions\.db; or end sessions with validate"):
            call()


def test_an_owner_that_is_no_text_has_no_sessions() -> None:
    assert Site().middleware.sessions.of("id:\ud800") == []


@pytest.mark.parametrize(
    "damage", ["handle = ''", "key = 'text'", "key = cast(x'ff41' AS text)", "key = 9223372036854775807", "key = 0.5"]
)
def test_a_row_that_was_edited_by_hand_does_not_prevent_listing_and_revoking(
    clock: FakeClock, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "sessions.db"
    with wrap(clock, store=f"sqlite:///{path}") as site:
        cookies = [plant(site, {"user": ANN}) for _ in range(3)]
        with sqlite3.connect(path) as meddling:
            meddling.execute(f"UPDATE sessions SET {damage} WHERE rowid = 1")
        meddling.close()
        assert [info.data for info in site.sessions.of(ANN) if info.handle] == [{"user": ANN}] * 2
        assert isinstance(site.store, Scans)
        assert [record.handle != "" for _, record in site.store.scan(clock())] == [True] * 2
        assert site.sessions.revoke_all(ANN) == 2
        assert live(site, *cookies) == [False] * 3


def test_a_handle_that_is_not_text_does_not_prevent_listing_and_revoking_on_sql(
    clock: FakeClock, tmp_path: Path
) -> None:
    path = tmp_path / "sessions.db"
    with wrap(clock, store=SQLStore(f"sqlite+pysqlite:///{path}")) as site:
        cookies = [plant(site, {"user": ANN}) for _ in range(2)]
        with sqlite3.connect(path) as meddling:
            # As in MySQL, which stores texts as bytes.
            meddling.execute("UPDATE wsgi_sessions SET handle = x'ff41', namespace = x'ff' WHERE rowid = 1")
        meddling.close()
        assert len(site.sessions.of(ANN)) == 2
        assert isinstance(site.store, Scans)
        assert len(list(site.store.scan(clock()))) == 2
        assert site.sessions.revoke_all(ANN) == 2
        assert live(site, *cookies) == [False] * 2


def test_a_time_that_is_a_text_is_no_sound_time() -> None:
    record = Record(b"", b"v", "a handle", 1.0, 2.0, 3.0)
    assert has_sound_times(record)
    assert not has_sound_times(record._replace(touched="yesterday"))  # type: ignore[arg-type]
