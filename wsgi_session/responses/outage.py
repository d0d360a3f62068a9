"""What a client gets while the store is out of order: a 503, the application's own page if it has one."""

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
    """Return status, headers and body of the answer: ``page``'s, or a line of plain text.

    Whatever status ``page`` gives, the answer is a 5xx: an outage is no success, and no cache and no script may take it
    for one. If ``page`` raises, that is logged, and the answer is the line of text.
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
    there = {name.lower() for name, _ in headers}
    missing = {"Cache-Control": "no-store", "Retry-After": str(error.retry_after)}
    return [*headers, *((name, value) for name, value in missing.items() if name.lower() not in there)]


def _plain_headers() -> Headers:
    return [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(_TEXT)))]


def _call(page: OutagePage, environ: Mapping[str, Any]) -> tuple[str, Headers, list[bytes]]:
    """Return what a WSGI application answers, all of it."""
    answer: list[Any] = []
    chunks: list[bytes] = []

    def start_response(status: str, headers: Headers, exc_info: object = None) -> Callable[[bytes], object]:
        answer[:] = status, headers
        return chunks.append

    body = page(dict(environ), start_response)
    try:
        chunks.extend(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    status, headers = answer
    return status, headers, chunks
