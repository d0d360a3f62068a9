"""The administrator's view: whose sessions there are, and ending them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from wsgi_session import tokens
from wsgi_session.codec import CorruptData, split, unpack
from wsgi_session.config import Settings
from wsgi_session.errors import ConfigError, Unsupported
from wsgi_session.owner import owner_of
from wsgi_session.revocation import end_sessions
from wsgi_session.session import Session
from wsgi_session.stores import SWEEP_GRACE, Counts, ListsOwners, Record, Store, Sweeps, has_sound_times
from wsgi_session.stores.refusals import unsupported


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session of a user. Nothing in it opens the session (CVE-2020-5224)."""

    handle: str
    #: When the user logged in (aware, UTC).
    created: datetime
    #: The last activity that was noted (aware, UTC): up to ``touch_interval`` ago.
    last_seen: datetime
    #: When it ends if nothing more is heard of the visitor (aware, UTC).
    expires: datetime
    #: A decoded copy of what is in the session.
    data: dict[str, Any]


class Sessions:
    """``middleware.sessions``. ``user`` is the user mapping, or an owner as ``session.owner`` shows it (``"id:5"``).

    Every method raises ``StoreUnavailable`` in an outage, and ``Unsupported`` where the store does not offer it.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def of(self, user: Mapping[str, Any] | str) -> list[SessionInfo]:
        """Return the user's sessions, newest login first; none is an empty list."""
        now = self._settings.clock()
        records = [record for _, record in self._lists("of").of_owner(self._key(user), now) if self._alive(record, now)]
        return [_info(record, self._settings) for record in sorted(records, key=_created, reverse=True)]

    def revoke(self, user: Mapping[str, Any] | str, handle: str) -> bool:
        """End the session called ``handle`` if it is one of this user's; False if it is not (CVE-2017-18878)."""
        store = self._lists("revoke")
        ended = end_sessions(store, self._key(user), self._settings.clock(), lambda record: record.handle == handle)
        if ended:
            self._settings.events("revoked", handle=handle, count=ended)
        return ended > 0

    def revoke_all(self, user: Mapping[str, Any] | str, keep: Session | str | None = None) -> int:
        """End every session of the user that was created before this call, but ``keep`` (a Session, or a handle).

        A login that completes later lives: change the password first, then revoke. Returns how many ended.
        """
        store = self._lists("revoke_all")
        owner = self._key(user)
        # What else is given is a framework's name for a Session, such as Pyramid's.
        kept = {keep} if keep is None or isinstance(keep, str) else keep._handles()
        called = self._settings.clock()
        # By name as well: one that is there now may be of a machine whose clock is ahead.
        there = {record.handle for _, record in store.of_owner(owner, called - SWEEP_GRACE)}
        ended = end_sessions(
            store,
            owner,
            called,
            lambda record: record.handle not in kept and (record.handle in there or record.created <= called),
        )
        if ended:
            self._settings.events("revoked", handle=None, count=ended)
        return ended

    def sweep(self, limit: int) -> int:
        """Remove at most ``limit`` sessions that have been dead for over an hour; return how many went."""
        if not isinstance(self._store, Sweeps):
            raise self._unsupported("sweep")
        return self._store.sweep(limit, self._settings.clock())

    def count(self) -> int:
        """Return how many live sessions this middleware has in the store, anonymous ones among them."""
        if not isinstance(self._store, Counts):
            raise self._unsupported("count")
        return self._store.count(self._settings.clock(), self._settings.namespace)

    def _key(self, user: Mapping[str, Any] | str) -> bytes:
        if not isinstance(user, str):
            return tokens.owner_key(self._settings.namespace, owner_of(user))
        if not user.startswith(("id:", "email:")):
            raise ConfigError(f"user={user!r}: give the user mapping, or an owner such as 'id:5'.")
        return tokens.owner_key(self._settings.namespace, user)

    def _lists(self, operation: str) -> Any:
        if not isinstance(self._store, ListsOwners):
            raise self._unsupported(operation)
        return self._store

    def _alive(self, record: Record, now: float) -> bool:
        if not has_sound_times(record):
            self._settings.events("corrupt", handle=record.handle)
            return False
        return now < self._settings.expires(record.touched, record.created, record.idle)

    def _unsupported(self, operation: str) -> Unsupported:
        return unsupported(self._store, operation)


def _created(record: Record) -> float:
    return record.created


def _info(record: Record, settings: Settings) -> SessionInfo:
    try:
        data = {key: unpack(packed) for key, packed in split(record.data).items() if isinstance(key, str)}
    except CorruptData:
        # It can still be listed and revoked.
        settings.events("corrupt", handle=record.handle)
        data = {}
    expires = min(record.expires, settings.expires(record.touched, record.created, record.idle))
    return SessionInfo(
        handle=record.handle,
        created=_utc(record.created),
        last_seen=_utc(record.touched),
        expires=_utc(expires),
        data=data,
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
