"""Requests that pause between any two steps, and a store that fails, or runs other requests, at a chosen call.

Each request has its own thread, and only one thread runs at a time: the test decides the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

from wsgi_session import SessionMiddleware, StoreUnavailable
from wsgi_session.stores import ListsOwners, Outcome, OwnedSession, Record, Scans, Store

Action = Callable[[Any], Any]
#: Seconds until a step counts as hung.
PATIENCE = 60.0


@dataclass
class Answer:
    """The answer that the client received."""

    code: int
    #: The cookie that came with it: its new value, "" if it was removed, ``None`` if there was none.
    cookie: str | None = None


class Held:
    """A request whose application does one action each time the test says so, and answers when the test says so."""

    def __init__(self, middleware: SessionMiddleware, cookie: str | None) -> None:
        self._middleware = middleware
        self._environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", "test.held": self}
        if cookie is not None:
            self._environ["HTTP_COOKIE"] = f"sid={cookie}"
        self._told: SimpleQueue[Action | int] = SimpleQueue()
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._answer = Answer(0)
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def do(self, action: Action) -> Any:
        """Return what ``action(session)`` returned; an ``Answer`` if it ended the request."""
        return self._tell(action)

    def finish(self, code: int) -> Answer:
        """Let the application answer with a status (0: raise an error), and return what the client got."""
        answer: Answer = self._tell(code)
        return answer

    def _tell(self, what: Action | int) -> Any:
        self._told.put(what)
        done = self._done.get(timeout=PATIENCE)
        if isinstance(done, Answer):
            self._thread.join(PATIENCE)
        if isinstance(done, BaseException):
            raise done
        return done

    def _serve(self) -> None:
        try:
            body = self._middleware(self._environ, self._start_response)
            close = getattr(body, "close", None)
            if close is not None:
                close()
        except _Failed:
            self._answer = Answer(500)
        except BaseException as error:
            self._done.put(error)
            return
        self._done.put(self._answer)

    def app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Do the actions that the test sends. Leave ``StoreUnavailable`` to the middleware, as applications do."""
        while callable(told := self._told.get()):
            self._done.put(told(environ["session"]))
        if told == 0:
            raise _Failed
        start_response(f"{told} Said", [("Content-Type", "text/plain")])
        return [b"page"]

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        cookies = [value for name, value in headers if name == "Set-Cookie"]
        assert len(cookies) < 2, cookies
        self._answer = Answer(int(status[:3]), cookies[0].partition(";")[0].removeprefix("sid=") if cookies else None)


def dispatch(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The application of every held request."""
    held: Held = environ["test.held"]
    return held.app(environ, start_response)


class _Failed(Exception):
    """An error that the application raises."""


@dataclass
class Trouble:
    """A failure, or other requests, at one of the store calls of a step."""

    #: The number of that call, from 0.
    at: int
    #: "refused" (known not to be done), "lost" (not done, but the caller cannot tell), "applied" (done, but the caller
    #: cannot tell), or "" if it succeeds.
    failure: str
    #: How many calls from that one on fail.
    times: int = 1
    #: Whether other requests run at that call: before it, if it succeeds or is lost; after it, if it was applied.
    others: bool = False


class Troubles:
    """Counts the calls of one store, or of several, and makes the expected trouble."""

    def __init__(self) -> None:
        self._trouble: Trouble | None = None
        self._others: Callable[[], None] = lambda: None
        self._calls = 0

    def expect(self, trouble: Trouble, others: Callable[[], None]) -> None:
        self._trouble, self._others, self._calls = trouble, others, 0

    def calm(self) -> None:
        self._trouble = None

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        call = self._calls
        self._calls += 1
        trouble = self._trouble
        if trouble is None or not trouble.at <= call < trouble.at + trouble.times:
            return method(*arguments)
        if trouble.failure == "applied":
            method(*arguments)
        if trouble.others:
            self.calm()
            self._others()
        if trouble.failure:
            raise StoreUnavailable("trouble", answer_lost=trouble.failure != "refused")
        return method(*arguments)


class TroubledStore(Store):
    """Passes every call on to another store, unless ``troubles`` makes it fail."""

    def __init__(self, inner: Store, troubles: Troubles) -> None:
        self.inner = inner
        self.multiprocess = inner.multiprocess
        self._troubles = troubles

    def load(self, key: bytes, now: float) -> Record | None:
        loaded: Record | None = self._pass_on("load", key, now)
        return loaded

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._pass_on("create", key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome: Outcome = self._pass_on("replace", key, record, version, now)
        return outcome

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome: Outcome = self._pass_on("rotate", old, new, record, version, now)
        return outcome

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        alive: bool = self._pass_on("touch", key, touched, expires, now)
        return alive

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        there: bool = self._pass_on("delete", key, version)
        return there

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        assert isinstance(self.inner, ListsOwners)
        found: Iterator[OwnedSession] = self._pass_on("of_owner", owner, now)
        return found

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        assert isinstance(self.inner, Scans)
        return self.inner.scan(now)

    def ping(self) -> None:
        self._pass_on("ping")

    def close(self) -> None:
        self.inner.close()

    def _pass_on(self, name: str, *arguments: Any) -> Any:
        return self._troubles.call(getattr(self.inner, name), *arguments)
