"""A bounded pool of connections, for SQLite and Redis: taken per operation, never in two threads, never across a fork.

A place counts as taken for as long as its object exists. So nothing has to be undone where a signal handler raises
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
from typing import Any

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.forks import FORK_LIMIT, new_mark

#: With at least this part of an operation's time-out left, the time-out of a connection ends it soon enough.
NEARLY_ALL = 0.9
#: How often a fork looks whether the operations of other threads have ended, and seconds between two looks. All waits
#: are counted, not timed: in a test that has stopped the clock, the end would never come.
FORK_LOOKS, FORK_NAP = 1_000, 0.001
#: Seconds between two looks of an operation that waits for a place, in case the return of one was interrupted.
LOOK_EVERY = 0.05


class Place:
    """A place in a pool, with its connection once the operation that took it has opened one."""

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
        # An inherited place is the parent's. A place whose constructor was interrupted has no connection.
        with suppress(AttributeError):
            if self._pid == getpid():
                self.close()


class _Turn:
    """A place in the line of those that wait."""

    __slots__ = ("__weakref__", "bell")

    def __init__(self) -> None:
        self.bell = threading.Lock()
        self.bell.acquire()


class Pool:
    """The places of one process, at most ``size``; the last one given back is the first one taken.

    An operation that finds no free place stands in line, first come first served, for at most ``patience`` seconds.
    ``close`` closes a connection. ``engine`` and ``advice`` are for the message that all were busy. ``heirs`` holds the
    pool that comes after this one, by process.

    To give a place back, append it to ``idle``, and call ``serve`` unless ``calm``: no signal handler runs between a
    ``try`` around the operation and that append, as one would at the beginning of a function.
    """

    #: Whether no place is given any more after ``close``; otherwise each is closed when it is given back.
    ends = True

    def __init__(
        self,
        size: int,
        patience: float,
        close: Callable[[Any], object],
        engine: str,
        advice: str,
        inherited: Pool | None = None,
    ) -> None:
        self.pid = os.getpid()
        #: Item 0 is false in a child that inherited this pool.
        self.mark = new_mark()
        self.heirs: dict[int, Pool] = {}
        #: Taken from and given to without the lock: pop and append of a list are atomic.
        self.idle: list[Place] = []
        #: Whether places can be taken from ``idle`` and given to it with nothing else to do.
        self.calm = True
        # Of the process that forked us. Referenced for ever: closing one would drop that process's POSIX locks.
        self._inherited = inherited
        self._size = size
        self._patience = patience
        self._close = close
        self._busy = f"all {size} connections to {engine} were busy for {patience:g} s: raise {advice}"
        self._lock = threading.Lock()
        self._places: list[weakref.ref[Place]] = []
        self._line: deque[weakref.ref[_Turn]] = deque()
        self._closed = False
        self._frozen_until = 0.0

    def take(self, patience: float | None = None) -> Place:
        """Return a place: ``give`` or ``discard`` follows. ``StoreUnavailable`` if none is free in time."""
        if self.calm:
            try:
                return self.idle.pop()
            except IndexError:
                pass
        return self._take_in_turn(self._patience if patience is None else patience)

    def give(self, place: Place) -> None:
        """Take back a place whose connection is ready for the next operation."""
        self.idle.append(place)
        if not self.calm:
            self.serve()

    def discard(self, place: Place | None) -> None:
        """Take back a place whose connection is not: close it, and so roll back what it was doing."""
        if place is not None:
            try:
                place.close()
            finally:
                with self._lock:
                    self._forget(place)
                    self._settle()

    def serve(self) -> None:
        """Wake the first in line; after ``close``, and during a fork, close what is idle."""
        with self._lock:
            self._settle()

    def clear(self) -> None:
        """Close what is idle."""
        with suppress(IndexError):
            while True:
                self.discard(self.idle.pop())

    def close(self) -> None:
        """Close what is idle, and from now on what is given back."""
        with self._lock:
            self._closed = True
            self._settle()

    def count(self) -> int:
        """Return how many places there are, idle ones among them."""
        return sum(reference() is not None for reference in self._places)

    def _take_in_turn(self, patience: float) -> Place:
        turn = _Turn()
        with self._lock:
            self._line.append(weakref.ref(turn))
            self.calm = False
        try:
            while True:
                with self._lock:
                    if self._closed and self.ends:
                        raise StoreUnavailable("the store is closed")
                    place = self._free_place() if self._first() is turn else None
                if place is not None:
                    return place
                if patience <= 0:
                    raise StoreUnavailable(self._busy)
                nap = min(patience, LOOK_EVERY)
                if not turn.bell.acquire(timeout=nap):
                    patience -= nap
        finally:
            with self._lock:
                self._line = deque(other for other in self._line if other() not in (None, turn))
                self._settle()

    def freeze(self) -> None:
        """Close every connection and let none be opened until ``thaw``: around a fork.

        SQLite keeps its file locks in a table of the process. A child that inherits an open connection inherits the
        table too, believes that it holds locks which it does not, and can lose a write-ahead log over it, even through
        connections of its own. So none is open at that moment, but for one that is busy for longer than we wait.

        A pool that was inherited is left alone: its connections are the parent's. One that is not told of the fork's
        end thaws after ``FORK_LIMIT`` seconds.
        """
        if not self.mark[0]:
            return
        self._frozen_until = time.monotonic() + FORK_LIMIT
        self.serve()
        for _ in range(FORK_LOOKS):
            if not self.count():
                break
            time.sleep(FORK_NAP)
            self.serve()

    def thaw(self, *, in_child: bool = False) -> None:
        """Let connections be opened again. Nothing to do in a child, where a lost thread may have the lock."""
        if self.mark[0] and not in_child:
            self._frozen_until = 0.0
            self.serve()

    # What follows is called with the lock.

    def _first(self) -> _Turn | None:
        """Return who stands first in line."""
        return next(filter(None, (reference() for reference in self._line)), None)

    def _free_place(self) -> Place | None:
        if time.monotonic() < self._frozen_until:
            return None
        with suppress(IndexError):
            return self.idle.pop()
        if len(self._places) >= self._size:
            self._places = [other for other in self._places if other() is not None]
            if len(self._places) >= self._size:
                return None
        place = Place(self._close)
        self._places.append(weakref.ref(place))
        return place

    def _forget(self, place: Place) -> None:
        # In a function of its own: Python 3.12 leaves a `with` without its end if a signal handler raises at the end of
        # a round of a loop that stands right in it.
        self._places = [other for other in self._places if other() not in (None, place)]

    def _settle(self) -> None:
        stopped = self._closed or time.monotonic() < self._frozen_until
        if stopped:
            with suppress(IndexError):
                while True:
                    self.idle.pop().close()
        self.calm = not (stopped or self._line)
        first = self._first()
        # Not without a reason: what is rung for counts nothing of its patience.
        if first is not None and (stopped or self.idle or len(self._places) < self._size):
            with suppress(RuntimeError):  # The bell was rung already.
                first.bell.release()
