"""SQLite's write-ahead log, bounded also where writers never pause.

SQLite copies the log into the database after a commit without waiting for anybody, and begins the log anew only if
nobody has written meanwhile. Beside other writers that moment may never come, and the log grows.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from contextlib import suppress

#: Bytes. It is twice what the log has when SQLite begins to copy, so that one writer alone never waits for this.
LOG_LIMIT = 16 << 20
#: Writes of this process from one look at the size of the log to the next, so that a look adds little to each.
LOG_LOOK = 16
#: Milliseconds that other writers may have to wait, at most, for those who read or write at that moment.
LOG_PATIENCE = 100


class BoundedLog:
    """Reads what a write has changed, and empties the log of the database at ``path`` after every so many writes.

    Emptying waits for requests that read or write, while others go on reading. Where somebody reads for longer than
    ``LOG_PATIENCE``, as a backup does, it is given up until the log has grown by ``LOG_LIMIT`` again.
    """

    def __init__(self, path: str) -> None:
        # SQLite has the log beside the file that a symbolic link leads to.
        self._path = f"{os.path.realpath(path)}-wal"
        self._limit = LOG_LIMIT
        self._writes = itertools.count(1)  # Without the GIL, `+= 1` in two threads at once would lose one.
        self._unfinished = False

    def changed(self, cursor: sqlite3.Cursor) -> int:
        """Return how many rows the write has changed. An error in emptying the log is ignored, as the write is kept."""
        if next(self._writes) % LOG_LOOK == 0 or self._unfinished:
            self._unfinished = False
            self._look(cursor.connection)
        return cursor.rowcount

    def _look(self, connection: sqlite3.Connection) -> None:
        try:
            size = os.stat(self._path).st_size
        except OSError:
            return
        if size <= LOG_LIMIT:
            self._limit = LOG_LIMIT
        elif size > self._limit:
            with suppress(sqlite3.Error):
                self._empty(connection, size)

    def _empty(self, connection: sqlite3.Connection, size: int) -> None:
        connection.execute(f"PRAGMA busy_timeout = {LOG_PATIENCE}")
        try:
            busy, pages, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute("PRAGMA busy_timeout = 0")
        if busy and pages < 0:
            # Another connection is copying the log, which SQLite says at once: the next write tries again.
            self._unfinished = True
        elif busy:
            self._limit = size + LOG_LIMIT
