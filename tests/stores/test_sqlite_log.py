"""SQLite's write-ahead log stays small, whatever else reads or writes the file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.records import NOW, make_record
from wsgi_session.stores import Outcome
from wsgi_session.stores.sqlite import SQLiteStore
from wsgi_session.stores.sqlite.log import LOG_CHECK_EVERY, LOG_LIMIT

MIB = 1 << 20


def log_of(path: Path) -> int:
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def write(store: SQLiteStore, times: int, size: int = MIB, key: bytes = b"key") -> None:
    stored = store.load(key, NOW)
    if stored is None:
        stored = make_record(os.urandom(size), expires=NOW + 100)
        store.create(key, stored, NOW)
        times -= 1
    for _ in range(times):
        fresh = make_record(os.urandom(size), expires=NOW + 100)
        assert store.replace(key, fresh, stored.version, NOW) is Outcome.SAVED
        stored = fresh


@contextmanager
def long_read(path: Path) -> Iterator[None]:
    """Read in one transaction, as a backup does, so that SQLite cannot start the log again."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sessions").fetchone()
        yield


@contextmanager
def statements_of(store: SQLiteStore) -> Iterator[list[str]]:
    """Collect the statements of the store's only connection."""
    place, statements = store._pool.acquire(), list[str]()
    connection = place.connection
    connection.set_trace_callback(statements.append)
    store._pool.release(place)
    yield statements
    connection.set_trace_callback(None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def test_the_log_is_bounded_while_writers_never_pause(path: Path) -> None:
    with SQLiteStore(path) as store:
        threads = [threading.Thread(target=write, args=(store, 1500, 20_000, b"key%d" % one)) for one in range(4)]
        for thread in threads:
            thread.start()
        largest = 0
        while any(thread.is_alive() for thread in threads):
            threads[0].join(0.01)
            largest = max(largest, log_of(path))
            time.sleep(0.01)
        assert largest < 2.5 * LOG_LIMIT, f"{largest / MIB:.0f} MiB"


@pytest.mark.parametrize("linked", [False, True])
def test_a_log_that_a_backup_made_grow_is_emptied_after_it(path: Path, linked: bool) -> None:
    given = path
    if linked:
        given = path.with_name("link.db")
        given.symlink_to(path)
    with SQLiteStore(given) as store:
        write(store, 1)
        with long_read(path):
            write(store, 40)
            assert log_of(path) > 2 * LOG_LIMIT
        write(store, 33)
        assert log_of(path) <= LOG_LIMIT


def test_a_backup_keeps_writers_waiting_only_each_time_that_the_log_has_grown_by_its_limit(path: Path) -> None:
    with SQLiteStore(path, pool_size=1) as store:
        write(store, 1)
        with long_read(path), statements_of(store) as statements:
            write(store, 50)
            tried = sum("wal_checkpoint" in statement for statement in statements)
            assert 1 <= tried <= 50 * MIB // LOG_LIMIT
            write(store, 3 * LOG_CHECK_EVERY, 100)
        assert sum("wal_checkpoint" in statement for statement in statements) == tried


def test_a_log_that_another_connection_is_copying_is_emptied_by_the_next_write(path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("platform: SQLite locks files in another way")
    # SQLite locks this byte of the -shm file for a checkpoint. Only another process's lock has an effect.
    lock = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX, 1, 121); print(); input()"
    with SQLiteStore(path, pool_size=1) as store:
        write(store, 1)
        with long_read(path):
            write(store, LOG_CHECK_EVERY - 2, 3 * MIB // 2)
        with subprocess.Popen(
            [sys.executable, "-c", lock, f"{path}-shm"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as copying:
            assert copying.stdout is not None
            copying.stdout.readline()
            with statements_of(store) as statements:
                write(store, 3 * LOG_CHECK_EVERY, 100)
            copying.communicate(b"\n")
        tried = sum("wal_checkpoint" in statement for statement in statements)
        assert tried > LOG_CHECK_EVERY
        assert log_of(path) > LOG_LIMIT
        write(store, 1, 100)
        assert log_of(path) == 0


def test_an_error_in_emptying_the_log_fails_no_write(path: Path) -> None:
    def deny(action: int, what: str | None, *_: object) -> int:
        denied.append(what)
        return sqlite3.SQLITE_DENY if what == "wal_checkpoint" else sqlite3.SQLITE_OK

    denied: list[str | None] = []
    with SQLiteStore(path, pool_size=1) as store:
        write(store, 1)
        place = store._pool.acquire()
        connection = place.connection
        connection.set_authorizer(deny)
        store._pool.release(place)
        with long_read(path):
            write(store, 33)
        assert "wal_checkpoint" in denied
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (0,), "statements wait as sqlite_locks does"
        connection.set_authorizer(lambda *_: sqlite3.SQLITE_OK)  # None is new in Python 3.11.
        write(store, LOG_CHECK_EVERY)
        assert log_of(path) <= LOG_LIMIT


def test_a_log_that_is_not_there_fails_no_write(path: Path) -> None:
    with SQLiteStore(path) as store:
        write(store, 1, 100)
        path.with_name(path.name + "-wal").unlink()
        write(store, 2 * LOG_CHECK_EVERY, 100)
