"""The store that reports each call: it keeps the contract, and tells operation, time and outcome."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.bare import Bare
from tests.support.records import make_record
from wsgi_session import KeyExists, SessionMiddleware, StoreUnavailable, Unsupported
from wsgi_session.config.keygen import new_secret
from wsgi_session.events import Events
from wsgi_session.stores import (
    Counts,
    ListsOwners,
    MemoryStore,
    OwnedSession,
    Record,
    Scans,
    SQLiteStore,
    Store,
    Sweeps,
)
from wsgi_session.stores.timed import TimedStore
from wsgi_session.testing import StoreConformance, plant, read

OWNER = b"o" * 32
SECRET = new_secret()


def no_site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


class TestTimedStore(StoreConformance):
    def make_store(self) -> Store:
        return TimedStore(MemoryStore(), Events(None))


class Heard(list[dict[str, Any]]):
    """The data of the events, without the times."""

    def __call__(self, name: str, data: Any) -> None:
        if name == "store_call":
            assert 0 <= data["seconds"] < 60
            self.append({key: value for key, value in data.items() if key != "seconds"})


class Down(MemoryStore):
    def load(self, key: bytes, now: float) -> Record | None:
        raise StoreUnavailable("the engine does not answer")

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        raise ZeroDivisionError

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        raise StoreUnavailable("the engine does not answer")
        yield


def timed(inner: Store) -> tuple[TimedStore, Heard]:
    heard = Heard()
    return TimedStore(inner, Events(heard)), heard


def test_an_outcome_says_what_came_of_a_call() -> None:
    store, heard = timed(MemoryStore())
    record = make_record(b"a")
    store.create(b"k" * 32, record, 0)
    with pytest.raises(KeyExists):
        store.create(b"k" * 32, record._replace(version=b"x" * 16), 0)
    store.replace(b"k" * 32, record._replace(version=b"y" * 16), b"z" * 16, 0)
    store.replace(b"n" * 32, record, record.version, 0)
    store.load(b"n" * 32, 0)
    store.ping()
    assert [(call["operation"], call["outcome"]) for call in heard] == [
        ("create", "ok"),
        ("create", "key_exists"),
        ("replace", "conflict"),
        ("replace", "gone"),
        ("load", "ok"),
        ("ping", "ok"),
    ]
    assert {call["system"] for call in heard} == {"memory"}


def test_a_failure_is_told_and_raised() -> None:
    store, heard = timed(Down())
    with pytest.raises(StoreUnavailable):
        store.load(b"k" * 32, 0)
    with pytest.raises(ZeroDivisionError):
        store.touch(b"k" * 32, 0, 0, 0)
    with pytest.raises(StoreUnavailable):
        list(store.of_owner(OWNER, 0))
    assert [call["outcome"] for call in heard] == ["unavailable", "error", "unavailable"]


def test_a_listing_is_told_once_at_its_end_or_where_it_is_given_up() -> None:
    store, heard = timed(MemoryStore())
    for number in range(3):
        store.create(bytes([number]) * 32, make_record(owner=OWNER), 0)
    heard.clear()
    listing = store.of_owner(OWNER, 0)
    assert next(listing)
    assert heard == []
    del listing
    assert len(list(store.of_owner(OWNER, 0))) == 3
    assert [(call["operation"], call["outcome"]) for call in heard] == [("of_owner", "ok")] * 2


def test_it_offers_what_the_inner_store_offers() -> None:
    for inner in (MemoryStore(), Bare()):
        store, _ = timed(inner)
        for protocol in (Sweeps, Counts, ListsOwners, Scans):
            assert isinstance(store, protocol) is isinstance(inner, protocol), protocol


def test_the_sessions_of_everybody_are_listed_and_ended_where_calls_are_reported() -> None:
    heard = Heard()
    with SessionMiddleware(
        no_site, secret=SECRET, store="memory://", report_store_calls=True, on_event=heard
    ) as middleware:
        for number in range(2):
            plant(middleware, {"user": {"id": number}})
        heard.clear()
        assert {info.owner for info in middleware.sessions.all()} == {"id:0", "id:1"}
        assert [(call["operation"], call["outcome"]) for call in heard] == [("scan", "ok")]
        assert middleware.sessions.revoke_everyone() == 2


def test_a_sweep_that_is_due_is_due_for_both() -> None:
    inner = MemoryStore()
    store, _ = timed(inner)
    inner.sweep_due = True
    assert store.sweep_due is True
    store.sweep_due = False
    assert inner.sweep_due is False


def test_what_the_store_does_not_support_is_told_by_the_stores_own_name() -> None:
    middleware = SessionMiddleware(no_site, secret=SECRET, store=Bare(), report_store_calls=True)
    with pytest.raises(Unsupported, match="Bare does not support of"):
        middleware.sessions.of({"id": 1})


def test_the_middlewares_store_is_the_one_that_was_given(tmp_path: Any) -> None:
    store = SQLiteStore(tmp_path / "sessions.db")
    with store, SessionMiddleware(no_site, secret=SECRET, store=store, report_store_calls=True) as middleware:
        assert middleware.store is store
        assert store.system == "sqlite"


def test_cookies_are_no_store_whose_calls_take_time() -> None:
    pytest.importorskip("cryptography", reason="pip install 'wsgi-session[crypto]'")
    heard = Heard()
    app = SessionMiddleware(no_site, secret=SECRET, store="cookie://", on_event=heard, report_store_calls=True)
    assert read(app, plant(app, {"a": 1})) == {"a": 1}
    assert heard == []
