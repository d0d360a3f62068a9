"""Ending sessions so that none slips through: neither one that is being rotated at that moment, nor one of many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from wsgi_session.cookies.tokens import begins_another
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

#: For so many times as long as a batch of sessions has taken to be listed, the others have the engine and this process.
PAUSE = 4.0
#: Seconds of a pause at most: a batch that took very long had to wait for others itself.
MAX_PAUSE = 0.25
#: Looks before giving up: each finds only what was rotated during the one before.
MAX_LOOKS = 1000

Chosen = Callable[[OwnedSession], bool]


def owned_sessions(store: Store, owner: bytes, now: float) -> Iterator[OwnedSession]:
    """Yield the sessions of ``owner`` that may still be used, and those that ended up to an hour ago.

    By another machine's clock they may be alive, and a request that looked while they were may still save them.
    """
    assert isinstance(store, ListsOwners)
    return store.of_owner(owner, now - SWEEP_GRACE)


def in_batches(sessions: Iterable[OwnedSession], pause: float = PAUSE) -> Iterator[list[OwnedSession]]:
    """Yield ``sessions`` a few at a time, with a pause between two batches: there may be very many of them.

    ``pause``: for how many times as long as a batch has taken.
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


def end_sessions(store: Store, owner: bytes, now: float, chosen: Chosen) -> int:
    """Delete the sessions of ``owner`` that are ``chosen``, and look again until none is left.

    Returns how many of them were alive, by any machine's clock. A rotation moves a session to another key: a delete
    under the old key misses it, and the next look finds it.
    """
    ended = 0
    quiet = False
    for _ in range(MAX_LOOKS):
        count, found, last = _end_those_listed(store, owned_sessions(store, owner, now), now, chosen)
        ended += count
        # One page is one moment. Over several, a rotation may have led from a later page to an earlier one.
        if not found and (last or quiet):
            return ended
        quiet = not found
    raise StoreUnavailable(f"sessions were still there after {MAX_LOOKS} looks; {ended} ended. Try again.")


def follow(store: Store, key: bytes, handle: str | None, now: float) -> tuple[bytes, Record] | None:
    """Return key and record of the session ``handle``, which was under ``key`` once: each tombstone says where it went.

    ``None`` if it has ended, or if somebody has logged in there since, which is another session. ``handle`` is ``None``
    for whichever session that was.
    """
    for _ in range(MAX_LOOKS):
        there = store.load(key, now)
        if there is None or there.handle == handle:
            return there and (key, there)
        if there.handle:
            return None if handle is not None else (key, there)
        if type(there.data) is not bytes or type(there.version) is not bytes:  # SQLite keeps a text in any column.
            return None
        if handle is None and begins_another(there.version):
            return None
        key = there.data
    return None


def _end_those_listed(
    store: Store, sessions: Iterator[OwnedSession], now: float, chosen: Chosen
) -> tuple[int, bool, bool]:
    """Return how many living sessions were ended, whether any was chosen, and whether one page held all."""
    listed = ended = 0
    found = False
    for batch in in_batches(sessions, store.delete_pause):
        listed += len(batch)
        # One without a handle would be a tombstone that somebody gave an owner: no delete removes it.
        picked = [session for session in batch if session.handle and chosen(session)]
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
