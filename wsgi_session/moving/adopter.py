"""The steps of an adoption in the store. Their order, and the reason for it, is described in ``markers.py``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wsgi_session.backends.base import Credential
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.stored_owner import names_of
from wsgi_session.errors import StoreUnavailable
from wsgi_session.moving.adopt import Adopt
from wsgi_session.moving.markers import (
    NEVER,
    NOWHERE,
    create_once,
    make_marker,
    marker_key,
    new_lead,
    put_marker,
    seed_of,
    was_in_advance,
)
from wsgi_session.moving.reader import Foreign, NotAdopted, Reader
from wsgi_session.moving.records import Prepared, owner_text, prepare
from wsgi_session.moving.revoked import is_revoked, revoke
from wsgi_session.stores.contract import CLOCK_SKEW, Record, Store


class Adopter:
    """Adopts foreign sessions into one store, for one namespace."""

    def __init__(self, store: Store, settings: Settings, adopt: Adopt, derive: Callable[[bytes], Credential]) -> None:
        self._store = store
        self.settings = settings
        self._adopt = adopt
        # Returns the credential whose token is derived from secret bytes.
        self._derive = derive

    def find_marker(self, reader: Reader, session_id: str, now: float) -> Record | None:
        """Return the marker of a foreign session that was adopted, or that ended; ``None`` if there is none."""
        return self._store.load(marker_key(self.settings.namespace, reader.scope, session_id), now)

    def adopt(self, reader: Reader, session_id: str, now: float) -> tuple[Record, Record | None]:
        """Return the marker of a foreign session, and its record if this call has adopted it.

        Raises ``NotAdopted``; ``StoreUnavailable`` if one of the two stores does not answer.
        """
        marker = self.find_marker(reader, session_id, now)
        if marker is not None:
            return self._renew(reader, session_id, marker, now) if was_in_advance(marker) else (marker, None)
        try:
            foreign = self.read(reader, session_id, now)
        except NotAdopted:
            # Another request may have adopted it, and deleted the record, since the marker was looked for.
            marker = self.find_marker(reader, session_id, now)
            if marker is None:
                raise
            return marker, None
        return self.claim(reader, session_id, foreign, None, now)

    def _renew(self, reader: Reader, session_id: str, marker: Record, now: float) -> tuple[Record, Record | None]:
        """Adopt a session anew at the first visit after it was adopted in advance.

        If it has ended in the other library since, it ends here. If the old store does not answer, the copy counts.
        """
        try:
            foreign = self.read(reader, session_id, now)
            renewed = self.claim(reader, session_id, foreign, marker, now)
        except StoreUnavailable:
            return marker, None
        except NotAdopted:
            newest = self.find_marker(reader, session_id, now)
            if newest is not None and newest.version != marker.version:
                return newest, None  # Another request was faster, and has deleted the old record.
            self._store.delete(self._key_of_session(session_id, marker))
            raise
        self._store.delete(self._key_of_session(session_id, marker))
        return renewed

    def claim(
        self,
        reader: Reader,
        session_id: str,
        foreign: Foreign,
        before: Record | None,
        now: float,
        *,
        advance: bool = False,
    ) -> tuple[Record, Record | None]:
        """Store the session and its marker, in place of the marker ``before``.

        Return the marker, and the session's record; ``None`` if another request was faster, whose session counts.
        """
        settings, store = self.settings, self._store
        key = marker_key(settings.namespace, reader.scope, session_id)
        prepared: Prepared = guard(prepare, foreign, self._adopt, settings, now, key if reader.in_cookie else None)
        marker = make_marker(new_lead(advance=advance), now, self._end(prepared.ends, now), settings.namespace)
        its_key = self._key_of_session(session_id, marker)
        create_once(store, its_key, prepared.record, now)
        try:
            # Checked only now: a revocation that comes later finds the session that was just stored.
            began = foreign.touched if foreign.created is None else foreign.created
            if is_revoked(store, settings.namespace, prepared.record.owner, began, now):
                store.delete(its_key)
                raise NotAdopted("ended", "sessions of this user, or of everybody, were revoked")
            # Two anonymous visitors can have the same cookie: the same data, signed in the same second. They must not
            # share a session, so each gets a copy, and a marker is left only by a logout.
            is_copy = reader.in_cookie and not prepared.has_owner
            won = is_copy or put_marker(store, key, marker, before, now)
        except StoreUnavailable:
            with suppress(StoreUnavailable):
                store.delete(its_key)
            raise
        if won:
            handle, owner = names_of(prepared.record)
            settings.events("adopted", handle=handle, owner=owner, source=reader.name)
            if prepared.dropped:
                settings.events("keys_dropped", handle=handle, source=reader.name, keys=prepared.dropped)
            return marker, prepared.record
        # Nobody knows the token of this session.
        store.delete(its_key)
        theirs = store.load(key, now)
        if theirs is None:
            raise NotAdopted("ended")
        return theirs, None

    def forbid_adoption(self, reader: Reader, session_id: str, now: float, *, logout: bool) -> Record | None:
        """Remember that a foreign session must not be adopted any more; return the marker if it was adopted before.

        ``logout``: also if nobody is logged in and the session is in the cookie, which others may have, too.
        """
        marker = self.find_marker(reader, session_id, now)
        if marker is not None:
            return marker
        try:
            foreign = self.read(reader, session_id, now)
            if not logout and reader.in_cookie and guard(owner_text, foreign, self._adopt) is None:
                return None
            ends = foreign.expires
        except NotAdopted:
            return None  # There is nothing to adopt.
        except StoreUnavailable:
            ends = None
        key = marker_key(self.settings.namespace, reader.scope, session_id)
        return None if self.leave_end_marker(key, ends, now) else self.find_marker(reader, session_id, now)

    def revoke(self, owner: bytes | None, now: float, *, anonymous: bool = False) -> None:
        """Remember that foreign sessions that began before now must not be adopted any more; see ``revoked.py``."""
        revoke(self._store, self.settings.namespace, owner, now, self._end(None, now), anonymous=anonymous)

    def leave_end_marker(self, key: bytes, ends: float | None, now: float) -> bool:
        """Create a marker that leads nowhere; return False if there is a marker already."""
        marker = make_marker(NOWHERE, now, self._end(ends, now), self.settings.namespace)
        return create_once(self._store, key, marker, now)

    def remove_old(self, reader: Reader, session_id: str) -> None:
        """Delete the foreign record. In an outage it stays: its marker keeps it from being adopted again."""
        try:
            guard(reader.delete, session_id)
        except StoreUnavailable as error:
            self.settings.events("old_kept", source=reader.name, error=str(error))
        except NotAdopted as error:
            self.settings.events("old_kept", source=reader.name, error=error.detail)

    def read(self, reader: Reader, session_id: str, now: float) -> Foreign:
        """Return the foreign session, or raise ``NotAdopted`` or ``StoreUnavailable``."""
        foreign: Foreign | None = guard(reader.load, session_id, now)
        if foreign is None:
            raise NotAdopted("unknown")
        return foreign

    def _key_of_session(self, session_id: str, marker: Record) -> bytes:
        """Return the store's key for the session to which a marker leads."""
        seed = seed_of(session_id, marker)
        assert seed is not None
        return self._derive(seed).key

    def _end(self, ends: float | None, now: float) -> float:
        """Return until when to remember a session that would have ended at ``ends``.

        Another machine's clock may be slow: by it, the session can be adopted for ``CLOCK_SKEW`` longer.
        """
        end = now + NEVER if ends is None else max(ends, now)
        return (end if self._adopt.until is None else max(now, min(end, self._adopt.until))) + CLOCK_SKEW


def guard(call: Callable[..., Any], *arguments: Any) -> Any:
    """Call a reader. Whatever it raises because of what a client sent, the request must not fail."""
    try:
        return call(*arguments)
    except (NotAdopted, StoreUnavailable):
        raise
    except Exception as error:
        # The text of the error may contain a part of the session.
        raise NotAdopted("corrupt", type(error).__name__) from None
