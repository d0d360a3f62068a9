"""Fast requests to a middleware, and the application's actions in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.support.site import ANN, SECRET
from wsgi_session import Session, SessionMiddleware, login, user_email_or_none, user_or_none
from wsgi_session.stores import Store
from wsgi_session.testing.clock import FakeClock

Visitor = Callable[[Session], dict[str, Any]]


class Broken(AssertionError):
    """A promise that did not hold for an input."""


class Visits:
    """Makes requests to a middleware, and keeps the result of the last one."""

    def __init__(self, store: str | Store, **options: Any) -> None:
        self.events: list[str] = []
        self.middleware = SessionMiddleware(
            self._app,
            secret=SECRET,
            store=store,
            clock=FakeClock(),
            on_event=lambda name, data: self.events.append(name),
            **options,
        )
        self.status = ""
        self.cookies: list[str] = []
        self.saw: dict[str, Any] = {}
        self._visitor: Visitor = read

    def make(self, visitor: Visitor, header: str, scheme: str = "http") -> None:
        """Make one request in which ``visitor(session)`` looks at the session and returns what it saw."""
        self.status, self.saw, self._visitor = "", {}, visitor
        self.events.clear()
        environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": scheme, "HTTP_COOKIE": header}
        body = self.middleware(environ, self._start_response)
        close = getattr(body, "close", None)
        if close is not None:
            close()
        if self.status != "200 OK":
            raise Broken(f"answered {self.status or 'nothing'}")

    def _app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.saw = self._visitor(environ["session"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"page"]

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status = status
        self.cookies = [value for name, value in headers if name == "Set-Cookie"]


# The actions of the application.


def read(session: Session) -> dict[str, Any]:
    return session.copy()


def read_each(session: Session) -> dict[str, Any]:
    """Read in every other way, and write nothing."""
    request = {"session": session}
    user_email_or_none(request)
    user_or_none(request)
    seen = dict(session)
    for name in reversed(session):
        session.get(name)
    told = (session.state, session.handle, session.owner, session.created, session.expires, len(session), repr(session))
    return seen if session.state == "live" or not told else {}


def write(session: Session) -> dict[str, Any]:
    seen = session.copy()
    session["n"] = 1
    return seen


def flash(session: Session) -> dict[str, Any]:
    seen = session.copy()
    session.flash("text", "info")
    session.flashes()
    assert session.csrf_token
    return seen


def use(session: Session) -> dict[str, Any]:
    seen = read_each(session)
    session.flashes("info")
    assert session.csrf_token
    session.setdefault("list", [])
    session.pop("user", None)
    session.rotate()
    return seen


def log_in(session: Session) -> dict[str, Any]:
    seen = read_each(session)
    login({"session": session}, ANN, idle_timeout=60)
    return seen
