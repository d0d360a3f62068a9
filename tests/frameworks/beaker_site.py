"""A site under the drop-in for Beaker, and visitors whose requests run functions of the test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from webob import Request

from tests.support.client import Answer, Client
from wsgi_session import SessionMiddleware as OurMiddleware
from wsgi_session.integrations.beaker import SessionMiddleware
from wsgi_session.testing import FakeClock

SECRET = "7c1d5e0a9b834f62b1f0d3c2e4a5968f"


class BeakerSite:
    """The drop-in over a store, with a clock that the test sets. Options are Beaker's, or this package's."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.events: list[tuple[str, dict[str, Any]]] = []
        config = {
            "session.secret": SECRET,
            "session.clock": self.clock,
            "session.on_event": lambda name, data: self.events.append((name, dict(data))),
        }
        self.middleware = SessionMiddleware(_run, config, **options)

    def visitor(self, scheme: str = "http") -> Visitor:
        return Visitor(self.middleware, scheme)


class Visitor(Client):
    """One visitor: a client whose requests run a function of the session, or of the environ."""

    def __init__(self, app: OurMiddleware, scheme: str) -> None:
        super().__init__(app)
        self.scheme = scheme

    def visit(self, function: Callable[[dict[str, Any]], Any], path: str = "/", **environ: Any) -> Answer:
        """Make a request in which ``function(environ)`` runs; ``answer.result`` is what it returned."""
        results: list[Any] = []
        given = Request.blank(path, base_url=f"{self.scheme}://localhost").environ
        given.update({"test.run": lambda environ: results.append(function(environ)), **environ})
        given.pop("webob.is_body_seekable", None)
        answer = self.send(given)
        answer.result = results[0] if results else None
        return answer

    def do(self, function: Callable[[Any], Any], **environ: Any) -> Any:
        """Make a request in which ``function(session)`` runs, and return what it returned."""
        return self.visit(lambda environ: function(environ["beaker.session"]), **environ).result


def _run(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["test.run"](environ)
    start_response(environ.get("test.status", "200 OK"), [("Content-Type", "text/plain")])
    return [b"page"]
