"""The file of ``SQLiteStore``: made private, with its schema, by whoever comes first; refused if it is not ours."""

from __future__ import annotations

import errno
import math
import os
import sqlite3
import time
from collections.abc import Callable

from wsgi_session.errors import ConfigError
from wsgi_session.stores.sqlite.log import LOG_LIMIT

#: "wses", in the file's header: this database is ours.
APPLICATION_ID = 0x77736573
#: Of the tables below: a file of a newer one is refused.
SCHEMA_VERSION = 1
# Bytes and pages. Each session dirties pages of three trees, two of them in random order: small pages, copied back into
# the file less often than after SQLite's own 1,000, make a create cost 25 us where the default makes it 32. The log
# stays at about 8 MiB with one writer, and sqlite_log.py bounds it beside others.
PAGE_SIZE = 2048
CHECKPOINT = 4000
# KiB, a connection: as much as the log holds. With SQLite's own 2,000, to load one of 256 sessions of 20 KB, which do
# not fit, takes 15 us where it takes 9 with this.
CACHE = 8192

#: Seconds between two tries to change the journal's mode.
PAUSE = 0.01

# A rowid table: new rows fill its pages from left to right. WITHOUT ROWID, in the random order of the keys, took 940
# bytes a session instead of 790, and 125 us a create instead of 80. The data stands last: what does not fit the page
# is read only when it is asked for.
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
    """The file that this process has open under ``path``, which is absolute."""

    def __init__(self, path: str, synchronous: str) -> None:
        #: What makes a ``str`` of a text, in the connections to come.
        self.text: Callable[..., str] = str
        self._path = path
        self._synchronous = synchronous
        self._identity: tuple[int, int] | None = None

    def connect(self, patience: float) -> sqlite3.Connection:
        """Open a connection, as :func:`open_database` does, waiting at most ``patience`` seconds for each lock.

        Its statements then wait for none: see ``sqlite_locks``.
        """
        connection = open_database(self._path, self._synchronous, max(patience, 0.0))
        connection.execute("PRAGMA busy_timeout = 0")
        connection.text_factory = self.text
        if self._identity is None:
            # Only the first one says: a later one may have opened another file than those that are in the pool.
            self._identity = identity(self._path)
        return connection

    def notice_another(self, let_go: Callable[[], object]) -> None:
        """Call ``let_go`` if there is another file under the path than the one that is open, or none.

        SQLite goes on writing to a file that was deleted: new sessions and logouts would be lost to the others.
        """
        known = self._identity
        if known is None:
            return
        found = identity(self._path)
        if found != known:
            let_go()
            if self._identity is known:  # Else another thread saw it too, and knows more by now.
                self._identity = found


def absolute(path: str | os.PathLike[str]) -> str:
    """Return ``path`` as it is from everywhere, or raise ``ConfigError`` if no file can be made or opened there."""
    given = os.fspath(path)
    if not given or given == ":memory:":
        raise ConfigError(f"path={given!r}: an SQLite store needs a file; for sessions in memory write memory://")
    try:
        absolute = os.path.abspath(given)
        possible = b"\0" not in os.fsencode(absolute)
    except ValueError:  # A lone surrogate.
        possible = False
    if not possible:
        raise ConfigError(f"path={given!r}: no file can have that name")
    directory = os.path.dirname(absolute)
    if not os.path.isdir(directory):
        raise ConfigError(f"path={given!r}: the directory {directory} does not exist: create it first")
    if os.path.isdir(absolute):
        raise ConfigError(f"path={given!r}: {absolute} is a directory: give the path of a file in it")
    return absolute


def open_database(path: str, synchronous: str, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection that can write, making file and schema if they are not there.

    Raises ``ConfigError`` for a file that is not ours, ``sqlite3.Error`` and ``OSError`` for what may pass.
    """
    _create_private(path)
    # SQLite would open it all the same, for reading only, as long as the connection lives, and make -wal and -shm
    # read-only too, which would outlast the cause.
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, "the file is read-only", path)
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        if not _is_ours(connection, path):
            _make_schema(connection, path, busy_timeout)
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        # A log that a long read made grow gives the room back when SQLite begins it anew.
        connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        # After the page size, by which SQLite makes pages of KiB: before it, half of them are lost.
        connection.execute(f"PRAGMA cache_size = -{CACHE}")
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            raise ConfigError(f"{path} is not an SQLite database: give the path of a new file") from error
        raise
    return connection


def identity(path: str) -> tuple[int, int] | None:
    """Return which file is under ``path`` now, ``None`` if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _create_private(path: str) -> None:
    try:
        # O_EXCL: never opens a file that is there. Closing that would drop this process's locks on it. (The real path:
        # O_EXCL would take a dangling link for a file.) SQLite gives -wal and -shm the mode that it finds here.
        descriptor = os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return
    os.close(descriptor)
    os.chmod(path, 0o600)


def _is_ours(connection: sqlite3.Connection, path: str) -> bool:
    """Return True if the schema is there, False if nothing is; anything else is a ``ConfigError``."""
    connection.execute("BEGIN")  # What we see is of one moment: another process may be making the schema.
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    connection.execute("COMMIT")
    if (application, version) == (APPLICATION_ID, SCHEMA_VERSION):
        return True
    if application == APPLICATION_ID:
        raise ConfigError(
            f"{path} holds sessions of schema version {version}, and this wsgi-session knows {SCHEMA_VERSION}: "
            "update wsgi-session, or give the path of a new file"
        )
    if application or version or tables:
        raise ConfigError(f"{path} is the database of another program: give the path of a new file")
    return False


def _make_schema(connection: sqlite3.Connection, path: str, patience: float) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    _to_wal(connection, patience)
    connection.execute("BEGIN IMMEDIATE")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables:
        connection.execute("ROLLBACK")
        _is_ours(connection, path)
        return
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("COMMIT")


def _to_wal(connection: sqlite3.Connection, patience: float) -> None:
    # SQLite does not wait here: two that change the mode at once could only wait for each other.
    # Counted, not timed: in a test that has frozen the time, the end would never come.
    for _ in range(math.ceil(patience / PAUSE)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            time.sleep(PAUSE)
    connection.execute("PRAGMA journal_mode = WAL")
