"""The administrator's view: whose sessions there are, and ending them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property, partial
from operator import itemgetter
from typing import Any

from wsgi_session.backends.revocation import end_sessions, follow, in_batches, owned_sessions
from wsgi_session.codec.packing import CorruptData, split, unpack
from wsgi_session.config.options import Settings
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError, Unsupported
from wsgi_session.owner import owner_of
from wsgi_session.session import Session, work_of
from wsgi_session.stores.contract import Counts, ListsOwners, OwnedSession, Store, Sweeps, has_sound_times
from wsgi_session.stores.unsupported import unsupported


@dataclass(frozen=True)
class SessionInfo:
    """One session of a user. Nothing in it opens the session (CVE-2020-5224)."""

    handle: str
    #: When the user logged in (aware, UTC).
    created: datetime
    #: The last activity that was noted (aware, UTC): up to ``touch_interval`` ago.
    last_seen: datetime
    #: When it ends if nothing more is heard of the visitor (aware, UTC).
    expires: datetime
    _load: Callable[[], dict[str, Any]] = field(repr=False, compare=False)

    @cached_property
    def data(self) -> dict[str, Any]:
        """A decoded copy of what is in the session, loaded when it is first asked for.

        Empty if the session has ended meanwhile, or cannot be read (with the event ``corrupt``). ``StoreUnavailable``
        in an outage.
        """
        return self._load()


class Sessions:
    """``middleware.sessions``. ``user`` is the user mapping, or an owner as ``session.owner`` shows it (``"id:5"``).

    Every method raises ``StoreUnavailable`` in an outage, and ``Unsupported`` where the store does not offer it.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def of(self, user: Mapping[str, Any] | str) -> list[SessionInfo]:
        """Return the user's sessions, newest login first; none is an empty list. Their data is not read.

        Many are listed in small batches, with pauses for the others.
        """
        now = self._settings.clock()
        found: list[tuple[float, SessionInfo]] = []
        for batch in in_batches(self._lists("of").of_owner(self._key(user), now)):
            found += [(session.created, self._info(session)) for session in batch if self._alive(session, now)]
        return [info for _, info in sorted(found, key=itemgetter(0), reverse=True)]

    def revoke(self, user: Mapping[str, Any] | str, handle: str) -> bool:
        """End the session called ``handle`` if it is one of this user's; False if it is not (CVE-2017-18878)."""
        store = self._lists("revoke")
        owner = self._key(user)
        ended = end_sessions(store, owner, self._settings.clock(), lambda record: record.handle == handle)
        self._tell(owner, handle, ended)
        return ended > 0

    def revoke_all(self, user: Mapping[str, Any] | str, keep: Session | str | None = None) -> int:
        """End every session of the user that was created before this call, but ``keep`` (a Session, or a handle).

        A login that completes later lives: change the password first, then revoke. Returns how many ended, those not
        counted that had run out by any machine's clock. Many sessions end in small batches, with pauses for the others.
        """
        store = self._lists("revoke_all")
        owner = self._key(user)
        # What else is given is a framework's name for a Session, such as Pyramid's.
        kept = {keep} if keep is None or isinstance(keep, str) else work_of(keep).open().handles
        called = self._settings.clock()
        # By name as well: one that is there now may be of a machine whose clock is ahead.
        there: set[str] = set()
        for batch in in_batches(owned_sessions(store, owner, called)):
            there.update(other.handle for other in batch if _began_after(called, other))
        ended = end_sessions(
            store,
            owner,
            called,
            lambda other: other.handle not in kept and (other.handle in there or not _began_after(called, other)),
        )
        self._tell(owner, None, ended)
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

    def _tell(self, owner: bytes, handle: str | None, ended: int) -> None:
        """Tell what was ended; also that nothing is filed under the user, who may be logged in without ``login()``."""
        if ended:
            self._settings.events("revoked", handle=handle, count=ended)
        elif next(owned_sessions(self._store, owner, self._settings.clock()), None) is None:
            advice = "no session is filed under this user: one that was put there without login() is not found"
            self._settings.events("nothing_revoked", handle=handle, advice=advice)

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

    def _alive(self, session: OwnedSession, now: float) -> bool:
        if not has_sound_times(session):
            self._settings.events("corrupt", handle=session.handle)
            return False
        return now < self._settings.lifetime.end_of(session)

    def _info(self, session: OwnedSession) -> SessionInfo:
        end = self._settings.lifetime.end_of(session)
        data = partial(self._data, session)
        return SessionInfo(session.handle, _utc(session.created), _utc(session.touched), _utc(end), data)

    def _data(self, session: OwnedSession) -> dict[str, Any]:
        found = follow(self._store, session.key, session.handle, self._settings.clock())
        if found is None:
            return {}
        try:
            return {key: unpack(packed) for key, packed in split(found[1].data).items() if isinstance(key, str)}
        except CorruptData:
            # It is listed, and can be revoked.
            self._settings.events("corrupt", handle=session.handle)
            return {}

    def _unsupported(self, operation: str) -> Unsupported:
        return unsupported(self._store, operation)


def _began_after(moment: float, session: OwnedSession) -> bool:
    return has_sound_times(session) and session.created > moment


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
