"""Revocations of foreign sessions that were not adopted yet: those that began before one are not adopted any more.

A revocation is a marker, under a key of its own for each user, for all users, and for everybody (all users, and the
visitors who are not logged in). Its data is the time.
"""

from __future__ import annotations

import math

from wsgi_session.codec.packing import CorruptData, pack, unpack
from wsgi_session.moving.markers import create_once, make_marker, marker_key, put_marker
from wsgi_session.stores.contract import Record, Store

# Takes the place of the reader in the key of the marker. No reader has this scope.
_SCOPE = "revoked"
_USERS, _EVERYBODY = "users", "everybody"


def revoke(store: Store, namespace: str, owner: bytes | None, now: float, ends: float, *, anonymous: bool) -> None:
    """Remember that the foreign sessions that began before ``now`` must not be adopted any more.

    ``owner``: those of this user; ``None``: those of all users, and with ``anonymous`` also those of visitors who are
    not logged in. It is remembered until ``ends``. Raises ``StoreUnavailable``.
    """
    names = [_USERS if owner is None else owner.hex(), *([_EVERYBODY] if anonymous else [])]
    for name in names:
        key = marker_key(namespace, _SCOPE, name)
        marker = make_marker(pack(now, "revoked"), now, ends, namespace)
        before = None if create_once(store, key, marker, now) else store.load(key, now)
        # If another call stores one at the same time, either of the two will do.
        if before is not None:
            put_marker(store, key, marker, before, now)


def is_revoked(store: Store, namespace: str, owner: bytes | None, began: float | None, now: float) -> bool:
    """Return whether a foreign session of ``owner`` (``None``: nobody is logged in) was revoked.

    ``began``: when it began; ``None``: unknown, so it may be older than any revocation. Raises ``StoreUnavailable``.
    """
    for name in [_EVERYBODY] if owner is None else [owner.hex(), _USERS]:
        marker = store.load(marker_key(namespace, _SCOPE, name), now)
        if marker is not None and (began is None or began <= _time_of(marker)):
            return True
    return False


def _time_of(marker: Record) -> float:
    """Return the time of a revocation. If it cannot be read, no session may be adopted, however new it is."""
    try:
        moment = unpack(marker.data)
    except CorruptData:
        return math.inf
    return moment if isinstance(moment, (int, float)) else math.inf
