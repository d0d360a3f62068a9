"""The administrator's view: list the sessions of a user or of everybody, end them, and count and sweep the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from wsgi_session.admin.info import SessionInfo
from wsgi_session.backends.base import Backend, Credential
from wsgi_session.backends.providers import end_provider_session, provider_key
from wsgi_session.backends.revocation import (
    end_existing,
    end_sessions,
    every_session,
    follow_tombstones,
    in_batches,
    listing_of_everyone,
    listing_of_owner,
    owned_sessions,
)
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import CorruptData, split, unpack
from wsgi_session.config.options import check_flag, seconds
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError, SessionGone, Unsupported
from wsgi_session.owner import check_owner, owner_of
from wsgi_session.request.atomic import apply
from wsgi_session.request.devices import stored_about
from wsgi_session.request.work import Work
from wsgi_session.session import Session, work_of
from wsgi_session.stores.contract import (
    Counts,
    ListsOwners,
    OwnedSession,
    Scans,
    Store,
    Sweeps,
    has_sound_times,
    owned_session,
)
from wsgi_session.stores.unsupported import unsupported

T = TypeVar("T")


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

    def of(self, user: Mapping[str, Any] | str, current: Session | str | None = None) -> list[SessionInfo]:
        """Return the user's live sessions, newest login first; an empty list if there are none.

        ``current`` (a Session or a handle): the one whose ``SessionInfo.current`` is True. The sessions' data is not
        read. Many sessions are read in small batches, with pauses in which other requests run.
        """
        now = self._settings.clock()
        found: list[tuple[float, SessionInfo]] = []
        owner, handles = _owner(user), _handles(current)
        for batch in in_batches(self._owner_store("of").of_owner(self._key(user), now)):
            live = (session for session in batch if self._alive(session, now))
            found += [(one.created, self._info(one, owner, one.handle in handles)) for one in live]
        return [info for _, info in sorted(found, key=itemgetter(0), reverse=True)]

    def all(self, *, active_within: timedelta | float | None = None) -> Iterator[SessionInfo]:
        """Return an iterator over this middleware's live sessions, in any order, including anonymous ones.

        The store is read in pages while you iterate, so take as many as you show, with ``itertools.islice``. This reads
        every session, of all users. A session that begins or ends meanwhile may or may not be returned.

        ``active_within`` (a timedelta, or seconds): only sessions that were active in this time, for "who is online".
        Activity is recorded once per ``touch_interval``, so a shorter time raises ``ConfigError``.
        """
        within = None if active_within is None else seconds("active_within", active_within)
        interval = self._settings.lifetime.touch_interval
        if within is not None and within < interval:
            raise ConfigError(
                f"active_within={active_within!r} is shorter than touch_interval ({interval:g} s). Activity is "
                "recorded at most once in that time, so visitors who are active now would be missing. Give a longer "
                "time, or set a shorter touch_interval."
            )
        store = self._scan_store("all")
        now = self._settings.clock()
        return self._all(store, now, None if within is None else now - within)

    def revoke(self, user: Mapping[str, Any] | str, handle: str) -> bool:
        """End the session with this ``handle``, if it belongs to the user; return whether one was ended.

        The handle of another user's session ends nothing (CVE-2017-18878).
        """
        store = self._owner_store("revoke")
        owner = _owner(user)
        ended = end_sessions(store, self._key(owner), self._settings.clock(), lambda record: record.handle == handle)
        self._report(owner, handle, ended)
        return ended > 0

    def revoke_all(self, user: Mapping[str, Any] | str, keep: Session | str | None = None) -> int:
        """End every session of the user that was created before this call, except ``keep`` (a Session or a handle).

        A login that completes after this call is not ended, so change the password first, then revoke. Return the
        number of live sessions that were ended. Many sessions are ended in small batches, with pauses in which other
        requests run.
        """
        store = self._owner_store("revoke_all")
        owner, kept = _owner(user), _handles(keep)
        key, called = self._key(owner), self._settings.clock()
        self._backend.revoke_foreign(key, called)
        ended = end_existing(self._store, listing_of_owner(store, key), called, kept)
        self._report(owner, None, ended)
        return ended

    def revoke_everyone(self, keep: Session | str | None = None, *, anonymous: bool = True) -> int:
        """End every session that was created before this call, except ``keep`` (a Session or a handle).

        ``anonymous=False`` spares the visitors who are not logged in. This reads every session of the store, in small
        batches, with pauses in which other requests run. A login that completes later is not ended. Sessions of another
        library that began before the call are not adopted any more. Return the number of live sessions that were ended.
        """
        check_flag("anonymous", anonymous)
        store = self._scan_store("revoke_everyone")
        listing = listing_of_everyone(store, self._settings.namespace, anonymous=anonymous)
        kept, called = _handles(keep), self._settings.clock()
        self._backend.revoke_foreign(None, called, anonymous=anonymous)
        ended = end_existing(self._store, listing, called, kept)
        if ended:
            self._settings.events("revoked", handle=None, owner=None, reason="revoked", count=ended)
        return ended

    def revoke_provider_session(self, provider_session: str) -> int:
        """End every session that ``login(provider_session=...)`` has filed under this name; return the number ended.

        For a logout at the identity provider: OpenID Connect's back-channel logout, SAML's single logout. Check the
        provider's token first, because a request that reaches this call ends sessions. It can be repeated after an
        outage, and also ends a login that its request has not saved yet. Raises ``ConfigError`` for anything but a
        non-empty text.
        """
        provider = provider_key(self._store, self._settings.namespace, provider_session)
        ended = 0
        for handle, count in end_provider_session(self._store, provider, self._settings.clock()):
            self._settings.events("revoked", handle=handle, owner=None, reason="revoked", count=count)
            ended += count
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
                    result = apply(work, data, function)
                    self._settings.events("updated", handle=handle, owner=_owner(user))
                    return result
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

    def _report(self, owner: str, handle: str | None, ended: int) -> None:
        """Report what was ended, or that the user has no session: perhaps they were logged in without ``login()``."""
        if ended:
            self._settings.events("revoked", handle=handle, owner=owner, reason="revoked", count=ended)
        elif next(owned_sessions(self._store, self._key(owner), self._settings.clock()), None) is None:
            advice = "this user has no session; a user who was put into a session without login() is not found"
            self._settings.events("nothing_revoked", handle=handle, owner=owner, advice=advice)

    def _key(self, user: Mapping[str, Any] | str) -> bytes:
        return tokens.owner_key(self._settings.namespace, _owner(user))

    def _owner_store(self, operation: str) -> Any:
        if not isinstance(self._store, ListsOwners):
            raise self._unsupported(operation)
        return self._store

    def _alive(self, session: OwnedSession, now: float) -> bool:
        if not has_sound_times(session):
            self._settings.events("corrupt", handle=session.handle)
            return False
        return now < self._settings.lifetime.end_of(session)

    def _all(self, store: Scans, now: float, since: float | None) -> Iterator[SessionInfo]:
        lifetime = self._settings.lifetime
        for key, record in every_session(store, self._settings.namespace, now):
            if record.owner is None:
                # It may have been stored under another anonymous_timeout; the current one counts.
                record = record._replace(idle=lifetime.anonymous)
            if now < lifetime.end_of(record) and (since is None or record.touched > since):
                yield self._info(owned_session(key, record), stored_owner(record))

    def _scan_store(self, operation: str) -> Scans:
        if not isinstance(self._store, Scans):
            raise self._unsupported(operation)
        return self._store

    def _info(self, session: OwnedSession, owner: str | None, current: bool = False) -> SessionInfo:
        end = self._settings.lifetime.end_of(session)
        data = partial(self._data, session)
        times = _utc(session.created), _utc(session.touched), _utc(end)
        return SessionInfo(session.handle, *times, owner, current, data)

    def _data(self, session: OwnedSession) -> tuple[dict[str, Any], str | None]:
        found = follow_tombstones(self._store, session.key, session.handle, self._settings.clock())
        if found is None:
            return {}, None
        try:
            values = split(found[1].data)
            about = stored_about(values, session.handle)
            return {key: unpack(packed) for key, packed in values.items() if isinstance(key, str)}, about
        except CorruptData:
            # The session is listed with empty data, so that an administrator can still revoke it.
            self._settings.events("corrupt", handle=session.handle)
            return {}, None

    def _unsupported(self, operation: str) -> Unsupported:
        return unsupported(self._store, operation)


def _owner(user: Mapping[str, Any] | str) -> str:
    return check_owner(user) if isinstance(user, str) else owner_of(user)


def _handles(given: Session | str | None) -> set[str | None]:
    """Return the handles of a session that was given as itself, or by its handle."""
    # Any other value is a Session, or an integration's wrapper around one, such as Pyramid's.
    return {given} if given is None or isinstance(given, str) else {*work_of(given).open().handles}


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
