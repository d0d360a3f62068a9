"""The connections of ``SQLStore``: its own, in autocommit, in a bounded pool, never across a fork.

Not SQLAlchemy's pool: it loses a place where a signal handler raises at the wrong moment, and forgets a connection that
it has closed while the server is still at work for it. Whether an idle connection is still there, its socket tells for
nothing.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine

from wsgi_session.stores.sql.drivers import Driver
from wsgi_session.stores.sql.pool import FORK_LIMIT, Busy, Place, Pool
from wsgi_session.stores.sql.sockets import GRACE, READ, ready

#: Seconds after which a connection is replaced: firewalls forget those that are older, without a word.
RECYCLE = 1800
#: Seconds after which a server that has not ended a statement, though it was told to, may hang.
HUNG = 10.0

#: Opens a connection within so many seconds.
Connect = Callable[[float], Any]


class Connections:
    """``take`` a place with a connection; ``give`` it back, or ``discard`` it or ``give_up`` after a failure."""

    def __init__(self, connect: Connect, driver: Driver, size: int) -> None:
        self._connect = connect
        self._driver = driver
        self._size = size
        self._errors = (driver.dialect.loaded_dbapi.Error,)
        self._home = _Home(os.getpid(), Pool(size, self._errors))
        if driver.closes_at_fork:
            _closing_at_fork.add(self)

    @property
    def pool(self) -> Pool:
        """The pool of this process."""
        home = self._home
        # Asked of the system every time (0.1 us): a server that forks in C tells Python nothing.
        if home.pid != os.getpid():
            # The inherited pool is left alone, and referenced for ever: to close it would speak on the parent's
            # sockets, and its locks may be held by a thread that is not here. The same heir, if two threads come.
            heir = _Home(os.getpid(), Pool(self._size, self._errors), home)
            self._home = home = home.heirs.setdefault(os.getpid(), heir)
        return home.pool

    def take(self, key: bytes | None, deadline: float) -> Place:
        """Return a place with an open connection, for an operation on the session ``key``.

        Raises ``Busy`` if none is free until ``deadline``, ``TimeoutError`` if it took longer than that to connect, and
        what the driver raises if it cannot.
        """
        pool = self.pool
        try:
            place = pool.take(key, deadline)
        except Busy:
            self._cancel_again(pool)
            raise
        place.limit.at = deadline
        if place.connection is not None and self._is_stale(place.connection, place.opened):
            place.close()
        if place.connection is None:
            try:
                self._open(place)
            except BaseException:
                pool.discard(place)
                raise
            if time.monotonic() > deadline:
                pool.give(place)  # The next operation has it at once.
                raise TimeoutError("it took too long to connect")
        return place

    def give_up(self, place: Place, *, cancel: bool) -> None:
        """Take back a place whose connection has failed, or whose statement is not waited for any longer.

        If the server may still be carrying it out, the place stays taken until that has ended. ``cancel``: ask the
        server to end it.
        """
        connection = place.connection
        has_ended = self._driver.leave(connection, place.guard)
        if has_ended is None:
            self.pool.discard(place)
            return
        place.has_ended = has_ended
        over = time.monotonic() + HUNG
        place.hangs = lambda: self._driver.ends_statements and time.monotonic() > over
        self.pool.give_up(place)
        if cancel:
            self._driver.cancel(connection, GRACE)

    def close(self) -> None:
        """Close what is idle in this process."""
        if self._home.pid == os.getpid():
            self._home.pool.empty()

    def _open(self, place: Place) -> None:
        place.connection = self._connect(place.limit.left())
        place.guard = self._driver.adopt(place.connection, place.limit)
        place.opened = time.monotonic()

    def _cancel_again(self, pool: Pool) -> None:
        """Ask once more for the end of what was given up: a busy server may have missed it."""
        end = time.monotonic() + GRACE
        for connection in pool.given_up():
            self._driver.cancel(connection, max(end - time.monotonic(), 0.01))

    def _is_stale(self, connection: Any, opened: float) -> bool:
        """Return whether to open another connection in the place of an idle one."""
        descriptor = self._driver.descriptor(connection)
        # A server says nothing on an idle connection, but that it ends.
        if descriptor is not None and ready(descriptor, READ, 0):
            return True
        return time.monotonic() - opened > RECYCLE


class _Home:
    """The pool of one process."""

    def __init__(self, pid: int, pool: Pool, inherited: _Home | None = None) -> None:
        self.pid = pid
        self.pool = pool
        self.heirs: dict[int, _Home] = {}
        self._inherited = inherited


def from_engine(engine: Engine) -> Connect:
    """Return what connects as ``engine`` does, listeners and all, and keeps nothing of its pool."""

    def connect(patience: float) -> Any:
        # Of a pool that is made for this one connection: the application's may be exhausted at this moment.
        proxy = engine.pool.recreate().connect()
        proxy.detach()
        return proxy.dbapi_connection

    return connect


# A library that opens files in the process itself (SQLite) has locks that a fork must not find held.
_closing_at_fork: weakref.WeakSet[Connections] = weakref.WeakSet()
_frozen: list[Pool] = []
_forking = threading.Lock()


def _before_fork() -> None:
    _forking.acquire(timeout=FORK_LIMIT)
    _frozen.extend(connections.pool for connections in list(_closing_at_fork))
    for pool in _frozen:
        pool.freeze()


def _after_fork_in_parent() -> None:
    while _frozen:
        _frozen.pop().thaw()
    _let_others_fork()


def _after_fork_in_child() -> None:
    # The parent's pools are not used here, and another thread may have held their locks.
    _frozen.clear()
    _let_others_fork()


def _let_others_fork() -> None:
    # uWSGI's --py-call-osafterfork says when it has forked, and not when it is about to.
    with suppress(RuntimeError):
        _forking.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has none
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
