"""A bounded pool of SQLite connections: checked out per operation, never in two threads, never across a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.forks import new_mark

#: How long a fork waits for the operations that other threads are in the middle of.
FORK_PATIENCE = 1.0
#: How long it sleeps before it looks again.
FORK_NAP = 0.001


class Pool:
    """The connections of one process: the last one given back is the first one taken, as its page cache is warm.

    ``take`` opens a connection while fewer than ``size`` are open, then stands in line, first come first served, for
    at most ``timeout`` seconds. ``heirs`` holds the pool that comes after this one: see ``SQLiteStore``.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], size: int, timeout: float, inherited: Pool | None = None
    ) -> None:
        self.pid = os.getpid()
        #: Item 0 is false in a child that inherited this pool.
        self.mark = new_mark()
        self.heirs: dict[int, Pool] = {}
        # Of the process that forked us. Referenced for ever: closing one would drop that process's POSIX locks.
        self._inherited = inherited
        self._connect = connect
        self._size = size
        self._timeout = timeout
        # Taken from and given to without the lock: pop and append of a list are atomic.
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._open = 0
        # Who stands in line. Each gets a connection, or None: leave to open one.
        self._line: deque[SimpleQueue[sqlite3.Connection | None]] = deque()
        self._closed = self._frozen = False
        _pools[id(self)] = self

    def take(self) -> sqlite3.Connection:
        """Return a connection that is nobody else's until ``give`` or ``discard``."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._open_or_wait()

    def give(self, connection: sqlite3.Connection) -> None:
        """Take back a connection that has done its work."""
        self._idle.append(connection)
        if self._line or self._closed or self._frozen:
            self._settle()  # Frozen: there this thread waits for the thaw, and does not take the connection again.

    def discard(self, connection: sqlite3.Connection) -> None:
        """Take back a connection that raised: it is closed, and its transaction, if any, rolled back."""
        connection.close()
        self._leave()

    def close(self) -> None:
        """Close what is idle, and whatever is given back from now on."""
        with self._lock:
            self._closed = True
            self._open += len(self._line)  # Each is let in to be told, and leaves again.
            while self._line:
                self._line.popleft().put(None)
        self._settle()

    def _open_or_wait(self) -> sqlite3.Connection:
        with self._lock:
            if self._open < self._size:
                self._open += 1
                place = None
            else:
                place = SimpleQueue[sqlite3.Connection | None]()
                self._line.append(place)
        if place is not None:
            self._settle()  # One may have come back just before we stood in line.
            connection = self._wait(place)
            if connection is not None:
                return connection
        try:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            return self._connect()
        except BaseException:
            self._leave()
            raise

    def _wait(self, place: SimpleQueue[sqlite3.Connection | None]) -> sqlite3.Connection | None:
        try:
            return place.get(timeout=self._timeout)
        except BaseException as error:
            with self._lock:
                in_line = place in self._line
                if in_line:
                    self._line.remove(place)
            late = isinstance(error, Empty)
            if in_line and late:
                raise StoreUnavailable(
                    f"all {self._size} connections to the database were busy for {self._timeout:g} s: "
                    "raise pool_size (?pool= in the URL)"
                ) from None
            if in_line:
                raise
            # Served at the very moment of giving up.
            connection = place.get()
            if late:
                return connection
            self.give(connection) if connection is not None else self._leave()
            raise

    def _leave(self) -> None:
        with self._lock:
            if self._line:
                self._line.popleft().put(None)
            else:
                self._open -= 1

    def _settle(self) -> None:
        with self._lock:
            while self._line or self._closed:
                try:
                    connection = self._idle.pop()
                except IndexError:
                    return
                if self._line:
                    self._line.popleft().put(connection)
                else:
                    connection.close()
                    self._open -= 1

    def freeze(self) -> None:
        """Close every connection and let none be opened until ``thaw``: around a fork.

        SQLite keeps its file locks in a table of the process. A child that inherits an open connection inherits the
        table too, believes that it holds locks which it does not, and can lose a write-ahead log over it, even through
        connections of its own. So none is open at that moment, but for one that is busy for longer than we wait.
        """
        self._lock.acquire()
        self._frozen = True
        # Counted, not timed: in a test that has frozen the time, the end would never come.
        naps = FORK_PATIENCE / FORK_NAP
        while self._open and naps > 0:
            try:
                self._idle.pop().close()
                self._open -= 1
            except IndexError:
                time.sleep(FORK_NAP)
                naps -= 1

    def thaw(self) -> None:
        self._frozen = False
        self._lock.release()


_pools: weakref.WeakValueDictionary[int, Pool] = weakref.WeakValueDictionary()
_frozen: list[Pool] = []
_forking = threading.Lock()


def _before_fork() -> None:
    _forking.acquire()
    pools = [reference() for reference in _pools.valuerefs()]
    _frozen.extend(pool for pool in pools if pool is not None and pool.mark[0])
    for pool in _frozen:
        pool.freeze()


def _after_fork() -> None:
    while _frozen:
        _frozen.pop().thaw()
    # uWSGI's --py-call-osafterfork says when it has forked, and not when it is about to.
    with suppress(RuntimeError):
        _forking.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has none
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
