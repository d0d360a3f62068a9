"""SQLiteStore: the contract, the file, and when a sweep is due."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.records import NOW, make_record
from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.stores import SWEEP_EVERY, SWEEP_GRACE, Outcome, SQLiteStore, Store
from wsgi_session.stores.sqlite.file import SCHEMA_VERSION
from wsgi_session.stores.sqlite.statements import BATCH_BYTES, BATCH_RECORDS
from wsgi_session.testing.conformance import StoreConformance


class TestSQLiteStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "sessions.db"

    def make_store(self) -> SQLiteStore:
        return SQLiteStore(self.path)

    def reopen(self, store: Store) -> SQLiteStore:
        return SQLiteStore(self.path)


@pytest.mark.full
class TestSQLiteStoreWithOneConnection(TestSQLiteStore):
    """The same promises with one connection, for which all threads have to wait."""

    def make_store(self) -> SQLiteStore:
        return SQLiteStore(self.path, pool_size=1, synchronous="full")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def test_a_relative_path_is_made_absolute_at_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLiteStore("here.db") as store:
        monkeypatch.chdir("/")
        store.create(b"key", make_record(), NOW)
    assert (tmp_path / "here.db").exists()


def test_nothing_is_made_before_first_use(path: Path) -> None:
    with SQLiteStore(path) as store:
        assert not path.exists()
        assert store.load(b"key", NOW) is None
        assert path.exists()


def test_sessions_outlive_the_store_that_wrote_them(path: Path) -> None:
    kept = make_record()
    with SQLiteStore(path) as store:
        store.create(b"key", kept, NOW)
    with SQLiteStore(str(path)) as store:
        assert store.load(b"key", NOW) == kept


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277, 0o777])
def test_only_this_user_can_read_the_file_and_its_log_whatever_the_umask(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with SQLiteStore(path) as store:
            store.create(b"key", make_record(), NOW)
            modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"sessions.db": "0o600", "sessions.db-wal": "0o600", "sessions.db-shm": "0o600"}


def test_a_file_behind_a_dangling_link_is_private_too(path: Path) -> None:
    target = path.with_name("elsewhere.db")
    path.symlink_to(target)
    with SQLiteStore(path) as store:
        store.create(b"key", make_record(), NOW)
    assert oct(stat.S_IMODE(target.stat().st_mode)) == "0o600"


def test_the_mode_that_the_administrator_gave_an_existing_file_stays(path: Path) -> None:
    path.touch()
    path.chmod(0o660)
    with SQLiteStore(path) as store:
        store.create(b"key", make_record(), NOW)
        modes = {oct(stat.S_IMODE(file.stat().st_mode)) for file in path.parent.iterdir()}
    assert modes == {"0o660"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ":memory:"}, r"memory://"),
        ({"path": ""}, r"memory://"),
        ({"path": "no/such/directory/sessions.db"}, r"directory .*no/such/directory does not exist. Create it"),
        ({"path": "."}, r"is a directory. Give the path of a file"),
        ({"path": "a\0b"}, r"path='a\\x00b': this is not a valid file name"),
        ({"path": "a\ud800b"}, r"path='a\\ud800b': this is not a valid file name"),
        ({"synchronous": "off"}, r"synchronous='off': give 'normal' or 'full'"),
        ({"busy_timeout": 0}, r"busy_timeout=0: give a number of seconds"),
        ({"busy_timeout": float("nan")}, r"busy_timeout=nan: give a number of seconds"),
        ({"pool_size": 0}, r"pool_size=0: give a whole number"),
        ({"pool_size": 1.5}, r"pool_size=1.5: give a whole number"),
    ],
)
def test_an_option_that_cannot_work_is_refused_at_construction(
    path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SQLiteStore(**{"path": path, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("whose", ["schema version", "tables of somebody else", "header of somebody else", "garbage"])
def test_a_file_that_is_not_ours_is_refused_at_construction_and_left_as_it_is(path: Path, whose: str) -> None:
    if whose == "garbage":
        path.write_bytes(b"These are the times that try men's souls. " * 100)
        message = "not an SQLite database"
    elif whose == "schema version":
        with SQLiteStore(path) as store:
            store.ping()
        execute(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        message = f"schema version {SCHEMA_VERSION + 1}, and this wsgi-session knows {SCHEMA_VERSION}. Update"
    elif whose == "tables of somebody else":
        execute(path, "CREATE TABLE sessions (id)")
        message = "database of another program"
    else:
        execute(path, "PRAGMA application_id = 7")
        message = "database of another program"
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=message):
        SQLiteStore(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_store_that_was_only_made_has_no_file_open(path: Path) -> None:
    """An application creates the store before its server forks, and some servers fork in C, without Python's hooks."""
    with SQLiteStore(path) as store:
        store.ping()
    with SQLiteStore(path) as store:
        assert store._pool.count() == 0
        store.ping()
        assert store._pool.count() == 1


def test_synchronous_full_reaches_the_engine(path: Path) -> None:
    for synchronous, number in (("normal", 1), ("full", 2)):
        with SQLiteStore(path, synchronous=synchronous) as store:
            store.ping()
            place = store._pool.acquire()
            connection = place.connection
            assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            store._pool.release(place)


def test_it_asks_for_a_sweep_at_every_256th_create_and_no_more_once_swept(path: Path) -> None:
    with SQLiteStore(path) as store:
        for number in range(2 * SWEEP_EVERY):
            due = number in (SWEEP_EVERY, 2 * SWEEP_EVERY)
            assert store.sweep_due is due, f"after {number} creates"
            if due:
                store.sweep(1, NOW)
            store.create(b"%d" % number, make_record(), NOW)
        assert store.sweep_due


def test_with_sweep_off_it_asks_for_none_and_sweeps_when_told(path: Path) -> None:
    with SQLiteStore(path, sweep=False) as store:
        for number in range(SWEEP_EVERY):
            store.create(b"%d" % number, make_record(expires=NOW + 1), NOW)
        assert not store.sweep_due
        assert store.sweep(1000, NOW + SWEEP_GRACE + 2) == SWEEP_EVERY


@pytest.mark.skipif(not os.access("/proc/self/io", os.R_OK), reason="platform: reads of a process are not counted")
@pytest.mark.parametrize("opened", ["with the file it made", "with a file that was there"])
def test_what_the_log_can_hold_is_read_from_the_file_once(path: Path, opened: str) -> None:
    def read() -> int:
        return int(re.findall(r"rchar: (\d+)", Path("/proc/self/io").read_text())[0])

    keys = [b"%032d" % number for number in range(256)]
    with SQLiteStore(path) as maker, SQLiteStore(path) as second:
        for key in keys:
            maker.create(key, make_record(bytes(20_000), expires=NOW + 100), NOW)
        store = maker if opened == "with the file it made" else second
        for key in keys:
            store.load(key, NOW)
        once = read()
        for key in keys:
            store.load(key, NOW)
        twice = read()
    assert twice - once < 256 * 1000


def test_a_connection_that_waits_in_the_pool_keeps_no_checkpoint_from_the_log(path: Path) -> None:
    key, other = b"k" * 32, b"o" * 32
    with SQLiteStore(path) as store, SQLiteStore(path, pool_size=1) as writer:
        writer.create(key, make_record(expires=NOW + 100), NOW)
        assert store.load(key, NOW) is not None
        assert store.load(other, NOW) is None
        assert list(store.of_owner(b"nobody", NOW)) == []
        assert store.touch(key, NOW + 1, NOW + 101, NOW)
        writer.create(other, make_record(expires=NOW + 100), NOW)
        place = writer._pool.acquire()
        connection = place.connection
        # 0: it did not have to wait.
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        writer._pool.release(place)
        assert path.with_name(path.name + "-wal").stat().st_size == 0


def test_a_sweep_of_large_records_takes_them_in_smaller_batches(path: Path) -> None:
    with SQLiteStore(path) as store:
        for number in range(9):
            store.create(b"%d" % number, make_record(bytes(BATCH_BYTES // 3), expires=NOW + 1), NOW)
        statements: list[str] = []
        place = store._pool.acquire()
        connection = place.connection
        connection.set_trace_callback(statements.append)
        store._pool.release(place)
        assert store.sweep(1000, NOW + SWEEP_GRACE + 2) == 9
        connection.set_trace_callback(None)
    assert sum(statement.strip().startswith("DELETE") for statement in statements) == 3


def test_no_batch_of_a_sweep_keeps_a_writer_waiting_for_50_ms(path: Path) -> None:
    with SQLiteStore(path) as store, SQLiteStore(path) as writer:
        for number in range(4000):
            store.create(b"%032d" % number, make_record(os.urandom(500), expires=NOW + 1, owner=os.urandom(32)), NOW)
        later = NOW + SWEEP_GRACE + 2
        durations = []
        for _ in range(4000 // BATCH_RECORDS):
            start = time.perf_counter()
            assert store.sweep(BATCH_RECORDS, later) == BATCH_RECORDS
            durations.append(time.perf_counter() - start)
            writer.create(os.urandom(32), make_record(expires=later + 1), later)
        assert store.sweep(BATCH_RECORDS, later) == 0
        # The median, because on a busy machine the slowest batch shows only how busy it is.
        assert statistics.median(durations) < 0.05, f"seconds for each batch: {durations}"


def test_a_session_of_500_bytes_takes_at_most_800_bytes_of_file(path: Path) -> None:
    many = 5000
    with SQLiteStore(path) as store:
        for _ in range(many):
            owned = make_record(os.urandom(500), owner=os.urandom(32), handle=os.urandom(11).hex())
            store.create(os.urandom(32), owned, NOW)
    taken = path.stat().st_size / many
    assert taken <= 800, f"{taken:.0f} bytes a session"


def test_its_repr_says_where_the_file_is(path: Path) -> None:
    with SQLiteStore(path) as store:
        assert repr(store) == f"SQLiteStore({str(path)!r})"


def test_a_closed_store_says_so(path: Path) -> None:
    store = SQLiteStore(path)
    store.ping()
    store.close()
    with pytest.raises(StoreUnavailable, match="The store is closed"):
        store.load(b"key", NOW)


def test_closing_leaves_no_log_behind(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.create(b"key", make_record(), NOW)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_operation_that_is_interrupted_does_not_leave_its_connection_in_use(path: Path) -> None:
    with SQLiteStore(path, pool_size=1) as store:
        store.ping()

        def interrupted(cursor: sqlite3.Cursor) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store._run("SELECT 1", (), interrupted)
        store.ping()


PROCESS = """
import os, sys
from wsgi_session.stores import Record, SQLiteStore
path, number = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
with SQLiteStore(path) as store:
    for step in range(20):
        key = b"%d of %d" % (step, number)
        store.create(key, Record(b"data", os.urandom(16), "h", 1.0, 1.0, 1000.0), 1.0)
        assert store.load(key, 2.0) is not None
"""


@pytest.mark.full
def test_eight_processes_that_start_at_once_on_a_missing_file_all_work(path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), str(number)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert errors == [""] * 8
    with SQLiteStore(path) as store:
        assert store.count(2.0) == 160


def test_eight_threads_with_stores_of_their_own_can_make_the_file_at_once(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / f"{number}.db"
        errors: list[BaseException] = []
        barrier = threading.Barrier(8, timeout=60)

        def start(
            path: Path = path, errors: list[BaseException] = errors, barrier: threading.Barrier = barrier
        ) -> None:
            try:
                with SQLiteStore(path) as store:
                    barrier.wait()
                    store.create(os.urandom(32), make_record(), NOW)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        with SQLiteStore(path) as store:
            assert store.count(NOW) == 8


WRITER = """
import os, sys
from wsgi_session.stores import Record, SQLiteStore
store = SQLiteStore(sys.argv[1])
for number in range(10**9):
    store.create(b"%032d" % number, Record(bytes(3000), os.urandom(16), "h", 1.0, 1.0, 1000.0), 1.0)
    print(number, flush=True)
"""


def test_what_was_written_before_a_writer_is_killed_is_there_and_the_store_goes_on(path: Path) -> None:
    with SQLiteStore(path) as store:
        for _ in range(3):
            writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
            assert writer.stdout is not None
            last = -1
            while last < 200:
                last = int(writer.stdout.readline())
            writer.kill()
            last = int([str(last), *writer.stdout.read().splitlines()][-1])
            writer.stdout.close()
            writer.wait()
            lost = [number for number in range(last + 1) if store.load(b"%032d" % number, 2.0) is None]
            assert lost == [], f"of {last + 1} whose create had returned"
            kept = store.load(b"%032d" % 0, 2.0)
            assert kept is not None
            saved = store.replace(b"%032d" % 0, kept._replace(version=os.urandom(16)), kept.version, 2.0)
            assert saved is Outcome.SAVED
            for number in range(last + 2):
                store.delete(b"%032d" % number)
