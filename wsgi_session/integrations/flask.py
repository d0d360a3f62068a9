"""Flask: ``FlaskSessions(app, store=...)``, and ``flask.session`` is our session.

::

    app = Flask(__name__)
    app.config["SECRET_KEY"] = SECRET
    FlaskSessions(app, store="sqlite:///sessions.db")

The middleware goes around ``app.wsgi_app`` and saves when the answer is ready, so all that it promises holds: what
``after_request`` and ``teardown_request`` functions change is saved too, ``session.modified = True`` is never needed,
and an outage inside a view is a 503. The helpers take ``flask.request``; what ``redirect_if_anonymous`` gives can be
returned from a view, or from ``before_request``.

How this differs from Flask's own sessions: ``session.clear()`` ends the session, a request that fails (5xx) changes
nothing, and ``Markup`` can be flashed, but not be kept under a key.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app
from flask.sessions import SessionInterface, SessionMixin
from flask.wrappers import Request, Response
from werkzeug.datastructures import Headers

from wsgi_session.config.options import hide_secret
from wsgi_session.errors import ConfigError
from wsgi_session.integrations.flask_events import EventSession, is_event
from wsgi_session.integrations.flask_logins import follow_flask_login
from wsgi_session.integrations.flask_session import FlaskSession
from wsgi_session.integrations.flask_settings import options_for
from wsgi_session.integrations.flask_work import EventWork, FlaskWork
from wsgi_session.integrations.standalone import StandAlone
from wsgi_session.middleware import SessionMiddleware, internals_of
from wsgi_session.request.commit import save
from wsgi_session.request.states import CLOSED
from wsgi_session.session import work_of

#: Under which ``app.extensions`` has the middleware.
EXTENSION = "wsgi_session"


class FlaskMiddleware(SessionMiddleware):
    """A :class:`~wsgi_session.SessionMiddleware` whose sessions are Flask's too."""

    _work_type = FlaskWork
    _session_type = FlaskSession


class FlaskSessionInterface(SessionInterface):
    """Gives Flask the session that the middleware has put into the environ."""

    def __init__(self, middleware: FlaskMiddleware) -> None:
        self._middleware = middleware

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """Return the request's session, which nobody has looked at so far.

        Where no middleware is around (``test_request_context``, and ``session_transaction`` of the test client), it is
        one of its own, for the helpers too; so it is in an event of Flask-SocketIO, and in a request that is over.
        """
        environ, key = request.environ, internals_of(self._middleware).backend.settings.environ_key
        present = environ.get(key)
        event = is_event(app, environ)
        if isinstance(present, FlaskSession):
            if work_of(present).phase is not CLOSED and (isinstance(present, EventSession) or not event):
                return present
            event = event or present.save_into is None
        session: FlaskSession
        if event:
            session = _in_event(self._middleware, environ)
            # In an environ of its own: events of one client may run at once.
            request.environ = {**environ, key: session}
        else:
            session = environ[key] = _standing_alone(self._middleware, environ)
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save a session that no middleware is around. Else that does it, when the answer is ready."""
        if isinstance(session, FlaskSession) and session.save_into is not None:
            session.save_into(response)


def _standing_alone(middleware: FlaskMiddleware, environ: dict[str, Any]) -> FlaskSession:
    """Return a session that ``save_into`` saves, and puts its cookie into the response."""
    request = StandAlone(middleware, environ)

    def save_into(response: Response) -> None:
        response.headers = Headers(request.finish(response.status, response.headers.to_wsgi_list()))

    session = request.session
    assert isinstance(session, FlaskSession)
    session.save_into = save_into
    return session


def _in_event(middleware: FlaskMiddleware, environ: dict[str, Any]) -> EventSession:
    """Return a session for an event, which has no response; ``save_into`` saves it."""
    work = EventWork(internals_of(middleware).backend, environ)
    session = EventSession(work)

    def save_into(response: Response) -> None:
        if work.data is not None:
            save(work, work.data)
        work.phase = CLOSED

    session.save_into = save_into
    return session


class FlaskSessions:
    """The extension: ``FlaskSessions(app, store=URL)``, or ``FlaskSessions(store=URL)`` and ``init_app(app)``.

    Takes every option of :class:`~wsgi_session.SessionMiddleware`, from here or from ``app.config``, where Flask's own
    settings stand for most: see :mod:`wsgi_session.integrations.flask_settings`.

    As in Flask, the cookie ends with the browser unless ``session.permanent = True``, ``login(remember=True)`` or
    ``cookie_persistent=True`` says otherwise. Flask-Login's logins and logouts are ours too: see
    :mod:`wsgi_session.integrations.flask_logins`.
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._options = hide_secret(options, "")
        # From here on no traceback with local variables shows it.
        del options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put the middleware around ``app``; a mistake in the options is a ``ConfigError``."""
        if EXTENSION in app.extensions:
            raise ConfigError("this application has sessions already: call FlaskSessions(app) or init_app(app) once.")
        middleware = FlaskMiddleware(app.wsgi_app, **options_for(app, self._options))
        app.wsgi_app = middleware  # type: ignore[method-assign]  # Flask's documented way
        app.session_interface = FlaskSessionInterface(middleware)
        app.extensions[EXTENSION] = middleware
        follow_flask_login(app)

    @property
    def middleware(self) -> SessionMiddleware:
        """The current application's: ``.sessions`` lists and revokes sessions, ``close()`` closes the store."""
        middleware: SessionMiddleware = current_app.extensions[EXTENSION]
        return middleware
