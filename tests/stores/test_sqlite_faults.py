"""SQLiteStore with faults of the disk, of the file and of other processes. Each fault is real, not simulated."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import NOW, OWNER, make_record
from tests.support.site import Site, put
from tests.support.site import read as read_site
from wsgi_session import SessionMiddleware
from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.stores import Outcome, SQLiteStore, owned_session
from wsgi_session.testing import plant, read
from wsgi_session.testing.clock import FakeClock

KEY = b"k" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def meddle(path: Path, column: str) -> None:
    """Put a text into a column of every record. SQLite allows this for a column of any type."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        intruder.execute(f"UPDATE sessions SET {column} = 'x'")


def unavailable(call: Callable[[], object], message: str) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable, match=message) as caught:
        call()
    assert caught.value.__cause__ is not None, "the cause is not chained"
    return caught.value


def every_call(store: SQLiteStore) -> list[Callable[[], object]]:
    fresh = make_record()
    return [
        lambda: store.load(KEY, NOW),
        lambda: store.create(KEY, fresh, NOW),
        lambda: store.replace(KEY, fresh, b"v" * 16, NOW),
        lambda: store.rotate(KEY, b"n" * 32, fresh, b"v" * 16, NOW),
        lambda: store.touch(KEY, NOW, NOW + 1, NOW),
        lambda: store.delete(KEY),
        lambda: list(store.of_owner(OWNER, NOW)),
        lambda: store.delete_many([KEY]),
        lambda: store.count(NOW),
        lambda: store.sweep(10, NOW),
        store.ping,
    ]


def is_well(store: SQLiteStore) -> None:
    """Check that the store works, and that no connection is in a transaction."""
    key, fresh = os.urandom(32), make_record()
    store.create(key, fresh, NOW)
    assert store.load(key, NOW) == fresh
    assert store.delete(key)
    store.ping()
    assert [place.connection.in_transaction for place in store._pool.idle] == [False]


def test_a_full_disk_fails_the_write_keeps_the_record_and_passes(path: Path) -> None:
    with SQLiteStore(path) as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        with_no_room(store)
        error = unavailable(lambda: store.create(b"big", make_record(bytes(100_000)), NOW), "database or disk is full")
        assert not error.answer_lost
        with_no_room(store)
        large = kept._replace(data=bytes(100_000), version=b"w" * 16)
        unavailable(lambda: store.replace(KEY, large, kept.version, NOW), "full")
        with_no_room(store)
        unavailable(lambda: store.rotate(KEY, b"new", large, kept.version, NOW), "full")
        assert store.load(KEY, NOW) == kept
        assert store.load(b"new", NOW) is None
        assert store.load(b"big", NOW) is None
        is_well(store)


def with_no_room(store: SQLiteStore) -> None:
    place = store._pool.acquire()
    connection = place.connection = place.connection or store._connect(1.0)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    store._pool.release(place)


def test_a_write_that_the_system_refuses_half_way_may_have_been_kept_and_says_so(path: Path) -> None:
    with SQLiteStore(path) as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(f"{path}-wal") + 50_000, hard))
        try:
            error = unavailable(lambda: store.create(b"big", make_record(bytes(200_000)), NOW), "disk I/O error")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert error.answer_lost
        assert store.load(KEY, NOW) == kept
        assert store.load(b"big", NOW) is None
        is_well(store)


def test_a_failure_that_is_slow_to_show_does_not_bring_back_what_failed_after_it(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.create(KEY, make_record(), NOW)
        under_way, failed = threading.Barrier(2), threading.Event()

        def fail_slowly(cursor: sqlite3.Cursor) -> None:
            under_way.wait(10)
            assert failed.wait(10)
            raise sqlite3.OperationalError("disk I/O error")

        slow = threading.Thread(
            target=lambda: unavailable(lambda: store._run("SELECT 1", (), fail_slowly), "disk I/O error")
        )
        slow.start()
        under_way.wait(10)
        for _ in range(2):
            with_no_room(store)
            unavailable(lambda: store.create(b"big", make_record(bytes(100_000)), NOW), "full")
        failed.set()
        slow.join()
        is_well(store)


@contextlib.contextmanager
def as_somebody_without_privileges() -> Iterator[Path]:
    """Become a user without privileges, because root can write to read-only files; yield a directory of that user."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o777)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield directory
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(directory)


def test_a_read_only_file_is_an_outage_until_it_can_be_written_again() -> None:
    with as_somebody_without_privileges() as directory:
        path = directory / "sessions.db"
        with SQLiteStore(path) as store:
            store.create(KEY, make_record(), NOW)
        path.chmod(0o400)
        with SQLiteStore(path) as store:
            for call in every_call(store):
                unavailable(call, "the file is read-only")
            path.chmod(0o600)
            assert store.load(KEY, NOW) is not None
            assert store.delete(KEY)
            is_well(store)


def test_a_directory_that_cannot_be_written_is_an_outage_until_it_can() -> None:
    with as_somebody_without_privileges() as directory:
        inner = directory / "data"
        inner.mkdir()
        inner.chmod(0o500)
        with SQLiteStore(inner / "sessions.db") as store:
            for call in every_call(store):
                unavailable(call, "Permission denied")
            inner.chmod(0o700)
            is_well(store)


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@contextlib.contextmanager
def locked_by_another_process(path: Path) -> Iterator[None]:
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        holder.communicate("\n", timeout=60)


def test_a_writer_that_holds_the_lock_past_the_busy_timeout_stops_writes_but_no_reads(path: Path) -> None:
    with SQLiteStore(path, busy_timeout=0.02) as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        pool = store._pool
        with locked_by_another_process(path):
            error = unavailable(lambda: store.create(b"other", make_record(), NOW), "database is locked")
            assert not error.answer_lost
            assert store._pool is pool, "a lock is no reason to open the file anew"
            assert store.load(KEY, NOW) == kept
            assert list(store.of_owner(OWNER, NOW)) == [owned_session(KEY, kept)]
            unavailable(lambda: store.delete(KEY), "database is locked")
        assert store.load(KEY, NOW) == kept
        is_well(store)


def test_a_lock_on_the_new_file_itself_is_waited_for_only_so_long(path: Path) -> None:
    path.touch()
    with locked_by_another_process(path):
        store = SQLiteStore(path, busy_timeout=0.02)
        unavailable(lambda: store.load(KEY, NOW), "database is locked")
    is_well(store)
    store.close()


def test_a_corrupt_file_is_an_outage_until_it_is_restored(path: Path) -> None:
    with SQLiteStore(path) as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
    good = path.read_bytes()
    path.write_bytes(good[:2048] + b"\xff" * (len(good) - 2048))
    with SQLiteStore(path) as store:
        for call in every_call(store)[:4]:
            unavailable(call, "malformed")
        path.write_bytes(good)
        assert store.load(KEY, NOW) == kept
        is_well(store)


def test_invalid_utf_8_in_a_text_leaves_the_session_usable_and_revocable(path: Path) -> None:
    """A flipped bit on the disk can turn a handle into invalid UTF-8."""
    with SQLiteStore(path) as store:
        kept = make_record()._replace(owner=b"ann")
        store.create(KEY, kept, NOW)
        meddler = sqlite3.connect(path, isolation_level=None)
        meddler.execute("UPDATE sessions SET handle = CAST(x'48ff' AS TEXT)")
        meddler.close()
        found = store.load(KEY, NOW)
        assert found == kept._replace(handle="H\ufffd")
        assert list(store.scan(NOW)) == [(KEY, found)]
        assert list(store.of_owner(b"ann", NOW)) == [owned_session(KEY, found)]
        assert store.replace(KEY, found._replace(version=b"w" * 16), found.version, NOW) is Outcome.SAVED
        assert store.delete(KEY)
        is_well(store)


def test_a_version_that_is_invalid_utf_8_is_a_corrupt_record_and_no_outage(path: Path) -> None:
    """No write can match such a version. Before, each save met a hundred conflicts and became a 503."""
    with SQLiteStore(path) as store:
        site = Site(store, FakeClock())
        browser = site.browser()
        browser.do(put(a=1))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as meddler:
            meddler.execute("UPDATE sessions SET version = CAST(x'48ff' AS TEXT)")
        assert browser.do(put(b=2)).code == 200
        assert len(site.happened("corrupt")) == 1
        assert browser.do(read_site).result == {"b": 2}
        assert len(list(store.scan(site.clock()))) == 1, "that of the new session"
        is_well(store)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="platform: open files of a process are not listed")
def test_an_answer_that_cannot_be_read_leaves_nothing_of_the_file_open(path: Path) -> None:
    """SQLite keeps a closed connection open while one of its statements is, which disturbs forks and checkpoints."""

    def unreadable(raw: bytes) -> str:
        raise KeyboardInterrupt

    with SQLiteStore(path) as store:
        store.create(KEY, make_record(), NOW)
        (place,) = store._pool.idle
        place.connection.text_factory = unreadable
        gc.disable()  # Nothing must depend on the garbage collector.
        try:
            with pytest.raises(KeyboardInterrupt):
                store.load(KEY, NOW)
            descriptors = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
            opened = [os.readlink(name) for name in descriptors if os.path.islink(name)]
        finally:
            gc.enable()
        assert [name for name in opened if name.startswith(str(path))] == []
        is_well(store)


def test_a_file_that_is_replaced_by_something_else_while_we_run_is_an_outage(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.create(KEY, make_record(), NOW)
    good = path.read_bytes()
    path.unlink()
    store = SQLiteStore(path)
    path.write_bytes(b"no database at all. " * 1000)
    error = unavailable(lambda: store.load(KEY, NOW), "not an SQLite database")
    assert isinstance(error.__cause__, ConfigError)
    path.write_bytes(good)
    assert store.load(KEY, NOW) is not None
    is_well(store)
    store.close()


def test_an_application_can_start_while_the_file_is_locked_or_broken(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.create(KEY, make_record(), NOW)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    store = SQLiteStore(path, busy_timeout=0.02)
    holder.close()
    is_well(store)
    store.close()


@pytest.mark.parametrize("what", ["the file only", "its log as well"])
def test_a_deleted_file_is_made_anew_and_every_process_goes_on_with_the_same_one(path: Path, what: str) -> None:
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        store.create(KEY, make_record(), NOW)
        assert other.load(KEY, NOW) is not None
        for file in path.parent.iterdir():
            if what == "its log as well" or file == path:
                file.unlink()
        fresh = make_record(b"after")
        store.create(b"after", fresh, NOW)
        assert store.load(KEY, NOW) is None, "the sessions went with the file"
        assert not other.delete(KEY), "a logout went to the deleted file"
        assert other.load(b"after", NOW) == fresh
        assert other.replace(b"after", fresh._replace(version=b"w" * 16), fresh.version, NOW) is Outcome.SAVED
        is_well(store)


def test_a_login_after_the_file_was_deleted_does_not_go_with_it(path: Path) -> None:
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        first = make_record()
        store.create(KEY, first, NOW)
        path.unlink()
        assert store.rotate(KEY, b"new", make_record(), first.version, NOW) is Outcome.GONE
        store.create(b"new", make_record(), NOW)
        assert other.load(b"new", NOW) is not None


def test_a_connection_that_opens_the_new_file_does_not_hide_that_the_others_have_the_deleted_one(path: Path) -> None:
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        store.create(KEY, make_record(), NOW)
        # As if another thread were using the connection: the next operation opens another one.
        busy = store._pool.acquire()
        for file in path.parent.iterdir():
            file.unlink()
        assert store.load(KEY, NOW) is None
        store._pool.release(busy)
        store.create(b"after", make_record(), NOW)
        assert other.load(b"after", NOW) is not None, "it went into the deleted file"


@pytest.mark.parametrize("column", ["created", "touched", "expires", "idle"])
def test_a_record_with_an_invalid_time_is_corrupt(path: Path, column: str) -> None:
    events: list[str] = []
    middleware = SessionMiddleware(
        lambda environ, start_response: [],
        secret="f" * 40,
        store=f"sqlite:///{path}",
        clock=FakeClock(),
        on_event=lambda name, data: events.append(name),
    )
    with middleware:
        cookie = plant(middleware, {"a": 1})
        meddle(path, column)
        assert read(middleware, cookie) == {}
        assert events.count("corrupt") == 1


def test_a_version_that_is_a_text_is_written_over(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.create(KEY, make_record(), NOW)
        meddle(path, "version")
        loaded = store.load(KEY, NOW)
        assert loaded is not None
        assert store.replace(KEY, make_record(b"more"), loaded.version, NOW) is Outcome.SAVED


def test_two_threads_that_notice_a_deleted_file_at_once_go_on_noticing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteStore(path) as store:
        store.create(KEY, make_record(), NOW)
        path.unlink()
        succeed = store._replace_pool

        def overtaken(pool: Any) -> Any:
            monkeypatch.setattr(store, "_replace_pool", succeed)
            heir = succeed(pool)
            store.create(b"other thread", make_record(), NOW)
            return heir

        monkeypatch.setattr(store, "_replace_pool", overtaken)
        store.create(b"first", make_record(), NOW)
        path.unlink()
        store.create(b"second", make_record(), NOW)
        with SQLiteStore(path) as other:
            assert other.load(b"second", NOW) is not None, "it went into the deleted file"


def test_a_deleted_directory_is_an_outage_until_it_is_back(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    with SQLiteStore(directory / "sessions.db") as store:
        store.create(KEY, make_record(), NOW)
        shutil.rmtree(directory)
        unavailable(lambda: store.create(b"lost", make_record(), NOW), "No such file or directory")
        unavailable(lambda: store.delete(KEY), "No such file or directory")
        unavailable(store.ping, "No such file or directory")
        directory.mkdir()
        is_well(store)


def test_a_table_that_somebody_dropped_is_an_outage_and_no_crash(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.create(KEY, make_record(), NOW)
        intruder = sqlite3.connect(path)
        intruder.execute("DROP TABLE sessions")
        intruder.close()
        for call in every_call(store)[:-1]:
            unavailable(call, "no such table: sessions")


def test_writers_that_wait_for_the_lock_keep_no_reader_from_a_connection(path: Path) -> None:
    with SQLiteStore(path, pool_size=2, busy_timeout=30.0) as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(8) as threads:
                writes = [threads.submit(store.touch, KEY, NOW + 1, NOW + 1001, NOW) for _ in range(8)]
                for _ in range(20):
                    assert store.load(KEY, NOW) == kept
                assert not any(write.done() for write in writes)
                holder.execute("ROLLBACK")
                assert all(write.result() for write in writes)
