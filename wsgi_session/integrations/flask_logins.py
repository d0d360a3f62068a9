"""Flask-Login over our sessions: a login has an owner and a new token, a logout ends the session everywhere.

Flask-Login keeps the user's id in the session, and sends signals. The functions that are connected to them here change
nothing of its own behaviour: what else was in the session (a cart, a flashed message) is in a fresh one after a logout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, has_request_context
from flask import session as current_session

from wsgi_session.errors import HeadersAlreadySent
from wsgi_session.integrations.logins import end_login, log_in_as, user_with_id
from wsgi_session.request.work import Work
from wsgi_session.session import Session, work_of

if TYPE_CHECKING:
    from wsgi_session.integrations.flask_work import FlaskWork

# Where Flask-Login keeps the user's id.
_USER_ID = "_user_id"
# Whether the user has just given a password, of which browser, and what the remember cookie is to be.
_OF_LOGIN = ("_fresh", "_id", "_remember", "_remember_seconds")


def follow_flask_login(app: Flask) -> None:
    """Connect to what Flask-Login tells, if it is installed."""
    try:
        import flask_login.signals as told
    except ImportError:
        return
    told.user_logged_in.connect(_log_in, app)
    told.user_loaded_from_cookie.connect(_remember, app)
    told.user_login_confirmed.connect(_confirm, app)
    told.user_logged_out.connect(_log_out, app)
    told.session_protected.connect(_protect, app)


def stored_user(work: Work) -> Mapping[str, Any] | None:
    """Return the user whom Flask-Login has put into the session: a mapping with the ``id``."""
    return user_with_id(work, work.peek(_USER_ID))


def current_user(work: FlaskWork) -> Mapping[str, Any] | None:
    """Return Flask-Login's ``current_user`` as a mapping: ``id``, and ``name`` and ``email`` where they are text.

    A user whom the ``user_loader`` does not find is not logged in, and a user named by the remember cookie is. Outside
    of the request there is no ``current_user``: then it is :func:`stored_user`.
    """
    session = _session() if has_request_context() else None
    if session is None or work_of(session) is not work:
        return stored_user(work)
    manager = getattr(current_app, "login_manager", None)
    if manager is None or work.asks_flask_login:
        # The application's own user_loader asks: Flask-Login would call it again for the answer.
        return stored_user(work)
    from flask_login import current_user as proxy

    work.asks_flask_login = True
    try:
        user = proxy._get_current_object()
    finally:
        work.asks_flask_login = False
    if not user.is_authenticated:
        return None
    told = {name: getattr(user, name, None) for name in ("name", "email")}
    known = {name: value for name, value in told.items() if isinstance(value, str)}
    return {"id": getattr(user, manager.id_attribute)(), **known}


def _session() -> Session | None:
    """Return the current session if it is ours: Flask-SocketIO may have put a copy in its place."""
    session = current_session._get_current_object()  # type: ignore[attr-defined]
    return session if isinstance(session, Session) else None


def _log_in(app: Flask, **told: Any) -> None:
    if (session := _session()) is None:
        return
    try:
        work_of(session).writable(needs_cookie=True)
    except HeadersAlreadySent:
        # Flask-Login has put the id there, and without a new cookie it is no login.
        del session[_USER_ID]
        raise
    log_in_as(work_of(session), session[_USER_ID], _USER_ID, *_OF_LOGIN)


def _remember(app: Flask, **told: Any) -> None:
    session = _session()
    # Where what is written is dropped, so is this: a parallel request has just changed the token, say, and the browser
    # has that cookie, and with it what is in the session.
    if session is not None and not _drops_what_is_written(work_of(session)):
        _log_in(app)


def _drops_what_is_written(work: Work) -> bool:
    work.writable()
    return work.ended


def _confirm(app: Flask, **told: Any) -> None:
    if (session := _session()) is not None:
        session.rotate()


def _log_out(app: Flask, **told: Any) -> None:
    if (session := _session()) is not None:
        end_login(work_of(session))


def _protect(app: Flask, **told: Any) -> None:
    session = _session()
    # "basic" only says that the login is not fresh; "strong" has taken it out of the session.
    if session is not None and _USER_ID not in session:
        work = work_of(session)
        work.writable()
        if work.has_owner:
            end_login(work)
