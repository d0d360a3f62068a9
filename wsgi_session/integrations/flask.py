"""Flask: call ``FlaskSessions(app, store=...)``, and ``flask.session`` is a session of this package.

::

    app = Flask(__name__)
    app.config["SECRET_KEY"] = SECRET
    FlaskSessions(app, store="sqlite:///sessions.db")

The middleware is around ``app.wsgi_app`` and saves when the response is ready, so all its promises hold: changes made
by ``after_request`` and ``teardown_request`` functions are saved too, ``session.modified = True`` is never needed, and
an outage inside a view becomes a 503. The helpers take ``flask.request``; a view, or a ``before_request`` function, can
return the response of ``redirect_if_anonymous``.

How this differs from Flask's own sessions: ``session.clear()`` ends the session, a request that fails (5xx) saves
nothing, and ``Markup`` can be flashed, but not be stored under a key.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app
from flask.sessions import SessionInterface, SessionMixin
from flask.wrappers import Request, Response

from wsgi_session.config.secrets import hide_secret
from wsgi_session.errors import ConfigError
from wsgi_session.integrations.flask_events import EventSession, is_event
from wsgi_session.integrations.flask_logins import follow_flask_login
from wsgi_session.integrations.flask_session import FlaskSession, register_with_flask_session
from wsgi_session.integrations.flask_session_settings import add_cleanup_command, uses_flask_session
from wsgi_session.integrations.flask_settings import options_for
from wsgi_session.integrations.flask_standalone import make_standalone_session
from wsgi_session.integrations.flask_templates import prefer_keys_in_templates
from wsgi_session.integrations.flask_work import EventWork, FlaskWork
from wsgi_session.middleware import SessionMiddleware, internals_of
from wsgi_session.request.commit import save
from wsgi_session.request.states import CLOSED
from wsgi_session.session import work_of

#: The key of the middleware in ``app.extensions``.
EXTENSION = "wsgi_session"


class FlaskMiddleware(SessionMiddleware):
    """A :class:`~wsgi_session.SessionMiddleware` whose sessions also have Flask's interface."""

    _work_type = FlaskWork
    _session_type = FlaskSession

    def __getattr__(self, name: str) -> Any:
        """Return a public attribute of what ``app.wsgi_app`` was before, such as the application's own middleware."""
        # With the private ones, inspect would describe the application in it, and not this object.
        if not name.startswith("_") and hasattr(inner := vars(self).get("app"), name):
            return getattr(inner, name)
        raise AttributeError(f"Neither {type(self).__name__} nor the application in it has an attribute {name!r}.")

    def take_store(self) -> None:
        """Close the store with this middleware, although it was not opened from a URL."""
        self._owns_store = True


class FlaskSessionInterface(SessionInterface):
    """Gives Flask the session that the middleware has put into the environ."""

    def __init__(self, middleware: FlaskMiddleware) -> None:
        self._middleware = middleware
        self._environ_key = internals_of(middleware).backend.settings.environ_key

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """Return the request's session, without loading it.

        In these cases it is a new session object, which the helpers find in the environ too: outside of the middleware
        (in ``test_request_context``, and in ``session_transaction`` of the test client), in an event of Flask-SocketIO,
        and in a request that has ended.
        """
        environ, key = request.environ, self._environ_key
        existing = environ.get(key)
        event = is_event(app, environ)
        if isinstance(existing, FlaskSession):
            if work_of(existing).phase is not CLOSED and (isinstance(existing, EventSession) or not event):
                return existing
            event = event or existing.save_into is None
        session: FlaskSession
        if event:
            session = _make_event_session(self._middleware, environ)
            # In a copy of the environ, because several events of one client may run at once.
            request.environ = {**environ, key: session}
        else:
            session = environ[key] = make_standalone_session(self._middleware, environ)
        return session

    def regenerate(self, session: FlaskSession) -> None:
        """Give the session a new token, as Flask-Session does after a login; data and ``sid`` stay. See ``rotate``."""
        if session:
            session.rotate()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save a session outside of the middleware. Inside, the middleware saves it when the response is ready."""
        if isinstance(session, FlaskSession) and session.save_into is not None:
            session.save_into(response)


def _make_event_session(middleware: FlaskMiddleware, environ: dict[str, Any]) -> EventSession:
    """Return a session for an event, which has no response; ``save_into`` saves it."""
    work = internals_of(middleware).new_work(environ, EventWork)
    session = EventSession(work)

    def save_into(response: Response) -> None:
        if work.data is not None:
            save(work, work.data)
        work.phase = CLOSED

    session.save_into = save_into
    return session


class FlaskSessions:
    """The extension: ``FlaskSessions(app, store=URL)``, or ``FlaskSessions(store=URL)`` and ``init_app(app)``.

    Takes every option of :class:`~wsgi_session.SessionMiddleware`, as an argument or from ``app.config``, where Flask's
    own settings provide most of them: see :mod:`wsgi_session.integrations.flask_settings`.

    An application that used Flask-Session keeps that extension's settings: see
    :mod:`wsgi_session.integrations.flask_session_settings`.

    As in Flask, the cookie ends when the browser closes, except after ``session.permanent = True`` or
    ``login(remember=True)``, or with ``cookie_persistent=True``. A login or logout with Flask-Login is one of this
    package too: see :mod:`wsgi_session.integrations.flask_logins`.
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._options = hide_secret(options, "")
        # Delete the variable, because a traceback may show it, and the secret in it.
        del options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put the middleware around ``app``. Raises ``ConfigError`` for invalid options."""
        if EXTENSION in app.extensions:
            raise ConfigError("This application has sessions already. Call FlaskSessions(app) or init_app(app) once.")
        options, opened = options_for(app, self._options)
        middleware = FlaskMiddleware(app.wsgi_app, **options)
        if opened:
            middleware.take_store()
        app.wsgi_app = middleware  # type: ignore[method-assign]  # Flask's documented way
        app.session_interface = FlaskSessionInterface(middleware)
        app.extensions[EXTENSION] = middleware
        if uses_flask_session(app.config):
            add_cleanup_command(app, middleware.sessions)
        follow_flask_login(app)
        prefer_keys_in_templates(app)
        register_with_flask_session()

    @property
    def middleware(self) -> SessionMiddleware:
        """The current application's middleware: ``.sessions`` lists and ends sessions, ``close()`` closes the store."""
        middleware: SessionMiddleware = current_app.extensions[EXTENSION]
        return middleware
