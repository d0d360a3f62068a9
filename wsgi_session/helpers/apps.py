"""Two ready-made WSGI applications: a login guard, and a JSON endpoint that tells a front end who is logged in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from uuid import UUID

from wsgi_session.errors import ConfigError
from wsgi_session.helpers.csrf import check_csrf
from wsgi_session.helpers.lookup import peek_user, session_of
from wsgi_session.helpers.origin import check_trusted_origins
from wsgi_session.helpers.paths import requested_path, with_mount_point
from wsgi_session.helpers.preflight import answer_preflight, is_preflight
from wsgi_session.helpers.redirects import check_login_url, redirect_if_anonymous
from wsgi_session.session import Session

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def require_login(
    app: WSGIApplication, login_url: str = "/login", key: str = "session", *, navigation: bool | None = None
) -> WSGIApplication:
    """Return a WSGI application that lets only logged-in visitors through to ``app``.

    Anonymous visitors are redirected (scripts are refused) as by :func:`redirect_if_anonymous`, except from the login
    page itself: its path must be exactly that of ``login_url``, so ``/login/`` and ``//login`` are redirected too.
    ``key`` is the environ key of the session, and ``navigation`` that of :func:`redirect_if_anonymous`.

    CORS preflights reach ``app``, because a browser sends them without cookies. Anyone can send one, so only the status
    and the headers for CORS (with ``Allow``, ``Vary`` and the like) are passed on, never the body. So ``app`` must
    change nothing in answer to OPTIONS.

    Put the ``SessionMiddleware`` around this application, not the other way round.

    Raises ``ConfigError`` if ``login_url`` is neither a path nor an absolute http(s) URL. A request raises
    ``StoreUnavailable`` if the store is down, and ``SessionMissing`` without the middleware.
    """
    # An absolute URL is a page of another site, so no path of this application is exempt.
    on_this_site = check_login_url(login_url).startswith("/")
    login_path = login_url.partition("#")[0].partition("?")[0]

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # If the application is mounted at /login itself, an empty PATH_INFO is its root page, not the login page.
        may_be_login = on_this_site and environ.get("PATH_INFO")
        if may_be_login and unquote_to_bytes(with_mount_point(environ, login_path)) == requested_path(environ):
            return app(environ, start_response)
        response = redirect_if_anonymous(environ, login_url, key, navigation=navigation)
        if response is None:
            return app(environ, start_response)
        if is_preflight(environ):
            return answer_preflight(app, environ, start_response)
        return response(environ, start_response)

    return guarded


def session_info(
    fields: Iterable[str] = ("id", "name", "email"), key: str = "session", *, trusted_origins: Iterable[str] = ()
) -> WSGIApplication:
    """Return a small WSGI application that tells a front end who is logged in, as JSON.

    The response is ``{"user": {…}, "expires": "2026-11-23T14:00:00Z"}``, or ``{}`` for an anonymous visitor. ``user``
    contains only those of ``fields`` that the user has and that JSON can represent (a UUID, a Decimal and a date are
    sent as text). ``key`` is the environ key of the session. The response has ``Cache-Control: private, no-store``.

    * GET and HEAD do not count as activity, so a page that polls this application does not keep the session alive.
      With ``?csrf_token`` in the query, the response has a ``csrf_token`` too, which makes a session if there is none.
    * POST counts as activity: "stay logged in", for a page that warns before ``expires``. It never goes beyond the
      absolute timeout. If :func:`check_csrf` refuses it, with ``trusted_origins``, the response is a 403 with the body
      ``{"error": "csrf"}``.
    * Other methods get 405.

    Raises ``ConfigError`` if ``fields`` is not a sequence of ``str``, or for an invalid trusted origin. A request
    raises ``StoreUnavailable`` if the store is down, and ``SessionMissing`` without the middleware.
    """
    shown = (fields,) if isinstance(fields, str) else tuple(fields)
    if isinstance(fields, str) or not all(isinstance(field, str) for field in shown):
        raise ConfigError(f"fields={fields!r}: give a sequence of the user's keys, such as ('id', 'name').")
    trusted = check_trusted_origins(trusted_origins)

    def info(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, vary = environ.get("REQUEST_METHOD"), ("Vary", "Cookie")
        if method not in ("GET", "HEAD", "POST"):
            return _respond(environ, start_response, "405 Method Not Allowed", "{}", ("Allow", "GET, HEAD, POST"))
        session = session_of(environ, key)
        if method == "POST":
            if not check_csrf(environ, key=key, trusted_origins=trusted):
                return _respond(environ, start_response, "403 Forbidden", '{"error": "csrf"}', vary)
        elif isinstance(session, Session):
            session.no_touch()
        info = _info(session, shown)
        if isinstance(session, Session) and _wants_csrf_token(environ):
            info["csrf_token"] = session.csrf_token
        # Escape "<", so that a page can embed the JSON in a <script> element: "</script>" in a name would close it.
        return _respond(environ, start_response, "200 OK", _json(info).replace("<", "\\u003c"), vary)

    return info


def _wants_csrf_token(environ: WSGIEnvironment) -> bool:
    query = str(environ.get("QUERY_STRING", ""))
    return "csrf_token" in (part.partition("=")[0] for part in query.split("&"))


def _respond(
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


def _info(session: Any, shown: Iterable[str]) -> dict[str, Any]:
    user = peek_user(session)
    if user is None:
        return {}
    expires = session.expires if isinstance(session, Session) else None
    return {
        "user": {field: user[field] for field in shown if field in user and _is_json(user[field])},
        "expires": None if expires is None else expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def _is_json(value: object) -> bool:
    try:
        _json(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _json(value: object) -> str:
    return json.dumps(value, default=_as_text, allow_nan=False)


def _as_text(value: object) -> str:
    if isinstance(value, (date, time)):  # (datetime is a subclass of date)
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be represented as JSON.")
