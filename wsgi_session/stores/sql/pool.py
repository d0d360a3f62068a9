"""The bounded pool of ``SQLStore``: how many connections a process has, and which operation gets the next one.

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
from itertools import takewhile
from typing import Any

from wsgi_session.stores.forks import FORK_TIMEOUT
from wsgi_session.stores.pool import FORK_CHECK_INTERVAL, FORK_CHECKS
from wsgi_session.stores.time_limits import raise_time_limit

#: Seconds between two checks of an operation that waits for a slot: a late reply of a server does not wake it.
CHECK_INTERVAL = 0.05


class Deadline:
    """The time at which the operation that uses a connection must end, in seconds of ``time.monotonic()``."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = 0.0

    def left(self) -> float:
        """Return the seconds left, at least 0.001, because drivers treat 0 as no limit."""
        return max(self.at - time.monotonic(), 0.001)


class Slot:
    """One of the pool's slots, with its connection if one is open."""

    # Set on the class, so that the attributes exist even if the constructor was interrupted.
    connection: Any = None
    #: An object that keeps the socket open if the driver closes it; see ``Driver.configure``.
    guard: Any = None
    #: When the connection was opened, in seconds of ``time.monotonic()``.
    opened = 0.0
    #: The id of the process that opened it.
    pid = 0
    #: The key of the session that the operation is about, or ``None``.
    key: bytes | None = None

    def __init__(self, generation: int, errors: tuple[type[Exception], ...]) -> None:
        self.pid = os.getpid()
        self._close_errors: tuple[type[Exception], ...] = (OSError, ValueError, AttributeError, *errors)
        #: How often the pool had been emptied when this slot was created.
        self.generation = generation
        self.deadline = Deadline()
        #: For a slot that was given up: whether the server has ended its statement.
        self.has_ended: Callable[[], bool] = bool
        #: For a slot that was given up: whether its statement has not ended for so long that the server may hang.
        self.hangs: Callable[[], bool] = bool

    def close(self) -> None:
        """Close the connection."""
        for resource in (self.connection, self.guard):
            if resource is not None:
                # A driver may raise, because it has closed a broken connection itself.
                try:
                    resource.close()
                except self._close_errors as error:
                    raise_time_limit(error)
        self.connection = self.guard = None

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        # In a forked process this would end the connection of the parent.
        if self.pid == getpid():
            self.close()


class Busy(Exception):
    """No slot became free in time."""


class _Waiter:
    """An operation that waits for a slot."""

    __slots__ = ("__weakref__", "key", "wake_up")

    def __init__(self, key: bytes | None) -> None:
        self.key = key
        self.wake_up = threading.Lock()
        self.wake_up.acquire()


class Pool:
    """At most ``size`` slots of one process; the slot released last is acquired first.

    Operations on one session get at most half of them, so that a lock on its row leaves the other half to other
    sessions. An operation that finds no free slot waits, first come, first served.
    """

    def __init__(self, size: int, errors: tuple[type[Exception], ...] = ()) -> None:
        self._size = size
        #: What a driver may raise when a connection is closed.
        self._errors = errors
        self._per_session = max(1, size // 2)
        self._lock = threading.Lock()
        self._slots: list[weakref.ref[Slot]] = []
        self._idle: list[Slot] = []
        #: Slots whose operation was given up while the server may still work on it. They stay taken until it has ended.
        self._given_up: list[Slot] = []
        # Slots that were given up and whose server may hang. They no longer count; there are at most ``size`` of them.
        self._abandoned: list[Slot] = []
        self._waiters: deque[weakref.ref[_Waiter]] = deque()
        self._generation = 0
        self._frozen_until = 0.0

    def acquire(self, key: bytes | None, deadline: float) -> Slot:
        """Return a slot for an operation on the session ``key``, or raise ``Busy`` at ``deadline``.

        The caller must ``release``, ``discard`` or ``give_up`` the slot.
        """
        with self._lock:
            if not self._waiters:
                slot = self._next_slot(key)
                if slot is not None:
                    return slot
            waiter = _Waiter(key)
            self._waiters.append(weakref.ref(waiter))
        left = deadline - time.monotonic()
        try:
            while True:
                with self._lock:
                    if self._is_first(waiter):
                        slot = self._next_slot(key)
                        if slot is not None:
                            return slot
                if left <= 0:
                    raise Busy
                wait = min(left, CHECK_INTERVAL)
                if not waiter.wake_up.acquire(timeout=wait):
                    left -= wait  # In a test that has stopped the clock, the deadline never comes.
                left = min(left, deadline - time.monotonic())
        finally:
            with self._lock:
                self._waiters = deque(other for other in self._waiters if other() not in (None, waiter))
                self._wake_first()

    def release(self, slot: Slot) -> None:
        """Return a slot whose connection is ready for the next operation."""
        with self._lock:
            if slot.generation == self._generation and not self._is_frozen():
                slot.key = None
                self._idle.append(slot)
                self._wake_first()
                return
        self.discard(slot)

    def discard(self, slot: Slot) -> None:
        """Return a slot whose connection has failed: close the connection."""
        slot.close()
        with self._lock:
            self._forget(slot)
            self._wake_first()

    def give_up(self, slot: Slot) -> None:
        """Return a slot whose statement may still be running on the server: it stays taken until the statement ends."""
        with self._lock:
            self._given_up.append(slot)
            self._free_ended()
            self._wake_first()

    def empty(self) -> None:
        """Close idle connections now, and busy ones when they are released."""
        with self._lock:
            self._generation += 1
            idle, self._idle = self._idle, []
        for slot in idle:
            self.discard(slot)

    def given_up(self) -> list[Any]:
        """Return the connections whose statement was given up and has not ended."""
        with self._lock:
            self._free_ended()
            return [slot.connection for slot in self._given_up]

    def freeze(self) -> None:
        """Let no operation begin until ``thaw``, wait for those that have, and close every connection."""
        self._frozen_until = time.monotonic() + FORK_TIMEOUT
        self.empty()
        # Counted, not timed: a test may have stopped the clock.
        for _ in range(FORK_CHECKS):
            if all(reference() is None for reference in self._slots):
                break
            time.sleep(FORK_CHECK_INTERVAL)

    def thaw(self) -> None:
        """Let operations begin again."""
        with self._lock:
            self._frozen_until = 0.0
            self._wake_first()

    # The methods below are called with the lock held.

    def _next_slot(self, key: bytes | None) -> Slot | None:
        if self._given_up:
            self._free_ended()
        if not self._is_allowed(key):
            return None
        if self._idle:
            slot = self._idle.pop()
        else:
            if len(self._slots) >= self._size:
                self._slots = [other for other in self._slots if other() is not None]
                if len(self._slots) >= self._size:
                    return None
            slot = Slot(self._generation, self._errors)
            self._slots.append(weakref.ref(slot))
        slot.key = key
        return slot

    def _is_allowed(self, key: bytes | None) -> bool:
        """Return whether an operation on this session may have a slot, if one is free."""
        if self._is_frozen():
            return False
        if key is None or len(self._slots) - len(self._idle) < self._per_session:
            return True
        slots = (reference() for reference in self._slots)
        return sum(slot is not None and slot.key == key for slot in slots) < self._per_session

    def _is_frozen(self) -> bool:
        return self._frozen_until > 0 and time.monotonic() < self._frozen_until

    def _is_first(self, waiter: _Waiter) -> bool:
        """Return whether no operation that may have a slot has waited for longer than ``waiter``."""
        before = takewhile(lambda other: other is not waiter, (reference() for reference in self._waiters))
        return not any(other is not None and self._is_allowed(other.key) for other in before)

    def _wake_first(self) -> None:
        """Wake the first waiting operation that may have a slot."""
        for reference in self._waiters:
            waiter = reference()
            if waiter is not None and self._is_allowed(waiter.key):
                with suppress(RuntimeError):  # It was woken already.
                    waiter.wake_up.release()
                return

    def _free_ended(self) -> None:
        """Free the slots whose given-up statement has ended, because its server has replied or is gone.

        Also free up to ``size`` slots whose server may hang: another server may have taken over, and no operation would
        reach it while all slots wait for the old one. Not more, because the old server may still be alive and running
        those statements.
        """
        for slot in [slot for slot in self._abandoned if slot.has_ended()]:
            self._abandoned.remove(slot)
            slot.close()
        for slot in list(self._given_up):
            if slot.has_ended():
                self._given_up.remove(slot)
                slot.close()
                self._forget(slot)
            elif len(self._abandoned) < self._size and slot.hangs():
                self._given_up.remove(slot)
                self._abandoned.append(slot)
                self._forget(slot)

    def _forget(self, slot: Slot) -> None:
        # This is a separate function, because Python 3.12 does not leave a `with` block properly if a signal handler
        # raises at the end of an iteration of a loop directly inside the block.
        self._slots = [other for other in self._slots if other() not in (None, slot)]
