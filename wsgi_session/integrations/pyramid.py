"""Pyramid: include this module, and ``request.session`` is a session of this package.

::

    config = Configurator(settings={"wsgi_session.secret": SECRET, "wsgi_session.store": "sqlite:///sessions.db"})
    config.include("wsgi_session.integrations.pyramid")

The settings are the options of SessionMiddleware with ``wsgi_session.`` in front, as text (see
``SessionMiddleware.from_config``) or as objects; ``namespace``, ``validate``, ``adopt``, ``on_event``, ``clock``,
``outage_page`` and ``describe`` may be dotted names. The middleware is ``request.registry["wsgi_session"]``; its
``sessions`` is the administrator's view.

If Pyramid's ``remember`` and ``forget`` use the session, they are a login and a logout: see
:mod:`wsgi_session.integrations.pyramid_logins`.

The middleware is around all of Pyramid, including tweens, response callbacks and exception views. An include can do
this only with an execution policy, so this one wraps the configured policy. All promises of the middleware hold, for
streaming responses too, and the helpers take a Pyramid request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pyramid.config import PHASE3_CONFIG
from pyramid.events import NewRequest
from pyramid.interfaces import ICSRFStoragePolicy, IExecutionPolicy
from pyramid.router import default_execution_policy
from zope.interface import implementer

from wsgi_session.config.secrets import hide
from wsgi_session.exchange import StartResponse
from wsgi_session.helpers.csrf import note_csrf, why_csrf_refused
from wsgi_session.helpers.origin import is_same_origin
from wsgi_session.helpers.redirects import LoginRedirect
from wsgi_session.integrations.pyramid_logins import USERID_KEY, make_middleware_type
from wsgi_session.integrations.pyramid_session import PyramidSession
from wsgi_session.integrations.standalone import StandAlone
from wsgi_session.middleware import SessionMiddleware, internals_of
from wsgi_session.session import Session, work_of

try:
    from pyramid_retry import IBeforeRetry
except ImportError:
    IBeforeRetry = None

PREFIX = "wsgi_session."
#: The key of the middleware in the registry.
REGISTRY_KEY = "wsgi_session"
_ROUTER = "wsgi_session.router"
# Options that are Python objects; in an ini file, give their dotted names.
_OBJECTS = ("namespace", "validate", "adopt", "on_event", "clock", "outage_page", "describe")


def includeme(config: Any) -> None:
    """Put the middleware around the application, and make ``request.session`` its session."""
    pyramid = _PyramidApp()
    settings = _settings(config)
    middleware_type = make_middleware_type(settings.pop(PREFIX + "userid_key", USERID_KEY))
    middleware = middleware_type.from_config(pyramid, settings, PREFIX)
    registry = config.registry
    registry[REGISTRY_KEY] = middleware

    def wrap_policy() -> None:
        pyramid.policy = registry.queryUtility(IExecutionPolicy, default=default_execution_policy)

        def policy(environ: dict[str, Any], router: Any) -> SessionMiddleware:
            environ[_ROUTER] = router
            return middleware

        registry.registerUtility(policy, IExecutionPolicy)

    # Runs after all other actions, so that it finds the configured policy (pyramid_retry's, for example).
    config.action((__name__, "execution policy"), wrap_policy, order=PHASE3_CONFIG + 1)
    config.set_session_factory(lambda request: PyramidSession(_session_of(request, middleware)))
    config.set_csrf_storage_policy(CSRFStoragePolicy(middleware))
    # The response of redirect_if_anonymous can also be raised, where it cannot be returned.
    config.add_exception_view(lambda redirect, request: redirect, context=LoginRedirect)
    # The helpers read the session from the environ, in a subrequest too.
    config.add_subscriber(lambda event: _session_of(event.request, middleware), NewRequest)
    if IBeforeRetry is not None:
        config.add_subscriber(lambda event: _reset_session(event.environ, middleware), IBeforeRetry)


def _settings(config: Any) -> dict[str, Any]:
    """Return the deployment's settings, with dotted names in our options replaced by the objects."""
    settings = dict(config.get_settings())
    for name in (PREFIX + option for option in _OBJECTS):
        if name in settings:
            settings[name] = config.maybe_dotted(settings[name])
    return settings


class _PyramidApp:
    """All of Pyramid as one WSGI application, for the middleware to wrap."""

    policy: Callable[[dict[str, Any], Any], Any]

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        response = self.policy(environ, environ.pop(_ROUTER))
        body: Iterable[bytes] = response(environ, start_response)
        return body


def _session_of(request: Any, middleware: SessionMiddleware) -> Session:
    """Return the session in the request's environ; for a request outside of the middleware, make one.

    Such a request is a subrequest made with ``Request.blank``. Pyramid treats it like a client's request: its session
    is that of its own Cookie header, and is saved when its response is ready, which gets the cookie. A subrequest made
    with ``request.copy()`` shares the session of the original request.
    """
    key = _environ_key(middleware)
    existing = request.environ.get(key)
    if isinstance(existing, Session):
        return existing
    alone = StandAlone(middleware, request.environ)
    request.environ[key] = alone.session

    def save(request: Any, response: Any) -> None:
        def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            start_response(response.status, response.headerlist)
            body: Iterable[bytes] = response.app_iter
            return body

        # In an outage, this is the 503. Set the headers last: assigning app_iter makes WebOb drop Content-Length.
        response.status, headers, response.app_iter = alone.run(application)
        response.headerlist = headers

    request.add_response_callback(save)
    # Remove the session at the end, because pyramid_retry's next attempt may use the same environ.
    request.add_finished_callback(lambda request: request.environ.pop(key, None))
    return alone.session


def _reset_session(environ: dict[str, Any], middleware: SessionMiddleware) -> None:
    """Discard the session's changes of a failed attempt, as pyramid_retry discards the attempt's request."""
    session = environ.get(_environ_key(middleware))
    if isinstance(session, Session):
        work_of(session).reset(environ)


def _environ_key(middleware: SessionMiddleware) -> str:
    return internals_of(middleware).backend.settings.environ_key


@implementer(ICSRFStoragePolicy)
class CSRFStoragePolicy:
    """Lets Pyramid use the same CSRF tokens as ``check_csrf``, so that each accepts the other's tokens."""

    def __init__(self, middleware: SessionMiddleware) -> None:
        self._middleware = middleware

    def get_csrf_token(self, request: Any) -> str:
        return str(request.session.get_csrf_token())

    def new_csrf_token(self, request: Any) -> str:
        return str(request.session.new_csrf_token())

    def check_csrf_token(self, request: Any, supplied_token: object) -> bool:
        """Return whether a page of this site has sent the request, or the token belongs to this session.

        The browser says the former in ``Sec-Fetch-Site`` or ``Origin``, as for ``check_csrf``. Another site's request
        needs the token here, because Pyramid's own check of the origin has its own list of trusted ones. A token that
        is not text (a file) is wrong. A visitor without a session has no token, and this check does not create one.
        """
        if is_same_origin(request.environ, frozenset()):
            return True
        work = work_of(_session_of(request, self._middleware))
        if not work.backend.browser_sends:
            return True
        given = hide(supplied_token) if isinstance(supplied_token, str) else None
        # In an outage, loading the session raises, and error reporters show the local variables.
        del supplied_token
        return note_csrf(work, why_csrf_refused(work, given))
