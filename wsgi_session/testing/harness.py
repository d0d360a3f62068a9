"""What every test of the conformance suite stands on: a store, records, comparisons, threads that start at once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from wsgi_session.stores.contract import Record, Store
from wsgi_session.testing.clock import FakeClock

#: Seconds that a store may take for one race, before it counts as hung.
PATIENCE = 120.0

OWNER = bytes(range(200, 232))
OTHER_OWNER = bytes(range(100, 132))


class StoreHarness:
    """Gives each test an empty ``store`` and a ``clock``, and closes the store afterwards.

    Runs under pytest as it is; any other runner calls ``setup_method``, one test, ``teardown_method``.
    """

    clock: FakeClock

    def make_store(self) -> Store:
        """Return a new, empty store: the one thing that you have to write."""
        raise NotImplementedError("write make_store(self) -> Store: it returns a new, empty store")

    def reopen(self, store: Store) -> Store:
        """Return another handle to the same data, as another process would have it.

        A store whose data nobody else can reach stays with this: the store itself.
        """
        return store

    def setup_method(self) -> None:
        self.clock = FakeClock()
        self._stores: list[Store] = []

    def teardown_method(self) -> None:
        for store in reversed(self._stores):
            store.close()

    @property
    def store(self) -> Store:
        """The store under test: made when it is first asked for, so that fixtures of yours come before it."""
        if not self._stores:
            self._stores.append(self.make_store())
        return self._stores[0]

    def another_handle(self) -> Store:
        handle = self.reopen(self.store)
        if handle is not self.store:
            self._stores.append(handle)
        return handle

    def record(self, data: bytes = b"data", **fields: object) -> Record:
        """Return a live record with a version of its own; times have fractions, as clocks have."""
        now = self.clock()
        whole = Record(data, new_version(), "a handle", now - 7.125, now + 0.25, now + 3600.5, None, True, None, "sid")
        return whole._replace(**fields)  # type: ignore[arg-type]

    def created(self, key: bytes, data: bytes = b"data", **fields: object) -> Record:
        """Create a record under ``key`` and return it."""
        record = self.record(data, **fields)
        self.store.create(key, record, self.clock())
        return record

    def changed(self, record: Record, data: bytes = b"changed", **fields: object) -> Record:
        """Return what a writer that loaded ``record`` would write."""
        return record._replace(data=data, version=new_version())._replace(**fields)  # type: ignore[arg-type]

    def finds(self, key: bytes, wanted: Record | None, what: str) -> None:
        """Fail unless exactly ``wanted`` is under ``key``, now and through another handle."""
        for store in (self.store, self.another_handle()):
            equal(store.load(key, self.clock()), wanted, what)


def new_key() -> bytes:
    return os.urandom(32)


def new_version() -> bytes:
    return os.urandom(16)


def equal(seen: object, wanted: object, what: str) -> None:
    """Fail, saying what was seen, unless both are equal. (``assert`` proves nothing under ``python -O``.)"""
    if seen != wanted:
        raise AssertionError(f"{what}: saw {_short(seen)}, wanted {_short(wanted)}")


def refuses(error: type[Exception], call: Callable[[], object], what: str) -> None:
    """Fail unless ``call`` raises ``error``."""
    try:
        result = call()
    except error:
        return
    raise AssertionError(f"{what}: wanted {error.__name__}, but the call returned {_short(result)}")


def at_once(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call each function in a thread of its own, all released together, and return their results in order.

    Threads change places far more often than usual meanwhile, so that what is not atomic is caught in the act.
    """
    results: dict[int, Any] = {}
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(functions))

    def run(place: int) -> None:
        try:
            barrier.wait(PATIENCE)
            results[place] = functions[place]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(functions))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]
    equal(len(results), len(functions), f"threads that came back within {PATIENCE:g} s")
    return [results[place] for place in range(len(functions))]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text):,} characters)"
