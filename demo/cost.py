"""The bar at the foot of each page: ``this page: 2 store calls · 118 µs in the session layer``.

What the figures are, exactly:

* **store calls**: every call that reached the store while this page was made, from the first look to the commit.
* **microseconds**: wall-clock time inside ``SessionMiddleware``, less the time inside the application, plus the time
  that the application's own looks at the session spent in the store.

So it holds: finding the cookie, checking its signature, the load, splitting the record, the commit with its write and
its ``Set-Cookie``; and the calls of ``middleware.sessions`` on the page of devices. The first look at the session is
made here, right before the application's clock starts, or its computing would count as the application's; the paths
given as ``untouched`` are left alone, because they never look at all.

What it does not hold: what the session computes inside the application after that first look, which is decoding the
few values that the page reads, and making the CSRF token: under 10 µs on these pages. Nor the session layer of the POST
that led here, which was a request of its own. A wall clock counts all that passes: on a busy machine, other people's
work too.

The figure is known only after the commit, when the page is made already. So the page carries a placeholder of fixed
width, which is filled at the very end: ``Content-Length`` stays right. An application without such a bar needs nothing
of this file.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from wsgi_session.stores import Outcome, Record, Store

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

P = ParamSpec("P")
T = TypeVar("T")

#: What a page's template puts where the figures go. A comment, so that a page which is never filled shows nothing.
PLACEHOLDER = "<!--" + "cost" * 20 + "-->"


class _Meter:
    """What one request has cost so far. Times are seconds."""

    def __init__(self) -> None:
        self.calls = 0
        #: In the application, and in the server's ``start_response``.
        self.elsewhere = 0.0
        #: In the store, called from inside the application.
        self.store_inside = 0.0
        self.inside = False


#: Each request runs in its own thread (or greenlet), and so in its own context: nobody counts for anybody else.
_meter: ContextVar[_Meter | None] = ContextVar("meter", default=None)


class TimedStore(Store):
    """Any store, its calls counted and timed. It offers of the optional protocols what the store inside offers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.multiprocess = store.multiprocess
        # Attributes of the instance and not methods, so that ``isinstance(..., Sweeps)`` says the truth.
        for name in ("sweep", "of_owner", "count"):
            if hasattr(store, name):
                setattr(self, name, _timed(getattr(store, name)))

    @property
    def sweep_due(self) -> bool:
        return self.store.sweep_due

    @sweep_due.setter
    def sweep_due(self, due: bool) -> None:
        self.store.sweep_due = due

    def load(self, key: bytes, now: float) -> Record | None:
        return _timed(self.store.load)(key, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        _timed(self.store.create)(key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return _timed(self.store.replace)(key, record, version, now)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return _timed(self.store.rotate)(old, new, record, version, now)

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return _timed(self.store.touch)(key, touched, expires, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return _timed(self.store.delete)(key, version)

    def delete_many(self, keys: Sequence[bytes]) -> int:
        return _timed(self.store.delete_many)(keys)

    def ping(self) -> None:
        _timed(self.store.ping)()

    def close(self) -> None:
        self.store.close()


def _timed(method: Callable[P, T]) -> Callable[P, T]:
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        meter = _meter.get()
        if meter is None:
            return method(*args, **kwargs)
        begun = perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            meter.calls += 1
            if meter.inside:
                meter.store_inside += perf_counter() - begun

    return call


def clock(app: WSGIApplication, *, untouched: Container[str] = ()) -> WSGIApplication:
    """Stop the session layer's clock while ``app`` runs. Goes between ``SessionMiddleware`` and the application."""

    def clocked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        meter = _meter.get()
        if meter is None:
            return app(environ, start_response)
        if environ["PATH_INFO"] not in untouched:
            _ = environ["session"].state
        begun = perf_counter()
        meter.inside = True
        try:
            return app(environ, start_response)
        finally:
            meter.inside = False
            meter.elsewhere += perf_counter() - begun

    return clocked


def bar(app: WSGIApplication) -> WSGIApplication:
    """Fill in what the page cost. Goes around ``SessionMiddleware``."""

    def barred(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        meter = _Meter()

        def timed_start(status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None) -> Any:
            begun = perf_counter()
            try:
                return start_response(status, headers, exc_info)
            finally:
                meter.elsewhere += perf_counter() - begun

        token = _meter.set(meter)
        try:
            begun = perf_counter()
            body = app(environ, timed_start)
            seconds = perf_counter() - begun - meter.elsewhere + meter.store_inside
        finally:
            _meter.reset(token)
        if not isinstance(body, list):  # A file, or the empty body of HEAD: no page, no bar.
            return body
        # The list itself: it may be one with a close(), by which the middleware sweeps its store after the answer.
        body[:] = [_fill(chunk, meter.calls, seconds) for chunk in body]
        return body

    return barred


def _fill(page: bytes, calls: int, seconds: float) -> bytes:
    text = f"this page: {calls} store call{'' if calls == 1 else 's'} · {seconds * 1e6:.0f} µs in the session layer"
    return page.replace(PLACEHOLDER.encode(), text.encode().ljust(len(PLACEHOLDER)), 1)
