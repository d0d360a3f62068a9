"""An account with very many sessions is listed and ended a few at a time, with pauses for the others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.records import make_record
from wsgi_session import SessionMiddleware
from wsgi_session.backends import revocation
from wsgi_session.cookies.tokens import owner_key
from wsgi_session.stores import DELETE_BATCH, MemoryStore, OwnedSession, SQLiteStore
from wsgi_session.testing import FakeClock

SECRET = os.urandom(32)
ANN = "id:1"
MANY = 5 * DELETE_BATCH + 1


class SlowStore(MemoryStore):
    """A session takes a millisecond to be listed, and a batch ``seconds`` to be deleted, by a clock of its own."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.now = 0.0
        #: The pauses that were made, in seconds, and the sizes of the batches.
        self.pauses: list[float] = []
        self.batches: list[int] = []

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        for session in super().of_owner(owner, now):
            self.now += 0.001
            yield session

    def delete_many(self, keys: Sequence[bytes]) -> int:
        self.now += self.seconds
        self.batches.append(len(keys))
        return super().delete_many(keys)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def site(store: SlowStore, monkeypatch: pytest.MonkeyPatch) -> SessionMiddleware:
    clock = FakeClock()
    now, owner = clock(), owner_key("sid", ANN)
    for number in range(MANY):
        store.create(b"%032d" % number, make_record(b"\x80", handle=f"h{number}", owner=owner), now)
    monkeypatch.setattr(revocation, "time", SimpleNamespace(perf_counter=lambda: store.now, sleep=store.sleep))

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise NotImplementedError

    return SessionMiddleware(application, secret=SECRET, store=store, clock=clock)


def test_listing_leaves_the_others_four_times_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SlowStore()
    assert len(site(store, monkeypatch).sessions.of(ANN)) == MANY
    assert store.pauses == pytest.approx([4 * 0.001 * DELETE_BATCH] * 5)


@pytest.mark.parametrize(("factor", "kind"), [(4.0, SlowStore), (12.0, SQLiteStore)])
def test_ending_leaves_the_others_as_many_times_as_long_as_the_store_says(
    monkeypatch: pytest.MonkeyPatch, factor: float, kind: Any
) -> None:
    store = SlowStore()
    store.delete_pause = kind.delete_pause
    assert site(store, monkeypatch).sessions.revoke_all(ANN) == MANY
    assert store.batches == [DELETE_BATCH] * 5
    # To see whose clock is ahead, to end them, and to see that there are no more.
    assert store.pauses == pytest.approx([4 * 0.001 * DELETE_BATCH] * 5 + [factor * 0.001 * DELETE_BATCH] * 5)


def test_a_batch_that_took_very_long_is_not_followed_by_a_pause_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SlowStore(seconds=30)
    assert site(store, monkeypatch).sessions.revoke_all(ANN) == MANY
    assert max(store.pauses) == 0.25


def test_few_sessions_are_listed_and_ended_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SlowStore()
    middleware = site(store, monkeypatch)
    for number in range(DELETE_BATCH - 1, MANY):
        store.delete(b"%032d" % number)
    assert len(middleware.sessions.of(ANN)) == DELETE_BATCH - 1
    assert middleware.sessions.revoke_all(ANN) == DELETE_BATCH - 1
    assert store.pauses == []
