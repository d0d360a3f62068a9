"""Sessions for the tests of an application: put one there, and look at one, without clicking through a login."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wsgi_session.errors import StoreUnavailable
from wsgi_session.exchange import StartResponse
from wsgi_session.integrations.standalone import StandAlone
from wsgi_session.middleware import SessionMiddleware, internals_of
from wsgi_session.request.login import log_in
from wsgi_session.session import Session, work_of


def plant(middleware: SessionMiddleware, data: Mapping[str, Any], *, scheme: str = "http") -> str:
    """Store a session with ``data`` and return the ``Cookie`` header that opens it.

    A mapping under ``user`` is logged in as ``login()`` does it, so that it is listed and revoked like any other.
    ``scheme`` is the one of the requests to come: over https the cookie has another name.
    """

    def fill(session: Session) -> None:
        rest = dict(data)
        if isinstance(user := data.get("user"), Mapping) and user:
            log_in(work_of(session), dict(user), remember=None, idle=None)
            del rest["user"]
        session.update(rest)
        # Empty data makes a session too: there must be a cookie to return.
        work_of(session).create_if_empty = True

    headers = _visit(middleware, fill, {"wsgi.url_scheme": scheme})
    # A sealed session may take several cookies.
    return "; ".join(value.partition(";")[0] for name, value in headers if name == "Set-Cookie")


def read(middleware: SessionMiddleware, cookie: str, *, scheme: str = "http") -> dict[str, Any]:
    """Return what is in the session that the ``Cookie`` header ``cookie`` opens: ``{}`` if it opens none.

    ``StoreUnavailable`` in an outage, from :func:`plant` too.
    """
    found: dict[str, Any] = {}

    def look(session: Session) -> None:
        session.no_touch()
        found.update(session.copy())

    _visit(middleware, look, {"wsgi.url_scheme": scheme, "HTTP_COOKIE": cookie})
    return found


def _visit(
    middleware: SessionMiddleware, visitor: Callable[[Session], None], environ: dict[str, Any]
) -> list[tuple[str, str]]:
    """Make one request to ``middleware`` that ``visitor`` answers in the application's place; return its headers."""
    # The request is one that the cookie is sent with.
    environ["SCRIPT_NAME"] = internals_of(middleware).backend.settings.cookie_path
    request = StandAlone(middleware, environ)

    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        visitor(request.session)
        start_response("204 No Content", [])
        return []

    status, headers, _ = request.run(application)
    if status != "204 No Content":
        raise StoreUnavailable("The store is down: see the log.")
    return headers
