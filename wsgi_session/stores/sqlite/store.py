"""Sessions in an SQLite file: one machine, any number of processes, nothing to install."""

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
from wsgi_session.stores.pool import Place, Pool, freeze_at_forks
from wsgi_session.stores.sqlite.file import DatabaseFile, absolute
from wsgi_session.stores.sqlite.locks import Wait, is_locked
from wsgi_session.stores.sqlite.log import BoundedLog
from wsgi_session.stores.sqlite.records import lenient_text, record_of
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

# Version and handle of what is not there.
_NOTHING = (b"", "")
_Result = TypeVar("_Result")
_Row: TypeAlias = tuple[object, ...]
# For short parameters, on the way of every request: sqlite3 looks for adapters of bytes, and finds none, in 0.3 us each
# time; a bytearray it binds as it is.
_blob = bytearray
_one: Callable[[sqlite3.Cursor], tuple[object, ...] | None] = sqlite3.Cursor.fetchone
_rows = sqlite3.Cursor.fetchall


class SQLiteStore(Store):
    """Keep sessions in the SQLite file ``path``, made on first use, readable by this user only.

    ``synchronous="normal"``: the death of a process loses nothing, a power cut may lose the last second; ``"full"``:
    nothing, at the price of a disk flush for every write. ``busy_timeout``: seconds that one operation may wait, for
    other writers and for one of the ``pool_size`` connections together, before ``StoreUnavailable``. ``sweep=False``:
    dead records stay until somebody calls :meth:`sweep`.

    A relative path is made absolute here. Raises ``ConfigError`` if the directory does not exist, or if the file is
    not a session database of this or an older version.
    """

    # What is deleted goes into the log, and from there into the file, for whose flushes the others wait as well.
    delete_pause = 12.0

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: str = "normal",
        busy_timeout: float = 5.0,
        pool_size: int = 8,
        sweep: bool = True,
    ) -> None:
        #: The file, absolute.
        self.path = absolute(path)
        if synchronous not in ("normal", "full"):
            raise ConfigError(f"synchronous={synchronous!r}: give 'normal' or 'full'")
        if not 0 < busy_timeout <= 3600:
            raise ConfigError(f"busy_timeout={busy_timeout!r}: give seconds, more than 0 and at most 3600")
        if type(pool_size) is not int or pool_size < 1:
            raise ConfigError(f"pool_size={pool_size!r}: give a whole number of connections, 1 or more")
        self._busy_timeout = busy_timeout
        self._pool_size = pool_size
        self._sweeps = sweep
        self._creates = itertools.count(1)  # Without the GIL, `+= 1` in two threads at once would lose one.
        self._file = DatabaseFile(self.path, synchronous)
        self._log = BoundedLog(self.path)
        self._pool = self._new_pool()
        if os.path.exists(self.path):
            self._check_file()

    def load(self, key: bytes, now: float) -> Record | None:
        row = self._run(LOAD, (_blob(key), now), _one)
        if row is None:
            return None
        # As record_of() does, without the call (0.2 us): every request comes here.
        data, version, handle, created, touched, expires, owner, persistent, idle, namespace = row
        if version.__class__ is str:
            return record_of(row)
        return make_record((data, version, handle, created, touched, expires, owner, persistent == 1, idle, namespace))

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._notice_another_file()
        data, version, *fields = record
        deadline = time.monotonic() + self._busy_timeout
        row = (data, _blob(version), *fields, _blob(key), now)
        if not self._run(CREATE, row, self._log.changed, deadline):
            if self._versions(key, key, now, deadline).get(key, _NOTHING)[0] == version:
                return
            raise KeyExists("a live session is already under this key: draw another token")
        if self._sweeps and next(self._creates) % SWEEP_EVERY == 0:
            self.sweep_due = True

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        data, mine, _, _, touched, expires, *_ = record
        # The version as it was loaded: whoever meddled with the file may have made a text of it.
        there, after = _blob(key), _blob(mine)
        changed, deadline = self._log.changed, time.monotonic() + self._busy_timeout
        if self._run(REPLACE_DATA, (data, after, there, version, now, touched, expires), changed, deadline):
            return Outcome.SAVED
        if self._run(REPLACE, (data, after, touched, expires, there, version, now), changed, deadline):
            return Outcome.SAVED
        stored, handle = self._versions(key, key, now, deadline).get(key, _NOTHING)
        if stored == mine:
            return Outcome.SAVED
        return Outcome.CONFLICT if handle else Outcome.GONE

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self._notice_another_file()
        rows = (*record, new, *tombstone_of(new, record, now), old)
        deadline = time.monotonic() + self._busy_timeout
        if self._run(ROTATE, (*rows, old, version, now, new, now), self._log.changed, deadline):
            return Outcome.SAVED
        there = self._versions(old, new, now, deadline)
        if there.get(new, _NOTHING)[0] == record.version:
            return Outcome.SAVED
        stored, handle = there.get(old, _NOTHING)
        if not handle:
            return Outcome.GONE
        if stored != version:
            return Outcome.CONFLICT
        raise KeyExists("a live session is already under the new key: draw another token")

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return self._run(TOUCH, (touched, expires, key, now), self._log.changed) > 0

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        self._notice_another_file()
        if version is None:
            return self._run(DELETE, (key,), self._log.changed) > 0
        return self._run(DELETE_VERSION, (key, version), self._log.changed) > 0

    def delete_many(self, keys: Sequence[bytes]) -> int:
        self._notice_another_file()
        return self._run(DELETE_MANY, fill_batch(keys), self._log.changed)

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions: see ``wsgi_session.stores.ListsOwners``."""
        last = 0
        while rows := self._run(OF_OWNER, (owner, last, now, OWNED_PAGE), _rows):
            last = rows[-1][0]
            for _, *row in rows:
                yield OwnedSession(*row)

    def count(self, now: float, namespace: str | None = None) -> int:
        sql, values = (COUNT, (now,)) if namespace is None else (COUNT_NAMESPACE, (now, namespace))
        ((count,),) = self._run(sql, values, _rows)
        return int(count)

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of every live session, in the order of their making."""
        last = 0
        while rows := self._run(SCAN, (last, now, BATCH_RECORDS), _rows):
            last = rows[-1][0]
            for _, key, *row in rows:
                found = record_of(row)
                if has_sound_times(found):
                    yield key, found

    def sweep(self, limit: int, now: float) -> int:
        self.sweep_due = False
        horizon, swept = now - SWEEP_GRACE, 0
        while swept < limit:
            sizes = self._run(DEAD, (horizon, min(limit - swept, BATCH_RECORDS)), _rows)
            if not sizes:
                break
            swept += self._run(SWEEP, (horizon, horizon, first_batch(sizes)), self._log.changed)
        return swept

    def ping(self) -> None:
        self._notice_another_file()
        self._run(PING, (), self._log.changed)

    def close(self) -> None:
        self._pool.close()

    def __repr__(self) -> str:
        return f"SQLiteStore({getattr(self, 'path', 'half made')!r})"

    def _versions(self, key: bytes, other: bytes, now: float, deadline: float) -> dict[bytes, tuple[bytes, str]]:
        """Return version and handle of what is alive under two keys."""
        rows = self._run(VERSIONS, (key, other, now), _rows, deadline)
        return {found: (version, handle) for found, version, handle in rows}

    def _run(
        self, sql: str, parameters: _Row, read: Callable[[sqlite3.Cursor], _Result], deadline: float | None = None
    ) -> _Result:
        """Carry out one statement; several of one operation share its ``deadline``, of ``time.monotonic()``."""
        deadline = time.monotonic() + self._busy_timeout if deadline is None else deadline
        wait: Wait | None = None
        while True:
            pool = self._pool
            if not pool.mark[0]:
                # A child, of which a server that forks in C has told Python nothing.
                pool = self._succeed(pool, inherited=pool)
            while pool.heirs:
                # A thread that was slow to see its connection fail has put back an older pool, long closed.
                pool = self._pool = pool.heirs[pool.pid]
            place: Place | None = None
            try:
                place = pool.take(deadline - time.monotonic())
                connection = place.connection
                if connection is None:
                    connection = place.connection = self._connect(deadline - time.monotonic())
                result = read(connection.execute(sql, parameters))
            except sqlite3.Error as error:
                if is_locked(error) and place is not None:
                    # Nothing was done. The connection is for others while this statement waits for the lock.
                    pool.give(place)
                    wait = wait or Wait(deadline)
                    if wait.nap():
                        continue
                    raise self._unavailable(error) from error
                pool.discard(place)
                # Invalid UTF-8 (a corrupt page or a manual edit): decoded leniently, the session stays usable.
                again = "decode" in str(error) and connection.text_factory is str
                if again:
                    self._file.text = lenient_text
                # The file may be another one by the time that it works again: nothing opened before is used then.
                self._succeed(pool)
                if not again:
                    raise self._unavailable(error) from error
            except BaseException:
                pool.discard(place)
                raise
            else:
                pool.idle.append(place)  # As pool.give() does, with no moment for a signal handler before it.
                if not pool.calm:
                    pool.serve()
                return result

    def _connect(self, patience: float) -> sqlite3.Connection:
        try:
            return self._file.connect(patience)
        except (sqlite3.Error, OSError, ConfigError) as error:
            raise self._unavailable(error) from error

    def _new_pool(self, inherited: Pool | None = None) -> Pool:
        words = "the database", "pool_size (?pool= in the URL)"
        pool = Pool(self._pool_size, self._busy_timeout, sqlite3.Connection.close, *words, inherited)
        freeze_at_forks(pool)
        return pool

    def _succeed(self, pool: Pool, inherited: Pool | None = None) -> Pool:
        """Put a new pool in the place of this one: the same new one, if two threads come at once."""
        self._pool = heir = pool.heirs.setdefault(os.getpid(), self._new_pool(inherited))
        if inherited is None:
            pool.close()
        return heir

    def _notice_another_file(self) -> None:
        self._file.notice_another(lambda: self._succeed(self._pool))

    def _check_file(self) -> None:
        try:
            self._run("SELECT 1", (), _one)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from error.__cause__.__cause__
            # Anything else may pass, and an application may start before its disk is there.
        # A server that forks in C after this, as uWSGI does, hands no open file on: see Pool.freeze.
        self._pool.clear()

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        # Of all that SQLite reports, only a failing disk leaves open whether a write was kept.
        return StoreUnavailable(f"SQLite store {self.path}: {error}", answer_lost="disk I/O" in str(error))
