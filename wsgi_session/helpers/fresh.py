"""Asking the logged-in user for a proof again, before an action that a stolen or unattended session must not allow."""

from __future__ import annotations

from datetime import timedelta

from wsgi_session.config.options import seconds
from wsgi_session.helpers.lookup import environ_of, peek_user, session_missing_error, session_of
from wsgi_session.helpers.redirects import LoginRedirect, check_login_url, send_to
from wsgi_session.request.confirmation import check_method, is_fresh, note_confirmation
from wsgi_session.session import Session, work_of


def confirm(request: object, method: str = "password", key: str = "session") -> bool:
    """Note that the logged-in user has just proved who they are, and give the session a new token.

    Call it after you have checked the password, or a second factor, of the user who is logged in. ``method`` is your
    own name for the way in which they did it. The session, its data and its handle stay; ``session.confirmed`` says
    when and how. A login counts as a confirmation without a method; a new login drops the earlier confirmations.
    ``key`` is the environ key of the session.

    Return True; return False, and note nothing, if no user is logged in (any more). Raises ``ConfigError`` for an
    invalid method, or if the user was put into the session without :func:`login`; ``HeadersAlreadySent`` after the
    headers were sent; ``StoreUnavailable`` if the store is down; ``SessionMissing`` without the middleware.
    """
    check_method(method)
    session = session_of(request, key)
    if peek_user(session) is None:
        return False
    if isinstance(session, Session):
        if work_of(session).ended:
            return False
        note_confirmation(work_of(session), method)
        session.rotate()
    elif callable(getattr(session, "confirm", None)):
        session.confirm(method)  # Django's
    else:
        raise session_missing_error(request, key, session)
    return True


def redirect_unless_fresh(
    request: object,
    confirm_url: str = "/confirm",
    *,
    within: timedelta | float = timedelta(minutes=15),
    method: str | None = None,
    login_url: str = "/login",
    navigation: bool | None = None,
    key: str = "session",
) -> LoginRedirect | None:
    """Return ``None`` if the logged-in user proved who they are a short time ago, else a redirect to ``confirm_url``.

        if response := redirect_unless_fresh(environ):
            return response(environ, start_response)

    ``within`` is a timedelta, or seconds. ``method``: only a :func:`confirm` by this method counts; None: by any, and
    the login too. Your page at ``confirm_url`` asks for the password (or another factor), calls :func:`confirm` and
    redirects to :func:`next_url`. An anonymous visitor is redirected to ``login_url``. The response, ``navigation``,
    ``key`` and the errors are those of :func:`redirect_if_anonymous`; the JSON for a script has the error
    ``confirmation_required``. Raises ``ConfigError`` too for an invalid ``within`` or ``method``.

    This is what OWASP ASVS 5.0 requires in 7.5.1 and 7.5.3 before sensitive changes and transactions.
    """
    check_login_url(confirm_url)
    check_login_url(login_url)
    limit = seconds("within", within)
    if method is not None:
        check_method(method)
    session = session_of(request, key)
    if peek_user(session) is None:
        return send_to(environ_of(request), session, login_url, "login_required", navigation)
    if isinstance(session, Session):
        fresh = is_fresh(work_of(session), limit, method)
    elif callable(getattr(session, "is_fresh", None)):
        fresh = session.is_fresh(limit, method)  # Django's
    else:
        raise session_missing_error(request, key, session)
    return None if fresh else send_to(environ_of(request), session, confirm_url, "confirmation_required", navigation)
