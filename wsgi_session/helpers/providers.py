"""File a framework's own login under the session at the identity provider."""

from __future__ import annotations

from wsgi_session.helpers.lookup import session_missing_error, session_of
from wsgi_session.request.providers import file_this_login
from wsgi_session.session import Session, work_of


def set_provider_session(request: object, provider_session: str, key: str = "session") -> None:
    """File the login of this request under ``provider_session``, for ``sessions.revoke_provider_session``.

    Call it in the request of the login, after the login of Flask-Login, Django or Pyramid. For :func:`login`, give that
    the argument ``provider_session`` instead. ``key`` is the environ key of the session.

    Raises ``ConfigError`` if this request has not logged a user in, or for anything but a non-empty text;
    ``Unsupported`` with a store that cannot list a user's sessions; ``StoreUnavailable`` if the store is down;
    ``SessionMissing`` without the middleware.
    """
    session = session_of(request, key)
    if isinstance(session, Session):
        file_this_login(work_of(session).open(), provider_session)
    elif callable(getattr(session, "set_provider_session", None)):
        session.set_provider_session(provider_session)  # Django's
    else:
        raise session_missing_error(request, key, session)
