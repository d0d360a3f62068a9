"""Flask-Login: its login gives the session an owner and a new token, its logout ends the session.

Flask-Login stores the user's id in the session, and sends signals. The functions that are connected to them here do not
change its behaviour: other data of the session (a cart, a flashed message) is in a new session after a logout.

A copy of Flask-Login inside of an application sends no such signals. There, storing another ``_user_id`` is the login,
and deleting it the logout, as soon as the session is saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, current_app, has_request_context
from flask import request as current_request
from flask import session as current_session

from wsgi_session.cookies.tokens import owner_key
from wsgi_session.errors import HeadersAlreadySent
from wsgi_session.integrations.logins import end_login, log_in_as, owner_with_id, user_with_id
from wsgi_session.request.confirmation import confirmations, note_confirmation, note_unconfirmed
from wsgi_session.request.work import Work
from wsgi_session.session import Session, work_of

# The key under which Flask-Login stores the user's id.
_USER_ID = "_user_id"
# Its other keys: whether the user has just given a password, an id of the browser, and two for the remember cookie.
_OF_LOGIN = ("_fresh", "_id", "_remember", "_remember_seconds")

# The name of a confirmation by Flask-Login's confirm_login().
_CONFIRM_METHOD = "confirm_login"


def follow_flask_login(app: Flask) -> None:
    """Connect to Flask-Login's signals, if it is installed."""
    try:
        from flask_login import signals
    except ImportError:
        return
    signals.user_logged_in.connect(_log_in, app)
    signals.user_loaded_from_cookie.connect(_log_in_from_cookie, app)
    signals.user_login_confirmed.connect(_confirm, app)
    signals.user_logged_out.connect(_log_out, app)
    signals.session_protected.connect(_log_out_protected, app)


def stored_user(work: Work) -> Mapping[str, Any] | None:
    """Return the user whom Flask-Login has stored in the session: a mapping with the ``id``, or ``None``."""
    return user_with_id(work, work.peek(_USER_ID))


def current_user(work: Work) -> Mapping[str, Any] | None:
    """Return Flask-Login's ``current_user`` as a mapping: ``id``, and ``name`` and ``email`` if they are text.

    A user whom the ``user_loader`` does not find is not logged in; a user in the remember cookie is. Outside of the
    request there is no ``current_user``, so this is :func:`stored_user`.
    """
    session = _session() if has_request_context() else None
    if session is None or work_of(session) is not work:
        return stored_user(work)
    manager = getattr(current_app, "login_manager", None)
    if manager is None:
        return stored_user(work)
    from flask_login import current_user as proxy

    user = proxy._get_current_object()
    if not user.is_authenticated:
        return None
    attributes = {name: getattr(user, name, None) for name in ("name", "email")}
    texts = {name: value for name, value in attributes.items() if isinstance(value, str)}
    return {"id": getattr(user, manager.id_attribute)(), **texts}


def sends_remember_cookie() -> bool:
    """Return whether the current request has Flask-Login's remember cookie."""
    if not has_request_context() or not hasattr(current_app, "login_manager"):
        return False
    return current_app.config.get("REMEMBER_COOKIE_NAME", "remember_token") in current_request.cookies


def follow_stored_user(work: Work) -> None:
    """Before a save, treat a user id that was stored without a signal as a login, and one that was removed as a logout.

    Otherwise the token from before the login would open the user's session.
    """
    data, login = work.data or work.load(), work.login
    if _USER_ID not in data.changed or work.ended:
        return
    user_id, owner = work.peek(_USER_ID), None if work.record is None else work.record.owner
    if login is not None:
        # After login(), its user is the session's. After Flask-Login's login, the id may have been changed once more.
        if _USER_ID not in work.login_keys:
            return
        owner = owner_key(work.backend.settings.namespace, login.owner)
    if user_id is None:
        if owner is not None and not work.late and (login is not None or _USER_ID in data.stored):
            end_login(work)
    elif owner != owner_key(work.backend.settings.namespace, owner_with_id(user_id)):
        if work.late:
            # After the headers, no cookie can be set, and without a new one the user must not be logged in.
            data.put_packed(_USER_ID, None)
            return
        log_in_as(work, user_id, _USER_ID, *_OF_LOGIN)
        if not work.peek("_fresh"):
            note_unconfirmed(work)


def _session() -> Session | None:
    """Return the current session if it is a ``Session``: Flask-SocketIO may have replaced it by a copy."""
    session = current_session._get_current_object()  # type: ignore[attr-defined]
    return session if isinstance(session, Session) else None


def _log_in(app: Flask, **kwargs: Any) -> None:
    if (session := _session()) is None:
        return
    try:
        work_of(session).writable(needs_cookie=True)
    except HeadersAlreadySent:
        # Flask-Login has stored the id, but without a new cookie the user must not be logged in.
        del session[_USER_ID]
        raise
    log_in_as(work_of(session), session[_USER_ID], _USER_ID, *_OF_LOGIN)
    if not session.get("_fresh"):
        # login_user(user, fresh=False), or a visitor with the remember cookie, who may not know the password.
        note_unconfirmed(work_of(session))


def _log_in_from_cookie(app: Flask, **kwargs: Any) -> None:
    session = _session()
    # If the session has ended, no login is made: a parallel request may just have changed the token, and a new session
    # would replace that cookie in the browser, and with it the session's data.
    if session is not None and not _has_ended(work_of(session)):
        _log_in(app)


def _has_ended(work: Work) -> bool:
    work.writable()
    return work.ended


def _confirm(app: Flask, **kwargs: Any) -> None:
    if (session := _session()) is None:
        return
    work = work_of(session)
    work.writable(needs_cookie=True)
    if work.has_owner:
        note_confirmation(work, _CONFIRM_METHOD)
    session.rotate()


def _log_out(app: Flask, **kwargs: Any) -> None:
    if (session := _session()) is not None:
        end_login(work_of(session))


def _log_out_protected(app: Flask, **kwargs: Any) -> None:
    session = _session()
    if session is None:
        return
    work = work_of(session)
    changed = (work.data or work.load()).changed
    if _USER_ID not in session:
        # Flask-Login's mode "strong" has deleted the user's id, unless there was none: ``login()`` stores none.
        if _USER_ID in changed and work.has_owner:
            end_login(work)
    elif "_id" in session and "_fresh" in changed and confirmations(work):
        # Its mode "basic" has marked the login as not fresh, because the request comes from another browser. It sends
        # the signal with each further request too: a confirmation that followed counts.
        note_unconfirmed(work)
