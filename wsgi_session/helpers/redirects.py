"""To the login page, and back to where the visitor wanted to go."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from wsgi_session.errors import ConfigError
from wsgi_session.helpers.forms import read_field, urlencoded_field
from wsgi_session.helpers.lookup import bytes_of, environ_of, session_of, user_in
from wsgi_session.helpers.paths import local_path, on_mount, requested_target

with warnings.catch_warnings():
    # WebOb 1.8 imports cgi, which Python 3.11 and 3.12 deprecate: nothing that our users could mend.
    warnings.simplefilter("ignore", DeprecationWarning)
    from webob import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# A path with one slash in front, or an absolute URL with a host; printable ASCII without a space or a backslash.
_LOGIN_URL = re.compile(r"(?:/(?!/)|https?://(?=[^/?#]))[!-\[\]-~]*", re.IGNORECASE)


class LoginRedirect(Response, Exception):
    """A redirect to the login page: a WebOb response that can be returned, called as a WSGI application, or raised."""

    def __init__(self, location: str, *, see_other: bool) -> None:
        body = f'<!doctype html><title>Log in</title><p>Please <a href="{escape(location)}">log in</a>.</p>\n'
        Response.__init__(
            self,
            status=303 if see_other else 302,
            headerlist=[
                ("Location", location),
                # Not to be kept by anybody: after the login the same request has another answer.
                ("Cache-Control", "no-store"),
                ("Vary", "Cookie"),
                ("Content-Type", "text/html; charset=UTF-8"),
                # No Content-Length: a framework may make a response of its own of these headers, with no body.
            ],
            app_iter=[body.encode("ascii")],
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # WebOb's own would complete Location from the Host header, which is the client's.
        headers = list(self.headerlist)
        if self.content_length is None and isinstance(self.app_iter, list):
            # Not in headerlist: see above. Without it, a server behind something that wraps the body ends keep-alive.
            headers.append(("Content-Length", str(sum(map(len, self.app_iter)))))
        start_response(self.status, headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else self.app_iter


def redirect_if_anonymous(request: object, login_url: str = "/login", key: str = "session") -> LoginRedirect | None:
    """Return ``None`` when somebody is logged in, else the redirect to ``login_url`` as a WSGI application.

        if response := redirect_if_anonymous(environ):
            return response(environ, start_response)

    302, or 303 for anything but GET and HEAD; never permanent, never cached. ``login_url`` is a path on this site, with
    the mount point (SCRIPT_NAME) put in front unless it is there already, or an absolute URL (single sign-on), which
    goes out as it is. For GET a path carries ``next=`` with this request's path and query, for :func:`next_url`, unless
    that is over 2,000 bytes. ``ConfigError`` for any other ``login_url``; ``StoreUnavailable`` in an outage, which is
    no logout; ``SessionMissing`` without the middleware.
    """
    check_login_url(login_url)
    if user_in(session_of(request, key)):
        return None
    environ = environ_of(request)
    method = environ.get("REQUEST_METHOD")
    location = login_url
    if login_url.startswith("/"):
        location = on_mount(environ, login_url)
        target = requested_target(environ) if method == "GET" else None
        location = _with_next(location, target) if target else location
    return LoginRedirect(location, see_other=method not in ("GET", "HEAD"))


def next_url(request: object, default: str = "/", key: str = "session") -> str:
    """Return where to go after the login: the ``next`` parameter if it is a path on this site, else ``default``.

    The parameter of the query comes first, then the form's. ``//evil``, ``/\\evil``, ``https:evil``, tabs and newlines
    are refused, not repaired. What comes back can stand in a ``Location`` header. The session is not looked at; ``key``
    is there because every helper takes it.
    """
    environ = environ_of(request)
    given = urlencoded_field(bytes_of(environ, "QUERY_STRING"), "next")
    if given is None and environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
        given = read_field(request, "next")
    target = local_path(given) if given is not None else None
    return default if target is None else target


def check_login_url(login_url: object) -> str:
    """Return ``login_url`` if a ``Location`` header can hold it, or raise ``ConfigError``."""
    if not isinstance(login_url, str) or not _LOGIN_URL.fullmatch(login_url):
        raise ConfigError(
            f"login_url={login_url!r}: give a path with a single slash in front, such as '/login', or an absolute "
            "http(s) URL; printable ASCII, no space, no backslash."
        )
    return login_url


def _with_next(location: str, target: str) -> str:
    page, hash_sign, fragment = location.partition("#")
    glue = "" if page.endswith(("?", "&")) else "&" if "?" in page else "?"
    return f"{page}{glue}next={quote(target)}{hash_sign}{fragment}"
