"""Ending sessions of an owner so that none slips through, not even one that is being rotated at that moment."""

from __future__ import annotations

from collections.abc import Callable

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import SWEEP_GRACE, ListsOwners, Record, Store

#: Looks before giving up: each finds only what was rotated during the one before.
MAX_LOOKS = 1000


def end_sessions(store: Store, owner: bytes, now: float, chosen: Callable[[Record], bool]) -> int:
    """Delete the sessions of ``owner`` that are ``chosen``, and look again until none is left; return how many.

    A rotation moves a session to another key: a delete under the old key misses it, and the next look finds it. One
    that ended by itself within the hour is live for a slow request that looked before: it ends, and is not counted.
    """
    assert isinstance(store, ListsOwners)
    ended = 0
    for _ in range(MAX_LOOKS):
        found = [(key, record) for key, record in store.of_owner(owner, now - SWEEP_GRACE) if chosen(record)]
        if not found:
            return ended
        ended += sum([store.delete(key) and now < record.expires for key, record in found])
    raise StoreUnavailable(f"sessions were still there after {MAX_LOOKS} looks; {ended} ended. Try again.")
