"""Very many sessions of one user are listed and ended in small batches, with pauses for other requests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.records import make_record
from wsgi_session import SessionMiddleware
from wsgi_session.backends import revocation
from wsgi_session.backends.revocation import MAX_MOVES, follow_tombstones
from wsgi_session.cookies.tokens import owner_key
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import DELETE_BATCH, MemoryStore, Outcome, OwnedSession, Record, SQLiteStore
from wsgi_session.testing import FakeClock

NOW = FakeClock.START
SECRET = os.urandom(32)
ANN = "id:1"
MANY = 5 * DELETE_BATCH + 1


class SlowStore(MemoryStore):
    """By its own clock, listing a session takes ``listing`` seconds, and deleting a batch takes ``seconds``."""

    def __init__(self, seconds: float = 0.0, listing: float = 0.001) -> None:
        super().__init__()
        self.seconds = seconds
        self.listing = listing
        self.now = 0.0
        #: The pauses between batches, in seconds, and the sizes of the batches.
        self.pauses: list[float] = []
        self.batches: list[int] = []

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        for session in super().of_owner(owner, now):
            self.now += self.listing
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


@pytest.mark.parametrize(("factor", "kind"), [(4.0, SlowStore), (30.0, SQLiteStore)])
def test_ending_leaves_the_others_as_many_times_as_long_as_the_store_says(
    monkeypatch: pytest.MonkeyPatch, factor: float, kind: Any
) -> None:
    store = SlowStore(listing=0.0001)
    store.delete_pause = kind.delete_pause
    assert site(store, monkeypatch).sessions.revoke_all(ANN) == MANY
    assert store.batches == [DELETE_BATCH] * 5
    # One pass to find sessions of machines whose clock is ahead, one to end all, and one that finds none.
    assert store.pauses == pytest.approx([4 * 0.0001 * DELETE_BATCH] * 5 + [factor * 0.0001 * DELETE_BATCH] * 5)


def test_a_batch_that_took_very_long_is_followed_by_a_quarter_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
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


def rotated(times: int) -> tuple[MemoryStore, bytes, bytes]:
    """Return a store, and the first and the last key of a session that was rotated ``times`` times."""
    store = MemoryStore()
    keys = [b"%032d" % number for number in range(times + 1)]
    kept = Record(b"data", b"%016d" % 0, "handle", NOW, NOW, NOW + 1000)
    store.create(keys[0], kept, NOW)
    for number, (old, new) in enumerate(pairwise(keys), 1):
        moved = kept._replace(version=b"%016d" % (2 * number))  # An even last byte: not a login (see rotated_by_login).
        assert store.rotate(old, new, moved, kept.version, NOW) is Outcome.SAVED
        kept = moved
    return store, keys[0], keys[-1]


@pytest.mark.parametrize("handle", ["handle", None])
def test_a_session_is_found_after_as_many_rotations_as_a_visitor_makes(handle: str | None) -> None:
    store, first, last = rotated(MAX_MOVES)
    found = follow_tombstones(store, first, handle, NOW)
    assert found is not None
    assert found[0] == last


def test_a_session_that_was_rotated_without_end_costs_a_bounded_number_of_loads_and_does_not_count_as_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, first, _ = rotated(2 * MAX_MOVES)
    loads = []
    load = MemoryStore.load
    monkeypatch.setattr(MemoryStore, "load", lambda self, *args: (loads.append(1), load(self, *args))[1])
    with pytest.raises(StoreUnavailable, match=f"rotated more than {MAX_MOVES} times"):
        follow_tombstones(store, first, None, NOW)
    assert len(loads) == MAX_MOVES + 1
