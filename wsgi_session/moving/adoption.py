"""Adopt the foreign sessions that a request names, and end them with its session.

:class:`Adoption` works with the backend of one middleware. A request whose own cookie leads to a live session is loaded
as usual. Only if it does not, and the Cookie header has the name of a foreign cookie, a session is adopted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wsgi_session.backends.base import Credential, Loaded
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import split
from wsgi_session.config.secrets import HiddenText
from wsgi_session.cookies import tokens
from wsgi_session.cookies.cookie import MAX_CREDENTIALS, path_covers
from wsgi_session.errors import StoreUnavailable
from wsgi_session.moving.adopt import Adopt
from wsgi_session.moving.adopter import Adopter, guard
from wsgi_session.moving.foreign import ENVIRON_KEY, ForeignCredential, Named, Sessions
from wsgi_session.moving.markers import seed_of
from wsgi_session.moving.reader import MAX_ID, Foreign, NotAdopted, Reader
from wsgi_session.moving.records import ADOPTED, note_of, owner_text
from wsgi_session.stores.contract import Outcome, Record

#: How often to try to save that an adopted session is independent, while other requests save it.
MAX_RELEASES = 100


class Adoption:
    """The adoption of foreign sessions by one middleware. ``same_name``: a foreign cookie has the name of ours."""

    def __init__(self, sessions: Sessions, adopt: Adopt, *, same_name: bool) -> None:
        self._sessions = sessions
        self._adopt = adopt
        self._settings = sessions.settings
        self._adopter = Adopter(sessions.store, sessions.settings, adopt, sessions.derived_credential)
        self.same_name = same_name
        # Finds the name of a foreign cookie in a header.
        self._mentions = re.compile("|".join(re.escape(reader.cookie_name) for reader in adopt.readers)).search

    def limit_first_idle(self, idle: float) -> None:
        """Let an adopted session end after ``idle`` seconds if its first request does not save it."""
        lifetime = replace(self._settings.lifetime, idle=idle)
        self._adopter.settings = replace(self._settings, lifetime=lifetime)

    # Loading.

    def apply(self, loaded: Loaded, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the session of a request: the one that was loaded if it is live, or the one that is adopted now."""
        state, _, _, _ = loaded
        bound = self._is_bound(loaded)
        mentioned = self._mentions(environ.get("HTTP_COOKIE", ""))
        if not (bound or mentioned) or self._is_over(now):
            return loaded
        if not bound and self._settings.cookie_path != "/" and not path_covers(self._settings.cookie_path, environ):
            # The browser would not send our cookie back. (A bound session is checked everywhere: a copied cookie can be
            # sent to any path.)
            return loaded
        named = Named(self._find_named(environ, now, quiet=state in ("live", "rotated")))
        environ[ENVIRON_KEY] = named  # type: ignore[index]  # PEP 3333: it is a dict
        if state == "rotated":
            # Nothing is adopted, but a logout ends the foreign sessions, too.
            return self._as_own(loaded, named)
        if bound:
            loaded = self._load_bound(loaded, self._may_be_missing(environ), named, now)
            # In the second phase, what is left of the old session is taken away now.
            return self._load_beside(loaded, named, now) if loaded[0] == "live" else loaded
        if not named:
            return loaded
        return self._load_beside(loaded, named, now) if state == "live" else self._adopt_first(loaded, named, now)

    def _adopt_session(self, reader: Reader, session_id: str, now: float) -> Loaded:
        """Adopt a foreign session, or return the session as which it was adopted before.

        Raises ``NotAdopted`` if it cannot be adopted, or has ended; ``StoreUnavailable`` if a store does not answer.
        """
        marker, new = self._adopter.adopt(reader, session_id, now)
        found = self._follow(session_id, marker, now, new)
        if new is None and self._is_bound(found):
            # A process of the old kind may have ended the session since it was adopted.
            found = self._load_bound(found, False, Named([(reader, session_id)]), now)
            if found[0] == "unknown":
                raise NotAdopted("ended")
        if found[0] == "live" and not self._adopt.keep_old:
            self._adopter.remove_old(reader, session_id)
        return found

    def _adopt_first(self, loaded: Loaded, named: Named, now: float) -> Loaded:
        """Adopt the first of the foreign sessions that can be adopted."""
        for reader, session_id in named:
            try:
                state, credential, record, packed = self._adopt_session(reader, session_id, now)
            except NotAdopted as refusal:
                self._report(reader, refusal)
                continue
            if state == "live":
                # It is not "current", so that the commit sets the cookie.
                return state, ForeignCredential(credential, current=False, named=named), record, packed
            return self._as_own((state, credential, record, packed), named)
        return "unknown", ForeignCredential(loaded[1], current=False, named=named), None, {}

    def _load_beside(self, loaded: Loaded, named: Named, now: float) -> Loaded:
        """Return a live session of a request that has a foreign cookie, too."""
        state, credential, record, packed = loaded
        assert credential is not None
        current = credential.current
        if not self._adopt.keep_old:
            # The cookie is left from the first phase, or from an answer that did not arrive: take it away.
            for reader, session_id in named:
                self._adopter.forbid_adoption(reader, session_id, now, logout=False)
                self._adopter.remove_old(reader, session_id)
            current = current and self.same_name
        return state, ForeignCredential(credential, current=current, named=named), record, packed

    def _is_bound(self, loaded: Loaded) -> bool:
        """Return whether processes of the old kind may have ended this adopted session, and this must be checked."""
        _, _, record, packed = loaded
        if record is None or ADOPTED not in packed:
            return False
        note = note_of(packed)
        # A login of ours since then has made it a session of our own: it has another handle, or an owner.
        return note.bound == record.handle and record.owner == self._owner_key(note.owner)

    def _load_bound(self, loaded: Loaded, may_be_missing: bool, named: Named, now: float) -> Loaded:
        """Return a session that was adopted in the first phase, if the foreign session has not ended there."""
        state, credential, record, packed = loaded
        assert credential is not None and record is not None
        if may_be_missing and not named:
            return self._as_own(loaded, named)
        owner = note_of(packed).owner
        changed = None
        for reader, session_id in named:
            try:
                foreign = self._adopter.read(reader, session_id, now)
                if guard(owner_text, foreign, self._adopt) == owner:
                    return self._as_own(loaded if self._adopt.keep_old else self._release(loaded, now), named)
                changed = changed or (reader, session_id, foreign)
            except NotAdopted:
                pass
        newest = self._sessions.look_up(credential, now)
        if newest[0] != "live" or not self._is_bound(newest):
            # A process in the second phase was faster, and has taken the old session away.
            return self._as_own(newest, named)
        # A process of the old kind has logged the visitor out, or another user in. The new session is stored before the
        # old one ends: if that fails, the next request tries again.
        after: Loaded = "unknown", ForeignCredential(credential, current=credential.current, named=named), None, {}
        if changed is not None:
            try:
                state, found, new_record, packed = self._replace_bound(credential, *changed, now)
                after = state, ForeignCredential(found, current=False, named=named), new_record, packed
            except NotAdopted as refusal:
                self._report(changed[0], refusal)
        self._sessions.delete(credential, record, now)
        self._settings.events("destroyed", handle=record.handle, owner=stored_owner(record), reason="application")
        return after

    def _release(self, loaded: Loaded, now: float) -> Loaded:
        """Make an adopted session independent of the foreign one, in the second phase; return it as it is then.

        This comes before the old record and cookie are taken away. Otherwise their absence would pass for a logout, to
        processes of the first phase and to requests at the same moment.
        """
        for _ in range(MAX_RELEASES):
            _, credential, record, packed = loaded
            if not self._is_bound(loaded):
                return loaded
            assert credential is not None and record is not None
            packed = {**packed, ADOPTED: note_of(packed)._replace(bound=None).packed()}
            released = record._replace(data=self._settings.join(packed), version=tokens.new_handle_and_version()[1])
            if self._sessions.replace(credential, released, record.version, now) is Outcome.SAVED:
                return "live", credential, released, packed
            loaded = self._sessions.look_up(credential, now)
        raise StoreUnavailable(f"An adopted session was changed {MAX_RELEASES} times by other requests meanwhile.")

    def _as_own(self, loaded: Loaded, named: Named) -> Loaded:
        state, credential, record, packed = loaded
        current = credential is not None and credential.current
        return state, ForeignCredential(credential, current=current, named=named), record, packed

    def _replace_bound(
        self, credential: Credential, reader: Reader, session_id: str, foreign: Foreign, now: float
    ) -> Loaded:
        """Adopt what a foreign session has become, in place of the session of ``credential``."""
        marker = self._adopter.find_marker(reader, session_id, now)
        lead = None if marker is None else self._credential(session_id, marker)
        if marker is None or (lead is not None and lead.key == credential.key):
            marker, _ = self._adopter.claim(reader, session_id, foreign, marker, now)
        found = self._follow(session_id, marker, now)
        if found[2] is None or found[2].owner != self._owner_key(guard(owner_text, foreign, self._adopt)):
            raise NotAdopted("ended")
        return found

    def _owner_key(self, owner: str | None) -> bytes | None:
        return None if owner is None else tokens.owner_key(self._settings.namespace, owner)

    def _follow(self, session_id: str, marker: Record, now: float, new: Record | None = None) -> Loaded:
        """Return the session to which a marker leads, or raise ``NotAdopted``; ``new``: its record, if known."""
        credential = self._credential(session_id, marker)
        if new is not None:
            return "live", credential, new, split(new.data)
        found = None if credential is None else self._sessions.look_up(credential, now)
        if found is None or found[0] == "unknown":
            raise NotAdopted("ended")
        return found

    # Ending: a session that ends here must not be adopted again, nor stay open in the other library.

    def end_adopted(self, record: Record, now: float) -> None:
        """Leave a marker for a session that was adopted from a cookie, and that ends without a login of ours."""
        try:
            note = note_of(split(record.data))
        except (ValueError, TypeError):
            return
        if note.marker is not None and record.owner is None:
            self._adopter.leave_end_marker(note.marker, note.ends, now)

    def end_named(self, credential: Credential, now: float) -> None:
        """End the foreign sessions that the request of this credential named."""
        if isinstance(credential, ForeignCredential):
            credential.named.ended = True
            for reader, session_id in credential.named:
                self._end_foreign(reader, session_id, now)

    def _end_foreign(self, reader: Reader, session_id: str, now: float) -> None:
        """End a foreign session, and the session as which it was adopted."""
        marker = self._adopter.forbid_adoption(reader, session_id, now, logout=True)
        adopted = None if marker is None else self._credential(session_id, marker)
        if adopted is not None:
            self._sessions.end(adopted, now)
        if self._adopt.keep_old:
            # Processes of the old kind would still accept it, so an outage must not pass for a logout.
            try:
                guard(reader.delete, session_id)
            except NotAdopted as refusal:
                self._report(reader, refusal)
        else:
            self._adopter.remove_old(reader, session_id)

    def revoke(self, owner: bytes | None, now: float, *, anonymous: bool = False) -> None:
        """Keep foreign sessions of ``owner`` (``None``: of all users) that began before ``now`` from being adopted."""
        self._adopter.revoke(owner, now, anonymous=anonymous)

    # Cookies.

    def must_remove(self, environ: Mapping[str, Any]) -> bool:
        """Return whether a response that sets our cookie has to remove the foreign ones."""
        return not self._adopt.keep_old or getattr(environ.get(ENVIRON_KEY), "ended", False)

    def removals(self, environ: Mapping[str, Any], ours: str) -> list[str]:
        """Return the Set-Cookie values that remove the request's foreign cookies; ``ours``: the name of our cookie."""
        header = environ.get("HTTP_COOKIE", "")
        return [removal for reader in self.readers_of(environ, ours) for removal in reader.removals(header)]

    def readers_of(self, environ: Mapping[str, Any], ours: str) -> list[Reader]:
        """Return the readers of the request's foreign cookies, except of one with the name ``ours``."""
        if not self._mentions(environ.get("HTTP_COOKIE", "")) or self._is_over(self._settings.clock()):
            return []
        named = self._find_named(environ, self._settings.clock(), quiet=True)
        # A cookie that is not a reader's may be that of another application on this host.
        return list(dict.fromkeys(reader for reader, _ in named if reader.cookie_name != ours))

    # Reading.

    def _is_over(self, now: float) -> bool:
        if self._adopt.until is None or now < self._adopt.until:
            return False
        self._settings.events.once("adoption_over", advice="its date has passed: remove the option adopt")
        return True

    def _may_be_missing(self, environ: Mapping[str, Any]) -> bool:
        """Return whether browsers send no foreign cookie with a request for this path."""
        return not any(path_covers(reader.cookie_path, environ) for reader in self._adopt.readers)

    def _find_named(self, environ: Mapping[str, Any], now: float, *, quiet: bool) -> list[tuple[Reader, str]]:
        """Return the foreign sessions that the request names; report forged cookies unless ``quiet``."""
        named: list[tuple[Reader, str]] = []
        for reader in self._adopt.readers:
            for value in reader.cookie_values(environ.get("HTTP_COOKIE", ""))[:MAX_CREDENTIALS]:
                if len(value) > MAX_ID or (self.same_name and tokens.looks_signed(value)):
                    continue
                try:
                    named.append((reader, HiddenText(guard(reader.identify, HiddenText(value), now))))
                except (NotAdopted, StoreUnavailable) as refusal:
                    if not quiet:
                        self._report(reader, refusal)
        return named

    def _credential(self, session_id: str, marker: Record) -> Credential | None:
        seed = seed_of(session_id, marker)
        return None if seed is None else self._sessions.derived_credential(seed)

    def _report(self, reader: Reader, refusal: Exception) -> None:
        """Report why a foreign session was not adopted."""
        reason, detail = getattr(refusal, "reason", "corrupt"), getattr(refusal, "detail", "")
        self._settings.events("not_adopted", source=reader.name, reason=reason, detail=detail)
