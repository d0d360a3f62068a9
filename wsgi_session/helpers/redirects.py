"""Redirects of anonymous visitors to the login page, and back to the requested page after the login."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wsgi_session.backends.base import COOKIE_CHALLENGE
from wsgi_session.errors import ConfigError
from wsgi_session.helpers.forms import find_urlencoded_field, read_field
from wsgi_session.helpers.lookup import bytes_of, environ_of, peek_user, sent_by_browser, session_of
from wsgi_session.helpers.navigation import htmx_page, is_htmx, is_navigation
from wsgi_session.helpers.paths import local_path_or_none, requested_target, with_mount_point
from wsgi_session.session import Session, work_of

with warnings.catch_warnings():
    # WebOb 1.8 imports cgi, which Python 3.11 and 3.12 deprecate. Our users cannot fix this, so the warning is hidden.
    warnings.simplefilter("ignore", DeprecationWarning)
    from webob import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# A path with one slash in front, or an absolute URL with a host; printable ASCII without a space or a backslash.
_LOGIN_URL = re.compile(r"(?:/(?!/)|https?://(?=[^/?#]))[!-\[\]-~]*", re.IGNORECASE)


class LoginRedirect(Response, Exception):
    """The answer that sends a visitor to the login page, or that refuses a script's request with 401.

    A WebOb response that can be returned, called as a WSGI application, or raised. ``.location`` is the login page.
    """

    def __init__(self, status: int, location: str, content_type: str, body: str, *more: tuple[str, str]) -> None:
        Response.__init__(
            self,
            status=status,
            headerlist=[
                # A browser ignores it in a 401, but a view may turn it into its framework's redirect.
                ("Location", location),
                # No cache may store this, because after the login the same request gets another response.
                ("Cache-Control", "no-store"),
                ("Vary", "Cookie"),
                ("Content-Type", content_type),
                *more,
                # No Content-Length, because a framework may use these headers for a response without this body.
            ],
            app_iter=[body.encode("ascii")],
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # WebOb's own __call__ would make Location absolute with the Host header, which the client controls.
        headers = list(self.headerlist)
        if self.content_length is None and isinstance(self.app_iter, list):
            # Without it, a server would close the connection if another middleware wraps the body.
            headers.append(("Content-Length", str(sum(map(len, self.app_iter)))))
        start_response(self.status, headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else self.app_iter


def redirect_if_anonymous(
    request: object, login_url: str = "/login", key: str = "session", *, navigation: bool | None = None
) -> LoginRedirect | None:
    """Return ``None`` if a user is logged in, else a redirect to ``login_url`` as a WSGI application.

    ::

        if response := redirect_if_anonymous(environ):
            return response(environ, start_response)

    The status is 302 for GET and HEAD, 303 for other methods; no cache stores the redirect. ``login_url`` is a path on
    this site or an absolute URL (single sign-on). A path gets the mount point (SCRIPT_NAME) in front, unless it has it
    already; a URL is sent unchanged. For GET, a path gets ``next=`` with this request's path and query, for
    :func:`next_url`, unless these exceed 2,000 bytes. ``key`` is the environ key of the session.

    A request that says that it is not a navigation gets 401 in place of the redirect, which a script would follow
    without noticing: one with a ``Sec-Fetch-Mode`` other than ``navigate``, ``HX-Request``, ``X-Requested-With:
    XMLHttpRequest``, an ``Accept`` without HTML, or its session in a header (see ``transport=``). The body is
    ``{"error": "login_required", "login_url": "/login"}``, without ``next``, because the visitor has not opened this
    request's path. htmx also gets ``HX-Redirect``, with its page as ``next``. ``navigation``: True always redirects,
    False always refuses, None decides by the headers.

    Raises ``ConfigError`` for any other ``login_url``; ``StoreUnavailable`` if the store is down (which does not mean
    that the visitor is logged out); ``SessionMissing`` without the middleware.
    """
    check_login_url(login_url)
    session = session_of(request, key)
    if peek_user(session):
        return None
    return send_to(environ_of(request), session, login_url, "login_required", navigation)


def send_to(
    environ: Mapping[str, Any], session: object, page: str, error: str, navigation: bool | None
) -> LoginRedirect:
    """Return the redirect to ``page``, a valid login URL; for a request that does not navigate, a 401 that names it."""
    navigated = sent_by_browser(session) and is_navigation(environ)
    method = environ.get("REQUEST_METHOD")
    redirecting = navigated if navigation is None else navigation
    location = page
    if page.startswith("/"):
        location = with_mount_point(environ, page)
        if navigated:
            target = requested_target(environ) if method == "GET" else None
        else:
            target = local_path_or_none(htmx_page(environ) or "") if is_htmx(environ) else None
        location = _add_next_parameter(location, target) if target else location
    if redirecting:
        body = f'<!doctype html><title>Log in</title><p>Please <a href="{escape(location)}">log in</a>.</p>\n'
        return LoginRedirect(302 if method in ("GET", "HEAD") else 303, location, "text/html; charset=UTF-8", body)
    # RFC 9110, 15.5.2: a 401 has a challenge. Browsers open no dialog for one of these.
    challenge = work_of(session).backend.challenge if isinstance(session, Session) else COOKIE_CHALLENGE
    more = [("WWW-Authenticate", challenge)]
    if is_htmx(environ):
        more.append(("HX-Redirect", location))
    body = json.dumps({"error": error, "login_url": location}) + "\n"
    return LoginRedirect(401, location, "application/json", body, *more)


def next_url(request: object, default: str = "/", key: str = "session") -> str:
    """Return where to go after the login: the ``next`` parameter if it is a path on this site, else ``default``.

    The query string is read first, then the form. ``//evil``, ``/\\evil``, ``https:evil``, tabs and newlines are
    refused, not repaired. The result can be used in a ``Location`` header. The session is not used; ``key`` exists only
    because every helper takes it. Never raises, whatever a client sends.
    """
    environ = environ_of(request)
    given = find_urlencoded_field(bytes_of(environ, "QUERY_STRING"), "next")
    if given is None and environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
        given = read_field(request, "next")
    target = local_path_or_none(given) if given is not None else None
    return default if target is None else target


def check_login_url(login_url: object) -> str:
    """Return ``login_url`` if it is valid in a ``Location`` header, else raise ``ConfigError``."""
    if not isinstance(login_url, str) or not _LOGIN_URL.fullmatch(login_url):
        raise ConfigError(
            f"login_url={login_url!r}: give a path with a single slash in front, such as '/login', or an absolute "
            "http(s) URL. Use only printable ASCII, without spaces and backslashes."
        )
    return login_url


def _add_next_parameter(location: str, target: str) -> str:
    page, hash_sign, fragment = location.partition("#")
    glue = "" if page.endswith(("?", "&")) else "&" if "?" in page else "?"
    return f"{page}{glue}next={quote(target)}{hash_sign}{fragment}"
