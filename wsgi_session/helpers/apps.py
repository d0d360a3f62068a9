"""Two WSGI applications made of the helpers: a door, and what a front end asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from uuid import UUID

from wsgi_session.errors import ConfigError
from wsgi_session.helpers.lookup import session_of, user_in
from wsgi_session.helpers.paths import on_mount, requested_path
from wsgi_session.helpers.redirects import check_login_url, redirect_if_anonymous
from wsgi_session.session import Session

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def require_login(app: WSGIApplication, login_url: str = "/login", key: str = "session") -> WSGIApplication:
    """Return a WSGI application that lets only logged-in visitors through to ``app``.

    Others are redirected as by :func:`redirect_if_anonymous`. Anybody is let through to ``login_url`` itself, which
    must be that very path: ``/login/`` and ``//login`` are not it. Wrap it in the ``SessionMiddleware``, not the other
    way round. ``ConfigError`` for a ``login_url`` that is neither a path nor an absolute http(s) URL.
    """
    # Nobody passes for an absolute one: that is another site's page.
    on_this_site = check_login_url(login_url).startswith("/")
    login_path = login_url.partition("#")[0].partition("?")[0]

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Below a mount point that is named like the login page, no path at all is the root of what is mounted there.
        here = on_this_site and environ.get("PATH_INFO")
        if here and unquote_to_bytes(on_mount(environ, login_path)) == requested_path(environ):
            return app(environ, start_response)
        response = redirect_if_anonymous(environ, login_url, key)
        return response(environ, start_response) if response else app(environ, start_response)

    return guarded


def session_info(fields: Iterable[str] = ("id", "name", "email"), key: str = "session") -> WSGIApplication:
    """Return a small WSGI application that tells a front end who is logged in, as JSON.

    ``{"user": {…}, "expires": "2026-11-23T14:00:00Z"}``, or ``{}`` for an anonymous visitor. Of the user it tells only
    ``fields``, those that are there and that JSON can hold (a UUID, a Decimal and a date as text). ``Cache-Control:
    private, no-store``; GET and HEAD only. A page that polls it does not keep its session alive.
    """
    shown = (fields,) if isinstance(fields, str) else tuple(fields)
    if isinstance(fields, str) or not all(isinstance(field, str) for field in shown):
        raise ConfigError(f"fields={fields!r}: give a sequence of the user's keys, such as ('id', 'name').")

    def info(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return _answer(environ, start_response, "405 Method Not Allowed", "{}", ("Allow", "GET, HEAD"))
        session = session_of(environ, key)
        if isinstance(session, Session):
            session.no_touch()
        return _answer(environ, start_response, "200 OK", _info(session, shown), ("Vary", "Cookie"))

    return info


def _answer(
    environ: WSGIEnvironment, start_response: StartResponse, status: str, text: str, header: tuple[str, str]
) -> Iterable[bytes]:
    start_response(
        status,
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(text))),
            ("Cache-Control", "private, no-store"),
            ("X-Content-Type-Options", "nosniff"),
            header,
        ],
    )
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [text.encode("ascii")]


def _info(session: Any, shown: Iterable[str]) -> str:
    user = user_in(session)
    if user is None:
        return "{}"
    expires = session.expires if isinstance(session, Session) else None
    info = {
        "user": {field: user[field] for field in shown if field in user and _is_json(user[field])},
        "expires": None if expires is None else expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    # So that a page may hold it in a <script>: "</script>" in a name would end that.
    return _json(info).replace("<", "\\u003c")


def _is_json(value: object) -> bool:
    try:
        _json(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _json(value: object) -> str:
    return json.dumps(value, default=_as_text, allow_nan=False)


def _as_text(value: object) -> str:
    if isinstance(value, (date, time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
