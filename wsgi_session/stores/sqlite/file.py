"""The file of ``SQLiteStore``: create it on first use, private and with its schema, and reject other databases."""

from __future__ import annotations

import errno
import math
import os
import sqlite3
import time
from collections.abc import Callable

from wsgi_session.errors import ConfigError
from wsgi_session.stores.sqlite.log import LOG_LIMIT
from wsgi_session.stores.time_limits import raise_time_limit

#: "wses" in the file's header marks a database of wsgi-session.
APPLICATION_ID = 0x77736573
#: Version of the tables below. A file with a newer one is rejected.
SCHEMA_VERSION = 1
# Bytes and pages. Each new session changes pages of three trees, two of them in random order. Small pages, which are
# copied from the log into the file after 4,000 instead of SQLite's default of 1,000, make a create cost 25 µs instead
# of 32. With one writer the log stays at about 8 MiB; log.py limits it if there are several.
PAGE_SIZE = 2048
CHECKPOINT = 4000
# KiB per connection: as much as the log contains. To load one of 256 sessions of 20 KB, which do not fit into SQLite's
# default of 2,000, takes 9 µs instead of 15.
CACHE = 8192

#: Seconds between two attempts to change the journal mode.
RETRY_INTERVAL = 0.01

# A rowid table, because new rows fill its pages from left to right. WITHOUT ROWID, in the random order of the keys,
# took 940 bytes per session instead of 790, and 125 µs per create instead of 80. The data is the last column: the part
# of it that does not fit into the page is read only if a statement selects it.
_SCHEMA = (
    """CREATE TABLE sessions (
        key BLOB NOT NULL UNIQUE,
        version BLOB NOT NULL,
        handle TEXT NOT NULL,
        created REAL NOT NULL,
        touched REAL NOT NULL,
        expires REAL NOT NULL,
        owner BLOB,
        persistent INTEGER NOT NULL,
        idle REAL,
        namespace TEXT NOT NULL,
        data BLOB NOT NULL
    )""",
    "CREATE INDEX sessions_by_expires ON sessions (expires)",
    "CREATE INDEX sessions_by_owner ON sessions (owner) WHERE owner IS NOT NULL",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class DatabaseFile:
    """The file that this process has open under the absolute ``path``."""

    def __init__(self, path: str, synchronous: str) -> None:
        #: The ``text_factory`` of the connections that are opened from now on.
        self.text_factory: Callable[..., str] = str
        self._path = path
        self._synchronous = synchronous
        self._identity: tuple[int, int] | None = None

    def connect(self, timeout: float) -> sqlite3.Connection:
        """Open a connection, as :func:`open_database` does, waiting at most ``timeout`` seconds for each lock.

        Its statements then do not wait for locks themselves; see ``locks.py``.
        """
        connection = open_database(self._path, self._synchronous, max(timeout, 0.0))
        connection.execute("PRAGMA busy_timeout = 0")
        connection.text_factory = self.text_factory
        if self._identity is None:
            # Only the first connection sets this: a later one may have opened another file than those in the pool.
            self._identity = file_identity(self._path)
        return connection

    def check_identity(self, close_connections: Callable[[], object]) -> None:
        """Call ``close_connections`` if the path leads to another file than the open one, or to none.

        SQLite goes on writing to a file that was deleted: other processes would not see new sessions and logouts.
        """
        known = self._identity
        if known is None:
            return
        found = file_identity(self._path)
        if found != known:
            close_connections()
            if self._identity is known:  # Otherwise another thread has noticed it too, and its value is newer.
                self._identity = found


def checked_path(path: str | os.PathLike[str]) -> str:
    """Return ``path`` as an absolute path, or raise ``ConfigError`` if no file can be created or opened there."""
    given = os.fspath(path)
    if not given or given == ":memory:":
        raise ConfigError(f"path={given!r}: an SQLite store needs a file. For sessions in memory write memory://.")
    try:
        absolute = os.path.abspath(given)
        valid = b"\0" not in os.fsencode(absolute)
    except ValueError:  # The path contains a lone surrogate.
        valid = False
    if not valid:
        raise ConfigError(f"path={given!r}: this is not a valid file name.")
    directory = os.path.dirname(absolute)
    if not os.path.isdir(directory):
        raise ConfigError(f"path={given!r}: the directory {directory} does not exist. Create it first.")
    if os.path.isdir(absolute):
        raise ConfigError(f"path={given!r}: {absolute} is a directory. Give the path of a file in it.")
    return absolute


def open_database(path: str, synchronous: str, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection that can write; create the file and its schema if they are missing.

    Raises ``ConfigError`` for a file of another program or of a newer version, and ``sqlite3.Error`` or ``OSError`` for
    failures that may be temporary.
    """
    _create_private(path)
    # SQLite would open a read-only file anyway, for reading. It would also create read-only -wal and -shm files, which
    # would remain after the file itself can be written again.
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, "the file is read-only", path)
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        if not _has_schema(connection, path):
            _create_schema(connection, path, busy_timeout)
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        # If a long read has made the log grow, SQLite truncates it when it starts again from the log's beginning.
        connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        # Set after the page size, with which SQLite converts KiB to pages. Before it, half of them would be lost.
        connection.execute(f"PRAGMA cache_size = -{CACHE}")
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            raise ConfigError(f"{path} is not an SQLite database. Give the path of a new file.") from error
        raise
    return connection


def file_identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of the file under ``path``, or ``None`` if there is none."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise_time_limit(error)
        return None
    return found.st_dev, found.st_ino


def _create_private(path: str) -> None:
    try:
        # O_EXCL never opens an existing file: closing it would drop this process's locks on it. The path is resolved,
        # because O_EXCL takes a dangling link for a file. SQLite creates -wal and -shm with the mode set here.
        descriptor = os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return
    os.close(descriptor)
    os.chmod(path, 0o600)


def _has_schema(connection: sqlite3.Connection, path: str) -> bool:
    """Return True if the database has the schema, False if it is empty; raise ``ConfigError`` for any other."""
    connection.execute("BEGIN")  # All reads see the same moment: another process may be creating the schema.
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    connection.execute("COMMIT")
    if (application, version) == (APPLICATION_ID, SCHEMA_VERSION):
        return True
    if application == APPLICATION_ID:
        raise ConfigError(
            f"{path} contains sessions of schema version {version}, and this wsgi-session knows {SCHEMA_VERSION}. "
            "Update wsgi-session, or give the path of a new file."
        )
    if application or version or tables:
        raise ConfigError(f"{path} is the database of another program. Give the path of a new file.")
    return False


def _create_schema(connection: sqlite3.Connection, path: str, timeout: float) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    _enable_wal(connection, timeout)
    connection.execute("BEGIN IMMEDIATE")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables:
        connection.execute("ROLLBACK")
        _has_schema(connection, path)
        return
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("COMMIT")


def _enable_wal(connection: sqlite3.Connection, timeout: float) -> None:
    # SQLite does not wait here, because two connections that change the mode would wait for each other. The attempts
    # are counted, not timed: in a test that has frozen the clock, a deadline would never come.
    for _ in range(math.ceil(timeout / RETRY_INTERVAL)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            time.sleep(RETRY_INTERVAL)
    connection.execute("PRAGMA journal_mode = WAL")
