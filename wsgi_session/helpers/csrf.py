"""The check of the CSRF token: one line in front of everything that changes something."""

from __future__ import annotations

from wsgi_session.config.secrets import HiddenText
from wsgi_session.helpers.forms import read_field
from wsgi_session.helpers.lookup import environ_of, session_of
from wsgi_session.helpers.users import get_session

# Methods that change nothing (RFC 9110, 9.2.1). TRACE is not among them: no application answers it.
_SAFE = ("GET", "HEAD", "OPTIONS")


def check_csrf(request: object, token: str | None = None, key: str = "session") -> bool:
    """Return True if the method is safe (GET, HEAD, OPTIONS) or the token is this session's.

    The token is the one given; else the header ``X-CSRF-Token``; else the field ``csrf_token`` of the request object's
    own form; else of the first MiB of a urlencoded or multipart body, which stays readable: put the field before large
    files. JSON sends the header.
    Given a bare environ, call it before the application reads the body: what is not there any more cannot be looked at,
    and some servers wait for it.

    Always exactly True or False; what is not text (a file part, bytes) is a wrong token. ``StoreUnavailable`` in an
    outage; ``SessionMissing`` without the middleware, even for a safe method.
    """
    if isinstance(token, str):
        # In an outage the look raises, and error reporters show the local variables.
        token = HiddenText(token)
    environ = environ_of(request)
    session_of(request, key)
    if environ.get("REQUEST_METHOD") in _SAFE:
        return True
    session = get_session(request, key)
    # Loaded before a token is read: if that fails, no local variable of the traceback shows one.
    if session.state == "new":
        return False
    if token is None:
        token = environ.get("HTTP_X_CSRF_TOKEN") or read_field(request, "csrf_token")
    return session._csrf_matches(token)
