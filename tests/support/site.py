"""A site with a session middleware, and browsers that visit it, with wsgiref's validator on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from tests.support.client import Answer, Application, Client, StartResponse
from tests.support.stores import CountingStore, counting
from wsgi_session import Session, SessionMiddleware, login, logout
from wsgi_session.events import EVENTS
from wsgi_session.stores import MemoryStore, Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.testing.clock import FakeClock

SECRET = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
ANN = {"id": 1, "name": "Ann", "email": "ann@example.com"}
BOB = {"id": 2, "name": "Bob", "email": "bob@example.com"}

MakeSite = Callable[..., "Site"]


class Site:
    """A middleware over a counting store. Each visit has its own application."""

    def __init__(self, store: Store | None = None, clock: FakeClock | None = None, **options: Any) -> None:
        store = MemoryStore() if store is None else store
        self.calls: CountingStore = store if isinstance(store, CountingStore) else counting(store)
        self.clock = FakeClock() if clock is None else clock
        self.events: list[tuple[str, dict[str, Any]]] = []
        given: dict[str, Any] = {
            "secret": SECRET,
            "clock": self.clock,
            "on_event": self._hear,
            **options,
        }
        self.cookie_path: str = options.get("cookie_path", "/")
        # The middleware knows a CookieStore by its type. It stores nothing, so there are no calls to count.
        taken = store if isinstance(store, CookieStore) else self.calls
        self.middleware = SessionMiddleware(_dispatch, store=taken, **given)

    def browser(self, **environ: Any) -> Browser:
        return Browser(self, **environ)

    def _hear(self, name: str, data: Mapping[str, Any]) -> None:
        """Remember an event, and end the test run if its data differs from the table of events."""
        self.events.append((name, dict(data)))
        told, promised = tuple(data), EVENTS[name].keys
        if told != promised or data.get("reason", None) not in (EVENTS[name].reasons or (None,)):
            # The middleware catches exceptions of a listener, but not this one.
            raise SystemExit(f"The event {name!r} has {dict(data)}, but the table promises {EVENTS[name]}.")

    def happened(self, name: str) -> list[dict[str, Any]]:
        """Return the data of each event called ``name``."""
        return [data for event, data in self.events if event == name]

    def forget(self) -> None:
        self.calls.forget()
        self.events.clear()


class Browser(Client):
    """One visitor of a site. The test provides the application for each request."""

    def __init__(self, site: Site, **environ: Any) -> None:
        super().__init__(site.middleware)
        self.site = site
        self.log = site.calls.log
        #: Entries for the environ of every request of this browser.
        self.environ = environ

    def do(self, function: Callable[[Session], Any], **environ: Any) -> Answer:
        """Visit a page that calls ``function(session)`` and sends 200; ``answer.result`` is the function's result."""
        results: list[Any] = []

        def page(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            results.append(function(environ["session"]))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"page"]

        answer = self.visit(page, **environ)
        answer.result = results[0] if results else None
        return answer

    def call(self, function: Callable[[dict[str, Any]], Any], environ: dict[str, Any] | None = None) -> Any:
        """Call ``function(environ)`` in a request that is answered with 200; return its result.

        This runs without wsgiref's validator, so ``environ`` need not be valid. The response is in ``answer``.
        """
        results: list[Any] = []

        def page(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            results.append(function(environ))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"page"]

        self.visit(page, lint=False, **(environ or {}))
        return results[0] if results else None

    def visit(self, app: Application, *, lint: bool = True, **environ: Any) -> Answer:
        """Make one request that ``app`` answers. ``lint=False``: without wsgiref's validator, which wraps bodies."""
        return self.send(self.request(_linted(app) if lint else app, **environ), lint=lint)

    def request(self, app: Application, **environ: Any) -> dict[str, Any]:
        """Return the environ of a request that ``app`` will answer."""
        given: dict[str, Any] = {**self.environ, **environ, "test.app": app}
        if self.jar:
            given.setdefault("HTTP_COOKIE", self.header)
        if self.site.cookie_path != "/":
            # By default, the request is inside of the cookie's path.
            given.setdefault("SCRIPT_NAME", self.site.cookie_path)
            given.setdefault("PATH_INFO", "")
        given.setdefault("wsgi.input", BytesIO())
        given.setdefault("QUERY_STRING", "")
        setup_testing_defaults(given)
        return given

    def copy(self) -> Browser:
        """Return a browser with the same cookies. Later changes to the cookies of one do not affect the other."""
        other = Browser(self.site, **self.environ)
        other.jar = dict(self.jar)
        return other


def _linted(app: Application) -> Application:
    """Return ``app`` behind wsgiref's validator, which requires text under every key without a dot."""

    def inside(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ["session"] = environ.pop("test.session")
        return app(environ, start_response)

    checked: Any = validator(inside)

    def outside(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ["test.session"] = environ.pop("session")
        result: Iterable[bytes] = checked(environ, start_response)
        return result

    return outside


def _dispatch(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    app: Application = environ["test.app"]
    return app(environ, start_response)


def page(body: Iterable[bytes] = (b"page",), status: str = "200 OK", *headers: tuple[str, str]) -> Application:
    """Return an application that does not use the session."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain"), *headers])
        return list(body)

    return app


def put(**values: Any) -> Callable[[Session], None]:
    """Return a function that writes ``values`` into a session."""
    return lambda session: session.update(values)


def read(session: Session) -> dict[str, Any]:
    return session.copy()


def log_in(user: dict[str, Any], **options: Any) -> Callable[[Session], None]:
    """Return a function that logs ``user`` in."""
    return lambda session: login({"session": session}, user, **options)


def log_out(session: Session) -> None:
    logout({"session": session})
