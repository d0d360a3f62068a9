"""Checking that a page of this site has sent a request: one call before any code that changes something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wsgi_session.config.secrets import HiddenText
from wsgi_session.cookies import tokens
from wsgi_session.helpers.forms import read_field
from wsgi_session.helpers.lookup import environ_of, sent_by_browser, session_of
from wsgi_session.helpers.navigation import is_navigation
from wsgi_session.helpers.origin import check_trusted_origins, host_of, is_same_origin
from wsgi_session.helpers.users import get_session
from wsgi_session.request.login import owner_text
from wsgi_session.request.work import Work
from wsgi_session.session import Session, work_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# The safe methods (RFC 9110, 9.2.1) except TRACE, which applications do not implement.
_SAFE = ("GET", "HEAD", "OPTIONS")
_NONE_TRUSTED: frozenset[str] = frozenset()
# The maximum number of characters of a client's header in an event.
_MAX_REPORTED = 200


def check_csrf(
    request: object, token: str | None = None, key: str = "session", *, trusted_origins: Iterable[str] = ()
) -> bool:
    """Return True if the method is safe (GET, HEAD, OPTIONS) or a page of this site has sent the request, else False.

    The browser says which page has sent it, so a form needs no token: see :mod:`wsgi_session.helpers.origin`. A request
    of another site is refused, even with a valid token, unless its origin is one of ``trusted_origins``, such as
    ``["https://pay.example"]``; the event ``cross_origin`` reports it.

    A request whose session came in a header, not in a cookie (see ``transport=``), needs no check: no page of another
    site can send that header.

    If the request does not say where it comes from (an old browser, a client that is not a browser), it needs the CSRF
    token of this session. The token comes from the first of these that exists: the argument ``token``; the header
    ``X-CSRF-Token``; the field ``csrf_token`` of the request object's parsed form; the same field in the first MiB of a
    urlencoded or multipart body, which stays readable (put the field before large files). With a JSON body, send the
    header. A token that is not text (a file, bytes) is wrong. ``key`` is the environ key of the session.

    If you pass a plain environ, call this before the application reads the body: a body that has been read cannot be
    read again, and some servers block.

    Raises ``ConfigError`` for an invalid trusted origin; ``StoreUnavailable`` if the store is down and a token is
    needed; ``SessionMissing`` without the middleware, even for a safe method.
    """
    if isinstance(token, str):
        # In an outage, loading the session raises, and error reporters show the local variables.
        token = HiddenText(token)
    trusted = check_trusted_origins(trusted_origins) if trusted_origins != () else _NONE_TRUSTED
    return _check(request, token, key, trusted)


def protect_from_csrf(
    app: WSGIApplication, trusted_origins: Iterable[str] = (), key: str = "session"
) -> WSGIApplication:
    """Return a WSGI application that refuses each request for which :func:`check_csrf` returns False, with a 403.

    ``app`` gets all others. Put the ``SessionMiddleware`` around this application, not the other way round. The
    response has the body ``{"error": "csrf"}`` for a script, and a line of text for a page.

    Raises ``ConfigError`` if one of ``trusted_origins`` is not an origin, such as ``"https://pay.example"``. A request
    raises the same errors as :func:`check_csrf`.
    """
    trusted = check_trusted_origins(trusted_origins)

    def protected(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if _check(environ, None, key, trusted):
            return app(environ, start_response)
        kind, body = "text/plain; charset=utf-8", b"This request was not sent by a page of this site.\n"
        if not is_navigation(environ):
            kind, body = "application/json", b'{"error": "csrf"}\n'
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        start_response("403 Forbidden", headers)
        return [body]

    return protected


def _check(request: object, token: str | None, key: str, trusted: frozenset[str]) -> bool:
    environ = environ_of(request)
    session = session_of(request, key)
    if environ.get("REQUEST_METHOD") in _SAFE or not sent_by_browser(session):
        return True
    same_origin = is_same_origin(environ, trusted)
    if same_origin is not None:
        if not same_origin and isinstance(session, Session):
            origin = str(environ.get("HTTP_ORIGIN"))[:_MAX_REPORTED]
            events = work_of(session).backend.settings.events
            events("cross_origin", origin=origin, host=host_of(environ)[:_MAX_REPORTED])
        return same_origin
    session = get_session(request, key)
    # Load the session before reading the token: if loading fails, no local variable in the traceback has the token.
    work = work_of(session)
    # Without a session every token is wrong, so the body is not read.
    reason = "no_session" if session.state == "new" else _why_refused(request, environ, work, token)
    return note_csrf(work, reason)


def _why_refused(request: object, environ: Mapping[str, Any], work: Work, token: str | None) -> str | None:
    """Return why the token of the request is refused, or ``None``.

    A separate function, so that no frame that calls the log or the application has the token in a local variable, which
    error reporters show.
    """
    if token is None:
        token = environ.get("HTTP_X_CSRF_TOKEN") or read_field(request, "csrf_token")
    return why_csrf_refused(work, token)


def why_csrf_refused(work: Work, token: object) -> str | None:
    """Return ``None`` if ``token`` is a CSRF token of the session whose cookie the request sent; else the reason.

    In the request that logs in, a token of the session before the login is valid: the form was opened before it.
    """
    credential = work.open().credential
    if credential is None:
        return "no_session"
    if not token:
        return "no_token"
    return None if tokens.csrf_matches(credential.token, token) else "wrong_token"


def note_csrf(work: Work, reason: str | None) -> bool:
    """Return whether a CSRF check succeeded (``reason=None``), and report one that failed."""
    if reason is not None:
        work.backend.settings.events("csrf_failed", handle=work.handle, owner=owner_text(work), reason=reason)
    return reason is None
