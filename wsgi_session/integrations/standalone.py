"""A session without a server's request around it: an integration loads it, saves it, and sends its cookies itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wsgi_session.cookies.caching import Headers
from wsgi_session.exchange import Application, Exchange
from wsgi_session.middleware import SessionMiddleware, internals_of
from wsgi_session.request.work import Work
from wsgi_session.session import Session


class StandAlone:
    """A request to ``middleware`` with the cookies of ``environ``. Use ``session``, then call one method once.

    ``work_type``: another class for the unit of work than the middleware's.
    """

    def __init__(
        self, middleware: SessionMiddleware, environ: dict[str, Any], work_type: type[Work] | None = None
    ) -> None:
        _, new_work, session_type = internals_of(middleware)
        work = new_work(environ, work_type)
        self.session: Session = session_type(work)
        self._status = ""
        self._headers: Headers = []
        self._exchange = Exchange(work, environ, self._start_response)

    def finish(self, status: str, headers: Headers) -> Headers:
        """Save the session; return the response's headers, with ours added."""
        self._exchange.start_response(status, headers)
        self._exchange.commit()
        self._exchange.finish()
        return self._headers

    def run(self, app: Application) -> tuple[str, Headers, Iterable[bytes]]:
        """Call ``app`` and save the session; return status, headers and body: those of the 503 if the store is down."""
        body = self._exchange.run(app)
        return self._status, self._headers, body

    def _start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        self._status, self._headers = status, headers
        return lambda data: None
