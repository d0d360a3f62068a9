"""CORS preflights: the requests by which a browser asks what a page of another site may send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wsgi_session.responses.body import close_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


# The beginnings of the names of the headers of a response to a preflight (Fetch standard, 4.8; RFC 9110, 9.3.7).
_OF_PREFLIGHT = ("access-control-", "allow", "cache-control", "content-type", "vary")


def is_preflight(environ: Mapping[str, Any]) -> bool:
    """Return whether the request is a preflight, which a browser always sends without cookies (Fetch standard, 4.8)."""
    return bool(
        environ.get("REQUEST_METHOD") == "OPTIONS"
        and environ.get("HTTP_ORIGIN")
        and environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
    )


def answer_preflight(app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Pass on the status of the response of ``app``, and the headers that a preflight needs, without the body.

    Anyone can send a preflight, and an application that does not look at the method would answer with the page, and
    with headers that reveal something about it: a file's name, an ETag, a Location.
    """
    given: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
        given[:] = [(status, headers)]
        return lambda data: None

    body = app(environ, start)
    try:
        # A generator calls start_response only when its first item is requested.
        for _ in body:
            if given:
                break
    finally:
        close_body(body)
    status, headers = given[0]
    headers = [(name, value) for name, value in headers if name.lower().startswith(_OF_PREFLIGHT)]
    if status[:3] != "204":  # RFC 9110, 8.6: a 204 has no Content-Length.
        headers.append(("Content-Length", "0"))
    start_response(status, headers)
    return []
