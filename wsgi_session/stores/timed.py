"""A store that reports each call of another store, with the time that it took, in the event ``store_call``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from wsgi_session.config.options import check_flag
from wsgi_session.errors import KeyExists, StoreUnavailable
from wsgi_session.events import Events
from wsgi_session.stores.contract import Counts, ListsOwners, Outcome, Record, Scans, Store, Sweeps
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.forwarding import ForwardingStore

T = TypeVar("T")

# Any other call that did not raise is "ok", whatever it found.
_OUTCOMES = {Outcome.CONFLICT: "conflict", Outcome.GONE: "gone"}


class TimedStore(ForwardingStore):
    """Forward each call to ``inner``, and report it."""

    def __init__(self, inner: Store, events: Events) -> None:
        super().__init__(inner)
        self._events = events
        if isinstance(inner, Sweeps):
            self.sweep = partial(self._call, "sweep", inner.sweep)
        if isinstance(inner, Counts):
            self.count = partial(self._call, "count", inner.count)
        if isinstance(inner, ListsOwners):
            self.of_owner = partial(self._list, "of_owner", inner.of_owner)
        if isinstance(inner, Scans):
            self.scan = partial(self._list, "scan", inner.scan)

    def load(self, key: bytes, now: float) -> Record | None:
        return self._call("load", self.inner.load, key, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._call("create", self.inner.create, key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._call("replace", self.inner.replace, key, record, version, now)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._call("rotate", self.inner.rotate, old, new, record, version, now)

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return self._call("touch", self.inner.touch, key, touched, expires, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return self._call("delete", self.inner.delete, key, version)

    def delete_many(self, keys: Sequence[bytes]) -> int:
        return self._call("delete_many", self.inner.delete_many, keys)

    def await_replicas(self) -> None:
        self._call("await_replicas", self.inner.await_replicas)

    def ping(self) -> None:
        self._call("ping", self.inner.ping)

    def _call(self, operation: str, method: Callable[..., T], *arguments: Any) -> T:
        started = perf_counter()
        try:
            result = method(*arguments)
        except BaseException as error:
            self._report(operation, perf_counter() - started, _outcome_of(error))
            raise
        outcome = _OUTCOMES.get(result, "ok") if isinstance(result, Outcome) else "ok"
        self._report(operation, perf_counter() - started, outcome)
        return result

    def _list(self, operation: str, method: Callable[..., Iterator[T]], *arguments: Any) -> Iterator[T]:
        """Yield what ``method`` yields, and report the time that the inner store took for all of it."""
        sessions, seconds, outcome = method(*arguments), 0.0, "ok"
        try:
            while True:
                started = perf_counter()
                try:
                    session = next(sessions, None)
                except BaseException as error:
                    outcome = _outcome_of(error)
                    raise
                finally:
                    seconds += perf_counter() - started
                if session is None:
                    return
                yield session
        finally:
            self._report(operation, seconds, outcome)

    def _report(self, operation: str, seconds: float, outcome: str) -> None:
        self._events("store_call", operation=operation, system=self.inner.system, seconds=seconds, outcome=outcome)


def timed(store: Store, events: Events, report_store_calls: bool) -> Store:
    """Return a store that reports the calls of ``store``; ``store`` itself without the option, or for ``cookie://``."""
    if not check_flag("report_store_calls", report_store_calls) or isinstance(store, CookieStore):
        return store
    return TimedStore(store, events)


def _outcome_of(error: BaseException) -> str:
    if isinstance(error, KeyExists):
        return "key_exists"
    return "unavailable" if isinstance(error, StoreUnavailable) else "error"
