"""The WSGI middleware: checks the options, and puts a session into the environ of every request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from wsgi_session.admin import Sessions, TenantSessions
from wsgi_session.backends.base import Backend
from wsgi_session.backends.factory import make_backend
from wsgi_session.backends.header import check_transport
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.tenants import Tenants
from wsgi_session.config import options as config
from wsgi_session.config.given import check_app, check_store
from wsgi_session.config.naming import named_options
from wsgi_session.config.secrets import hide_secret
from wsgi_session.config.text import parse_options
from wsgi_session.cookies.cookie import as_in_environ, check_cookie_options, make_cookies
from wsgi_session.cookies.transaction import TransactionCookies
from wsgi_session.errors import ConfigError
from wsgi_session.events import Events, OnEvent
from wsgi_session.exchange import Application, Exchange, StartResponse
from wsgi_session.lifetime import Lifetime
from wsgi_session.moving.factory import choose_store_backend
from wsgi_session.nesting import check_cookie_name, check_outer_session
from wsgi_session.request.factory import make_validator, make_work, takes_environ
from wsgi_session.request.states import CLOSED
from wsgi_session.request.work import Work
from wsgi_session.responses.outage import OutagePage
from wsgi_session.session import Session, work_of
from wsgi_session.stores.contract import ListsOwners, Store
from wsgi_session.stores.sealed import join_of, make_sealing, sealed
from wsgi_session.stores.timed import timed
from wsgi_session.stores.urls.opening import open_store

if TYPE_CHECKING:
    from wsgi_session.moving.adopt import Adopt
    from wsgi_session.moving.reader import Reader


class SessionMiddleware:
    """Wrap any WSGI application: ``environ['session']`` is the visitor's session, loaded on first access.

    ::

        app = SessionMiddleware(app, secret=SECRET, store="sqlite:///sessions.db")

    Invalid options raise ``ConfigError`` here, not later in a request. Times are timedeltas or seconds. One middleware
    serves any number of threads, greenlets and forked processes.
    """

    # An integration may replace these with subclasses.
    _work_type: type[Work] = Work
    _session_type: type[Session] = Session

    # Hides the secret, and the password in the store's URL, from tracebacks that show local variables.
    @named_options
    def __init__(
        self,
        app: Application,
        *,
        # Text or bytes of at least 32 bytes, or up to four of these, newest first: the first signs, all verify.
        secret: str | bytes | Sequence[str | bytes],
        # A URL such as "sqlite:///sessions.db", or a Store. close() closes only a store that was opened from a URL.
        store: str | Store,
        # Encrypts what the store keeps, with the secret. "accept-plain" also reads sessions from before that.
        encrypt: bool | Literal["accept-plain"] = False,
        environ_key: str = "session",
        # Also the namespace: two middlewares over one store that have different names share no sessions.
        cookie_name: str = "sid",
        # A function of the environ that returns the name of the request's tenant. Tenants share no sessions either.
        namespace: Callable[[Mapping[str, Any]], str] | None = None,
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        # "auto" follows the request's scheme, so that http://localhost works. Set True if a proxy terminates TLS.
        cookie_secure: bool | Literal["auto"] = "auto",
        cookie_samesite: str = "Lax",
        cookie_partitioned: bool = False,
        # Whether the cookie is kept after the browser closes; login(remember=...) can override it for one login.
        cookie_persistent: bool = True,
        # How clients send the token: in the "cookie", in a "header" that they set themselves, or in "both" ways.
        transport: Literal["cookie", "header", "both"] = "cookie",
        # The request header with the token: "Authorization" (with "Bearer" before it), or one with the token alone.
        transport_header: str = "Authorization",
        # A session expires after this time without recorded activity.
        idle_timeout: timedelta | float = timedelta(days=30),
        # Maximum age of a session or a login, however active the visitor is. None: no maximum.
        absolute_timeout: timedelta | float | None = timedelta(days=90),
        # The idle timeout of visitors who are not logged in, because robots leave a session for each page that starts
        # one. None: the same as idle_timeout.
        anonymous_timeout: timedelta | float | None = None,
        # A session's activity is recorded at most once in this time. None: 1/30 of the idle timeout.
        touch_interval: timedelta | float | None = None,
        # Maximum size of one session's stored data, in bytes.
        max_size: int = 1_048_576,
        # If a login exceeds this number of a user's live sessions, the oldest one ends. None: no limit.
        max_sessions: int | None = None,
        # Describes the device of a login, for SessionInfo.about; such as describe_device.
        describe: Callable[[Mapping[str, Any]], str | None] | None = None,
        # If the store is down: "fail" sends a 503 response; "anonymous" lets reads see an empty session.
        on_store_error: Literal["fail", "anonymous"] = "fail",
        # A WSGI application for the body of that 503 (JSON, HTML, CORS headers). None: a line of plain text.
        outage_page: OutagePage | None = None,
        # Called once per request, when a session with a logged-in user is loaded. Return False to end the session. It
        # may take the environ as a second argument.
        validate: Callable[[Session], bool] | Callable[[Session, Mapping[str, Any]], bool] | None = None,
        # If set, validate is called at most once in this time for each session.
        validate_every: timedelta | float | None = None,
        # Takes over the sessions of another library: a reader of wsgi_session.moving, several of them, or an Adopt.
        adopt: Adopt | Reader | Sequence[Reader] | None = None,
        # Experimental: binds logins to the device, in browsers with Device Bound Session Credentials. True, or the path
        # below which the middleware answers these browsers, "/device-bound" by default.
        experimental_device_bound: bool | str = False,
        # Called with each event's name and data; see the events page. The second option makes each store call an event.
        on_event: OnEvent | None = None,
        report_store_calls: bool = False,
        # Seconds since the epoch. Tests pass a FakeClock.
        clock: Callable[[], float] = config.wall_clock,
    ) -> None:
        check_app(app)
        check_store(store, Store)
        config.check_callable_or_none("validate", validate, "a function of the session, or None")
        config.check_callable_or_none("namespace", namespace, "a function of the environ, or None")
        config.check_callable_or_none("describe", describe, "a function of the request's environ, or None")
        config.check_callable_or_none("outage_page", outage_page, "a WSGI application, or None")
        header = check_transport(transport, transport_header)
        config.check_callable_or_none("on_event", on_event, "a function of an event's name and its data, or None")
        secrets = config.check_secrets(secret)
        sealing = make_sealing(encrypt, secrets)
        check_cookie_options(
            cookie_name, cookie_path, cookie_domain, cookie_secure, cookie_samesite, cookie_partitioned
        )
        config.check_max_sessions(max_sessions, lists_owners=True)
        device_prefix = config.check_device_bound(experimental_device_bound, cookie_domain, cookie_partitioned)
        store_backend = choose_store_backend(adopt, namespace, header, bound=device_prefix is not None)
        settings = Settings(
            samesite=cookie_samesite,
            environ_key=config.check_environ_key(environ_key),
            cookie_name=cookie_name,
            namespace=cookie_name,
            cookie_path=as_in_environ(cookie_path),
            persistent=config.check_flag("cookie_persistent", cookie_persistent),
            lifetime=Lifetime(
                idle=config.seconds("idle_timeout", idle_timeout),
                absolute=None if absolute_timeout is None else config.seconds("absolute_timeout", absolute_timeout),
                touch_interval=config.check_touch_interval(touch_interval, idle_timeout),
                anonymous=config.check_anonymous_timeout(anonymous_timeout, idle_timeout),
            ),
            max_size=config.check_max_size(max_size),
            anonymous_in_outage=config.check_on_store_error(on_store_error),
            validate=None if validate is None else make_validator(validate, self._session_type),
            validate_every=config.check_validate_every(validate_every, validate),
            outage_page=outage_page,
            events=Events(on_event),
            clock=config.check_clock(clock),
            describe=describe,
            max_sessions=max_sessions,
            vary="Cookie" if header is None else header.vary,
            join=join_of(sealing),
        )
        self.app = app
        # Answers at paths of the middleware's own, and passes other requests on to the application.
        self._entrance: Application | None = None
        # Copied from the class, where each request would take longer to find them.
        self._work_type, self._session_type = self._work_type, self._session_type
        self._owns_store = isinstance(store, str)
        self.store = open_store(store) if isinstance(store, str) else store
        config.check_max_sessions(max_sessions, lists_owners=isinstance(self.store, ListsOwners))
        attributes: Any = {"path": cookie_path, "domain": cookie_domain, "partitioned": cookie_partitioned}
        cookies = make_cookies(cookie_name, cookie_secure, settings.events, samesite=cookie_samesite, **attributes)
        transaction_cookies = TransactionCookies(cookie_name, secure=cookie_secure, **attributes)
        used = sealed(timed(self.store, settings.events, report_store_calls), sealing)

        def backend_of(namespace: str) -> Backend:
            own = replace(settings, namespace=namespace)
            return make_backend(used, secrets, cookies, transaction_cookies, own, store_backend, header, device_prefix)

        # With tenants, this backend belongs to none of them. It has what all of them share.
        self._backend = backend_of(cookie_name)
        self._settings = self._backend.settings
        tenants = None if namespace is None else Tenants(namespace, cookie_name, backend_of)
        new_work = partial(make_work, self._work_type, self._backend, tenants, header, takes_environ(validate))
        self._internals = Internals(self._backend, new_work, self._session_type)
        # None if all requests are alike, which saves the call.
        alike = tenants is None and header is None and not takes_environ(validate)
        self._new_work = None if alike else new_work
        if device_prefix is not None:
            from wsgi_session.helpers.device_bound import DeviceEndpoints

            self._entrance = DeviceEndpoints(self._call_app, device_prefix, settings.environ_key)
        self._environ_key = settings.environ_key
        self._one_process = not self.store.multiprocess
        # Whether a first request has shown that no middleware around this one has the same cookie name.
        self._cookie_name_checked = False
        self.sessions = Sessions(used, self._settings, self._backend)  #: The administrator's view.
        if tenants is not None:
            self.sessions = TenantSessions(used, self._settings, self._backend, tenants)

    @classmethod
    def from_config(cls, app: Application, mapping: Mapping[str, Any], prefix: str = "session.") -> SessionMiddleware:
        """Return a middleware from a mapping of text, such as a section of an ini file.

        The keys are ``prefix`` and the name of an option. Times are ``900`` (seconds), ``15m`` or ``30d``; flags are
        ``true`` or ``false``; several secrets are separated by spaces. Keys without the prefix are ignored. An unknown
        option raises ``ConfigError``.
        """
        mapping = hide_secret(mapping, prefix)
        return cls(app, **parse_options(mapping, prefix))

    @classmethod
    def from_environ(cls, app: Application, prefix: str = "WSGI_SESSION_") -> SessionMiddleware:
        """Return a middleware from environment variables: ``WSGI_SESSION_SECRET``, ``WSGI_SESSION_STORE`` …

        The values are written as for :meth:`from_config`, and an unknown option raises ``ConfigError``.
        """
        start = len(prefix)
        given = {prefix + name[start:].lower(): name for name in os.environ if name.startswith(prefix)}
        mapping = hide_secret({option: os.environ[name] for option, name in given.items()}, prefix)
        return cls(app, **parse_options(mapping, prefix, spell=str.upper))

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if self._one_process and environ.get("wsgi.multiprocess"):
            raise ConfigError(
                f"{type(self.store).__name__} works in one process only, but this server runs several, and each would "
                'have its own sessions. Use store="sqlite:///sessions.db".'
            )
        if not self._cookie_name_checked:
            check_cookie_name(environ, self._settings)
            self._cookie_name_checked = True
        # These attributes are not methods: `self.name()` would search the class first, a local name is faster.
        new_work, work_type, session_type = self._new_work, self._work_type, self._session_type
        work = work_type(self._backend, environ) if new_work is None else new_work(environ)
        outer = environ.get(self._environ_key)
        if outer is not None:
            check_outer_session(outer, self._settings)
        environ[self._environ_key] = session_type(work)
        exchange = Exchange(work, environ, start_response)
        if outer is None:
            return exchange.run(self._entrance or self.app)
        try:
            return exchange.run(self._entrance or self.app)
        finally:
            if isinstance(outer, Session) and work_of(outer).phase is not CLOSED:
                # This was a sub-request in the environ of an unfinished request: restore that request's session.
                environ[self._environ_key] = outer

    def _call_app(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        # The attribute is looked up in each request, because integrations and tests replace it.
        return self.app(environ, start_response)

    def close(self) -> None:
        """Close the store if this middleware opened it from a URL. If you passed a Store, close it yourself."""
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> SessionMiddleware:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "sessions"):  # An error reporter may show an object whose constructor has failed.
            return "SessionMiddleware(half made)"
        return f"<SessionMiddleware {self._settings.cookie_name!r} over {type(self.store).__name__}>"


class Internals(NamedTuple):
    """The parts of a middleware that the integrations and ``testing`` use."""

    backend: Backend
    #: Make the unit of work of a request, given the environ, and perhaps another class for it.
    new_work: Callable[..., Work]
    session_type: type[Session]


def internals_of(middleware: SessionMiddleware) -> Internals:
    """Return the internals of a middleware, for the integrations and ``testing``."""
    return middleware._internals  # noqa: SLF001  (the one place outside of the class)


def filter_app_factory(app: Application, global_conf: Mapping[str, str], **local_conf: str) -> SessionMiddleware:
    """Make a middleware for PasteDeploy's ``[filter:session]`` with ``use = egg:wsgi-session``."""
    options = hide_secret(local_conf, prefix="")
    del local_conf
    return SessionMiddleware.from_config(app, options, prefix="")
