"""A bounded pool of redis-py connections: each is one thread's at a time, and never another process's."""

from __future__ import annotations

import os
import threading
from queue import Empty, SimpleQueue
from typing import Any

from wsgi_session.errors import StoreUnavailable

# redis-py's connections have no common base class.
Connection = Any


class Pool:
    """The connections of one process; the last one given back is the first one taken.

    Of ``size`` places each is taken by a connection, or free to open one. Who finds neither stands in line for
    ``patience`` seconds. ``heirs`` holds the pool that comes after this one in a forked process.
    """

    def __init__(self, size: int, patience: float) -> None:
        self.pid = os.getpid()
        self.heirs: dict[int, Pool] = {}
        self._size = size
        self._patience = patience
        # Taken from and given to without a lock: pop and append of a list are atomic.
        self._idle: list[Connection] = []
        # Free places (None), and connections for those who stand in line.
        self._places: SimpleQueue[Connection | None] = SimpleQueue()
        for _ in range(size):
            self._places.put(None)
        self._in_line = 0
        self._lock = threading.Lock()
        self._closed = False

    def here(self) -> Pool:
        """Return the pool of this process: this one, or after a fork its heir, the same for all threads.

        What was inherited is closed with the last reference to it: redis-py says nothing to the server then.
        """
        # Asked of the system every time (0.1 us): a server that forks in C tells Python nothing.
        pid = os.getpid()
        return self if self.pid == pid else self.heirs.setdefault(pid, Pool(self._size, self._patience))

    def take(self) -> Connection | None:
        """Return a connection, or ``None``: open one. Either way, ``give`` or ``drop`` follows."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._wait()

    def give(self, connection: Connection) -> None:
        """Take back a connection whose every answer has been read."""
        self._idle.append(connection)
        if self._in_line:
            self._serve()
        if self._closed:
            self.clear()

    def drop(self, connection: Connection | None) -> None:
        """Close a connection that failed; free its place."""
        try:
            if connection is not None:
                connection.disconnect()
        finally:
            self._places.put(None)

    def clear(self) -> None:
        """Close what is idle."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            self.drop(connection)

    def close(self) -> None:
        """Close what is idle now, and what is given back from now on."""
        self._closed = True
        self.clear()

    def _wait(self) -> Connection | None:
        with self._lock:
            self._in_line += 1
        try:
            # Whoever gives one back from now on sees us. Before, it may have become idle.
            self._serve()
            return self._places.get(timeout=self._patience)
        except Empty:
            raise StoreUnavailable(
                f"all {self._size} connections to Redis were busy for {self._patience:g} s: raise ?pool= in the URL"
            ) from None
        finally:
            with self._lock:
                self._in_line -= 1

    def _serve(self) -> None:
        try:
            self._places.put(self._idle.pop())
        except IndexError:
            return
