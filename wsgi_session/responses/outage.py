"""The response while the store is down: a 503, with the application's own page if it has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wsgi_session.cookies.caching import Headers
from wsgi_session.errors import StoreUnavailable
from wsgi_session.events import logger

#: A WSGI application. It finds the :class:`~wsgi_session.StoreUnavailable` at ``environ["wsgi_session.outage"]``.
OutagePage = Callable[[dict[str, Any], Callable[..., Callable[[bytes], object]]], Iterable[bytes]]
OUTAGE_KEY = "wsgi_session.outage"

_STATUS = "503 Service Unavailable"
_TEXT = b"The service is unavailable for the moment. Please try again.\n"


def outage_answer(
    page: OutagePage | None, environ: dict[str, Any], error: StoreUnavailable
) -> tuple[str, Headers, list[bytes]]:
    """Return status, headers and body of the response: those of ``page``, or a line of plain text.

    If ``page`` gives a status that is not 5xx, it becomes 503, because no cache and no script may take an outage for a
    success. If ``page`` raises, the error is logged, and the body is the line of plain text.
    """
    status, headers, chunks = _STATUS, _plain_headers(), [_TEXT]
    if page is not None:
        environ[OUTAGE_KEY] = error
        try:
            given, headers, chunks = _call(page, environ)
            status = given if given[:1] == "5" else _STATUS
        except Exception:
            logger.exception("outage_page failed: the client gets a line of plain text")
    if environ.get("REQUEST_METHOD") == "HEAD":
        chunks = []
    return status, with_outage_headers(headers, error), chunks


def with_outage_headers(headers: Headers, error: StoreUnavailable) -> Headers:
    """Return a copy of ``headers`` with ``Retry-After`` and ``Cache-Control: no-store`` where those are missing."""
    present = {name.lower() for name, _ in headers}
    defaults = {"Cache-Control": "no-store", "Retry-After": str(error.retry_after)}
    return [*headers, *((name, value) for name, value in defaults.items() if name.lower() not in present)]


def _plain_headers() -> Headers:
    return [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(_TEXT)))]


def _call(page: OutagePage, environ: Mapping[str, Any]) -> tuple[str, Headers, list[bytes]]:
    """Call a WSGI application, and return its complete response."""
    response: list[Any] = []
    chunks: list[bytes] = []

    def start_response(status: str, headers: Headers, exc_info: object = None) -> Callable[[bytes], object]:
        response[:] = status, headers
        return chunks.append

    body = page(dict(environ), start_response)
    try:
        chunks.extend(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    status, headers = response
    return status, headers, chunks
