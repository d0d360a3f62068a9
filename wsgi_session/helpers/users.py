"""Helpers for the session and the user: get them, log in, log out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from wsgi_session.codec.plain import plain_text
from wsgi_session.config.options import check_flag, seconds
from wsgi_session.errors import ConfigError
from wsgi_session.helpers.lookup import peek_user, session_missing_error, session_of
from wsgi_session.owner import owner_of, user_mapping_or_none
from wsgi_session.request.login import log_in
from wsgi_session.session import Session, work_of

# The values of Clear-Site-Data, of which browsers ignore those that they do not know.
_SITE_DATA = (
    "cache",
    "cookies",
    "storage",
    "executionContexts",
    "clientHints",
    "prefetchCache",
    "prerenderCache",
    "*",
)


def get_session(request: object, key: str = "session") -> Session:
    """Return this request's :class:`~wsgi_session.Session`.

    ``request`` is a WSGI environ or a framework's request object, ``key`` the environ key of the session. The session
    is not loaded, so this costs no store call. Raises ``SessionMissing`` without the middleware, and ``ConfigError`` if
    ``request`` has no environ.
    """
    session = session_of(request, key)
    if not isinstance(session, Session):
        raise session_missing_error(request, key, session)
    return session


def user_or_none(request: object, key: str = "session") -> Mapping[str, Any] | None:
    """Return the logged-in user, a non-empty mapping; ``None`` for an anonymous visitor.

    This is the session's own object, so changes to it are saved. (After a login by Flask-Login, Django or Pyramid, it
    is a mapping made for this call, with at least the ``id``.) Raises ``StoreUnavailable`` if the store is down (which
    does not mean that the visitor is logged out), and ``SessionMissing`` without the middleware.
    """
    session = session_of(request, key)
    return user_mapping_or_none(session.get("user")) or peek_user(session)


def user_email_or_none(request: object, key: str = "session") -> str | None:
    """Return the logged-in user's ``email`` if it is a non-empty ``str``, else ``None``.

    It never returns another false value, because callers misuse a function that returns sometimes ``None`` and
    sometimes ``False`` (CVE-2022-24880). Raises the same errors as :func:`user_or_none`.
    """
    user = peek_user(session_of(request, key))
    email = plain_text(user.get("email")) if user else None
    return email if type(email) is str and email else None


def login(
    request: object,
    user: Mapping[str, Any],
    *,
    remember: bool | None = None,
    idle_timeout: timedelta | float | None = None,
    provider_session: str | None = None,
    key: str = "session",
) -> None:
    """Log ``user`` in: store it under the key ``user``, and give the session a new token (against session fixation).

    ``user`` is a mapping with an ``id`` (int, str, UUID) or an ``email``, by which the user's sessions are found and
    revoked. If another user was logged in, that user's data is deleted first. Data of an anonymous visitor (a cart) is
    kept, and so is the data of the same user.

    ``remember``: True keeps the cookie after the browser closes, False does not, None uses the middleware's
    ``cookie_persistent``. ``idle_timeout`` (a timedelta, or seconds) shortens the middleware's idle timeout for this
    login; a longer one has no effect. ``provider_session``: a name of the session at the identity provider that no
    other session has (in OpenID the claims ``iss`` and ``sid``; in SAML issuer, NameID and SessionIndex), by which
    ``sessions.revoke_provider_session`` ends this login. ``key`` is the environ key of the session.

    Raises ``ConfigError`` if the user has neither an id nor an email, or an option is invalid; ``UnsupportedValue`` or
    ``SessionTooLarge`` if the user cannot be stored; ``StoreUnavailable`` if the store is down; ``HeadersAlreadySent``
    after the headers were sent; ``SessionMissing`` without the middleware; ``Unsupported`` for a ``provider_session``
    with a store that cannot list a user's sessions (``cookie://``).
    """
    session = get_session(request, key)
    owner_of(user)
    if remember is not None:
        check_flag("remember", remember)
    idle = None if idle_timeout is None else seconds("idle_timeout", idle_timeout)
    # A mapping that is not based on dict cannot be stored, so it is converted. Any other is not copied, so that
    # session["user"] is the caller's object.
    stored: Any = user if issubclass(type(user), dict) else dict(user)
    log_in(work_of(session), stored, remember=remember, idle=idle, provider_session=provider_session)


def logout(request: object, key: str = "session", *, clear_site_data: Iterable[str] = ()) -> None:
    """End this session immediately: delete the record, and remove the cookie.

    It is safe to call if no user is logged in: an anonymous visitor's session (a cart) is ended too. The user's other
    sessions are not affected.

    ``clear_site_data``: what the browser is to delete of this origin, such as ``("cache", "storage")``, sent as the
    header ``Clear-Site-Data`` (W3C; over https and on localhost). ``"cookies"`` deletes those of the whole domain,
    also of other applications. If the headers were sent already, the session ends, and the browser deletes nothing.

    Raises ``StoreUnavailable`` if the store is down: the visitor is then still logged in, and must be told so;
    ``HeadersAlreadySent`` after the end of the response; ``SessionMissing`` without the middleware; ``ConfigError`` for
    a value of ``clear_site_data`` that is not in the standard, and then nothing is ended.
    """
    header = _clear_site_data(clear_site_data)
    session = get_session(request, key)
    session.destroy()
    if header:
        work = work_of(session)
        others = [other for other in work.more_headers if other[0] != "Clear-Site-Data"]
        work.more_headers = (*others, ("Clear-Site-Data", header))


def _clear_site_data(kinds: Iterable[str]) -> str:
    """Return the header's value, or raise ``ConfigError``."""
    given = (None,) if isinstance(kinds, str) or not hasattr(kinds, "__iter__") else tuple(kinds)
    if any(kind not in _SITE_DATA for kind in given):
        raise ConfigError(
            f"clear_site_data={kinds!r}: give a sequence of {', '.join(_SITE_DATA)}, such as ('cache', 'storage')."
        )
    return ", ".join(f'"{kind}"' for kind in given)
