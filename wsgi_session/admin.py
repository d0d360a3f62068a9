"""The administrator's view: list a user's sessions, end them, and count and sweep the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property, partial
from operator import itemgetter
from typing import Any, TypeVar

from wsgi_session.backends.base import Backend, Credential
from wsgi_session.backends.revocation import end_sessions, follow_tombstones, in_batches, owned_sessions
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.tenants import Tenants
from wsgi_session.codec.packing import CorruptData, split, unpack
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError, SessionGone, Unsupported
from wsgi_session.owner import owner_of
from wsgi_session.request.atomic import apply
from wsgi_session.request.work import Work
from wsgi_session.session import Session, work_of
from wsgi_session.stores.contract import Counts, ListsOwners, OwnedSession, Store, Sweeps, has_sound_times
from wsgi_session.stores.unsupported import unsupported

T = TypeVar("T")


@dataclass(frozen=True)
class SessionInfo:
    """One session of a user. It contains no credential, so it is safe to show to an administrator (CVE-2020-5224)."""

    #: The public name of the session, for :meth:`Sessions.revoke`.
    handle: str
    #: When the user logged in (aware, UTC).
    created: datetime
    #: The last recorded activity (aware, UTC). The last request may be up to ``touch_interval`` later.
    last_seen: datetime
    #: When the session expires if no further request arrives (aware, UTC).
    expires: datetime
    _load: Callable[[], dict[str, Any]] = field(repr=False, compare=False)

    @cached_property
    def data(self) -> dict[str, Any]:
        """A decoded copy of the session's data, loaded at the first access to this attribute.

        Empty if the session has ended since it was listed, or if its data is corrupt (then with the event ``corrupt``).
        Raises ``StoreUnavailable`` if the store is down.
        """
        return self._load()


class Sessions:
    """The type of ``middleware.sessions``.

    Each ``user`` argument is the user mapping, or an owner as ``session.owner`` returns it (``"id:5"``); any other
    value raises ``ConfigError``. Every method raises ``StoreUnavailable`` if the store is down, and ``Unsupported`` if
    the store does not support the operation.
    """

    def __init__(self, store: Store, settings: Settings, backend: Backend) -> None:
        self._store = store
        self._settings = settings
        self._backend = backend

    def tenant(self, name: str) -> Sessions:
        """Return the view of one tenant; ``name`` is what the function ``namespace=`` returns for its requests.

        Raises ``ConfigError`` if the middleware has no such function.
        """
        raise ConfigError(f"There is no tenant {name!r}, because SessionMiddleware has no namespace=.")

    def of(self, user: Mapping[str, Any] | str) -> list[SessionInfo]:
        """Return the user's live sessions, newest login first; an empty list if there are none.

        Their data is not read. Many sessions are read in small batches, with pauses in which other requests run.
        """
        now = self._settings.clock()
        found: list[tuple[float, SessionInfo]] = []
        for batch in in_batches(self._owner_store("of").of_owner(self._key(user), now)):
            found += [(session.created, self._info(session)) for session in batch if self._alive(session, now)]
        return [info for _, info in sorted(found, key=itemgetter(0), reverse=True)]

    def revoke(self, user: Mapping[str, Any] | str, handle: str) -> bool:
        """End the session with this ``handle``, if it belongs to the user; return whether one was ended.

        The handle of another user's session ends nothing (CVE-2017-18878).
        """
        store = self._owner_store("revoke")
        owner = self._key(user)
        ended = end_sessions(store, owner, self._settings.clock(), lambda record: record.handle == handle)
        self._report(owner, handle, ended)
        return ended > 0

    def revoke_all(self, user: Mapping[str, Any] | str, keep: Session | str | None = None) -> int:
        """End every session of the user that was created before this call, except ``keep`` (a Session or a handle).

        A login that completes after this call is not ended, so change the password first, then revoke. Return the
        number of live sessions that were ended. Many sessions are ended in small batches, with pauses in which other
        requests run.
        """
        store = self._owner_store("revoke_all")
        owner = self._key(user)
        # Any other value is a Session, or an integration's wrapper around one, such as Pyramid's.
        kept = {keep} if keep is None or isinstance(keep, str) else work_of(keep).open().handles
        called = self._settings.clock()
        # A machine whose clock is ahead may have given an existing session a later ``created``: go by its handle.
        existing: set[str] = set()
        for batch in in_batches(owned_sessions(store, owner, called)):
            existing.update(other.handle for other in batch if _began_after(called, other))
        ended = end_sessions(
            store,
            owner,
            called,
            lambda other: other.handle not in kept and (other.handle in existing or not _began_after(called, other)),
        )
        self._report(owner, None, ended)
        return ended

    def update(self, user: Mapping[str, Any] | str, handle: str, function: Callable[[dict[str, Any]], T]) -> T:
        """Apply ``function`` to the data of the user's session with this ``handle``, as ``session.atomic`` does.

        For jobs, sockets and administrators, outside of a request. ``function`` gets a dict of the newest stored data;
        what it leaves there is saved, and what it returns is returned. It is called again if a request wrote in
        between, or gave the session a new token, so it must have no other effects. This does not count as activity.

        Raises ``SessionGone`` if the user has no live session with this handle; ``UnsupportedValue`` or
        ``SessionTooLarge`` for what cannot be stored.
        """
        now = self._settings.clock()
        owned = self._owner_store("update").of_owner(self._key(user), now)
        found = next((session for session in owned if session.handle == handle), None)
        key, tried = (None if found is None else found.key), None
        while key is not None and key != tried:
            work = Work(self._backend, {})
            data = work.start(self._backend.look_up(Credential(b"", True, key), now), now)
            work.touching = False
            if work.record is not None:
                try:
                    return apply(work, data, function)
                except SessionGone:
                    pass
            # A request may have given it a new token meanwhile, and so another key.
            moved = follow_tombstones(self._store, key, handle, now)
            key, tried = (None if moved is None else moved[0]), key
        raise SessionGone("The user has no live session with this handle, so nothing was saved.", handle=handle)

    def sweep(self, limit: int) -> int:
        """Remove at most ``limit`` records that expired more than an hour ago; return the number removed."""
        if not isinstance(self._store, Sweeps):
            raise self._unsupported("sweep")
        return self._store.sweep(limit, self._settings.clock())

    def count(self) -> int:
        """Return the number of this middleware's live sessions in the store, including anonymous ones."""
        if not isinstance(self._store, Counts):
            raise self._unsupported("count")
        return self._store.count(self._settings.clock(), self._settings.namespace)

    def _report(self, owner: bytes, handle: str | None, ended: int) -> None:
        """Report what was ended, or that the user has no session: perhaps they were logged in without ``login()``."""
        if ended:
            self._settings.events("revoked", handle=handle, count=ended)
        elif next(owned_sessions(self._store, owner, self._settings.clock()), None) is None:
            advice = "this user has no session; a user who was put into a session without login() is not found"
            self._settings.events("nothing_revoked", handle=handle, advice=advice)

    def _key(self, user: Mapping[str, Any] | str) -> bytes:
        if not isinstance(user, str):
            return tokens.owner_key(self._settings.namespace, owner_of(user))
        if not user.startswith(("id:", "email:")):
            raise ConfigError(
                f"user={user!r} is not an owner. Give the user mapping, or an owner such as 'id:5' or "
                "'email:ann@example.com'."
            )
        return tokens.owner_key(self._settings.namespace, user)

    def _owner_store(self, operation: str) -> Any:
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
        found = follow_tombstones(self._store, session.key, session.handle, self._settings.clock())
        if found is None:
            return {}
        try:
            return {key: unpack(packed) for key, packed in split(found[1].data).items() if isinstance(key, str)}
        except CorruptData:
            # The session is listed with empty data, so that an administrator can still revoke it.
            self._settings.events("corrupt", handle=session.handle)
            return {}

    def _unsupported(self, operation: str) -> Unsupported:
        return unsupported(self._store, operation)


class TenantSessions(Sessions):
    """The type of ``middleware.sessions`` of a middleware with ``namespace=``: only ``tenant`` and ``sweep`` work."""

    def __init__(self, store: Store, settings: Settings, backend: Backend, tenants: Tenants) -> None:
        super().__init__(store, settings, backend)
        self._tenants = tenants

    def tenant(self, name: str) -> Sessions:
        backend = self._tenants.backend(name)
        return Sessions(self._store, backend.settings, backend)

    def count(self) -> int:
        raise _no_tenant_error()

    def _key(self, user: Mapping[str, Any] | str) -> bytes:
        raise _no_tenant_error()


def _no_tenant_error() -> ConfigError:
    return ConfigError("Each tenant has its own sessions: write middleware.sessions.tenant(name), then this method.")


def _began_after(moment: float, session: OwnedSession) -> bool:
    return has_sound_times(session) and session.created > moment


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
