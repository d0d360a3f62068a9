"""The WSGI part: options in, a session into every environ, the answer out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal, NamedTuple

from wsgi_session.admin import Sessions
from wsgi_session.backends.base import Backend
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.settings import Settings
from wsgi_session.config import options as config
from wsgi_session.config.given import check_app, check_store
from wsgi_session.config.naming import named_options
from wsgi_session.cookies.cookie import SchemeCookies, SessionCookie, as_in_environ, check_cookie_options
from wsgi_session.cookies.tokens import Tokens
from wsgi_session.errors import ConfigError
from wsgi_session.events import Events, OnEvent
from wsgi_session.exchange import Application, Exchange, StartResponse
from wsgi_session.lifetime import Lifetime
from wsgi_session.request.states import CLOSED
from wsgi_session.request.work import Work
from wsgi_session.responses.outage import OutagePage
from wsgi_session.session import Session, work_of
from wsgi_session.stores.contract import Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.urls.opening import open_store


class SessionMiddleware:
    """Wrap any WSGI application: ``environ['session']`` is the visitor's session, loaded when looked at.

    ::

        app = SessionMiddleware(app, secret=SECRET, store="sqlite:///sessions.db")

    Every mistake in the options is a ``ConfigError`` here, not an error at a visitor's request. Times are timedeltas or
    seconds. One middleware serves any number of threads, greenlets and forked processes.
    """

    # An integration whose session is more than a Session has types of its own.
    _work_type: type[Work] = Work
    _session_type: type[Session] = Session

    # Hides the secret, and the password in the store's URL, from tracebacks that show local variables.
    @named_options
    def __init__(
        self,
        app: Application,
        *,
        # Text or bytes of at least 32 bytes, or up to four, newest first: the first signs, all verify.
        secret: str | bytes | Sequence[str | bytes],
        # A URL such as "sqlite:///sessions.db", or a Store. What is opened here, close() closes.
        store: str | Store,
        environ_key: str = "session",
        cookie_name: str = "sid",
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        # "auto" goes by the request's scheme, so that http://localhost just works. Where TLS ends at a proxy: True.
        cookie_secure: bool | Literal["auto"] = "auto",
        cookie_samesite: str = "Lax",
        cookie_partitioned: bool = False,
        # Whether the cookie outlives the browser, unless login(remember=...) says otherwise.
        cookie_persistent: bool = True,
        idle_timeout: timedelta | float = timedelta(days=30),
        # Activity or not, a login ends then. None: never.
        absolute_timeout: timedelta | float | None = timedelta(days=90),
        # Activity is noted at most this often. None: 1/30 of the idle timeout.
        touch_interval: timedelta | float | None = None,
        # Bytes of one session's data, as stored.
        max_size: int = 1_048_576,
        # "anonymous": while the store is out of order, reads see an empty session; "fail": the client gets 503.
        on_store_error: Literal["fail", "anonymous"] = "fail",
        # A WSGI application that answers in an outage where the application itself did not: JSON, HTML, CORS headers.
        outage_page: OutagePage | None = None,
        # Called once for a loaded session with a user in it; False ends it.
        validate: Callable[[Session], bool] | None = None,
        on_event: OnEvent | None = None,
        # Seconds since the epoch. Tests pass a FakeClock.
        clock: Callable[[], float] = config.wall_clock,
    ) -> None:
        check_app(app)
        check_store(store, Store)
        if validate is not None:
            config.check_callable("validate", validate, "a function of the session, or None")
        if outage_page is not None:
            config.check_callable("outage_page", outage_page, "a WSGI application, or None")
        if on_event is not None:
            config.check_callable("on_event", on_event, "a function of an event's name and its data, or None")
        secrets = config.check_secrets(secret)
        check_cookie_options(
            cookie_name, cookie_path, cookie_domain, cookie_secure, cookie_samesite, cookie_partitioned
        )
        settings = Settings(
            environ_key=config.check_environ_key(environ_key),
            namespace=cookie_name,
            cookie_path=as_in_environ(cookie_path),
            persistent=config.check_flag("cookie_persistent", cookie_persistent),
            lifetime=Lifetime(
                idle=config.seconds("idle_timeout", idle_timeout),
                absolute=None if absolute_timeout is None else config.seconds("absolute_timeout", absolute_timeout),
                touch_interval=config.check_touch_interval(touch_interval, idle_timeout),
            ),
            max_size=config.check_max_size(max_size),
            anonymous_in_outage=config.check_on_store_error(on_store_error),
            validate=None if validate is None else self._judged_by(validate),
            outage_page=outage_page,
            events=Events(on_event),
            clock=config.check_clock(clock),
        )
        self.app = app
        # Here they are found faster than on the class: every request reads them.
        self._work_type, self._session_type = self._work_type, self._session_type
        self._opened = isinstance(store, str)
        self.store = open_store(store) if isinstance(store, str) else store
        cookies = _cookies(
            cookie_name, cookie_secure, settings.events,
            path=cookie_path, domain=cookie_domain, samesite=cookie_samesite, partitioned=cookie_partitioned,
        )  # fmt: skip
        self._backend = _backend(self.store, secrets, cookies, settings)
        self._settings = self._backend.settings
        self._internals = Internals(self._backend, self._work_type, self._session_type)
        self._environ_key = settings.environ_key
        self._one_process = not self.store.multiprocess
        # Until a first request has shown that no other middleware around this one has a cookie of the same name.
        self._alone = False
        #: The administrator's view.
        self.sessions = Sessions(self.store, settings)

    @classmethod
    def from_config(cls, app: Application, mapping: Mapping[str, Any], prefix: str = "session.") -> SessionMiddleware:
        """Return a middleware from a mapping of text, such as a section of an ini file.

        The keys are the options' names after ``prefix``; times are ``900``, ``15m`` or ``30d``, flags ``true`` or
        ``false``, several secrets stand apart by spaces. Keys without the prefix are ignored; an unknown option is a
        ``ConfigError``.
        """
        mapping = config.hide_secret(mapping, prefix)
        return cls(app, **config.parse_options(mapping, prefix))

    @classmethod
    def from_environ(cls, app: Application, prefix: str = "WSGI_SESSION_") -> SessionMiddleware:
        """Return a middleware from the process's environment: ``WSGI_SESSION_SECRET``, ``WSGI_SESSION_STORE`` …"""
        start = len(prefix)
        given = {prefix + name[start:].lower(): name for name in os.environ if name.startswith(prefix)}
        mapping = config.hide_secret({option: os.environ[name] for option, name in given.items()}, prefix)
        return cls(app, **config.parse_options(mapping, prefix, spell=str.upper))

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if self._one_process and environ.get("wsgi.multiprocess"):
            raise ConfigError(
                f"{type(self.store).__name__} is for one process, and this server runs several: each would have "
                'sessions of its own. Use store="sqlite:///sessions.db".'
            )
        if not self._alone:
            self._refuse_a_shared_cookie(environ)
        work = self._work_type(self._backend, environ)
        present = environ.get(self._environ_key)
        if present is not None:
            self._check_present(present)
        environ[self._environ_key] = self._session_type(work)
        exchange = Exchange(work, environ, start_response)
        if present is None:
            return exchange.run(self.app)
        try:
            return exchange.run(self.app)
        finally:
            if isinstance(present, Session) and work_of(present).phase is not CLOSED:
                # This was a sub-request in the environ of a request under way, whose looks must count as its own.
                environ[self._environ_key] = present

    def _judged_by(self, validate: Callable[[Session], bool]) -> Callable[[Work], bool]:
        session_type = self._session_type
        return lambda work: validate(session_type(work))

    def _refuse_a_shared_cookie(self, environ: dict[str, Any]) -> None:
        """Refuse to run inside a middleware with the same cookie name: each would overwrite the other's cookie."""
        name = self._settings.namespace
        for key, value in environ.items():
            theirs = work_of(value).backend if isinstance(value, Session) else self._backend
            if theirs is not self._backend and theirs.settings.namespace == name:
                raise ConfigError(
                    f"cookie_name={name!r} is also that of the SessionMiddleware around this one, at environ[{key!r}]: "
                    "they would overwrite each other's cookie. Give one of them another cookie_name."
                )
        self._alone = True

    def _check_present(self, present: object) -> None:
        """Refuse to hide another middleware's session. Our own, from a sub-request, is replaced by a fresh one."""
        if isinstance(present, Session) and work_of(present).backend is not self._backend:
            theirs, ours = work_of(present).backend.settings.namespace, self._settings.namespace
            raise ConfigError(
                f"environ[{self._environ_key!r}] holds the session of another SessionMiddleware (cookie_name="
                f"{theirs!r}), inside which this one (cookie_name={ours!r}) runs: give one of them another environ_key"
                f"{' and another cookie_name' if theirs == ours else ''}."
            )

    def close(self) -> None:
        """Close the store if this middleware opened it (from a URL); a ready Store is its builder's to close."""
        if self._opened:
            self.store.close()

    def __enter__(self) -> SessionMiddleware:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "sessions"):  # Error reporters show what a constructor was in the middle of.
            return "SessionMiddleware(half made)"
        return f"<SessionMiddleware {self._settings.namespace!r} over {type(self.store).__name__}>"


class Internals(NamedTuple):
    """What the integrations and ``testing`` use of a middleware."""

    backend: Backend
    work_type: type[Work]
    session_type: type[Session]


def internals_of(middleware: SessionMiddleware) -> Internals:
    """Return what is behind a middleware: the entrance for the integrations and ``testing``."""
    return middleware._internals  # noqa: SLF001  (the one place outside of the class)


def filter_app_factory(app: Application, global_conf: Mapping[str, str], **local_conf: str) -> SessionMiddleware:
    """PasteDeploy's ``[filter:session]`` with ``use = egg:wsgi-session``; the options stand there without a prefix."""
    options = config.hide_secret(local_conf, prefix="")
    del local_conf
    return SessionMiddleware.from_config(app, options, prefix="")


def _backend(store: Store, secrets: list[bytes], cookies: SchemeCookies, settings: Settings) -> Backend:
    if not isinstance(store, CookieStore):
        return StoreBackend(store, Tokens(secrets, settings.namespace), cookies, settings)
    # Only here: it needs an extra that no other store does.
    from wsgi_session.backends.cookie import CookieBackend

    return CookieBackend(store, secrets, cookies, settings)


def _cookies(name: str, secure: bool | str, events: Events, **attributes: Any) -> SchemeCookies:
    http = SessionCookie(name, secure=secure is True, **attributes)
    https = SessionCookie(name, secure=True, **attributes) if secure == "auto" else http
    return SchemeCookies(http, https, events)
