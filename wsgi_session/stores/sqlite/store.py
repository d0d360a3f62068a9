"""Sessions in an SQLite file, for any number of processes on one machine; nothing has to be installed."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from wsgi_session.errors import ConfigError, KeyExists, StoreUnavailable
from wsgi_session.stores.contract import (
    OWNED_PAGE,
    SWEEP_EVERY,
    SWEEP_GRACE,
    Outcome,
    OwnedSession,
    Record,
    Store,
    fill_batch,
    has_sound_times,
    make_record,
    tombstone_of,
)
from wsgi_session.stores.forks import freeze_at_forks
from wsgi_session.stores.pool import Pool, Slot
from wsgi_session.stores.sqlite.file import DatabaseFile, checked_path
from wsgi_session.stores.sqlite.locks import Wait, is_locked
from wsgi_session.stores.sqlite.log import BoundedLog
from wsgi_session.stores.sqlite.records import as_blob, fetch_all, fetch_one, lenient_text, record_of
from wsgi_session.stores.sqlite.statements import (
    BATCH_RECORDS,
    COUNT,
    COUNT_NAMESPACE,
    CREATE,
    DEAD,
    DELETE,
    DELETE_MANY,
    DELETE_VERSION,
    LOAD,
    OF_OWNER,
    PING,
    REPLACE,
    REPLACE_DATA,
    ROTATE,
    SCAN,
    SWEEP,
    TOUCH,
    VERSIONS,
    first_batch,
)
from wsgi_session.stores.time_limits import raise_time_limit

# Version and handle of a record that does not exist.
_NOTHING = (b"", "")
_SAVED = Outcome.SAVED  # Reading a member of an enum takes as long as two function calls.
_Result = TypeVar("_Result")
_Row: TypeAlias = tuple[object, ...]


class SQLiteStore(Store):
    """Keep sessions in the SQLite file ``path``, which is created on first use and readable by this user only.

    ``synchronous="normal"``: if a process dies nothing is lost, a power cut may lose the last second. ``"full"``: a
    power cut loses nothing either, but every write flushes the disk. ``busy_timeout``: seconds that one operation may
    wait for other writers and for one of the ``pool_size`` connections together, before it raises
    ``StoreUnavailable``. ``sweep=False``: dead records stay until you call :meth:`sweep`.

    A relative path is made absolute at construction. Raises ``ConfigError`` if the directory does not exist, or if the
    file is not a session database of this or an older version.
    """

    # Deletes go through the log into the file, and other requests wait while it is flushed to disk. With this pause at
    # most 1 request in 100 has to wait.
    delete_pause = 30.0
    system = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: str = "normal",
        busy_timeout: float = 5.0,
        pool_size: int = 8,
        sweep: bool = True,
    ) -> None:
        #: The absolute path of the file.
        self.path = checked_path(path)
        if synchronous not in ("normal", "full"):
            raise ConfigError(f"synchronous={synchronous!r}: give 'normal' or 'full'.")
        if not 0 < busy_timeout <= 3600:
            raise ConfigError(f"busy_timeout={busy_timeout!r}: give a number of seconds, more than 0 and at most 3600.")
        if type(pool_size) is not int or pool_size < 1:
            raise ConfigError(f"pool_size={pool_size!r}: give a whole number of connections, 1 or more.")
        self._busy_timeout = busy_timeout
        self._pool_size = pool_size
        self._auto_sweep = sweep
        self._creates = itertools.count(1)  # Without the GIL, `+= 1` in two threads at once would lose one.
        self._file = DatabaseFile(self.path, synchronous)
        self._log = BoundedLog(self.path)
        self._pool = self._new_pool()
        if os.path.exists(self.path):
            self._open_once()

    def load(self, key: bytes, now: float) -> Record | None:
        row = self._run(LOAD, (as_blob(key), now), fetch_one)
        if row is None:
            return None
        # The same as record_of(), without the cost of a call (0.2 µs), because every request runs this.
        data, version, handle, created, touched, expires, owner, persistent, idle, namespace = row
        if version.__class__ is str:
            return record_of(row)
        return make_record((data, version, handle, created, touched, expires, owner, persistent == 1, idle, namespace))

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._check_file_identity()
        data, version, *fields = record
        deadline = time.monotonic() + self._busy_timeout
        row = (data, as_blob(version), *fields, as_blob(key), now)
        if not self._run(CREATE, row, self._log.row_count, deadline):
            if self._stored_versions(key, key, now, deadline).get(key, _NOTHING)[0] == version:
                return
            raise KeyExists("A live session already exists under this key: generate another token.")
        if self._auto_sweep and next(self._creates) % SWEEP_EVERY == 0:
            self.sweep_due = True

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        data, new_version, _, _, touched, expires, *_ = record
        # `version` stays as it was loaded: a manual edit of the file may have made it text instead of bytes.
        key_blob, new_blob = as_blob(key), as_blob(new_version)
        row_count, deadline = self._log.row_count, time.monotonic() + self._busy_timeout
        if self._run(REPLACE_DATA, (data, new_blob, key_blob, version, now, touched, expires), row_count, deadline):
            return _SAVED
        if self._run(REPLACE, (data, new_blob, touched, expires, key_blob, version, now), row_count, deadline):
            return Outcome.SAVED
        stored, handle = self._stored_versions(key, key, now, deadline).get(key, _NOTHING)
        if stored == new_version:
            return Outcome.SAVED
        return Outcome.CONFLICT if handle else Outcome.GONE

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self._check_file_identity()
        rows = (*record, new, *tombstone_of(new, record, now), old)
        deadline = time.monotonic() + self._busy_timeout
        if self._run(ROTATE, (*rows, old, version, now, new, now), self._log.row_count, deadline):
            return Outcome.SAVED
        stored_versions = self._stored_versions(old, new, now, deadline)
        if stored_versions.get(new, _NOTHING)[0] == record.version:
            return Outcome.SAVED
        stored, handle = stored_versions.get(old, _NOTHING)
        if not handle:
            return Outcome.GONE
        if stored != version:
            return Outcome.CONFLICT
        raise KeyExists("A live session already exists under the new key: generate another token.")

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return self._run(TOUCH, (touched, expires, key, now), self._log.row_count) > 0

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        self._check_file_identity()
        if version is None:
            return self._run(DELETE, (key,), self._log.row_count) > 0
        return self._run(DELETE_VERSION, (key, version), self._log.row_count) > 0

    def delete_many(self, keys: Sequence[bytes]) -> int:
        self._check_file_identity()
        return self._run(DELETE_MANY, fill_batch(keys), self._log.row_count)

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions; see ``wsgi_session.stores.ListsOwners``."""
        last = 0
        while rows := self._run(OF_OWNER, (owner, last, now, OWNED_PAGE), fetch_all):
            last = rows[-1][0]
            for _, *row in rows:
                yield OwnedSession(*row)

    def count(self, now: float, namespace: str | None = None) -> int:
        sql, values = (COUNT, (now,)) if namespace is None else (COUNT_NAMESPACE, (now, namespace))
        ((count,),) = self._run(sql, values, fetch_all)
        return int(count)

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of every live session, in the order in which they were created."""
        last = 0
        while rows := self._run(SCAN, (last, now, BATCH_RECORDS), fetch_all):
            last = rows[-1][0]
            for _, key, *row in rows:
                found = record_of(row)
                if has_sound_times(found):
                    yield key, found

    def sweep(self, limit: int, now: float) -> int:
        self.sweep_due = False
        horizon, swept = now - SWEEP_GRACE, 0
        while swept < limit:
            sizes = self._run(DEAD, (horizon, min(limit - swept, BATCH_RECORDS)), fetch_all)
            if not sizes:
                break
            swept += self._run(SWEEP, (horizon, horizon, first_batch(sizes)), self._log.row_count)
        return swept

    def ping(self) -> None:
        self._check_file_identity()
        self._run(PING, (), self._log.row_count)

    def close(self) -> None:
        self._pool.close()

    def __repr__(self) -> str:
        # Error reporters show the store while its constructor is still running.
        return f"SQLiteStore({getattr(self, 'path', 'half made')!r})"

    def _stored_versions(self, key: bytes, other: bytes, now: float, deadline: float) -> dict[bytes, tuple[bytes, str]]:
        """Return version and handle of the live records under two keys."""
        rows = self._run(VERSIONS, (key, other, now), fetch_all, deadline)
        return {found: (version, handle) for found, version, handle in rows}

    def _run(
        self, sql: str, parameters: _Row, read: Callable[[sqlite3.Cursor], _Result], deadline: float | None = None
    ) -> _Result:
        """Run one statement; the statements of one operation share its ``deadline`` (of ``time.monotonic()``)."""
        deadline = time.monotonic() + self._busy_timeout if deadline is None else deadline
        wait: Wait | None = None
        while True:
            pool = self._pool
            if not pool.fork_mark[0]:
                # This is a forked child. A server that forks in C has not run Python's fork hooks.
                pool = self._replace_pool(pool, inherited=pool)
            while pool.per_process:
                # A thread that noticed its failed connection late has put an older, closed pool back.
                pool = self._pool = pool.per_process[pool.pid]
            slot: Slot | None = None
            try:
                slot = pool.acquire(deadline - time.monotonic())
                connection = slot.connection
                if connection is None:
                    connection = slot.connection = self._connect(deadline - time.monotonic())
                result = read(connection.execute(sql, parameters))
            except sqlite3.Error as error:
                if is_locked(error) and slot is not None:
                    # Nothing was written. Others can use the connection while this statement waits for the lock.
                    pool.release(slot)
                    wait = wait or Wait(deadline)
                    if wait.sleep():
                        continue
                    raise self._unavailable(error) from error
                pool.discard(slot)
                # Invalid UTF-8 (a corrupt page or a manual edit): decode leniently, so that the session stays usable.
                retry = "decode" in str(error) and connection.text_factory is str
                if retry:
                    self._file.text_factory = lenient_text
                # The path may lead to another file when it works again, so no connection opened before is used then.
                self._replace_pool(pool)
                if not retry:
                    raise self._unavailable(error) from error
            except BaseException:
                pool.discard(slot)
                raise
            else:
                pool.idle.append(slot)  # The same as pool.release(), but no signal handler can run before it.
                if not pool.uncontended:
                    pool.rebalance()
                return result

    def _connect(self, timeout: float) -> sqlite3.Connection:
        try:
            return self._file.connect(timeout)
        except (sqlite3.Error, OSError, ConfigError) as error:
            raise_time_limit(error)
            raise self._unavailable(error) from error

    def _new_pool(self, inherited: Pool | None = None) -> Pool:
        words = "the database", "pool_size (?pool= in the URL)"
        return freeze_at_forks(Pool(self._pool_size, self._busy_timeout, sqlite3.Connection.close, *words, inherited))

    def _replace_pool(self, pool: Pool, inherited: Pool | None = None) -> Pool:
        """Replace ``pool`` by a new one; two threads that do so at the same time get the same new pool."""
        self._pool = new_pool = pool.per_process.setdefault(os.getpid(), self._new_pool(inherited))
        if inherited is None:
            pool.close()
        return new_pool

    def _check_file_identity(self) -> None:
        self._file.check_identity(lambda: self._replace_pool(self._pool))

    def _open_once(self) -> None:
        try:
            self._run("SELECT 1", (), fetch_one)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from error.__cause__.__cause__
            # Any other failure may be temporary: an application may start before its disk is mounted.
        # A server that forks in C after this, as uWSGI does, passes no open file to its children; see Pool.freeze.
        self._pool.close_idle()

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        # A failing disk is the only error of SQLite's after which the write may have been applied.
        return StoreUnavailable(f"SQLite store {self.path}: {error}", answer_lost="disk I/O" in str(error))
