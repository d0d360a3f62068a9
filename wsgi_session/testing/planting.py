"""Create and read sessions in the tests of an application, without a login through its pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from wsgi_session.backends.header import ANSWER, HeaderBackend
from wsgi_session.errors import StoreUnavailable
from wsgi_session.exchange import StartResponse
from wsgi_session.integrations.standalone import StandAlone
from wsgi_session.middleware import SessionMiddleware, internals_of
from wsgi_session.request.login import log_in
from wsgi_session.session import Session, work_of


def plant(
    middleware: SessionMiddleware,
    data: Mapping[str, Any],
    *,
    scheme: str = "http",
    environ: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Create a session with ``data`` and return the ``Cookie`` header for it.

    A mapping under ``user`` is logged in as by ``login()``, so that the session can be listed and revoked like any
    other. ``scheme`` is that of the requests in the test, because the cookie has another name over https. ``environ``
    is what else the request's environ contains, such as the ``HTTP_HOST`` by which ``namespace=`` names the tenant.

    With ``transport="header"``, the value of that header is returned, ``Bearer …``. With ``transport="both"``, give
    ``environ={"HTTP_AUTHORIZATION": "Bearer new"}`` to get it, and give it to :func:`read` in the same way.

    Raises ``StoreUnavailable`` if the store is down.
    """

    def fill(session: Session) -> None:
        rest = dict(data)
        if isinstance(user := data.get("user"), Mapping) and user:
            log_in(work_of(session), dict(user), remember=None, idle=None)
            del rest["user"]
        session.update(rest)
        # Create the session even if `data` is empty, because there must be a cookie to return.
        work_of(session).create_if_empty = True

    headers = _run_request(middleware, fill, {**environ, "wsgi.url_scheme": scheme})
    backend = internals_of(middleware).backend
    by_header = backend.by_header or backend
    for name, value in headers:
        if name == ANSWER and isinstance(by_header, HeaderBackend):
            return by_header.header.of_client(value)
    # A sealed session may need several cookies.
    return "; ".join(value.partition(";")[0] for name, value in headers if name == "Set-Cookie")


def read(
    middleware: SessionMiddleware,
    cookie: str,
    *,
    scheme: str = "http",
    environ: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the data of a session, ``{}`` if there is none. ``cookie`` is what :func:`plant` has returned.

    ``scheme`` and ``environ`` are those of :func:`plant`. This does not count as activity. Raises ``StoreUnavailable``
    if the store is down.
    """
    data: dict[str, Any] = {}

    def copy_data(session: Session) -> None:
        session.no_touch()
        data.update(session.copy())

    key = internals_of(middleware).backend.credential_key
    _run_request(middleware, copy_data, {**environ, "wsgi.url_scheme": scheme, key: cookie})
    return data


def _run_request(
    middleware: SessionMiddleware, handler: Callable[[Session], None], environ: dict[str, Any]
) -> list[tuple[str, str]]:
    """Run one request through ``middleware``, with ``handler`` as the application; return the response's headers."""
    # Use the cookie's path, so that a browser would send the cookie with this request.
    environ["SCRIPT_NAME"] = internals_of(middleware).backend.settings.cookie_path
    request = StandAlone(middleware, environ)

    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        handler(request.session)
        start_response("204 No Content", [])
        return []

    status, headers, _ = request.run(application)
    if status != "204 No Content":
        raise StoreUnavailable("The store is down. See the log for the reason.")
    return headers
