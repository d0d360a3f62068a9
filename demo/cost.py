"""The bar at the foot of each page: ``this page: 2 store calls · 118 µs in the session layer``.

What the figures mean:

* **store calls**: the calls to the store while this page was made, from the first use of the session to the commit.
* **microseconds**: wall-clock time inside ``SessionMiddleware``, minus the time inside the application, plus the time
  that the store took for calls made from inside the application.

The microseconds include finding the cookie, checking its signature, loading and splitting the record, and the commit
with its write and its ``Set-Cookie``; on the page of devices, also the calls of ``middleware.sessions``. The session is
loaded here, just before the application's time starts: otherwise the load would count as the application's time. The
paths in ``untouched`` are skipped, because their pages never use the session.

They do not include the session's work inside the application after the load: decoding the few values that the page
reads, and making the CSRF token (under 10 µs on these pages). They do not include the POST that led to this page, which
was a separate request. On a busy machine, wall-clock time also includes the work of other processes.

The figures are known only after the commit, when the page is already rendered. So the page contains a placeholder of
fixed width, which is replaced at the very end without changing ``Content-Length``. An application without such a bar
does not need this file.
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

#: The templates contain this in place of the figures. It is an HTML comment, which is invisible if nothing replaces it.
PLACEHOLDER = "<!--" + "cost" * 20 + "-->"


class _Meter:
    """The cost of one request so far. Times are in seconds."""

    def __init__(self) -> None:
        self.calls = 0
        #: Time in the application and in the server's ``start_response``.
        self.elsewhere = 0.0
        #: Time in the store, for calls from inside the application.
        self.store_inside = 0.0
        self.inside = False


#: Each request runs in its own thread (or greenlet), and so in its own context: it counts only its own calls.
_meter: ContextVar[_Meter | None] = ContextVar("meter", default=None)


class TimedStore(Store):
    """Wraps a store to count and time its calls. Supports the same optional protocols as the wrapped store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.multiprocess = store.multiprocess
        # Attributes of the instance, so that ``isinstance(..., Sweeps)`` is true only if the wrapped store has them.
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
    """Measure the time inside ``app``, to subtract it. Put this between ``SessionMiddleware`` and the application."""

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
    """Replace the placeholder by the figures. Put this around ``SessionMiddleware``."""

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
        if not isinstance(body, list):  # A file, or the empty body of HEAD: there is no placeholder.
            return body
        # Change the list in place: it may be a subclass whose close() sweeps the store after the response.
        body[:] = [_fill(chunk, meter.calls, seconds) for chunk in body]
        return body

    return barred


def _fill(page: bytes, calls: int, seconds: float) -> bytes:
    text = f"this page: {calls} store call{'' if calls == 1 else 's'} · {seconds * 1e6:.0f} µs in the session layer"
    return page.replace(PLACEHOLDER.encode(), text.encode().ljust(len(PLACEHOLDER)), 1)
