"""Ending the sessions of an owner, or of everybody, including those that are being rotated at that moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

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
    Scans,
    Store,
    has_sound_times,
    owned_session,
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

T = TypeVar("T")
ShouldEnd = Callable[[OwnedSession], bool]
#: Called after each batch with the number of sessions that were ended by then.
Progress = Callable[[int], object]


def _no_progress(ended: int) -> None:
    """Show no progress."""


def owned_sessions(store: Store, owner: bytes, now: float) -> Iterator[OwnedSession]:
    """Yield the live sessions of ``owner``, and those that expired up to an hour ago.

    These may still be live by another machine's clock, and a request that loaded one while it was live may save it.
    """
    assert isinstance(store, ListsOwners)
    return store.of_owner(owner, now - SWEEP_GRACE)


def in_batches(sessions: Iterable[T], pause: float = PAUSE) -> Iterator[list[T]]:
    """Yield ``sessions``, or their keys, in small batches, with pauses between them, because there may be very many.

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


def every_session(store: Scans, namespace: str, now: float) -> Iterator[tuple[bytes, Record]]:
    """Yield key and record of every live session of ``namespace``."""
    for key, record in store.scan(now):
        if record.namespace == namespace:
            yield key, record


class Listing(NamedTuple):
    """The sessions that are to be ended, as a pass reads them."""

    #: Yields those that are live at a time (seconds since the epoch).
    live_at: Callable[[float], Iterator[OwnedSession]]
    #: If there are at most this many, all are read at one moment; ``None``: they never are.
    page: int | None


def listing_of_owner(store: ListsOwners, owner: bytes) -> Listing:
    """Return the listing of the sessions of ``owner``."""
    return Listing(lambda now: store.of_owner(owner, now), OWNED_PAGE)


def listing_of_everyone(store: Scans, namespace: str, *, anonymous: bool = True) -> Listing:
    """Return the listing of all sessions of ``namespace``; with ``anonymous=False``, only of those with an owner."""

    def live_at(now: float) -> Iterator[OwnedSession]:
        for key, record in every_session(store, namespace, now):
            if anonymous or record.owner is not None:
                yield owned_session(key, record)

    return Listing(live_at, None)


def end_existing(
    store: Store, listing: Listing, called: float, kept: Container[str | None], progress: Progress = _no_progress
) -> int:
    """End the sessions of ``listing`` that were created before ``called``, except the handles in ``kept``."""
    # A machine whose clock is ahead may have given an existing session a later ``created``: go by its handle.
    existing: set[str] = set()
    for batch in in_batches(listing.live_at(called - SWEEP_GRACE)):
        existing.update(other.handle for other in batch if _began_after(called, other))
    return end_listed(
        store,
        listing,
        called,
        lambda other: other.handle not in kept and (other.handle in existing or not _began_after(called, other)),
        progress,
    )


def end_session(store: Store, key: bytes, record: Record, now: float) -> None:
    """End one session, also if it was rotated meanwhile (without an owner, only as long as its tombstone exists)."""
    for _ in range(MAX_PASSES):  # pragma: no branch - it would take a thousand rotations during one logout
        if store.delete(key):
            return
        # It was not under this key: another request has ended or rotated it. It may have expired by this machine's
        # clock and still be live by another's, so look for it an hour in the past.
        moved = follow_tombstones(store, key, record.handle, now - SWEEP_GRACE)
        if moved is None:
            break
        key, _ = moved
    if record.owner is not None and isinstance(store, ListsOwners):
        # If this request is very slow, the tombstone may have expired too.
        end_sessions(store, record.owner, now, lambda other: other.handle == record.handle)
    else:
        store.await_replicas()


def end_sessions(store: Store, owner: bytes, now: float, should_end: ShouldEnd) -> int:
    """Delete the sessions of ``owner`` for which ``should_end`` is true; see :func:`end_listed`."""
    assert isinstance(store, ListsOwners)
    return end_listed(store, listing_of_owner(store, owner), now, should_end)


def end_listed(
    store: Store, listing: Listing, now: float, should_end: ShouldEnd, progress: Progress = _no_progress
) -> int:
    """Delete the sessions of ``listing`` for which ``should_end`` is true, in passes until none is left.

    Return how many of them may have been live by any machine's clock. A rotation moves a session to another key, so a
    delete under the old key misses it; the next pass finds it.
    """
    ended = 0
    none_before = False
    for _ in range(MAX_PASSES):
        found, listed = False, 0
        for batch in in_batches(listing.live_at(now - SWEEP_GRACE), store.delete_pause):
            listed += len(batch)
            # Without a handle, it is a tombstone to which a manual change gave an owner: delete() does not remove it.
            picked = [session for session in batch if session.handle and should_end(session)]
            found = found or bool(picked)
            ended += _delete(store, [session.key for session in picked if _may_live(session, now)])
            _delete(store, [session.key for session in picked if not _may_live(session, now)])
            progress(ended)
        # A page is read at one moment. If there are several pages, a rotation may have moved a session from a later to
        # an earlier page, so two passes in a row must find none.
        if not found and (none_before or (listing.page is not None and listed <= listing.page)):
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
        if handle is None and (not record.version or rotated_by_login(record.version)):
            return None
        seen.add(key)
        key = record.data
        if key in seen:  # Only a manual change of the store can make tombstones form a circle.
            return None
    raise StoreUnavailable(
        f"The session was rotated more than {MAX_MOVES} times since this cookie was set. End it with its newest cookie."
    )


def _delete(store: Store, keys: list[bytes]) -> int:
    if len(keys) > 1:
        return store.delete_many(keys)
    return sum(store.delete(key) for key in keys)


def _may_live(session: OwnedSession, now: float) -> bool:
    return not has_sound_times(session) or now - CLOCK_SKEW < session.expires


def _began_after(moment: float, session: OwnedSession) -> bool:
    return has_sound_times(session) and session.created > moment
