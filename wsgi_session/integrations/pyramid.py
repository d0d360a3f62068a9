"""Pyramid: ``config.include("wsgi_session.integrations.pyramid")``, and ``request.session`` is our session.

::

    config = Configurator(settings={"wsgi_session.secret": SECRET, "wsgi_session.store": "sqlite:///sessions.db"})
    config.include("wsgi_session.integrations.pyramid")

The settings are SessionMiddleware's options after ``wsgi_session.``, as text (see ``SessionMiddleware.from_config``) or
as objects; ``validate``, ``on_event``, ``clock`` and ``outage_page`` may be dotted names. The middleware itself, for
its administrator's view, is ``request.registry["wsgi_session"]``.

Pyramid's ``remember`` and ``forget`` over the session are logins and logouts: see
:mod:`wsgi_session.integrations.pyramid_logins`.

The middleware stands around all of Pyramid, tweens, response callbacks and exception views included: an execution
policy, around whichever one is configured, is the one place where an include can put it. So all that the middleware
promises holds, for streaming answers too, and the helpers take a Pyramid request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from pyramid.config import PHASE3_CONFIG
from pyramid.events import NewRequest
from pyramid.interfaces import ICSRFStoragePolicy, IExecutionPolicy, ISession
from pyramid.router import default_execution_policy
from zope.interface import implementer

from wsgi_session.config.secrets import hide
from wsgi_session.cookies.tokens import unmasked_csrf_token
from wsgi_session.exchange import StartResponse
from wsgi_session.helpers.csrf import csrf_matches
from wsgi_session.helpers.redirects import LoginRedirect
from wsgi_session.integrations.pyramid_logins import USERID_KEY, middleware_watching
from wsgi_session.middleware import SessionMiddleware, internals_of
from wsgi_session.request.flash import find_messages, put_message
from wsgi_session.request.mapping import WorkMapping
from wsgi_session.session import Session, work_of
from wsgi_session.standalone import StandAlone

try:
    from pyramid_retry import IBeforeRetry
except ImportError:
    IBeforeRetry = None

PREFIX = "wsgi_session."
#: Under which the registry has the middleware.
REGISTRY_KEY = "wsgi_session"
_ROUTER = "wsgi_session.router"
# Options that are Python objects: in an ini file, the dotted names of such.
_OBJECTS = ("validate", "on_event", "clock", "outage_page")


def includeme(config: Any) -> None:
    """Put the middleware around the application, and make ``request.session`` its session."""
    pyramid = _Pyramid()
    settings = _settings(config)
    kind = middleware_watching(settings.pop(PREFIX + "userid_key", USERID_KEY))
    middleware = kind.from_config(pyramid, settings, PREFIX)
    registry = config.registry
    registry[REGISTRY_KEY] = middleware

    def surround() -> None:
        pyramid.policy = registry.queryUtility(IExecutionPolicy, default=default_execution_policy)

        def policy(environ: dict[str, Any], router: Any) -> SessionMiddleware:
            environ[_ROUTER] = router
            return middleware

        registry.registerUtility(policy, IExecutionPolicy)

    # After all others, so that it finds the policy that is configured (pyramid_retry's, for one).
    config.action((__name__, "execution policy"), surround, order=PHASE3_CONFIG + 1)
    config.set_session_factory(lambda request: PyramidSession(_session_of(request, middleware)))
    config.set_csrf_storage_policy(CSRFStoragePolicy(middleware))
    # What redirect_if_anonymous gives can be raised, too, where there is nothing to return it to.
    config.add_exception_view(lambda redirect, request: redirect, context=LoginRedirect)
    # The helpers look into the environ, in a sub-request too.
    config.add_subscriber(lambda event: _session_of(event.request, middleware), NewRequest)
    if IBeforeRetry is not None:
        config.add_subscriber(lambda event: _reset_session(event.environ, middleware), IBeforeRetry)


def _settings(config: Any) -> dict[str, Any]:
    """Return the deployment's settings, with the Python objects that some of ours name."""
    settings = dict(config.get_settings())
    for name in (PREFIX + option for option in _OBJECTS):
        if name in settings:
            settings[name] = config.maybe_dotted(settings[name])
    return settings


class _Pyramid:
    """All of Pyramid as one WSGI application, which the middleware is around."""

    policy: Callable[[dict[str, Any], Any], Any]

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        response = self.policy(environ, environ.pop(_ROUTER))
        answer: Iterable[bytes] = response(environ, start_response)
        return answer


def _session_of(request: Any, middleware: SessionMiddleware) -> Session:
    """Return the session in the request's environ. One that no middleware was around gets its own.

    That is a sub-request made from nothing (``Request.blank``): to Pyramid a request like a client's, with the session
    that its own Cookie header opens. It is saved with its response, which gets the cookie. Made by ``request.copy()``
    it has the environ's session, and changes the one that it came from.
    """
    key = _key(middleware)
    present = request.environ.get(key)
    if isinstance(present, Session):
        return present
    alone = StandAlone(middleware, request.environ)
    request.environ[key] = alone.session

    def save(request: Any, response: Any) -> None:
        def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            start_response(response.status, response.headerlist)
            body: Iterable[bytes] = response.app_iter
            return body

        # In an outage that is the 503. The headers come last: WebOb takes the length out with the body.
        response.status, headers, response.app_iter = alone.run(application)
        response.headerlist = headers

    request.add_response_callback(save)
    # pyramid_retry's next attempt may have the same environ.
    request.add_finished_callback(lambda request: request.environ.pop(key, None))
    return alone.session


def _reset_session(environ: dict[str, Any], middleware: SessionMiddleware) -> None:
    """Forget what the failed attempt at a request made of its session, as pyramid_retry throws its request away."""
    session = environ.get(_key(middleware))
    if isinstance(session, Session):
        work_of(session).reset(environ)


def _key(middleware: SessionMiddleware) -> str:
    return internals_of(middleware).backend.settings.environ_key


@implementer(ISession)
class PyramidSession(WorkMapping):
    """``request.session``: our session with Pyramid's names. What else a :class:`Session` has, this has too."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._work = work_of(session)
        self._began = self._work.backend.settings.clock()

    # Pyramid's own.

    @property
    def created(self) -> int:
        """When the session, or the login, began, in seconds since the epoch; while new, when this request did."""
        created = self._session.created
        return int(self._began if created is None else created.timestamp())

    @property
    def new(self) -> bool:
        """True while nothing is stored."""
        return self._session.is_new

    def invalidate(self) -> None:
        """End the session, now and everywhere. What is written afterwards starts a fresh one, with another token."""
        self._session.destroy()

    def changed(self) -> None:
        """Do nothing: a change inside a nested value is seen without it."""

    def flash(self, msg: Any, queue: str = "", allow_duplicate: bool = True) -> None:
        """Put a message at the end of ``queue``: anything that a session keeps.

        What is a kind of text (a translation string, markup) is kept as plain text.
        """
        message = str(msg) if isinstance(msg, str) else msg
        if allow_duplicate or message not in self.peek_flash(queue):
            put_message(self._work.writable(), message, queue, self._work.backend.settings.clock())

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of ``queue``, oldest first, and forget them."""
        found = find_messages(self._work, queue)
        if found:
            data = self._work.writable()
            for key, _, _ in found:
                data.delete(key)
        return [message for _, _, message in found]

    def peek_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of ``queue``, oldest first, and keep them."""
        return [message for _, _, message in find_messages(self._work, queue)]

    def get_csrf_token(self) -> str:
        """Return the CSRF token: the same text until the session gets a new token (``login``, ``new_csrf_token``)."""
        return unmasked_csrf_token(self._session.csrf_token)

    def new_csrf_token(self) -> str:
        """Return another CSRF token. As it is derived from the session's own token, that one changes too."""
        self._work.writable(needs_cookie=True)
        self._work.renew()
        return self.get_csrf_token()

    # The rest.

    def __setitem__(self, key: str, value: Any) -> None:
        self._session[key] = value

    def __delitem__(self, key: str) -> None:
        del self._session[key]

    def update(self, other: Any = (), /, **more: Any) -> None:
        self._session.update(other, **more)

    def destroy(self) -> None:
        self._session.destroy()

    def __repr__(self) -> str:
        return repr(self._session)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self._session.__reduce_ex__(protocol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


@implementer(ICSRFStoragePolicy)
class CSRFStoragePolicy:
    """The CSRF tokens of Pyramid's forms and checks are those of ``check_csrf``: either takes what the other gave."""

    def __init__(self, middleware: SessionMiddleware) -> None:
        self._middleware = middleware

    def get_csrf_token(self, request: Any) -> str:
        return str(request.session.get_csrf_token())

    def new_csrf_token(self, request: Any) -> str:
        return str(request.session.new_csrf_token())

    def check_csrf_token(self, request: Any, supplied_token: object) -> bool:
        """Whether the token is this session's: anything that is not text (a file part) is not.

        A visitor without a session has no token, and asking stores nothing.
        """
        given = hide(supplied_token) if isinstance(supplied_token, str) else None
        # In an outage the look raises, and error reporters show the local variables.
        del supplied_token
        return csrf_matches(work_of(_session_of(request, self._middleware)), given)
