"""The base of the conformance suite: a store and a clock for each test, records, assertions and concurrent calls."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from wsgi_session.stores.contract import Record, Store
from wsgi_session.testing.clock import FakeClock

#: Seconds that a store may take for the calls of one race, before the test fails.
RACE_TIMEOUT = 120.0

OWNER = bytes(range(200, 232))
OTHER_OWNER = bytes(range(100, 132))


class StoreHarness:
    """Gives each test an empty ``store`` and a ``clock``, and closes the store afterwards.

    pytest runs it directly. Any other test runner has to call ``setup_method``, one test, then ``teardown_method``.
    """

    clock: FakeClock

    def make_store(self) -> Store:
        """Return a new, empty store. This is the only method that you must write."""
        raise NotImplementedError("Write make_store(self) -> Store, which returns a new, empty store.")

    def reopen(self, store: Store) -> Store:
        """Return another store object over the same data, as another process would have it.

        By default this is ``store`` itself, which is right for a store whose data only one object can reach.
        """
        return store

    def setup_method(self) -> None:
        """Prepare one test."""
        self.clock = FakeClock()
        self._stores: list[Store] = []

    def teardown_method(self) -> None:
        """Close the stores of one test."""
        for store in reversed(self._stores):
            store.close()

    @property
    def store(self) -> Store:
        """The store under test, which is created on first use, so that your own fixtures run before."""
        if not self._stores:
            self._stores.append(self.make_store())
        return self._stores[0]

    def another_store(self) -> Store:
        """Return the result of ``reopen``, and close it after the test."""
        other = self.reopen(self.store)
        if other is not self.store:
            self._stores.append(other)
        return other

    def record(self, data: bytes = b"data", **fields: object) -> Record:
        """Return a live record with a new version; its times have fractions, like those of real clocks."""
        now = self.clock()
        record = Record(data, new_version(), "a handle", now - 7.125, now + 0.25, now + 3600.5, None, True, None, "sid")
        return record._replace(**fields)  # type: ignore[arg-type]

    def create_record(self, key: bytes, data: bytes = b"data", **fields: object) -> Record:
        """Create a record under ``key`` and return it."""
        record = self.record(data, **fields)
        self.store.create(key, record, self.clock())
        return record

    def change_record(self, record: Record, data: bytes = b"changed", **fields: object) -> Record:
        """Return ``record`` with new data and a new version, as a writer that loaded it would write it."""
        return record._replace(data=data, version=new_version())._replace(**fields)  # type: ignore[arg-type]

    def assert_stored(self, key: bytes, expected: Record | None, label: str) -> None:
        """Fail unless a load of ``key`` returns ``expected``, also through another store object."""
        for store in (self.store, self.another_store()):
            assert_equal(store.load(key, self.clock()), expected, label)


def new_key() -> bytes:
    """Return a random key."""
    return os.urandom(32)


def new_version() -> bytes:
    """Return a random version."""
    return os.urandom(16)


def assert_equal(actual: object, expected: object, label: str) -> None:
    """Fail, showing both values, unless they are equal. (Python removes ``assert`` statements under ``-O``.)"""
    if actual != expected:
        raise AssertionError(f"{label}: expected {_short(expected)}, but got {_short(actual)}")


def assert_raises(error: type[Exception], call: Callable[[], object], label: str) -> None:
    """Fail unless ``call`` raises ``error``."""
    try:
        result = call()
    except error:
        return
    raise AssertionError(f"{label}: expected {error.__name__}, but the call returned {_short(result)}")


def run_concurrently(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call each function in a separate thread, all at the same moment, and return their results in order.

    Meanwhile the interpreter switches between threads much more often than usual, so that steps that are not atomic are
    likely to be interrupted.
    """
    results: dict[int, Any] = {}
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(functions))

    def run(number: int) -> None:
        try:
            barrier.wait(RACE_TIMEOUT)
            results[number] = functions[number]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(functions))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(RACE_TIMEOUT)
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]
    assert_equal(len(results), len(functions), f"threads that finished within {RACE_TIMEOUT:g} s")
    return [results[number] for number in range(len(functions))]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text):,} characters)"
