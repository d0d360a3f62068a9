"""Ending the sessions of an owner, including those that are being rotated at that moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from wsgi_session.cookies.tokens import rotated_by_login
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.contract import (
    CLOCK_SKEW,
    DELETE_BATCH,
    OWNED_PAGE,
    SWEEP_GRACE,
    ListsOwners,
    OwnedSession,
    Record,
    Store,
    has_sound_times,
)

#: The pause after a batch, as a multiple of the time that the batch took: other requests run meanwhile.
PAUSE = 4.0
#: The maximum pause in seconds: a batch that took very long had to wait for other requests itself.
MAX_PAUSE = 0.25
#: The maximum number of passes. After the first, each finds only the sessions that were rotated during the one before.
MAX_PASSES = 1000
#: The maximum number of rotations to follow from an old token to the session: one a second for as long as a tombstone
#: exists, and a few more. The limit bounds the cost of a request with an old token.
MAX_MOVES = 128

ShouldEnd = Callable[[OwnedSession], bool]


def owned_sessions(store: Store, owner: bytes, now: float) -> Iterator[OwnedSession]:
    """Yield the live sessions of ``owner``, and those that expired up to an hour ago.

    These may still be live by another machine's clock, and a request that loaded one while it was live may save it.
    """
    assert isinstance(store, ListsOwners)
    return store.of_owner(owner, now - SWEEP_GRACE)


def in_batches(sessions: Iterable[OwnedSession], pause: float = PAUSE) -> Iterator[list[OwnedSession]]:
    """Yield ``sessions`` in small batches, with pauses between them, because there may be very many.

    ``pause``: the length of a pause, as a multiple of the time that the batch took.
    """
    rest = iter(sessions)
    while True:
        started = time.perf_counter()
        batch = list(islice(rest, DELETE_BATCH))
        if batch:
            yield batch
        if len(batch) < DELETE_BATCH:
            return
        time.sleep(min(pause * (time.perf_counter() - started), MAX_PAUSE))


def end_sessions(store: Store, owner: bytes, now: float, should_end: ShouldEnd) -> int:
    """Delete the sessions of ``owner`` for which ``should_end`` is true, in passes until none is left.

    Return how many of them may have been live by any machine's clock. A rotation moves a session to another key, so a
    delete under the old key misses it; the next pass finds it.
    """
    ended = 0
    none_before = False
    for _ in range(MAX_PASSES):
        count, found, one_page = _end_listed(store, owned_sessions(store, owner, now), now, should_end)
        ended += count
        # A page is read at one moment. If there are several pages, a rotation may have moved a session from a later to
        # an earlier page, so two passes in a row must find none.
        if not found and (one_page or none_before):
            store.await_replicas()
            return ended
        none_before = not found
    raise StoreUnavailable(f"After {MAX_PASSES} passes, some sessions still exist; {ended} were ended. Try again.")


def follow_tombstones(store: Store, key: bytes, handle: str | None, now: float) -> tuple[bytes, Record] | None:
    """Return key and record of the session ``handle``, which was once under ``key``; tombstones lead to its new key.

    ``handle=None`` accepts any session. Return ``None`` if the session has ended, or if a login has replaced it. Raise
    ``StoreUnavailable`` if it was rotated more than ``MAX_MOVES`` times: returning ``None`` would leave it alive.
    """
    seen = set()
    for _ in range(MAX_MOVES + 1):
        record = store.load(key, now)
        if record is None or record.handle == handle:
            return record and (key, record)
        if record.handle:
            return None if handle is not None else (key, record)
        if type(record.data) is not bytes or type(record.version) is not bytes:  # SQLite stores any type in any column.
            return None
        if handle is None and rotated_by_login(record.version):
            return None
        seen.add(key)
        key = record.data
        if key in seen:  # Only a manual change of the store can make tombstones form a circle.
            return None
    raise StoreUnavailable(
        f"The session was rotated more than {MAX_MOVES} times since this cookie was set. End it with its newest cookie."
    )


def _end_listed(
    store: Store, sessions: Iterator[OwnedSession], now: float, should_end: ShouldEnd
) -> tuple[int, bool, bool]:
    """Return the number of live sessions that were ended, whether any was to end, and whether one page had them all."""
    listed = ended = 0
    found = False
    for batch in in_batches(sessions, store.delete_pause):
        listed += len(batch)
        # Without a handle, it is a tombstone to which a manual change gave an owner: delete() does not remove it.
        picked = [session for session in batch if session.handle and should_end(session)]
        found = found or bool(picked)
        ended += _delete(store, [session.key for session in picked if _may_live(session, now)])
        _delete(store, [session.key for session in picked if not _may_live(session, now)])
    return ended, found, listed <= OWNED_PAGE


def _delete(store: Store, keys: list[bytes]) -> int:
    if len(keys) > 1:
        return store.delete_many(keys)
    return sum(store.delete(key) for key in keys)


def _may_live(session: OwnedSession, now: float) -> bool:
    return not has_sound_times(session) or now - CLOCK_SKEW < session.expires
