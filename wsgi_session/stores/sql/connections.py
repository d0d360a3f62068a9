"""The connections of ``SQLStore``, in autocommit mode and in a bounded pool of its own; none is used after a fork.

SQLAlchemy's pool is not used, because it loses a slot if a signal handler raises at the wrong moment, and no longer
counts a closed connection whose statement is still running on the server. To check whether an idle connection is still
open, this pool asks its socket, which needs no round trip.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from wsgi_session.stores.forks import freeze_at_forks
from wsgi_session.stores.sql.drivers import Driver
from wsgi_session.stores.sql.pool import Busy, Pool, Slot
from wsgi_session.stores.sql.sockets import GRACE, READ, ready

#: Seconds after which a connection is replaced, because firewalls drop old connections silently.
RECYCLE = 1800
#: Seconds after which a server that was told to end a statement, and has not, is assumed to hang.
HUNG = 10.0

#: Opens a connection within the given number of seconds.
Connect = Callable[[float], Any]


class Connections:
    """Open connections for the slots of this process's pool, and handle connections that fail."""

    def __init__(self, connect: Connect, driver: Driver, size: int) -> None:
        self._connect = connect
        self._driver = driver
        self._size = size
        self._errors = (driver.dialect.loaded_dbapi.Error,)
        self._process_pool = _ProcessPool(os.getpid(), Pool(size, self._errors))
        if driver.closes_at_fork:
            # SQLite opens files in this process, and has locks that must not be held during a fork.
            freeze_at_forks(self)

    @property
    def pool(self) -> Pool:
        """The pool of this process."""
        process_pool = self._process_pool
        # Call getpid() each time (0.15 µs), because a server that forks in C does not run Python's fork hooks.
        if process_pool.pid != os.getpid():
            # The inherited pool is never closed or freed: that would send commands on the parent's sockets, and its
            # lock may be held by a thread that does not exist here. Two threads at the same time get the same new pool.
            new = _ProcessPool(os.getpid(), Pool(self._size, self._errors), process_pool)
            self._process_pool = process_pool = process_pool.per_process.setdefault(os.getpid(), new)
        return process_pool.pool

    def acquire(self, key: bytes | None, deadline: float) -> Slot:
        """Return a slot with an open connection, for an operation on the session ``key``.

        Raises ``Busy`` if no slot is free until ``deadline``, ``TimeoutError`` if connecting took longer than that, and
        the driver's own error if it cannot connect.
        """
        pool = self.pool
        try:
            slot = pool.acquire(key, deadline)
        except Busy:
            self._cancel_again(pool)
            raise
        slot.deadline.at = deadline
        if slot.connection is not None and self._is_stale(slot.connection, slot.opened):
            slot.close()
        if slot.connection is None:
            try:
                self._open(slot)
            except BaseException:
                pool.discard(slot)
                raise
            if time.monotonic() > deadline:
                pool.release(slot)  # The next operation can use it immediately.
                raise TimeoutError("It took too long to connect.")
        return slot

    def give_up(self, slot: Slot, *, cancel: bool) -> None:
        """Return a slot whose connection has failed, or whose operation no longer waits for its statement.

        If the statement may still be running on the server, the slot stays taken until it has ended. ``cancel``: ask
        the server to end it.
        """
        connection = slot.connection
        has_ended = self._driver.abandon(connection, slot.guard)
        if has_ended is None:
            self.pool.discard(slot)
            return
        slot.has_ended = has_ended
        hung_at = time.monotonic() + HUNG
        slot.hangs = lambda: self._driver.ends_statements and time.monotonic() > hung_at
        self.pool.give_up(slot)
        if cancel:
            self._driver.cancel(connection, GRACE)

    def close(self) -> None:
        """Close the idle connections of this process."""
        if self._process_pool.pid == os.getpid():
            self._process_pool.pool.empty()

    def freeze(self) -> None:
        """Close every connection and let none be opened until ``thaw``. Called before a fork."""
        self.pool.freeze()

    def thaw(self, *, in_child: bool) -> None:
        """Let connections be opened again. Does nothing in a child, which has a pool of its own."""
        if not in_child:
            self.pool.thaw()

    def _open(self, slot: Slot) -> None:
        slot.connection = self._connect(slot.deadline.left())
        slot.guard = self._driver.configure(slot.connection, slot.deadline)
        slot.opened = time.monotonic()

    def _cancel_again(self, pool: Pool) -> None:
        """Ask again to end every statement that was given up: a busy server may have missed the first request."""
        end = time.monotonic() + GRACE
        for connection in pool.given_up():
            self._driver.cancel(connection, max(end - time.monotonic(), 0.01))

    def _is_stale(self, connection: Any, opened: float) -> bool:
        """Return whether to replace an idle connection by a new one."""
        fileno = self._driver.fileno(connection)
        # A server sends nothing on an idle connection, except when it closes it.
        if fileno is not None and ready(fileno, READ, 0):
            return True
        return time.monotonic() - opened > RECYCLE


class _ProcessPool:
    """The pool of one process."""

    def __init__(self, pid: int, pool: Pool, inherited: _ProcessPool | None = None) -> None:
        self.pid = pid
        self.pool = pool
        self.per_process: dict[int, _ProcessPool] = {}
        self._inherited = inherited


def engine_connector(engine: Engine) -> Connect:
    """Return a function that connects as ``engine`` does, including its listeners, but does not use its pool."""

    def connect(timeout: float) -> Any:
        # Create a pool for this one connection, because the application's own pool may be exhausted.
        proxy = engine.pool.recreate().connect()
        proxy.detach()
        return proxy.dbapi_connection

    return connect
