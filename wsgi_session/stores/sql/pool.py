"""The bounded pool of ``SQLStore``: how many connections a process has, and which operation gets the next one.

A place counts as taken for as long as its object exists. So nothing has to be undone when a signal handler raises
between any two steps (celery's soft time limit does): a place that was dropped is free again.
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

#: Seconds between two looks of an operation that waits for a place: a server's late answer rings no bell.
LOOK_EVERY = 0.05
#: Seconds that a fork waits for the operations of other threads.
FORK_PATIENCE = 1.0
#: Seconds after which a pool that was frozen for a fork thaws by itself, in case the end of the fork was interrupted.
FORK_LIMIT = 10.0


class Limit:
    """When the operation that uses a connection has to be done, in seconds of ``time.monotonic()``."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = 0.0

    def left(self) -> float:
        """Return how many seconds are left: never less than a little, as drivers take 0 for no limit at all."""
        return max(self.at - time.monotonic(), 0.001)


class Place:
    """A place in the pool, with its connection if one is open."""

    # Set here, so that an interrupted constructor leaves nothing unset.
    connection: Any = None
    #: What keeps the socket open if the driver closes it; see ``Driver.adopt``.
    guard: Any = None
    #: When the connection was opened, in seconds of ``time.monotonic()``.
    opened = 0.0
    #: In which process.
    pid = 0
    #: Which session the operation is about, or ``None``.
    key: bytes | None = None

    def __init__(self, generation: int, errors: tuple[type[Exception], ...]) -> None:
        self.pid = os.getpid()
        self._errors = errors
        #: How often the pool had been emptied when this place was made.
        self.generation = generation
        self.limit = Limit()
        #: Of a place that was given up: whether the server has ended its statement.
        self.has_ended: Callable[[], bool] = bool
        #: Whether that takes so long that the server may hang.
        self.hangs: Callable[[], bool] = bool

    def close(self) -> None:
        """Close the connection."""
        for resource in (self.connection, self.guard):
            if resource is not None:
                # A driver may complain that it has closed a broken connection itself. (What a signal handler raises is
                # not suppressed: it may be a time limit.)
                with suppress(OSError, ValueError, AttributeError, *self._errors):
                    resource.close()
        self.connection = self.guard = None

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        # In a fork, to close it would end the connection of the process that it belongs to.
        if self.pid == getpid():
            self.close()


class Busy(Exception):
    """No place became free in time."""


class _Ticket:
    """A place in the line of those that wait."""

    __slots__ = ("__weakref__", "bell", "key")

    def __init__(self, key: bytes | None) -> None:
        self.key = key
        self.bell = threading.Lock()
        self.bell.acquire()


class Pool:
    """The places of one process, at most ``size``; the one given back last is taken first.

    Operations on one session get at most half of them, so that a lock on its row leaves the other half to everybody
    else. An operation that finds no place stands in line, first come first served.
    """

    def __init__(self, size: int, errors: tuple[type[Exception], ...] = ()) -> None:
        self._size = size
        #: What a driver may raise where a connection is closed.
        self._errors = errors
        self._share = max(1, size // 2)
        self._lock = threading.Lock()
        self._places: list[weakref.ref[Place]] = []
        self._idle: list[Place] = []
        #: Places whose operation was given up while the server may still be at it: taken until it has ended.
        self._given_up: list[Place] = []
        # Places that were given up and whose server may hang. They count no more; there are at most ``size`` of them.
        self._left_behind: list[Place] = []
        self._line: deque[weakref.ref[_Ticket]] = deque()
        self._generation = 0
        self._frozen_until = 0.0

    def take(self, key: bytes | None, deadline: float) -> Place:
        """Return a place for an operation on the session ``key``, or raise ``Busy`` at ``deadline``.

        ``give``, ``discard`` or ``give_up`` follows.
        """
        with self._lock:
            if not self._line:
                place = self._next(key)
                if place is not None:
                    return place
            ticket = _Ticket(key)
            self._line.append(weakref.ref(ticket))
        try:
            while True:
                with self._lock:
                    if self._is_first(ticket):
                        place = self._next(key)
                        if place is not None:
                            return place
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Busy
                ticket.bell.acquire(timeout=min(left, LOOK_EVERY))
        finally:
            with self._lock:
                self._line = deque(other for other in self._line if other() not in (None, ticket))
                self._ring()

    def give(self, place: Place) -> None:
        """Take back a place whose connection is ready for the next operation."""
        with self._lock:
            if place.generation == self._generation and not self._is_frozen():
                place.key = None
                self._idle.append(place)
                self._ring()
                return
        self.discard(place)

    def discard(self, place: Place) -> None:
        """Take back a place whose connection is broken: close it."""
        place.close()
        with self._lock:
            self._forget(place)
            self._ring()

    def give_up(self, place: Place) -> None:
        """Take back a place whose statement the server may still be carrying out: it stays taken until that ends."""
        with self._lock:
            self._given_up.append(place)
            self._let_go()
            self._ring()

    def empty(self) -> None:
        """Close what is idle, and what is taken now when it is given back."""
        with self._lock:
            self._generation += 1
            idle, self._idle = self._idle, []
        for place in idle:
            self.discard(place)

    def given_up(self) -> list[Any]:
        """Return the connections on which a statement that was given up has not ended."""
        with self._lock:
            self._let_go()
            return [place.connection for place in self._given_up]

    def freeze(self) -> None:
        """Let no operation begin until ``thaw``, wait for those that have, and close every connection."""
        self._frozen_until = time.monotonic() + FORK_LIMIT
        self.empty()
        patience = time.monotonic() + FORK_PATIENCE
        while any(reference() is not None for reference in self._places) and time.monotonic() < patience:
            time.sleep(0.001)

    def thaw(self) -> None:
        with self._lock:
            self._frozen_until = 0.0
            self._ring()

    # What follows is called with the lock.

    def _next(self, key: bytes | None) -> Place | None:
        if self._given_up:
            self._let_go()
        if not self._may(key):
            return None
        if self._idle:
            place = self._idle.pop()
        else:
            if len(self._places) >= self._size:
                self._places = [other for other in self._places if other() is not None]
                if len(self._places) >= self._size:
                    return None
            place = Place(self._generation, self._errors)
            self._places.append(weakref.ref(place))
        place.key = key
        return place

    def _may(self, key: bytes | None) -> bool:
        """Return whether an operation on this session may have a place, if there is one."""
        if self._is_frozen():
            return False
        if key is None or len(self._places) - len(self._idle) < self._share:
            return True
        places = (reference() for reference in self._places)
        return sum(place is not None and place.key == key for place in places) < self._share

    def _is_frozen(self) -> bool:
        return self._frozen_until > 0 and time.monotonic() < self._frozen_until

    def _is_first(self, ticket: _Ticket) -> bool:
        """Return whether nobody stands before ``ticket`` in the line who may have a place."""
        before = takewhile(lambda other: other is not ticket, (reference() for reference in self._line))
        return not any(other is not None and self._may(other.key) for other in before)

    def _ring(self) -> None:
        """Wake the first in line who may have a place."""
        for reference in self._line:
            ticket = reference()
            if ticket is not None and self._may(ticket.key):
                with suppress(RuntimeError):  # It was rung for already.
                    ticket.bell.release()
                return

    def _let_go(self) -> None:
        """Free the places whose given-up statement has ended: its server has answered, or is gone.

        Of those that hang, as many as the pool has places: another server may have taken over, and nobody would find it
        while all places wait for the old one. No more, as a server that was not told to end them may be alive.
        """
        for place in [place for place in self._left_behind if place.has_ended()]:
            self._left_behind.remove(place)
            place.close()
        for place in list(self._given_up):
            if place.has_ended():
                self._given_up.remove(place)
                place.close()
                self._forget(place)
            elif len(self._left_behind) < self._size and place.hangs():
                self._given_up.remove(place)
                self._left_behind.append(place)
                self._forget(place)

    def _forget(self, place: Place) -> None:
        # In a function of its own: Python 3.12 leaves a `with` without its end if a signal handler raises at the end of
        # a round of a loop that stands right in it.
        self._places = [other for other in self._places if other() not in (None, place)]
