"""Who the visitor is, in one line, and logging in and out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from wsgi_session.config.options import check_flag, seconds
from wsgi_session.helpers.lookup import missing, session_of, user_in
from wsgi_session.owner import logged_in, owner_of
from wsgi_session.session import Session


def get_session(request: object, key: str = "session") -> Session:
    """Return this request's :class:`~wsgi_session.Session`, or raise ``SessionMissing`` without the middleware.

    Looks at nothing in it: a request that only gets its session still costs no store call.
    """
    session = session_of(request, key)
    if not isinstance(session, Session):
        raise missing(request, key, session)
    return session


def user_or_none(request: object, key: str = "session") -> Mapping[str, Any] | None:
    """Return the logged-in user, a non-empty mapping, or ``None``.

    It is the session's own object: what you change in it is saved. (After a login by Flask-Login, Django or Pyramid it
    is a mapping made for this call, with at least the ``id``.) ``StoreUnavailable`` in an outage, which is no logout;
    ``SessionMissing`` without the middleware.
    """
    session = session_of(request, key)
    return logged_in(session.get("user")) or user_in(session)


def user_email_or_none(request: object, key: str = "session") -> str | None:
    """Return the logged-in user's ``email`` if that is a non-empty ``str``, else ``None``: never another falsy value.

    A check that sometimes answers ``None`` and sometimes ``False`` is one that callers get wrong (CVE-2022-24880).
    Errors as for :func:`user_or_none`.
    """
    user = user_in(session_of(request, key))
    email = user.get("email") if user else None
    return email if type(email) is str and email else None


def login(
    request: object,
    user: Mapping[str, Any],
    *,
    remember: bool | None = None,
    idle_timeout: timedelta | float | None = None,
    key: str = "session",
) -> None:
    """Log ``user`` in: it stands under the key ``user`` from now on, under a new token (session fixation).

    ``user`` is a mapping with an ``id`` (int, str, UUID) or an ``email``, by which its sessions are found and revoked;
    with neither it is a ``ConfigError``. Data of another user who was logged in is dropped first; what the visitor
    collected while anonymous (the cart) stays, and so does the same user's.

    ``remember=False``: the cookie ends with the browser; ``True``: it persists; ``None``: as the middleware is set.
    ``idle_timeout`` (a timedelta, or seconds) may shorten the middleware's for this login, and never lengthens it.
    ``StoreUnavailable`` in an outage.
    """
    session = get_session(request, key)
    owner_of(user)
    if remember is not None:
        check_flag("remember", remember)
    idle = None if idle_timeout is None else seconds("idle_timeout", idle_timeout)
    # A session keeps exact types only, and gives back the very object it was given where it can.
    session._login(user if type(user) is dict else dict(user), remember, idle)


def logout(request: object, key: str = "session") -> None:
    """End the session, now and everywhere: the record is deleted, the cookie removed. No harm if nobody is logged in.

    ``StoreUnavailable`` in an outage: the visitor is then still logged in, and has to be told so.
    """
    get_session(request, key).destroy()
