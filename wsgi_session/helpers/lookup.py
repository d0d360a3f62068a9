"""Finding the environ, the session and the user of any framework's request object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.errors import ConfigError, SessionMissing
from wsgi_session.owner import user_mapping_or_none
from wsgi_session.session import Session, work_of

# In this order: WebOb, Werkzeug, Flask, Bottle, Pyramid, Django; Falcon; CherryPy; other libraries that use META.
_ATTRIBUTES = ("environ", "env", "wsgi_environ", "META")


def environ_of(request: object) -> Mapping[str, Any]:
    """Return the WSGI environ of ``request``: itself if it is a mapping, else the attribute that its framework uses."""
    if isinstance(request, Mapping):
        return request
    for name in _ATTRIBUTES:
        environ = getattr(request, name, None)
        if isinstance(environ, Mapping):
            return environ
    raise ConfigError(
        f"request is of type {type(request).__name__}, which has none of the attributes .{', .'.join(_ATTRIBUTES)}: "
        "give the WSGI environ, or your framework's request object."
    )


def bytes_of(environ: Mapping[str, Any], name: str) -> bytes:
    """Return the environ variable ``name`` as the bytes that the client sent, or ``b""``. Never raises.

    PEP 3333 passes bytes as latin-1 text. A character above 255, which it forbids, becomes a question mark.
    """
    text: str = environ.get(name) or ""
    return text.encode("latin-1", errors="replace")


def session_of(request: object, key: str) -> Any:
    """Return the session at ``environ[key]``, ours or another library's, unloaded; or raise ``SessionMissing``."""
    session = environ_of(request).get(key)
    # Any object with get() is accepted, because Beaker's session is a proxy that is not registered as a Mapping.
    if session is None or not callable(getattr(session, "get", None)):
        raise session_missing_error(request, key, session)
    return session


def peek_user(session: Any) -> Mapping[str, Any] | None:
    """Return the logged-in user for reading only, so that the commit need not look for changes in it.

    A visitor with a session is not necessarily logged in (CVE-2023-48309): a user is logged in if there is a non-empty
    mapping under ``user``, or by a login of the framework with which the session is integrated.
    """
    if isinstance(session, Session):
        return work_of(session).current_user()
    return user_mapping_or_none(session.get("user"))


def sent_by_browser(session: object) -> bool:
    """Return whether browsers send the session's credential by themselves: False if it is in a header, not a cookie."""
    return not isinstance(session, Session) or work_of(session).backend.browser_sends


def session_missing_error(request: object, key: str, found: object) -> SessionMissing:
    """Return the error that says what is at ``environ[key]``, and what to do about it in the request's framework."""
    what = "is missing" if found is None else f"is of type {type(found).__name__}"
    remedy = _REMEDIES[_framework_of(request)].format(key=key)
    return SessionMissing(f"There is no session: environ[{key!r}] {what}. {remedy}", key=key)


_REMEDIES = {
    "django": (
        'In the settings: SESSION_ENGINE = "wsgi_session.integrations.django", and '
        '"wsgi_session.integrations.django.HelpersMiddleware" in MIDDLEWARE, below AuthenticationMiddleware. The '
        "session itself is request.session; use django.contrib.auth to log in and out."
    ),
    "flask": (
        'Add the integration: FlaskSessions(app, store="sqlite:///sessions.db"), from wsgi_session.integrations.flask.'
    ),
    "pyramid": 'Include the integration: config.include("wsgi_session.integrations.pyramid").',
    "": (
        'Wrap the application: app = SessionMiddleware(app, secret=SECRET, store="sqlite:///sessions.db"), '
        "with environ_key={key!r} if that is not the default."
    ),
}


def _framework_of(request: object) -> str:
    """Return the framework of ``request``, a key of ``_REMEDIES``, by the modules of its classes; ``""`` if unknown."""
    # Flask leaves its request in the environ. This uses __class__, because flask.request is a proxy.
    for made in (request, environ_of(request).get("werkzeug.request")):
        for kind in made.__class__.__mro__:
            name = kind.__module__.partition(".")[0]
            if name in _REMEDIES:
                return name
    return ""
