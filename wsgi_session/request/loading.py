"""Loading the session of a request, at the first access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.backends.base import Loaded
from wsgi_session.codec.packing import CorruptData, pack
from wsgi_session.cookies.caching import is_public
from wsgi_session.cookies.cookie import may_lack_cookie, path_covers
from wsgi_session.errors import HeadersAlreadySent, StoreUnavailable
from wsgi_session.owner import user_mapping_or_none
from wsgi_session.request.data import Data
from wsgi_session.request.ending import closed_error, end, note_end
from wsgi_session.request.fields import NO_ENVIRON, WorkFields
from wsgi_session.request.states import CLOSED, KEEP, OPEN
from wsgi_session.stores.contract import CLOCK_SKEW

#: The internal key of when ``validate`` accepted the session, and under which handle.
VALIDATED = b"validated"
# Attributes that a request may set after its session was loaded, and that the next load would not reset.
_SET_LATER = (
    "ended",
    "ended_record",
    "ended_credential",
    "login_keys",
    "changed_before_login",
    "provider",
    "remember",
    "planned_handle",
    "confirming",
    "create_if_empty",
    "outside_path",
    "cross_site",
    "unread",
    "refused",
)


class LazyWork(WorkFields):
    """A unit of work that loads its session at the first access."""

    def load(self) -> Data:
        """Load the session and return its data. In an outage, raise ``StoreUnavailable`` or return an empty session."""
        if self.accessed and self.outage is not None:
            if not self.backend.settings.anonymous_in_outage:
                raise self.unavailable()
            # The store failed before the session was loaded, in a transaction: it is not asked again.
            return self.start(("unavailable", None, None, {}), self.backend.settings.clock())
        self.accessed = True
        if self.phase is not OPEN:
            self._prepare_late_load()
        settings = self.backend.settings
        clock = settings.clock
        now = clock()
        try:
            data = self.start(self.backend.load(self.environ, now), now)
            if self.record is None:
                if settings.cookie_path != "/" and not path_covers(settings.cookie_path, self.environ):
                    self.outside_path = self.ended = True
                elif self.state == "new" and may_lack_cookie(self.environ, settings.samesite):
                    self.cross_site = self.ended = True
            elif settings.validate is not None:
                data = self._validate()
        except StoreUnavailable as error:
            settings.events("unavailable", error=str(error))
            self.outage = error
            if not settings.anonymous_in_outage:
                self.outage_raised = True
                raise
            data = self.start(("unavailable", None, None, {}), now)
        self.scheme = self.environ.get("wsgi.url_scheme")
        # The environ contains the session: only the garbage collector would free such a cycle.
        self.environ = NO_ENVIRON if settings.describe is None else client_of(self.environ, self.backend.credential_key)
        return data

    def start(self, loaded: Loaded, now: float) -> Data:
        """Take over the session that was loaded at ``now``; return its data."""
        self.loaded_at = now
        self.state, self.credential, self.record, packed = loaded
        if self.record is None:
            if self.state == "unknown":
                self.refused, self.credential = self.credential, None
            elif self.state == "rotated":
                self.ended = True
        self.login = self.next_credential = None
        self.touching = True
        self.late = self.cookie_unconfirmed = False
        data = self.data = Data(packed, self.backend.settings.max_size)
        return data

    def writable(self, *, needs_cookie: bool = False) -> Data:
        """Return the data for a change, if the change can still be saved (or dropped).

        Raises ``StoreUnavailable`` if the store is down; ``HeadersAlreadySent`` if the response is closed, or if the
        change needs a cookie and the headers were sent.
        """
        data = self.data or self.load()
        if self.state == "unavailable":
            raise self.unavailable()
        if self.phase is OPEN:
            return data
        if self.phase is CLOSED:
            raise closed_error()
        stored = self.record is not None and self.next_credential is None
        if needs_cookie or self.backend.change_needs_cookie or not (stored or self.ended):
            raise HeadersAlreadySent(
                "This change needs a cookie, but the headers were sent. Make it before the response's first byte."
            )
        self.late = True
        return data

    def unavailable(self) -> StoreUnavailable:
        """Return a copy of this request's outage to raise. The store is asked once, not at each access."""
        outage = self.outage
        assert outage is not None
        self.outage_raised = True
        copy = StoreUnavailable(str(outage), retry_after=outage.retry_after)
        copy.__cause__ = outage
        return copy

    def note_outage(self, error: StoreUnavailable) -> None:
        """Remember an outage that ``destroy`` or ``atomic`` raises in the application."""
        self.outage, self.outage_raised = error, True

    def reload(self) -> bool:
        """Load the newest stored data, and keep this request's changes; return whether the session is still live."""
        if self.data is None:
            self.load()
        record, credential, settings = self.record, self.credential, self.backend.settings
        if record is None or credential is None or not self.backend.compares:
            return record is not None
        now = settings.clock()
        try:
            _, _, record, packed = self.backend.look_up(credential, now)
            if record is None:
                note_end(self)
                (self.data or self.load()).rebase({})
                return False
            self.record, self.loaded_at = record, now
            (self.data or self.load()).rebase(packed)
            if settings.validate is not None:
                self._validate()
        except StoreUnavailable as error:
            self.note_outage(error)
            raise
        return self.record is not None

    def mark_corrupt(self) -> None:
        """Treat a session with an unreadable value as unknown: this request's changes go into a new session."""
        if self.record is not None:
            self.unread = self.credential, self.record
            self.backend.settings.events("corrupt", handle=self.record.handle)
            if self.late:
                # The headers were sent, so no cookie can be set for a new session.
                self.ended_record, self.ended = self.record, True
        self.state = "unknown"
        self.record = self.credential = None
        (self.data or self.load()).rebase({})

    def unload(self) -> None:
        """Forget what was loaded and intended, including the cookie. An immediate ``destroy`` is not undone."""
        for name in _SET_LATER:
            vars(self).pop(name, None)
        self.data, self.cookie = None, KEEP

    # Reading for the package itself.

    def peek(self, key: str | bytes, default: Any = None) -> Any:
        """Return a value for reading only: the caller must not change it or pass it to the application."""
        data = self.data or self.load()
        try:
            return data.peek(key)
        except KeyError:
            return default
        except CorruptData:
            self.mark_corrupt()
            return default

    def user(self) -> Mapping[str, Any] | None:
        """Return the user who is logged in according to the session, for reading only: see :meth:`peek`."""
        return user_mapping_or_none(self.peek("user"))

    def current_user(self) -> Mapping[str, Any] | None:
        """Return the logged-in user if the framework agrees that they are logged in, for reading only."""
        return self.user()

    def _prepare_late_load(self) -> None:
        if is_public(self.sent_headers):
            raise HeadersAlreadySent(
                "The session was first used after the headers, which allow any cache to store this response. Use the "
                "session before start_response, or do not mark the response public."
            )
        self.backend.settings.events("late_access")
        if self.cookie_and_scheme is not None:
            kept = zip(("HTTP_COOKIE", "wsgi.url_scheme"), self.cookie_and_scheme, strict=True)
            self.environ = {**dict(kept), **self.token_header}

    def _validate(self) -> Data:
        settings, validate = self.backend.settings, self.backend.settings.validate
        assert validate is not None
        try:
            # In this order: if the time of the last check cannot be read, the session is corrupt, and has no user.
            if self._is_due() and self.user() is not None:
                if not validate(self):
                    # Kept, so that a logout in this request ends the sessions of its other cookies.
                    ended = self.credential
                    end(self, "invalid")
                    self.ended_credential = ended
                elif settings.validate_every is not None and self.record is not None and self.phase is OPEN:
                    value = [self.handle, settings.clock()]
                    (self.data or self.load()).put(VALIDATED, value, pack(value, "validated"))
        except BaseException:
            # If the application catches this error, it must not go on as if the session were valid: the next access
            # loads the session again.
            self.unload()
            raise
        return self.data or self.load()

    def _is_due(self) -> bool:
        """Return whether ``validate`` is to be called: the last call that accepted this login was long enough ago."""
        every = self.backend.settings.validate_every
        if every is None:
            return True
        stored = self.peek(VALIDATED)
        # A login gives the session another handle, so that it is checked again.
        if not isinstance(stored, list) or stored[0] != self.handle:
            return True
        return not -CLOCK_SKEW <= self.backend.settings.clock() - stored[1] < every


def client_of(environ: Mapping[str, Any], credential_key: str) -> dict[str, str]:
    """Return what ``describe`` may see of the request: its texts, without the credentials."""
    hidden = ("HTTP_COOKIE", "HTTP_AUTHORIZATION", credential_key)
    return {name: value for name, value in environ.items() if type(value) is str and name not in hidden}
