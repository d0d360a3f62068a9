"""The connections of ``SQLStore``: its own, in autocommit, in a bounded pool, never across a fork.

SQLAlchemy's pool, without its engine: the engine's reset on return would cost a round trip on some drivers, and its
``pre_ping`` one for every statement. Whether an idle connection is still there, its socket tells for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, Pool, QueuePool, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import PoolProxiedConnection

from wsgi_session.stores.sql_drivers import Driver
from wsgi_session.stores.sql_sockets import READ, ready

#: Seconds after which a connection is replaced: firewalls forget those that are older, without a word.
RECYCLE = 1800

Connect = Callable[[], Any]


class Connections:
    """``take`` a connection and ``close`` it to give it back, or ``invalidate`` it if it may be broken."""

    def __init__(self, connect: Connect, driver: Driver, size: int) -> None:
        self._connect = connect
        self._driver = driver
        self._size = size
        self._home = _Home(os.getpid(), self._pool())

    def take(self) -> PoolProxiedConnection:
        home = self._home
        # Asked of the system every time (0.1 us): a server that forks in C tells Python nothing.
        if home.pid != os.getpid():
            # The inherited pool is left alone, and referenced for ever: to close it would speak on the parent's
            # sockets, and its locks may be held by a thread that is not here. The same heir, if two threads come.
            self._home = home = home.heirs.setdefault(os.getpid(), _Home(os.getpid(), self._pool(), home))
        return home.pool.connect()

    def close(self) -> None:
        """Close what is idle in this process."""
        if self._home.pid == os.getpid():
            self._home.pool.dispose()

    def _pool(self) -> Pool:
        pool = QueuePool(
            self._open,
            pool_size=self._size,
            max_overflow=0,
            timeout=self._driver.timeout,
            use_lifo=True,
            recycle=RECYCLE,
            reset_on_return=None,
        )
        event.listen(pool, "checkout", self._check)
        return pool

    def _open(self) -> Any:
        connection = self._connect()
        try:
            self._driver.adopt(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: Any, record: object, proxy: object) -> None:
        """Let the pool open another connection in the place of one that the server has closed."""
        descriptor = self._driver.descriptor(connection)
        # A server says nothing on an idle connection, but that it ends.
        if descriptor is not None and ready(descriptor, READ, 0):
            raise InvalidatePoolError("the server has closed the connection")


class _Home:
    """The pool of one process."""

    def __init__(self, pid: int, pool: Pool, inherited: _Home | None = None) -> None:
        self.pid = pid
        self.pool = pool
        self.heirs: dict[int, _Home] = {}
        self._inherited = inherited


def from_engine(engine: Engine) -> Connect:
    """Return what connects as ``engine`` does, listeners and all, and keeps nothing of its pool."""

    def connect() -> Any:
        # Of a pool that is made for this one connection: the application's may be exhausted at this moment.
        proxy = engine.pool.recreate().connect()
        proxy.detach()
        return proxy.dbapi_connection

    return connect
