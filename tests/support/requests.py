"""Requests for these tests: environs, and sessions behind the real middleware."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults

from hypothesis import strategies as st

from wsgi_session import Session, SessionMiddleware, StoreUnavailable, login
from wsgi_session.stores import Record, Store
from wsgi_session.stores.memory import MemoryStore

SECRET = "a secret for these tests alone, 3f9d0b6e"
URLENCODED = "application/x-www-form-urlencoded"
ANN = {"id": 5, "name": "Ann", "email": "ann@example.com"}
BOB = {"id": 6, "name": "Bob", "email": "bob@example.com"}

plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.just("email"), children),
    max_leaves=10,
)


def make_environ(
    path: str = "/", *, method: str = "GET", query: str = "", script: str = "", **more: Any
) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": script,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.input": BytesIO(),
    }
    setup_testing_defaults(environ)
    return {**environ, **more}


def with_body(body: bytes, content_type: str = URLENCODED, **more: Any) -> dict[str, Any]:
    """Return the environ of a POST whose input, as a server's socket does, can be read once."""
    return make_environ(
        method="POST",
        **{"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), "wsgi.input": Wire(body), **more},
    )


class Wire:
    """A body that can be read once, forwards, in small pieces; to ask for more than there is would block for ever."""

    def __init__(self, body: bytes, piece: int = 1000) -> None:
        self._left = BytesIO(body)
        self._size = len(body)
        self._piece = piece

    @property
    def left(self) -> int:
        """Bytes that nobody has read."""
        return self._size - self._left.tell()

    def read(self, size: int) -> bytes:
        assert size <= self.left, f"asked for {size} bytes where {self.left} are left: a socket blocks here"
        return self._left.read(min(size, self._piece))


class Site:
    """One application behind the real middleware, and a visitor who keeps its cookie."""

    def __init__(self, store: Store | None = None, **options: Any) -> None:
        self._handler: Callable[[dict[str, Any]], Any] = lambda environ: None
        self.middleware = SessionMiddleware(self._app, secret=SECRET, store=store or MemoryStore(), **options)
        self.cookie = ""
        self.status = ""
        self.headers: list[tuple[str, str]] = []

    def _app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self._result = self._handler(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    def visit(self, handler: Callable[[dict[str, Any]], Any], environ: dict[str, Any] | None = None) -> Any:
        """Let ``handler`` see one request's environ; return what it returned."""
        environ = make_environ() if environ is None else environ
        if self.cookie:
            environ["HTTP_COOKIE"] = self.cookie
        self._handler, self._result = handler, None
        body = self.middleware(environ, self._start)
        list(body)
        getattr(body, "close", lambda: None)()
        for name, value in self.headers:
            if name.lower() == "set-cookie":
                self.cookie = value.partition(";")[0]
        return self._result

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        self.status, self.headers = status, list(headers)
        return lambda data: None


def session_in(environ: dict[str, Any]) -> Session:
    session = environ["session"]
    assert isinstance(session, Session), type(session)
    return session


class Outage(MemoryStore):
    """A store whose engine is down for reading."""

    down = False

    def load(self, key: bytes, now: float) -> Record | None:
        if self.down:
            raise StoreUnavailable("the engine does not answer")
        return super().load(key, now)


def site_in_an_outage(key: str = "session") -> Site:
    """Return a site where Ann is logged in and whose store is out of order."""
    store = Outage()
    site = Site(store, environ_key=key)
    site.visit(lambda environ: login(environ, ANN, key=key))
    assert site.cookie
    store.down = True
    return site
