"""Checking CSRF tokens: one call before any code that changes something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.config.secrets import HiddenText
from wsgi_session.cookies import tokens
from wsgi_session.helpers.forms import read_field
from wsgi_session.helpers.lookup import environ_of, session_of
from wsgi_session.helpers.users import get_session
from wsgi_session.request.login import owner_text
from wsgi_session.request.work import Work
from wsgi_session.session import work_of

# The safe methods (RFC 9110, 9.2.1) except TRACE, which applications do not implement.
_SAFE = ("GET", "HEAD", "OPTIONS")


def check_csrf(request: object, token: str | None = None, key: str = "session") -> bool:
    """Return True if the method is safe (GET, HEAD, OPTIONS) or the CSRF token belongs to this session, else False.

    The token comes from the first of these that exists: the argument ``token``; the header ``X-CSRF-Token``; the field
    ``csrf_token`` of the request object's parsed form; the same field in the first MiB of a urlencoded or multipart
    body, which stays readable (put the field before large files). With a JSON body, send the header. A token that is
    not text (a file, bytes) is wrong. ``key`` is the environ key of the session.

    If you pass a plain environ, call this before the application reads the body: a body that has been read cannot be
    read again, and some servers block.

    Raises ``StoreUnavailable`` if the store is down, and ``SessionMissing`` without the middleware, even for a safe
    method.
    """
    if isinstance(token, str):
        # In an outage, loading the session raises, and error reporters show the local variables.
        token = HiddenText(token)
    environ = environ_of(request)
    session_of(request, key)
    if environ.get("REQUEST_METHOD") in _SAFE:
        return True
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

    In the request that logs in, a token of the session before the login is right: its form was opened then.
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
