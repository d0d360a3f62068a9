"""A bounded pool of connections, for SQLite and Redis: each is used by one operation at a time, and by one process.

A slot counts as taken for as long as its ``Slot`` object exists. So nothing has to be undone if a signal handler raises
between any two steps (as celery's soft time limit does): a slot that was dropped is free again.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.forks import FORK_TIMEOUT, new_fork_mark

#: If at least this part of an operation's timeout is left, the connection's own timeout is used. It is not much longer.
NEARLY_ALL = 0.9
#: How often a fork checks whether the operations of other threads have ended, and the seconds between two checks.
#: All waits are counted, not timed: in a test that has stopped the clock, a timed wait would never end.
FORK_CHECKS, FORK_CHECK_INTERVAL = 1_000, 0.001
#: Seconds between two checks of an operation that waits for a slot, in case the wake-up call was interrupted.
CHECK_INTERVAL = 0.05


class Slot:
    """One of a pool's slots. It has a connection once the operation that acquired it has opened one."""

    __slots__ = ("__weakref__", "_close", "_pid", "connection")

    def __init__(self, close: Callable[[Any], object]) -> None:
        self.connection: Any = None
        self._close = close
        self._pid = os.getpid()

    def close(self) -> None:
        """Close the connection, if one is open."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self._close(connection)

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        # An inherited slot belongs to the parent. A slot whose constructor was interrupted lacks the attributes.
        with suppress(AttributeError):
            if self._pid == getpid():
                self.close()


class _Waiter:
    """An operation that waits for a slot."""

    __slots__ = ("__weakref__", "wake_up")

    def __init__(self) -> None:
        self.wake_up = threading.Lock()
        self.wake_up.acquire()


class Pool:
    """At most ``size`` slots of one process; the slot released last is acquired first.

    An operation that finds no free slot waits for at most ``timeout`` seconds, first come, first served. ``close``
    closes a connection. ``engine`` and ``option`` are for the message that all connections were busy. ``per_process``
    maps a process id to the pool that replaces this one in that process.

    To release a slot, append it to ``idle``, and call ``rebalance`` unless ``uncontended``. Callers do this themselves:
    a signal handler may run at the beginning of a function, but not between a ``try`` and that append.
    """

    #: Whether ``acquire`` raises after ``close``. Otherwise each slot is closed when it is released.
    raises_when_closed = True

    def __init__(
        self,
        size: int,
        timeout: float,
        close: Callable[[Any], object],
        engine: str,
        option: str,
        inherited: Pool | None = None,
    ) -> None:
        self.pid = os.getpid()
        #: Item 0 is false in a child that inherited this pool.
        self.fork_mark = new_fork_mark()
        self.per_process: dict[int, Pool] = {}
        #: Used without the lock, because ``pop`` and ``append`` of a list are atomic.
        self.idle: list[Slot] = []
        #: Whether slots can be taken from ``idle`` and returned to it without any further step.
        self.uncontended = True
        # The pool of the parent process. It is never freed: closing an inherited connection would drop the POSIX locks
        # that this process has on the file.
        self._inherited = inherited
        self._size = size
        self._timeout = timeout
        self._close = close
        self._busy = f"All {size} connections to {engine} were busy for {timeout:g} s. Increase {option}."
        self._lock = threading.Lock()
        self._slots: list[weakref.ref[Slot]] = []
        self._waiters: deque[weakref.ref[_Waiter]] = deque()
        self._closed = False
        self._frozen_until = 0.0

    def acquire(self, timeout: float | None = None) -> Slot:
        """Return a slot; the caller must ``release`` or ``discard`` it.

        Raises ``StoreUnavailable`` if none is free within ``timeout`` seconds (``None``: within the pool's timeout).
        """
        if self.uncontended:
            try:
                return self.idle.pop()
            except IndexError:
                pass
        return self._acquire_in_turn(self._timeout if timeout is None else timeout)

    def release(self, slot: Slot) -> None:
        """Return a slot whose connection is ready for the next operation."""
        self.idle.append(slot)
        if not self.uncontended:
            self.rebalance()

    def discard(self, slot: Slot | None) -> None:
        """Return a slot whose connection is not ready: close it, which rolls back its open transaction."""
        if slot is not None:
            try:
                slot.close()
            finally:
                with self._lock:
                    self._forget(slot)
                    self._rebalance()

    def rebalance(self) -> None:
        """Wake the first waiter if a slot is free for it. After ``close`` and during a fork, close idle connections."""
        with self._lock:
            self._rebalance()

    def close_idle(self) -> None:
        """Close all idle connections."""
        with suppress(IndexError):
            while True:
                self.discard(self.idle.pop())

    def close(self) -> None:
        """Close idle connections now, and busy ones when they are released."""
        with self._lock:
            self._closed = True
            self._rebalance()

    def count(self) -> int:
        """Return the number of slots in existence, including idle ones."""
        return sum(reference() is not None for reference in self._slots)

    def _acquire_in_turn(self, timeout: float) -> Slot:
        waiter = _Waiter()
        with self._lock:
            self._waiters.append(weakref.ref(waiter))
            self.uncontended = False
        try:
            while True:
                with self._lock:
                    if self._closed and self.raises_when_closed:
                        raise StoreUnavailable("The store is closed.")
                    slot = self._free_slot() if self._first_waiter() is waiter else None
                if slot is not None:
                    return slot
                if timeout <= 0:
                    raise StoreUnavailable(self._busy)
                wait = min(timeout, CHECK_INTERVAL)
                if not waiter.wake_up.acquire(timeout=wait):
                    timeout -= wait
        finally:
            with self._lock:
                self._waiters = deque(other for other in self._waiters if other() not in (None, waiter))
                self._rebalance()

    def freeze(self) -> None:
        """Close every connection and let none be opened until ``thaw``. Called before a fork.

        SQLite keeps its file locks in a table of the process. A child that inherits an open connection inherits the
        table too. It then believes that it holds locks which it does not hold, and can lose a write-ahead log, even
        through connections of its own. So no connection is open during a fork, except one that stays busy for longer
        than this waits.

        An inherited pool is left alone: its connections belong to the parent. If nothing calls ``thaw``, the pool thaws
        after ``FORK_TIMEOUT`` seconds.
        """
        if not self.fork_mark[0]:
            return
        self._frozen_until = time.monotonic() + FORK_TIMEOUT
        self.rebalance()
        for _ in range(FORK_CHECKS):
            if not self.count():
                break
            time.sleep(FORK_CHECK_INTERVAL)
            self.rebalance()

    def thaw(self, *, in_child: bool = False) -> None:
        """Let connections be opened again. Does nothing in a child, where a missing thread may hold the lock."""
        if self.fork_mark[0] and not in_child:
            self._frozen_until = 0.0
            self.rebalance()

    # The methods below are called with the lock held.

    def _first_waiter(self) -> _Waiter | None:
        return next(filter(None, (reference() for reference in self._waiters)), None)

    def _free_slot(self) -> Slot | None:
        if time.monotonic() < self._frozen_until:
            return None
        with suppress(IndexError):
            return self.idle.pop()
        if len(self._slots) >= self._size:
            self._slots = [other for other in self._slots if other() is not None]
            if len(self._slots) >= self._size:
                return None
        slot = Slot(self._close)
        self._slots.append(weakref.ref(slot))
        return slot

    def _forget(self, slot: Slot) -> None:
        # This is a separate function, because Python 3.12 does not leave a `with` block properly if a signal handler
        # raises at the end of an iteration of a loop directly inside the block.
        self._slots = [other for other in self._slots if other() not in (None, slot)]

    def _rebalance(self) -> None:
        stopped = self._closed or time.monotonic() < self._frozen_until
        if stopped:
            with suppress(IndexError):
                while True:
                    self.idle.pop().close()
        self.uncontended = not (stopped or self._waiters)
        first = self._first_waiter()
        # Do not wake it without need: a wait that ends early does not count against its timeout.
        if first is not None and (stopped or self.idle or len(self._slots) < self._size):
            with suppress(RuntimeError):  # It was woken already.
                first.wake_up.release()
