"""Limit SQLite's write-ahead log, even if writers never pause.

SQLite copies the log into the database after a commit, without waiting for other connections. It starts again from the
log's beginning only if no other connection has written in the meantime. With several writers that moment may never
come, and the log grows.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from contextlib import suppress

from wsgi_session.stores.time_limits import raise_time_limit

#: Bytes: twice the size at which SQLite begins to copy the log, so that a single writer never has to empty it.
LOG_LIMIT = 16 << 20
#: This process checks the size of the log after this many writes, so that the check adds little to each.
LOG_CHECK_EVERY = 16
#: Milliseconds that emptying the log may wait for the requests that read or write at that moment. Other writers wait
#: for as long.
LOG_TIMEOUT = 100


class BoundedLog:
    """Checks the log of the database at ``path`` after every few writes, and empties it if it is too large.

    Emptying waits for requests that are reading or writing; other requests can go on reading. If one reads for longer
    than ``LOG_TIMEOUT``, as a backup does, the next attempt waits until the log has grown by ``LOG_LIMIT`` again.
    """

    def __init__(self, path: str) -> None:
        # SQLite creates the log beside the target of a symbolic link.
        self._path = f"{os.path.realpath(path)}-wal"
        self._limit = LOG_LIMIT
        self._writes = itertools.count(1)  # Without the GIL, `+= 1` in two threads at once would lose one.
        self._unfinished = False

    def row_count(self, cursor: sqlite3.Cursor) -> int:
        """Return how many rows the write has changed, and check the log if that is due.

        Errors in emptying the log are ignored, because the write itself was stored.
        """
        if next(self._writes) % LOG_CHECK_EVERY == 0 or self._unfinished:
            self._unfinished = False
            self._check_size(cursor.connection)
        return cursor.rowcount

    def _check_size(self, connection: sqlite3.Connection) -> None:
        try:
            size = os.stat(self._path).st_size
        except OSError as error:
            raise_time_limit(error)
            return
        if size <= LOG_LIMIT:
            self._limit = LOG_LIMIT
        elif size > self._limit:
            with suppress(sqlite3.Error):
                self._empty(connection, size)

    def _empty(self, connection: sqlite3.Connection, size: int) -> None:
        connection.execute(f"PRAGMA busy_timeout = {LOG_TIMEOUT}")
        try:
            busy, pages, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute("PRAGMA busy_timeout = 0")
        if busy and pages < 0:
            # Another connection is copying the log; SQLite reports this without waiting. The next write tries again.
            self._unfinished = True
        elif busy:
            self._limit = size + LOG_LIMIT
