"""The connection pool: its size, its waiting operations, and what a fork does to it."""

from __future__ import annotations

import ctypes
import gc
import itertools
import mmap
import os
import queue
import signal
import sqlite3
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.forks import fork, status_of
from tests.support.frozen import LIBRARIES, MOMENTS, frozen
from tests.support.interruptions import interrupt_with_signals, interrupted
from tests.support.records import NOW, make_record
from tests.support.servers.process import wait_until
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import MemoryStore, SQLiteStore, forks
from wsgi_session.stores import pool as pool_module
from wsgi_session.stores.forks import ProcessIdMark, new_fork_mark
from wsgi_session.stores.memory import store as memory
from wsgi_session.stores.pool import Pool, Slot
from wsgi_session.stores.sqlite import log

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")


@pytest.fixture
def make() -> Iterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def make_pool(size: int = 1, patience: float = 60.0) -> Pool:
        pools.append(Pool(size, patience, sqlite3.Connection.close, "the database", "pool_size"))
        return pools[-1]

    yield make_pool
    for pool in pools:
        pool.close()


def take(pool: Pool, patience: float = 60.0) -> Slot:
    """Acquire a slot as an operation does, and open a connection if it has none."""
    slot = pool.acquire(patience)
    if slot.connection is None:
        slot.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    return slot


def is_closed(connection: sqlite3.Connection | None) -> bool:
    if connection is None:
        return True
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def waiter(pool: Pool) -> tuple[threading.Thread, queue.SimpleQueue[Slot]]:
    """Start a thread that acquires a slot; return when it waits for one."""
    got: queue.SimpleQueue[Slot] = queue.SimpleQueue()
    before = len(pool._waiters)
    thread = threading.Thread(target=lambda: got.put(take(pool)))
    thread.start()
    wait_until(lambda: len(pool._waiters) > before, "a thread stands in line")
    return thread, got


def test_the_last_slot_given_back_is_the_first_one_taken(make: Callable[..., Pool]) -> None:
    pool = make(3)
    first, second = take(pool), take(pool)
    pool.release(first)
    pool.release(second)
    assert pool.acquire() is second
    assert pool.acquire() is first


def test_no_more_slots_are_taken_than_the_bound_says(make: Callable[..., Pool]) -> None:
    pool = make(2, 0.01)
    taken = [take(pool), take(pool)]
    with pytest.raises(StoreUnavailable, match=r"^All 2 connections to .* busy for 0\.01 s\. Increase pool_size\.$"):
        pool.acquire()
    for slot in taken:
        pool.release(slot)
    assert pool.acquire() in taken


def test_those_who_wait_are_served_in_the_order_they_came(make: Callable[..., Pool]) -> None:
    pool = make(1)
    slot = take(pool)
    line = [waiter(pool) for _ in range(3)]
    for number, (thread, got) in enumerate(line):
        pool.release(slot)
        thread.join(60)
        assert got.get_nowait() is slot
        assert [later.empty() for _, later in line[number + 1 :]] == [True] * (2 - number)
        with pytest.raises(StoreUnavailable):
            take(pool, 0.01)
    pool.release(slot)


def test_a_newcomer_does_not_pass_those_who_wait(make: Callable[..., Pool]) -> None:
    pool = make(1)
    slot = take(pool)
    thread, got = waiter(pool)
    # Returned without waking the waiter, as after an interruption.
    pool.idle.append(slot)
    del slot
    second = threading.Thread(target=lambda: pool.release(pool.acquire()))
    second.start()
    thread.join(60)
    pool.release(got.get_nowait())
    second.join(60)


def test_a_connection_that_raised_is_closed_and_the_first_in_line_opens_another(make: Callable[..., Pool]) -> None:
    pool = make(1)
    broken = take(pool)
    connection = broken.connection
    thread, got = waiter(pool)
    pool.discard(broken)
    pool.discard(None)
    thread.join(60)
    fresh = got.get_nowait()
    assert fresh is not broken
    assert is_closed(connection)
    pool.release(fresh)


def test_a_slot_that_was_dropped_is_free_and_its_connection_closed(make: Callable[..., Pool]) -> None:
    pool = make(2, 0.01)
    connections = []
    for _ in range(5):
        slots = [take(pool), take(pool)]
        connections += [slot.connection for slot in slots]
        del slots
    assert all(map(is_closed, connections))
    slots = [take(pool), take(pool)]
    thread, _ = waiter(pool)
    # The slot is dropped without waking the waiter.
    slots.pop()
    thread.join(60)
    assert not thread.is_alive()


def test_a_slot_that_a_fork_inherited_leaves_the_connection_to_its_parent(make: Callable[..., Pool]) -> None:
    slot = take(make())
    connection = slot.connection
    assert connection is not None
    slot._pid += 1  # as in a forked child
    del slot
    assert not is_closed(connection)
    connection.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_waits_end_in_a_test_that_has_stopped_the_clock(
    make: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setattr(pool_module, "FORK_CHECKS", 10)
    pool = make(1, 0.01)
    slot = take(pool)
    with frozen(library, MOMENTS[0]):
        with pytest.raises(StoreUnavailable, match="busy"):
            pool.acquire()
        pool.freeze()
        pool.thaw()
    pool.release(slot)
    assert pool.acquire() is slot


def test_those_who_leave_the_line_do_not_make_the_first_wait_longer(make: Callable[..., Pool]) -> None:
    pool = make(1, 0.2)
    slot = take(pool)
    refused = threading.Event()

    def first() -> None:
        with pytest.raises(StoreUnavailable, match="busy"):
            pool.acquire()
        refused.set()

    thread = threading.Thread(target=first)
    thread.start()
    wait_until(lambda: pool._waiters, "the first stands in line")
    for _ in range(10_000):
        if refused.is_set():
            break
        with pytest.raises(StoreUnavailable):
            pool.acquire(0.001)
    assert refused.is_set()
    thread.join(60)
    pool.release(slot)


def test_what_is_given_back_after_close_is_closed_and_nobody_waits_for_it(make: Callable[..., Pool]) -> None:
    pool = make(2)
    idle, busy = take(pool), take(pool)
    refused: list[StoreUnavailable] = []

    def take_another() -> None:
        try:
            pool.acquire()
        except StoreUnavailable as error:
            refused.append(error)

    thread = threading.Thread(target=take_another)
    thread.start()
    wait_until(lambda: pool._waiters, "a thread stands in line")
    pool.close()
    thread.join(60)
    assert [str(error) for error in refused] == ["The store is closed."]
    pool.release(idle)
    pool.release(busy)
    assert is_closed(idle.connection)
    assert is_closed(busy.connection)
    del idle, busy
    assert pool.count() == 0


def test_no_connection_is_ever_in_two_threads(make: Callable[..., Pool]) -> None:
    pool = make(3)
    in_use: set[int] = set()
    most = 0
    errors: list[str] = []

    def work() -> None:
        nonlocal most
        for _ in range(300):
            slot = take(pool)
            if id(slot.connection) in in_use:
                errors.append("taken twice")
            in_use.add(id(slot.connection))
            most = max(most, len(in_use))
            slot.connection.execute("SELECT 1").fetchone()
            in_use.discard(id(slot.connection))
            pool.release(slot)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert most <= 3
    assert pool.count() == len(pool.idle) <= 3
    assert pool.uncontended


# Interruptions.

#: The files whose code is interrupted.
FILES = ("/stores/pool.py", "/stores/sqlite/store.py")


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect the garbage of each test, so that no later test is blamed for it."""
    yield
    gc.collect()


def leaves_connections(test: Callable[..., None]) -> Callable[..., None]:
    """Let a test drop interrupted connections, of which Python 3.13 and later warn."""
    test = pytest.mark.usefixtures("collected")(test)
    return pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")(test)


@leaves_connections
@pytest.mark.parametrize("idle", [True, False], ids=["idle connection", "no connection"])
def test_an_interruption_at_any_moment_of_a_call_costs_no_slot(tmp_path: Path, idle: bool) -> None:
    with SQLiteStore(tmp_path / "sessions.db", pool_size=2) as store:
        kept = make_record()
        store.create(b"key", kept, NOW)
        number = 0
        while True:
            pool = store._pool
            if not idle:
                pool.close_idle()
            if not interrupted(FILES, number, lambda: store.load(b"key", NOW)):
                break
            number += 1
            gc.collect(1)  # The traceback of an exception is in a reference cycle.
            assert pool.count() == len(pool.idle), f"interruption {number}"
            assert not pool._lock.locked()
            assert store.load(b"key", NOW) == kept
        assert number > 5


@leaves_connections
@pytest.mark.parametrize("operation", ["first use", "create"])
def test_a_time_limit_of_a_signal_handler_is_no_outage_and_is_never_swallowed(tmp_path: Path, operation: str) -> None:
    """Many signal handlers raise ``TimeoutError``, which is an ``OSError`` like the errors of the operating system."""
    raised: list[type[BaseException]] = []

    def call() -> None:
        try:
            if operation == "first use":
                SQLiteStore(tmp_path / f"{number}.db").ping()
            else:
                store.create(os.urandom(32), make_record(), NOW)
        except BaseException as error:
            raised.append(type(error))
            raise

    files = ("/stores/forks.py", "/stores/sqlite/file.py", "/stores/sqlite/log.py", *FILES)
    with SQLiteStore(tmp_path / "sessions.db") as store:
        store.ping()
        store._log._writes = itertools.repeat(log.LOG_CHECK_EVERY)  # type: ignore[assignment]
        number = 0
        while interrupted(files, number, call, limit=TimeoutError):
            assert raised == [TimeoutError] * (number + 1), f"interruption {number}"
            number += 1
    assert number > 10


def test_an_interruption_at_any_moment_of_a_wait_leaves_the_line_as_it_was(make: Callable[..., Pool]) -> None:
    pool = make(1)
    slot = take(pool)
    number = 0
    while interrupted(FILES, number, lambda: pool.acquire(0.001), StoreUnavailable):
        number += 1
        gc.collect(1)
    assert number > 10
    thread, got = waiter(pool)
    pool.release(slot)
    thread.join(60)
    assert got.get_nowait() is slot


def test_a_slot_given_back_at_any_moment_of_an_interruption_is_there_for_those_who_wait(
    make: Callable[..., Pool],
) -> None:
    for back in (Pool.release, Pool.discard):
        number = 0
        while True:
            pool = make(1)
            slots = [take(pool)]
            thread, got = waiter(pool)
            came = interrupted(FILES, number, lambda: back(pool, slots.pop()))  # noqa: B023
            thread.join(60)
            assert not got.empty(), f"interruption {number}"
            if not came:
                break
            number += 1
        assert number > 3


@leaves_connections
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="platform: no interval timer")
def test_hundreds_of_calls_that_a_signal_interrupts_leave_the_pool_whole(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "sessions.db", pool_size=2, busy_timeout=1.0) as store:
        interrupt_with_signals(store, 300)
        pool = store._pool
        assert pool.count() == len(pool.idle) <= 2
        assert pool.uncontended
        assert healthy(store)


@contextmanager
def in_three_threads(work: Callable[[], object]) -> Iterator[None]:
    """Call ``work`` again and again in three threads, for the duration of the block."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            work()

    threads = [threading.Thread(target=repeat) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def c_fork() -> int:
    return int(ctypes.PyDLL(None).fork())


@pytest.fixture(params=["page", "process id"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SQLiteStore]:
    """A store that detects a fork by wiped memory, then one that compares process ids."""
    if request.param == "process id":
        monkeypatch.setattr(pool_module, "new_fork_mark", ProcessIdMark)
    with SQLiteStore(tmp_path / "sessions.db") as store:
        yield store


def healthy(store: SQLiteStore) -> bool:
    return store._run("PRAGMA integrity_check", (), sqlite3.Cursor.fetchall) == [("ok",)]


@needs_fork
@pytest.mark.parametrize("system_call", [None, c_fork], ids=["Python forks", "C forks"])
@pytest.mark.parametrize("make", [new_fork_mark, ProcessIdMark])
def test_a_mark_holds_in_this_process_and_in_no_child(
    make: Callable[[], forks.ForkMark], system_call: Callable[[], int] | None
) -> None:
    mark = make()
    assert mark[0]

    def child() -> bool:
        own = make()
        return not mark[0] and bool(own[0]) and fork(lambda: not mark[0] and not own[0], system_call) == 0

    assert fork(child, system_call) == 0
    assert mark[0]


@pytest.mark.skipif(sys.platform != "linux", reason="platform: no pages that are wiped on fork")
def test_the_process_id_stands_in_where_the_kernel_wipes_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(new_fork_mark(), ProcessIdMark)
    with monkeypatch.context() as old_kernel:
        old_kernel.setattr(forks, "MADV_WIPEONFORK", forks.UNKNOWN_ADVICE)
        assert isinstance(new_fork_mark(), ProcessIdMark)
    with monkeypatch.context() as emulator:
        emulator.setattr(forks, "UNKNOWN_ADVICE", mmap.MADV_NORMAL)
        assert isinstance(new_fork_mark(), ProcessIdMark)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", "darwin")
        assert isinstance(new_fork_mark(), ProcessIdMark)


@needs_fork
def test_no_connection_is_open_while_the_process_forks(store: SQLiteStore) -> None:
    store.create(b"before", make_record(), NOW)
    connection = store._pool.idle[0].connection
    assert fork(lambda: is_closed(connection) and store.load(b"before", NOW) is not None) == 0
    assert store.load(b"before", NOW) is not None


@needs_fork
def test_no_connection_is_open_at_the_fork_however_busy_the_other_threads_are(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "FORK_CHECKS", 10_000)
    store.create(b"before", make_record(), NOW)
    inherited = store._pool

    def read() -> None:
        assert store.load(b"before", NOW) is not None

    with in_three_threads(read):
        statuses = [fork(lambda: inherited.count() == 0) for _ in range(5)]
    assert statuses == [0] * 5
    assert store._pool is inherited


@needs_fork
@leaves_connections
@pytest.mark.full
def test_no_connection_is_open_at_the_fork_whenever_a_signal_interrupts_its_preparation(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a signal handler raises in a hook, Python reports the error and forks anyway."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    # Without the pools of other tests, which would add thousands of steps.
    monkeypatch.setattr(forks, "_members", weakref.WeakValueDictionary())
    forks.freeze_at_forks(store._pool)
    store.create(b"before", make_record(), NOW)
    number = 0
    while True:
        pool, statuses = store._pool, list[int]()
        assert pool.count() == 1

        def fork_once() -> None:
            # The child calls none of the interrupted functions.
            statuses.append(fork(lambda: all(slot() is None for slot in pool._slots)))  # noqa: B023

        came = interrupted(("/stores/pool.py", "/stores/memory/store.py", "/stores/forks.py"), number, fork_once)
        assert statuses == [0], f"interruption {number}"
        assert memory._lock.acquire(blocking=False), f"interruption {number}"
        memory._lock.release()
        assert pool._frozen_until == 0, f"interruption {number}"
        assert store.load(b"before", NOW) is not None
        if not came:
            break
        number += 1
    assert number > 10


@needs_fork
def test_children_and_parent_write_at_once_and_all_of_it_is_kept(store: SQLiteStore) -> None:
    store.ping()
    written: list[bytes] = []

    def write() -> None:
        key = os.urandom(32)
        store.create(key, make_record(), NOW)
        written.append(key)

    def child(number: int) -> bool:
        for step in range(20):
            store.create(b"%d of %d" % (step, number), make_record(), NOW)
        store.close()
        return True

    with in_three_threads(write):
        statuses = [fork(lambda number=number: child(number)) for number in range(6)]  # type: ignore[misc]
    assert statuses == [0] * 6
    assert store.count(NOW) == 6 * 20 + len(written)
    assert healthy(store)


@needs_fork
def test_a_child_loses_nothing_when_the_parent_closes_its_store(store: SQLiteStore, tmp_path: Path) -> None:
    """If the child had inherited SQLite's lock table, the parent would delete the log that the child still uses."""
    store.create(b"before", make_record(), NOW)
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            store.create(b"first", make_record(), NOW)
            os.write(from_child, b".")
            os.read(to_child, 1)
            store.create(b"second", make_record(), NOW)
            os._exit(0)
        finally:
            os._exit(2)
    os.read(to_parent, 1)
    store.close()
    os.write(from_parent, b".")
    assert status_of(child) == 0
    for descriptor in (to_child, from_parent, to_parent, from_child):
        os.close(descriptor)
    with SQLiteStore(tmp_path / "sessions.db") as again:
        found = [key for key in (b"before", b"first", b"second") if again.load(key, NOW) is not None]
        assert found == [b"before", b"first", b"second"]
        assert healthy(again)


@needs_fork
def test_a_connection_that_is_busy_at_the_fork_is_put_aside_in_the_child(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "FORK_CHECKS", 10)
    store.create(b"before", make_record(), NOW)
    inherited = store._pool
    busy = inherited.acquire()

    def child() -> bool:
        works = store.load(b"before", NOW) is not None
        return works and store._pool is not inherited and not is_closed(busy.connection)

    assert fork(child) == 0
    inherited.release(busy)
    assert store._pool is inherited
    assert store.load(b"before", NOW) is not None


@needs_fork
def test_a_fork_that_python_does_not_know_of_is_noticed(store: SQLiteStore) -> None:
    """Servers written in C fork like this: no hook of Python runs."""
    store.create(b"before", make_record(), NOW)
    inherited = store._pool
    (slot,) = inherited.idle
    connection = slot.connection

    def child() -> bool:
        works = store.load(b"before", NOW) is not None
        grandchild = fork(lambda: store.load(b"before", NOW) is not None)
        return works and grandchild == 0 and inherited.idle == [slot] and not is_closed(connection)

    assert fork(child, c_fork) == 0
    assert inherited.idle == [slot]
    assert store.load(b"before", NOW) is not None


@needs_fork
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="platform: this Python ends a child that tells it so")
def test_a_fork_that_python_hears_of_only_afterwards_makes_no_complaint(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uWSGI forks like this with --py-call-osafterfork. MemoryStore has its own hooks."""
    store.create(b"before", make_record(), NOW)
    in_memory = MemoryStore()
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    def child() -> bool:
        ctypes.PyDLL(None).PyOS_AfterFork_Child()
        in_memory.create(b"after", make_record(), NOW)
        return not complaints and fork(lambda: store.load(b"before", NOW) is not None) == 0

    assert fork(child, c_fork) == 0


def test_a_fork_leaves_the_pool_of_another_process_alone(store: SQLiteStore) -> None:
    """A child that forks still has its parent's pools."""
    store.create(b"before", make_record(), NOW)
    inherited = store._pool
    (slot,) = inherited.idle
    connection, inherited.fork_mark = slot.connection, b"\0"
    with inherited._lock:  # A thread of the parent, which does not exist here, may have the lock.
        inherited.freeze()
        inherited.thaw()
    assert inherited.idle == [slot]
    assert not is_closed(connection)
    connection.close()


def test_the_pool_of_another_process_is_put_aside_and_its_connections_stay_open(store: SQLiteStore) -> None:
    """This does what a child does, without a fork, which would close the connections first."""
    store.create(b"before", make_record(), NOW)
    inherited = store._pool
    (slot,) = inherited.idle
    connection = slot.connection
    inherited.fork_mark = b"\0"
    assert store.load(b"before", NOW) is not None
    assert store._pool is not inherited
    assert store._pool._inherited is inherited
    assert inherited.idle == [slot]
    assert not is_closed(connection)
    connection.close()
