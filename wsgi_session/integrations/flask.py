"""Flask: ``FlaskSessions(app, store=...)``, and ``flask.session`` is our session.

::

    app = Flask(__name__)
    app.config["SECRET_KEY"] = SECRET
    FlaskSessions(app, store="sqlite:///sessions.db")

The middleware goes around ``app.wsgi_app`` and saves when the answer is ready, so all that it promises holds: what
``after_request`` and ``teardown_request`` functions change is saved too, ``session.modified = True`` is never needed,
and an outage inside a view is a 503. The helpers take ``flask.request``; what ``redirect_if_anonymous`` gives can be
returned from a view, or from ``before_request``.

What is another than with Flask's own sessions: ``session.clear()`` ends the session, a request that fails (5xx) changes
nothing, and ``Markup`` can be flashed, but not be kept under a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, current_app
from flask.sessions import SessionInterface, SessionMixin
from flask.wrappers import Request, Response
from markupsafe import Markup
from werkzeug.datastructures import Headers

from wsgi_session.backend import Backend
from wsgi_session.config import hide_secret
from wsgi_session.draft import Draft
from wsgi_session.errors import ConfigError
from wsgi_session.exchange import Exchange, StartResponse
from wsgi_session.flash import find_messages, put_message
from wsgi_session.integrations.flask_logins import current_user, follow_flask_login, stored_user
from wsgi_session.integrations.flask_settings import options_for
from wsgi_session.middleware import SessionMiddleware
from wsgi_session.session import OPEN, Session

#: Under which ``app.extensions`` has the middleware.
EXTENSION = "wsgi_session"

# Where Flask's flash() and get_flashed_messages() look.
_FLASHES = "_flashes"
# What markup among the messages is kept under, and what a dict.
_MARKUP, _DICT = " m", " d"


class FlaskSession(Session, SessionMixin):
    """``flask.session``: a :class:`~wsgi_session.Session` with what Flask and its extensions ask for."""

    # What `permanent` was set to before anybody looked.
    _remember: bool | None = None
    # Saves a session that no middleware is around.
    _save_into: Callable[[Response], None] | None = None
    #: Whether Flask-Login is being asked for its user.
    asks_flask_login = False

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser. On the server either sort ends when the idle timeout is over.

        Changing it in a session that is stored changes the token, as ``rotate`` does. Setting it is not a look: where
        ``before_request`` does so, a request that needs no session still costs no store call.
        """
        return (self._draft or self._look()).persistent

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self._remember = bool(value)
        draft = self._draft
        if draft is None:
            return
        if draft.persistent != self._remember:
            self._writing(cookie=True)
        draft.persist(self._remember)

    @property
    def new(self) -> bool:  # type: ignore[override]  # an attribute in SessionMixin, though nobody's to set
        """True while nothing is stored: ``is_new``."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether this request has changed something so far, inside nested values too. Need not be set."""
        draft = self._draft
        if draft is None:
            return False
        return draft.values.collect() or draft.next_bearer is not None or draft.state == "destroyed"

    @modified.setter
    def modified(self, value: bool) -> None:
        """Do nothing: what changed is seen, and what did not change is not written."""

    @property
    def accessed(self) -> bool:
        """Whether anybody has looked: then the answer says ``Vary: Cookie``."""
        return self._looked

    @accessed.setter
    def accessed(self, value: bool) -> None:
        """Do nothing: Flask sets this where ``flask.session`` is only named, too."""

    def clear(self) -> None:
        """End the session; what is written afterwards starts a fresh one, with another token: ``destroy``.

        In Flask this is how people log in and out (its tutorial does), and nobody else may know the token then.
        """
        self.destroy()

    def __getitem__(self, key: str) -> Any:
        if key != _FLASHES:
            return super().__getitem__(key)
        if messages := [message for _, message in self._messages()]:
            return messages
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        return Mapping.get(self, key, default)  # By way of __getitem__.

    def __contains__(self, key: object) -> bool:
        return bool(self._messages()) if key == _FLASHES else super().__contains__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key == _FLASHES:
            self._set_messages(list(value))
        else:
            super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        if key != _FLASHES:
            super().__delitem__(key)
        elif key in self:
            self._set_messages([])
        else:
            raise KeyError(key)

    def update(self, other: Any = (), /, **more: Any) -> None:
        items = dict(other, **more)
        if _FLASHES in items:
            self[_FLASHES] = items.pop(_FLASHES)
        super().update(items)

    def _messages(self) -> list[tuple[bytes, tuple[str, Any]]]:
        """Return record key, and category and message, of all that is flashed.

        Flask keeps one list of them in the session, where overlapping requests would lose each other's. Here they are
        what ``flash`` makes: each a record key of its own, outside the mapping.
        """
        found = find_messages(self._draft or self._look(), None)
        return [(key, (category, _unkept(message))) for key, category, message in found]

    def _set_messages(self, messages: list[tuple[str, Any]]) -> None:
        """Make ``messages`` what is flashed: mostly what was, and one more."""
        values = self._writing().values
        there = self._messages()
        known = [message for _, message in there]
        if messages[: len(known)] != known:
            for key, _ in there:
                values.delete(key)
            known = []
        now = self._backend.settings.clock()
        for category, message in messages[len(known) :]:
            put_message(values, _kept(message), category, now)

    def _user(self) -> Mapping[str, Any] | None:
        return super()._user() or stored_user(self)

    def _current_user(self) -> Mapping[str, Any] | None:
        return super()._user() or current_user(self)

    def _look(self) -> Draft:
        draft = super()._look()
        if self._remember is not None and self._phase == OPEN:
            draft.persist(self._remember)
        return draft


def _kept(message: Any) -> Any:
    """Return what a session keeps of a flashed message. Markup, and what can turn into it, stays markup."""
    if hasattr(message, "__html__"):
        return {_MARKUP: str(message.__html__())}
    # Whatever is in a dict, and a client may have a hand in that, it cannot be taken for markup.
    return {_DICT: message} if type(message) is dict else message


def _unkept(kept: Any) -> Any:
    if type(kept) is not dict:
        return kept
    return Markup(kept[_MARKUP]) if _MARKUP in kept else kept[_DICT]  # noqa: S704  (it was)


class FlaskExchange(Exchange):
    """A request of Flask's."""

    session: FlaskSession

    def __init__(self, backend: Backend, environ: dict[str, Any], start_response: StartResponse) -> None:
        super().__init__(backend, environ, start_response)
        self.session = FlaskSession(backend, environ)


class FlaskMiddleware(SessionMiddleware):
    """A :class:`~wsgi_session.SessionMiddleware` whose sessions are Flask's too."""

    _exchange = FlaskExchange


class FlaskSessionInterface(SessionInterface):
    """Gives Flask the session that the middleware has put into the environ."""

    def __init__(self, middleware: FlaskMiddleware) -> None:
        self._middleware = middleware

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """Return the request's session, which nobody has looked at so far.

        Where no middleware is around (``test_request_context``, and ``session_transaction`` of the test client), it is
        one of its own, for the helpers too.
        """
        environ = request.environ
        key = self._middleware._environ_key
        present = environ.get(key)
        if isinstance(present, FlaskSession):
            return present
        session: FlaskSession
        session = environ[key] = _standing_alone(self._middleware, environ)
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save a session that no middleware is around. Else that does it, when the answer is ready."""
        if isinstance(session, FlaskSession) and session._save_into is not None:
            session._save_into(response)


def _standing_alone(middleware: FlaskMiddleware, environ: dict[str, Any]) -> FlaskSession:
    """Return a session that is saved, and its cookie put into a response, by ``session._save_into``."""
    answer: list[tuple[str, str]] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> Callable[[bytes], object]:
        answer.extend(headers)
        return lambda data: None

    exchange = FlaskExchange(middleware._backend, environ, start_response)

    def save_into(response: Response) -> None:
        exchange._start_response(response.status, response.headers.to_wsgi_list())
        exchange._commit()
        exchange.finish()
        response.headers = Headers(answer)

    exchange.session._save_into = save_into
    return exchange.session


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
