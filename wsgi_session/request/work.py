"""The unit of work: what one request knows of its session, and what it will change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.backends.base import Backend, Credential, Loaded, State
from wsgi_session.codec.packing import CorruptData, Packed
from wsgi_session.cookies.caching import Headers
from wsgi_session.errors import HeadersAlreadySent, StoreUnavailable
from wsgi_session.owner import user_mapping_or_none
from wsgi_session.request.data import Data
from wsgi_session.request.ending import closed_error, destroy, note_end
from wsgi_session.request.loading import NO_ENVIRON, load, mark_corrupt, unload
from wsgi_session.request.login import OWNER, Login
from wsgi_session.request.states import CLOSED, KEEP, OPEN, SET, Cookie
from wsgi_session.stores.contract import Record


class Work:
    """What one request knows of its session, and what it will change. Loads nothing before the first access.

    The commit (``commit.py``) saves it, and passes the result back: see :meth:`adopt`.
    """

    # Attributes that few requests set have their defaults on the class. Attributes that every request reads are set in
    # each object, where reading takes a fifth of the instructions (measured: 3 % of a request that reads).

    #: The scheme of the request when the session was loaded: a rewritten environ does not change the cookie's name.
    scheme: str | None = None
    #: The outage in which loading the session, ``destroy`` or ``atomic`` failed.
    outage: StoreUnavailable | None = None
    #: Whether this outage was raised in the application.
    outage_raised = False

    #: Whether there is a response that can set cookies.
    has_response = True

    # What was loaded.

    #: See ``Session.state``.
    state: State
    credential: Credential | None
    record: Record | None
    #: Whether another request ended the session: changes are dropped, and only a login creates a new session.
    ended = False
    #: The session that ended.
    ended_record: Record | None = None

    # What the request intends.

    #: The keys of the user who logs in: they are stored with the login, and not before.
    login_keys: tuple[str | bytes, ...] = ("user", OWNER)
    #: Whether to keep the cookie after the browser closes, if that was set without a login.
    remember: bool | None = None
    #: The key of the identity provider's session under which the login is filed.
    provider: bytes | None = None
    #: The method of a confirmation that is not saved yet.
    confirming: str | None = None
    #: The handle that a new session will get, because the application has asked for it already.
    planned_handle: str | None = None
    #: Whether to store the session even if it is empty: the visitor has a CSRF token for it.
    create_if_empty = False
    #: Whether the request is outside of ``cookie_path``: the browser would not send a new session's cookie back.
    outside_path = False
    #: Whether another site sent the request, and the browser left its cookie out: only a login is stored.
    cross_site = False
    #: Whether a login was saved: no cache may store the response.
    logged_in = False

    #: A corrupt session: its record stays unchanged unless the request ends it.
    unread: tuple[Credential | None, Record | None] = (None, None)
    #: The credential of the request, if it was not accepted.
    refused: Credential | None = None
    #: The headers that were passed to the server. Only the exchange sets it.
    sent_headers: Headers = []  # noqa: RUF012  (always replaced, never changed)
    #: The request's environ without the session, if ``validate`` takes it.
    validated_environ: Mapping[str, Any] = NO_ENVIRON
    #: Cookie header and scheme, in case the session is loaded after the response.
    cookie_and_scheme: tuple[str, str | None] | None = None
    #: What else of the environ is needed then: the header that replaces the cookie.
    token_header: Mapping[str, Any] = NO_ENVIRON

    def __init__(self, backend: Backend, environ: Mapping[str, Any]) -> None:
        self.backend = backend
        self.environ = environ
        #: The response's phase. Only the exchange sets it.
        self.phase = OPEN
        #: Whether the session was accessed, even if loading it failed: then the response depends on the cookie.
        self.accessed = False
        #: What the response does to the cookie.
        self.cookie = KEEP
        #: Headers of the response besides the session's: cookies of transactions, ``Clear-Site-Data``.
        self.more_headers: tuple[tuple[str, str], ...] = ()
        #: ``None`` until the session is loaded.
        self.data: Data | None = None

    # Loading.

    #: Load the session and return its data, once in a request. Raises ``StoreUnavailable`` if the store is down.
    load = load

    def open(self) -> Work:
        """Load the session unless it is loaded, and return this object; see :meth:`load`."""
        if self.data is None:
            self.load()
        return self

    def start(self, loaded: Loaded, now: float) -> Data:
        """Take over the session that was loaded at ``now``; return its data."""
        self.loaded_at = now
        self.state, self.credential, self.record, packed = loaded
        if self.record is None:
            if self.state == "unknown":
                self.refused, self.credential = self.credential, None
            elif self.state == "rotated":
                self.ended = True
        self.login: Login | None = None
        #: The credential after a rotation, or of a session that is not stored yet.
        self.next_credential: Credential | None = None
        #: Whether this request counts as activity.
        self.touching = True
        #: Whether the session was changed after the headers: no cookie can be set for such a change.
        self.late = False
        #: Whether ``atomic`` requested the cookie: the commit then checks that the session has not ended.
        self.cookie_unconfirmed = False
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

    # The session as it will be after this request is saved.

    @property
    def handle(self) -> str | None:
        if self.login is not None:
            return self.login.handle
        return None if self.record is None else self.record.handle

    @property
    def handles(self) -> set[str]:
        """The session's handles: between a login and its commit there are two."""
        stored = None if self.record is None else self.record.handle
        return {name for name in (self.handle, stored) if name is not None}

    @property
    def created(self) -> float | None:
        if self.login is not None:
            return self.login.created
        return None if self.record is None else self.record.created

    @property
    def persistent(self) -> bool:
        """Whether the browser keeps the cookie after it closes."""
        if self.remember is not None:
            return self.remember
        if self.login is not None:
            return self.login.persistent
        return self.backend.settings.persistent if self.record is None else self.record.persistent

    @property
    def has_owner(self) -> bool:
        """Whether the session belongs to a user who logged in with ``login()``."""
        return self.login is not None or (self.record is not None and self.record.owner is not None)

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

    # What the request intends. Only destroy() acts immediately.

    #: End the session in the store, and forget what was to be saved.
    destroy = destroy

    def rotate(self) -> None:
        """Let the commit replace the token, if the session is stored and the token is not being replaced already."""
        if self.record is not None and self.next_credential is None:
            self.next_credential = self.backend.new_credential()

    def renew(self) -> Credential:
        """Let the commit store the session under a new token, even if it is empty; return the new credential."""
        credential = self.next_credential = self.backend.new_credential()
        self.create_if_empty = True
        return credential

    def intend_login(self, login: Login, keys: tuple[str | bytes, ...]) -> None:
        """Let the commit store the session as ``login``; see ``login.py``."""
        # A framework's login and ``login()`` in one request: neither user may be stored before the commit.
        self.login_keys = keys if self.login is None else (*self.login_keys, *keys)
        self.login = login
        self.next_credential = self.next_credential or self.backend.new_credential()
        self.ended = self.outside_path

    def set_persistent(self, remember: bool) -> None:
        """Let the commit set whether the browser keeps the cookie after it closes; this rotates a stored session."""
        changes = remember != self.persistent
        self.remember = remember
        if changes:
            self.rotate()

    #: Treat a session with an unreadable value as unknown: this request's changes go into a new session.
    mark_corrupt = mark_corrupt

    def reset(self, environ: Mapping[str, Any]) -> None:
        """Forget what was loaded and intended. What ``destroy`` and ``atomic`` did immediately is not undone."""
        unload(self)
        self.outage, self.outage_raised, self.environ = None, False, environ

    # Called by the exchange.

    def close_unused(self, headers: Headers) -> None:
        """Close the response of a request that did not use its session, and release the environ."""
        self.phase = CLOSED
        self.sent_headers = headers
        environ = self.environ
        self.cookie_and_scheme = environ.get("HTTP_COOKIE", ""), environ.get("wsgi.url_scheme")
        self.environ = NO_ENVIRON

    # Called by the commit.

    def data_to_save(self, data: Data) -> Data:
        """Return the data whose changes are saved: ``data``, unless an integration saves only on request."""
        return data

    def adopt(self, record: Record, packed: Packed, cookie: Cookie) -> None:
        """Take over the record and the values that were stored under the same token."""
        self.record = record
        if cookie is SET:
            self.cookie = SET
        (self.data or self.load()).adopt(packed)

    def adopt_new(self, credential: Credential, record: Record, packed: Packed) -> None:
        """Take over what was stored under a new token: the login, the rotation or the new session is complete."""
        self.credential = credential
        self.login = self.next_credential = None
        self.create_if_empty = False
        self.adopt(record, packed, SET)

    def adopt_times(self, record: Record, cookie: Cookie) -> None:
        """Take over the times after a touch."""
        self.record = record
        if cookie is SET:
            self.cookie = SET

    #: Record that another request ended the session: changes are dropped, unless this request logs in.
    note_end = note_end
