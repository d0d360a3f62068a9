"""The backend of a middleware with the option ``adopt``: a store that takes over sessions of other libraries.

A request whose own cookie leads to a live session is loaded as before. Otherwise, if the Cookie header has the name of
a foreign cookie, its session is adopted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wsgi_session.backends.base import Credential, Loaded
from wsgi_session.backends.server import MAX_CREDENTIALS, StoreBackend
from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import CorruptData, Packed, unpack
from wsgi_session.config.secrets import HiddenText
from wsgi_session.cookies import tokens
from wsgi_session.cookies.cookie import SchemeCookies, path_covers
from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.moving.adopt import Adopt
from wsgi_session.moving.adopter import Adopter, guard
from wsgi_session.moving.markers import credential_of
from wsgi_session.moving.reader import MAX_ID, NotAdopted, Reader
from wsgi_session.moving.records import ADOPTED, owner_text
from wsgi_session.stores.contract import Record, Store

#: The foreign sessions that a request names: reader and id.
Named = list[tuple[Reader, str]]


class ForeignCredential(Credential):
    """The credential of a request that has a foreign cookie, too. A logout ends the foreign sessions as well."""

    __slots__ = ("named",)

    def __init__(self, before: Credential | None, *, current: bool, named: Named) -> None:
        token, key = (b"", b"") if before is None else (before.token, before.key)
        super().__init__(token, current, key)
        self.others = getattr(before, "others", [])
        self.named = named


class AdoptingBackend(StoreBackend):
    """The sessions of one middleware, in a store, and those that it adopts."""

    def __init__(
        self, store: Store, signer: tokens.TokenSigner, cookies: SchemeCookies, settings: Settings, adopt: Adopt
    ) -> None:
        super().__init__(store, signer, cookies, settings)
        self._adopt = adopt
        #: The steps of an adoption, for the integrations too.
        self.adopter = Adopter(store, settings, adopt)
        ours = (cookies.http.name, cookies.https.name)
        # Whether a foreign cookie has the name of ours, which then replaces it.
        self._same_name = any(reader.cookie_name in ours for reader in adopt.readers)
        if self._same_name and adopt.keep_old:
            raise ConfigError(
                "adopt: with keep_old=True, processes of both kinds set their cookies. Give this middleware another "
                f"cookie_name than {settings.namespace!r}."
            )

    # Loading.

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the request's live session, or the one that it adopts."""
        loaded = super().load(environ, now)
        state, _, _, packed = loaded
        bound = self._adopt.keep_old and ADOPTED in packed
        if state == "rotated" or not (bound or self._mentions(environ.get("HTTP_COOKIE", ""))) or self._is_over(now):
            return loaded
        if self.settings.cookie_path != "/" and not path_covers(self.settings.cookie_path, environ):
            # The browser would not send our cookie back.
            return loaded
        named = self._named(environ, now, quiet=state == "live")
        if bound:
            return self._load_bound(loaded, self._may_be_missing(environ), named, now)
        if not named:
            return loaded
        return self._load_beside(loaded, named, now) if state == "live" else self._adopt_first(loaded, named, now)

    def report_tampered(self, look_signed: Iterable[bool], cookies: int = 1) -> None:
        """Report a cookie that none of our secrets signed, unless a foreign cookie has our cookie's name."""
        if not self._same_name:
            super().report_tampered(look_signed, cookies)

    def adopt_session(self, reader: Reader, session_id: str, now: float) -> Loaded:
        """Adopt a foreign session, or return the session as which it was adopted before.

        Raises ``NotAdopted`` if it cannot be adopted, or has ended; ``StoreUnavailable`` if a store does not answer.
        """
        marker, is_new = self.adopter.adopt(reader, session_id, now)
        found = self._follow(session_id, marker, now)
        if found[0] != "live":
            return found
        if not self._adopt.keep_old:
            self.adopter.remove_old(reader, session_id)
        elif not is_new and ADOPTED in found[3]:
            # A process of the old kind may have ended the session since it was adopted.
            found = self._load_bound(found, False, [(reader, session_id)], now)
            if found[0] == "unknown":
                raise NotAdopted("ended")
        return found

    def _adopt_first(self, loaded: Loaded, named: Named, now: float) -> Loaded:
        """Adopt the first of the foreign sessions that can be adopted."""
        for reader, session_id in named:
            try:
                state, credential, record, packed = self.adopt_session(reader, session_id, now)
            except NotAdopted as refusal:
                self.report_refusal(reader, refusal)
                continue
            if state == "live":
                # It is not "current", so that the commit sets the cookie.
                return state, ForeignCredential(credential, current=False, named=named), record, packed
            return state, credential, record, packed
        return "unknown", ForeignCredential(loaded[1], current=False, named=named), None, {}

    def _load_beside(self, loaded: Loaded, named: Named, now: float) -> Loaded:
        """Return a live session of a request that has a foreign cookie, too."""
        state, credential, record, packed = loaded
        assert credential is not None
        current = credential.current
        if not self._adopt.keep_old:
            # The cookie is left from the first phase, or from an answer that did not arrive: take it away.
            for reader, session_id in named:
                self.adopter.bury(reader, session_id, now)
                self.adopter.remove_old(reader, session_id)
            current = current and self._same_name
        return state, ForeignCredential(credential, current=current, named=named), record, packed

    def _load_bound(self, loaded: Loaded, may_be_missing: bool, named: Named, now: float) -> Loaded:
        """Return an adopted session in the first phase, if the other library has not ended the foreign session."""
        state, credential, record, packed = loaded
        assert credential is not None and record is not None
        ours = ForeignCredential(credential, current=credential.current, named=named)
        owner = _bound_owner(packed)
        key = None if owner is None else tokens.owner_key(self.settings.namespace, owner)
        if record.owner != key or (may_be_missing and not named):
            # A login of ours since then has made it a session of our own.
            return state, ours, record, packed
        changed = None
        for reader, session_id in named:
            try:
                foreign = self.adopter.read(reader, session_id, now)
                if guard(owner_text, foreign, self._adopt) == owner:
                    return state, ours, record, packed
                changed = changed or (reader, session_id, foreign)
            except NotAdopted:
                pass
        # A process of the old kind has logged the visitor out, or somebody else in.
        super().delete(credential, record, now)
        self.settings.events("destroyed", handle=record.handle)
        if changed is not None:
            reader, session_id, foreign = changed
            try:
                before = self.adopter.find_marker(session_id, now)
                marker, _ = self.adopter.claim(reader, session_id, foreign, before, now)
                found = self._follow(session_id, marker, now)
                return found[0], ForeignCredential(found[1], current=False, named=named), found[2], found[3]
            except NotAdopted as refusal:
                self.report_refusal(reader, refusal)
        return "unknown", ours, None, {}

    def _follow(self, session_id: str, marker: Record, now: float) -> Loaded:
        """Return the session to which a marker leads, or raise ``NotAdopted``."""
        credential = credential_of(session_id, marker)
        found = None if credential is None else self.look_up(credential, now)
        if found is None or found[0] == "unknown":
            raise NotAdopted("ended")
        return found

    # Ending: a session that ends here must not be adopted again, nor stay open in the other library.

    def delete(self, credential: Credential, record: Record, now: float) -> None:
        super().delete(credential, record, now)
        self._end_named(credential, now)

    def end(self, credential: Credential, now: float) -> Record | None:
        record = super().end(credential, now) if credential.key else None
        self._end_named(credential, now)
        return record

    def forget(self, credential: Credential) -> None:
        if credential.key:
            super().forget(credential)
        self._end_named(credential, self.settings.clock())

    def _end_named(self, credential: Credential, now: float) -> None:
        if isinstance(credential, ForeignCredential):
            for reader, session_id in credential.named:
                self.end_foreign(reader, session_id, now)

    def end_foreign(self, reader: Reader, session_id: str, now: float) -> None:
        """End a foreign session, and the session as which it was adopted."""
        marker = self.adopter.bury(reader, session_id, now)
        adopted = None if marker is None else credential_of(session_id, marker)
        if adopted is not None:
            super().end(adopted, now)
        if self._adopt.keep_old:
            # Processes of the old kind would still accept it, so an outage must not pass for a logout.
            try:
                guard(reader.delete, session_id)
            except NotAdopted as refusal:
                self.report_refusal(reader, refusal)
        else:
            self.adopter.remove_old(reader, session_id)

    # Cookies.

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        cookies = super().set_cookies(environ, credential, max_age)
        return cookies if self._adopt.keep_old else cookies + self._removals(environ)

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        return super().remove_cookies(environ) + self._removals(environ)

    def _removals(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove the request's foreign cookies."""
        if not self._mentions(environ.get("HTTP_COOKIE", "")) or self._is_over(self.settings.clock()):
            return []
        ours = self._cookies.of(environ).name
        named = self._named(environ, self.settings.clock(), quiet=True)
        # A cookie that is not a reader's may be that of another application on this host.
        readers = dict.fromkeys(reader for reader, _ in named if reader.cookie_name != ours)
        return [removal for reader in readers for removal in reader.removals(environ.get("HTTP_COOKIE", ""))]

    # Reading.

    def _mentions(self, header: str) -> bool:
        for reader in self._adopt.readers:  # noqa: SIM110  (any() of a generator takes longer at every request)
            if reader.cookie_name in header:
                return True
        return False

    def _is_over(self, now: float) -> bool:
        if self._adopt.until is None or now < self._adopt.until:
            return False
        self.settings.events.once("adoption_over", advice="its date has passed: remove the option adopt")
        return True

    def _may_be_missing(self, environ: Mapping[str, Any]) -> bool:
        """Return whether browsers send no foreign cookie with a request for this path."""
        return not any(path_covers(reader.cookie_path, environ) for reader in self._adopt.readers)

    def _named(self, environ: Mapping[str, Any], now: float, *, quiet: bool) -> Named:
        """Return the foreign sessions that the request names; report forged cookies unless ``quiet``."""
        named: Named = []
        for reader in self._adopt.readers:
            for value in reader.cookie_values(environ.get("HTTP_COOKIE", ""))[:MAX_CREDENTIALS]:
                if len(value) > MAX_ID or (self._same_name and tokens.looks_signed(value)):
                    continue
                try:
                    named.append((reader, HiddenText(guard(reader.identify, HiddenText(value), now))))
                except (NotAdopted, StoreUnavailable) as refusal:
                    if not quiet:
                        self.report_refusal(reader, refusal)
        return named

    def report_refusal(self, reader: Reader, refusal: Exception) -> None:
        """Report why a foreign session was not adopted."""
        reason, detail = getattr(refusal, "reason", "corrupt"), getattr(refusal, "detail", "")
        self.settings.events("not_adopted", source=reader.name, reason=reason, detail=detail)


def _bound_owner(packed: Packed) -> str | None:
    """Return whose session it was when it was adopted."""
    try:
        owner: str | None = unpack(packed[ADOPTED])
    except CorruptData:
        return None
    return owner
