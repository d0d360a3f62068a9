"""The fields of a unit of work: what one request knows of its session, and what it intends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.backends.base import Backend, Credential, State
from wsgi_session.backends.stored_owner import OWNER
from wsgi_session.cookies.caching import Headers
from wsgi_session.errors import StoreUnavailable
from wsgi_session.request.data import Data
from wsgi_session.request.records import Login
from wsgi_session.request.states import KEEP, OPEN
from wsgi_session.stores.contract import Record

#: Replaces a unit of work's environ once that is not needed any more.
NO_ENVIRON: Mapping[str, Any] = {}


class WorkFields:
    """What one request knows of its session, and what it intends: see ``Work``, which has these fields."""

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
    #: When it was loaded, in seconds since the epoch.
    loaded_at: float
    #: Whether another request ended the session: changes are dropped, and only a login creates a new session.
    ended = False
    #: The session that ended, and its credential.
    ended_record: Record | None = None
    ended_credential: Credential | None = None

    # What the request intends.

    login: Login | None
    #: The credential after a rotation, or of a session that is not stored yet.
    next_credential: Credential | None
    #: Whether this request counts as activity.
    touching: bool
    #: Whether the session was changed after the headers: no cookie can be set for such a change.
    late: bool
    #: Whether ``atomic`` requested the cookie: the commit then checks that the session has not ended.
    cookie_unconfirmed: bool

    #: The keys of the user who logs in: they are stored with the login, and not before.
    login_keys: tuple[str | bytes, ...] = ("user", OWNER)
    #: What the request had changed before that login: packed values.
    changed_before_login: Mapping[str | bytes, bytes | None] = {}
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
