"""A login at another site (SAML, OpenID): remember something until that site answers, apart from the session."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from wsgi_session.backends.base import Transactions
from wsgi_session.codec.packing import CorruptData, check_key, pack, split, unpack
from wsgi_session.config.options import seconds
from wsgi_session.errors import ConfigError, HeadersAlreadySent, StoreUnavailable
from wsgi_session.helpers.lookup import environ_of, session_missing_error, session_of
from wsgi_session.request.records import join_checked
from wsgi_session.request.states import OPEN
from wsgi_session.session import Session, work_of

_VARY = ("Vary", "Cookie")


def begin_transaction(
    request: object,
    data: Mapping[str, Any],
    *,
    max_age: timedelta | float = timedelta(minutes=10),
    key: str = "session",
) -> str:
    """Remember ``data`` until another site answers; return a state to send there.

    The other site sends the state back (``state`` in OAuth and OpenID, ``RelayState`` in SAML). Pass it to
    :func:`end_transaction`. The response sets a cookie of its own, with ``SameSite=None; Secure``, because browsers do
    not send the session's cookie with a POST of another site. The session is not used. A browser can have four
    transactions at once; a fifth one replaces the oldest.

    ``data`` is a mapping, perhaps empty, of values that a session can store. ``max_age`` is a timedelta, or seconds;
    ``key`` is the environ key of the session. Raises ``UnsupportedValue`` or ``SessionTooLarge`` if the data cannot
    be stored; ``ConfigError`` for an invalid ``max_age`` or data; ``HeadersAlreadySent`` after the headers were sent;
    ``StoreUnavailable`` if the store is down; ``SessionMissing`` without the middleware.
    """
    age = seconds("max_age", max_age)
    if not isinstance(data, Mapping):
        raise ConfigError(f"data is of type {type(data).__name__}: give a dict, such as {{'next': '/cart'}}.")
    holder, settings, transactions = _parts(request, key)
    packed: dict[str | bytes, bytes] = {}
    for name, value in data.items():
        packed[check_key(name)] = pack(value, name, settings.max_size)
    joined = join_checked(packed, settings)
    try:
        state, cookies = transactions.begin(environ_of(request), joined, age, settings.clock())
    except StoreUnavailable as error:
        holder.note_outage(error)
        raise
    holder.more_headers += tuple(("Set-Cookie", cookie) for cookie in cookies)
    return state


def end_transaction(request: object, state: object, key: str = "session") -> dict[str, Any] | None:
    """Return the data of the transaction that this browser began with this ``state``, and end it.

    ``state`` is what the other site has sent back. ``None`` if this browser began no such transaction, if it has
    expired, or if it was ended before: each is ended once, even by two requests at the same time. (With ``cookie://``,
    a copy of the cookie works until it expires.) Refuse the answer then, and start the login again.

    ``key`` is the environ key of the session. Never raises for what a client sends. Raises ``HeadersAlreadySent`` after
    the headers were sent; ``StoreUnavailable`` if the store is down; ``SessionMissing`` without the middleware.
    """
    holder, settings, transactions = _parts(request, key)
    try:
        data, cookies = transactions.end(environ_of(request), state, settings.clock())
    except StoreUnavailable as error:
        holder.note_outage(error)
        raise
    holder.more_headers += tuple(("Set-Cookie", cookie) for cookie in cookies)
    if data is None:
        return None
    try:
        return {str(name): unpack(value) for name, value in split(data).items()}
    except CorruptData:
        settings.events("corrupt", handle=None)
        return None


def _parts(request: object, key: str) -> tuple[Any, Any, Transactions]:
    """Return the object that takes the response's headers, the settings, and the transactions; note the access."""
    session = session_of(request, key)
    holder: Any
    if isinstance(session, Session):
        holder = work_of(session)
        if holder.phase is not OPEN or not holder.has_response:
            raise HeadersAlreadySent("A transaction needs a cookie, but no headers can be sent here. Call it earlier.")
    elif hasattr(session, "more_headers"):
        holder = session  # Django's
    else:
        raise session_missing_error(request, key, session)
    holder.accessed = True
    settings = holder.backend.settings
    if "Cookie" not in settings.vary.split(", ") and _VARY not in holder.more_headers:
        # With transport="header", the session depends on no cookie, but a transaction does.
        holder.more_headers += (_VARY,)
    return holder, settings, holder.backend.transactions
