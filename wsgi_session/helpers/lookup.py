"""From whatever a framework calls a request to its environ, its session and its user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.errors import ConfigError, SessionMissing
from wsgi_session.owner import logged_in
from wsgi_session.session import Session

# WebOb, Werkzeug, Flask, Bottle, Pyramid, Django; Falcon; CherryPy; what else speaks Django's way.
_ATTRIBUTES = ("environ", "env", "wsgi_environ", "META")


def environ_of(request: object) -> Mapping[str, Any]:
    """Return the WSGI environ of ``request``: itself, or the attribute under which its framework keeps it."""
    if isinstance(request, Mapping):
        return request
    for name in _ATTRIBUTES:
        environ = getattr(request, name, None)
        if isinstance(environ, Mapping):
            return environ
    raise ConfigError(
        f"request is a {type(request).__name__}, which has no WSGI environ as .{', .'.join(_ATTRIBUTES)}: "
        "give the environ itself, or your framework's request object."
    )


def bytes_of(environ: Mapping[str, Any], name: str) -> bytes:
    """Return the bytes that the client sent as ``name`` (PEP 3333: each is one character), or ``b""``.

    A server that breaks this, with a character over 255, gets a question mark: never an exception.
    """
    text: str = environ.get(name) or ""
    return text.encode("latin-1", errors="replace")


def session_of(request: object, key: str) -> Any:
    """Return the mapping at ``environ[key]``, whoever made it, without looking into it."""
    session = environ_of(request).get(key)
    # Beaker's is a proxy that is no registered Mapping: what can get() will do.
    if session is None or not callable(getattr(session, "get", None)):
        raise missing(request, key, session)
    return session


def user_in(session: Any) -> Mapping[str, Any] | None:
    """Return the logged-in user for a look: not handed out, so that nothing is packed again at commit.

    Having a session is not being logged in (CVE-2023-48309): only a non-empty mapping under ``user`` is, or a login of
    the framework that the session is integrated with.
    """
    return session._current_user() if isinstance(session, Session) else logged_in(session.get("user"))


def missing(request: object, key: str, found: object) -> SessionMissing:
    """Say what stands at ``environ[key]`` instead of a session, and what to do about it in the request's framework."""
    what = "nothing" if found is None else f"a {type(found).__name__}"
    remedy = _REMEDIES[_framework_of(request)].format(key=key)
    return SessionMissing(f"No session: environ[{key!r}] holds {what}. {remedy}", key=key)


_REMEDIES = {
    "django": (
        'In the settings: SESSION_ENGINE = "wsgi_session.integrations.django", and '
        '"wsgi_session.integrations.django.HelpersMiddleware" in MIDDLEWARE, below AuthenticationMiddleware. The '
        "session itself is request.session; to log in and out is for django.contrib.auth."
    ),
    "flask": (
        'Give the application its sessions: FlaskSessions(app, store="sqlite:///sessions.db"), from '
        "wsgi_session.integrations.flask."
    ),
    "pyramid": 'Include the integration: config.include("wsgi_session.integrations.pyramid").',
    "": (
        'Wrap the application: app = SessionMiddleware(app, secret=SECRET, store="sqlite:///sessions.db"), '
        "with environ_key={key!r} if that is not the default."
    ),
}


def _framework_of(request: object) -> str:
    """Return the one of ``_REMEDIES`` that made ``request``, told by its classes' modules: none is imported for it."""
    # Flask leaves its request in the environ. Not type(): flask.request is a proxy.
    for made in (request, environ_of(request).get("werkzeug.request")):
        for kind in made.__class__.__mro__:
            name = kind.__module__.partition(".")[0]
            if name in _REMEDIES:
                return name
    return ""
