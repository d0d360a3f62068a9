"""Checking CSRF tokens: one call before any code that changes something."""

from __future__ import annotations

from wsgi_session.config.secrets import HiddenText
from wsgi_session.cookies import tokens
from wsgi_session.helpers.forms import read_field
from wsgi_session.helpers.lookup import environ_of, session_of
from wsgi_session.helpers.users import get_session
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
    if session.state == "new":
        return False
    if token is None:
        token = environ.get("HTTP_X_CSRF_TOKEN") or read_field(request, "csrf_token")
    return csrf_matches(work_of(session), token)


def csrf_matches(work: Work, token: object) -> bool:
    """Return whether ``token`` is a CSRF token of the session whose cookie the request sent.

    This is also the case in the request that logs in: its form was opened before the login.
    """
    credential = work.open().credential
    return credential is not None and tokens.csrf_matches(credential.token, token)
