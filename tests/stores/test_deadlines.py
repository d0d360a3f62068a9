"""One timeout for a whole operation, including the wait for a connection, connecting, and every attempt."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.records import NOW, make_record
from tests.support.servers.slow import CUT, HANG, SlowServer
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import SQLiteStore, Store, open_store

pytest.importorskip("redis")

KEY, OTHER = b"k" * 32, b"o" * 32
#: The timeout of each operation, in seconds, and the longest time that it may take on a busy machine.
TIMEOUT, BUSY = 1.0, 1.5
#: The delay of a reply: one is in time, two in a row are too late.
LATE = 0.8


@contextmanager
def in_time() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < BUSY


def open_redis(*servers: SlowServer, scheme: str = "redis", rest: str = "", options: str = "") -> Store:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return open_store(f"{scheme}://{hosts}{rest}?timeout={TIMEOUT}{options}")


def unavailable(call: Callable[[], object]) -> StoreUnavailable:
    with in_time(), pytest.raises(StoreUnavailable) as caught:
        call()
    return caught.value


# Redis.


def test_a_connection_that_is_cut_late_leaves_the_next_attempt_what_is_left() -> None:
    commands = []

    def answer(command: list[bytes]) -> bytes | None:
        commands.append(command[0])
        if len(commands) == 1:
            return b"$-1\r\n"
        if len(commands) == 2:
            time.sleep(LATE)
            return CUT
        return HANG

    with SlowServer(answer) as server, open_redis(server) as store:
        assert store.load(KEY, NOW) is None
        unavailable(lambda: store.load(KEY, NOW))
    assert commands == [b"GET"] * 3, "it was sent again"


def test_an_attempt_that_succeeds_with_little_time_left_leaves_the_next_operation_all_of_its_own() -> None:
    commands = []

    def answer(command: list[bytes]) -> bytes | None:
        commands.append(command[0])
        if len(commands) in (2, 4):
            time.sleep(LATE)
        return CUT if len(commands) == 2 else b"$-1\r\n"

    with SlowServer(answer) as server, open_redis(server) as store:
        for _ in range(3):
            assert store.load(KEY, NOW) is None
    assert commands == [b"GET"] * 4


def test_nothing_is_sent_when_the_time_is_over() -> None:
    commands = []

    def answer(command: list[bytes]) -> bytes | None:
        commands.append(command[0])
        return b"$-1\r\n"

    with SlowServer(answer) as server, open_redis(server) as store:
        assert store.load(KEY, NOW) is None
        with pytest.raises(StoreUnavailable, match="did not finish within 1 s"):
            store._client.call(KEY, b"GET", KEY, deadline=time.monotonic())  # type: ignore[attr-defined]
    assert commands == [b"GET"]


def test_a_script_that_is_forgotten_is_sent_again_within_the_same_time_out() -> None:
    def answer(command: list[bytes]) -> bytes | None:
        if command[0] == b"EVALSHA":
            time.sleep(LATE)
            return b"-NOSCRIPT No matching script.\r\n"
        return HANG

    with SlowServer(answer) as server, open_redis(server) as store:
        error = unavailable(lambda: store.create(KEY, make_record(), NOW))
    assert error.answer_lost


def test_the_wait_for_a_free_connection_is_part_of_the_time_out() -> None:
    begun = threading.Event()

    def answer(command: list[bytes]) -> bytes | None:
        if begun.is_set():
            return HANG
        begun.set()
        time.sleep(LATE)
        return b"$-1\r\n"

    with SlowServer(answer) as server, open_redis(server, options="&pool=1") as store:
        first = threading.Thread(target=store.load, args=(KEY, NOW))
        first.start()
        assert begun.wait(10)
        unavailable(lambda: store.load(KEY, NOW))
        first.join()


def test_a_server_that_hangs_while_we_connect_late_takes_one_time_out() -> None:
    commands = []

    def answer(command: list[bytes]) -> bytes | None:
        commands.append(command[0])
        if len(commands) > 3:
            return HANG
        if len(commands) < 3:
            return b"$-1\r\n"
        time.sleep(LATE)
        return CUT

    def greet(command: list[bytes]) -> bytes | None:
        return answer(command) if command[0] == b"GET" else HANG if len(commands) == 3 else b"+OK\r\n"

    with SlowServer(greet, greets=False) as server, open_redis(server) as store:
        for _ in range(2):
            assert store.load(KEY, NOW) is None
        unavailable(lambda: store.load(KEY, NOW))


def test_several_answers_share_one_time_out() -> None:
    answers = iter([b":0\r\n", HANG])

    def answer(command: list[bytes]) -> bytes | None:
        time.sleep(LATE)
        return next(answers)

    with SlowServer(answer) as server, open_redis(server, options="&wait=1") as store:
        assert unavailable(lambda: store.create(KEY, make_record(), NOW)).answer_lost


def test_sentinels_that_hang_take_one_time_out_together() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(SlowServer(lambda command: HANG)) for _ in range(4)]
        store = stack.enter_context(open_redis(*servers, scheme="redis+sentinel", rest="/mine"))
        unavailable(lambda: store.load(KEY, NOW))


class SlowCluster:
    """Some nodes of a cluster, the first of which has every slot; ``answer`` gives the reply to other commands.

    While ``hangs`` is true, no node answers anything; ``silent`` is the number of the next questions about the slots
    that get no answer.
    """

    def __init__(self, stack: ExitStack, nodes: int, answer: Callable[[list[bytes]], bytes | None]) -> None:
        self._answer = answer
        self.hangs = False
        self.silent = 0
        self.nodes = [stack.enter_context(SlowServer(self._serve)) for _ in range(nodes)]

    def open(self) -> Store:
        return open_redis(*self.nodes, scheme="redis+cluster")

    def _serve(self, command: list[bytes]) -> bytes | None:
        if self.hangs:
            return HANG
        if command[0] == b"COMMAND":
            return b"*0\r\n"
        if command[0] != b"CLUSTER":
            return self._answer(command)
        if self.silent:
            self.silent -= 1
            return HANG
        nodes = [
            b"*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%040d\r\n" % (node.port, number)
            for number, node in enumerate(self.nodes)
        ]
        return b"*1\r\n*%d\r\n:0\r\n:16383\r\n" % (2 + len(nodes)) + b"".join(nodes)


def test_nodes_of_a_cluster_that_send_us_round_slowly_take_one_time_out() -> None:
    ports: list[int] = []

    def answer(command: list[bytes]) -> bytes | None:
        time.sleep(0.3)
        return b"-MOVED %d 127.0.0.1:%d\r\n" % (1, ports[0])

    with ExitStack() as stack:
        cluster = SlowCluster(stack, 1, answer)
        ports.append(cluster.nodes[0].port)
        store = stack.enter_context(cluster.open())
        unavailable(lambda: store.load(KEY, NOW))


def test_all_steps_of_an_operation_in_a_cluster_share_one_time_out() -> None:
    def answer(command: list[bytes]) -> bytes | None:
        time.sleep(LATE)
        return b"*0\r\n"

    with ExitStack() as stack:
        store = stack.enter_context(SlowCluster(stack, 1, answer).open())
        unavailable(lambda: store.create(KEY, make_record(), NOW))


def test_a_cluster_that_hangs_at_first_use_takes_one_time_out() -> None:
    with ExitStack() as stack:
        cluster = SlowCluster(stack, 4, lambda command: b"$-1\r\n")
        cluster.hangs = True
        store = stack.enter_context(cluster.open())
        unavailable(lambda: store.load(KEY, NOW))
        cluster.hangs = False
        assert store.load(KEY, NOW) is None


def test_a_cluster_that_hangs_later_takes_one_time_out_until_it_does_not() -> None:
    with ExitStack() as stack:
        cluster = SlowCluster(stack, 4, lambda command: b"$-1\r\n")
        store = stack.enter_context(cluster.open())
        assert store.load(KEY, NOW) is None
        cluster.hangs = True
        for _ in range(3):  # From the second one on, the client asks where the slots are.
            unavailable(lambda: store.load(KEY, NOW))
        unavailable(lambda: store.delete_many([b"%032d" % number for number in range(20)]))
        cluster.hangs = False
        assert store.load(KEY, NOW) is None


@pytest.mark.parametrize("silent", [1, 9])
def test_nodes_that_do_not_say_where_the_slots_are_leave_time_for_one_that_serves(silent: int) -> None:
    with ExitStack() as stack:
        cluster = SlowCluster(stack, 4, lambda command: b"$-1\r\n")
        store = stack.enter_context(cluster.open())
        assert store.load(KEY, NOW) is None
        slots = store._client._map  # type: ignore[attr-defined]
        slots.outdated = True
        cluster.silent = silent
        with in_time():
            assert store.load(KEY, NOW) is None
        assert slots.outdated is (silent == 9), "the first that answers is believed"


# SQLite.


@contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold the write lock of the database."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


def test_the_wait_for_a_connection_and_for_the_lock_are_one_time_out(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    with SQLiteStore(path, busy_timeout=TIMEOUT, pool_size=1) as store:
        store.ping()
        place = store._pool.acquire()
        late = threading.Timer(LATE, store._pool.release, (place,))
        with held_lock(path):
            late.start()
            unavailable(lambda: store.create(KEY, make_record(), NOW))
        late.join()
        store.create(KEY, make_record(), NOW)


def test_a_writer_that_was_let_in_late_leaves_the_next_one_all_of_its_time(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    with SQLiteStore(path, busy_timeout=TIMEOUT, pool_size=1) as store:
        store.ping()
        place = store._pool.acquire()
        late = threading.Timer(LATE, store._pool.release, (place,))
        late.start()
        store.create(KEY, make_record(), NOW)
        late.join()
        with held_lock(path):
            started = time.monotonic()
            unavailable(lambda: store.create(OTHER, make_record(), NOW))
            assert time.monotonic() - started > LATE


def test_a_second_statement_waits_for_the_lock_as_long_as_the_first_has_left(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    with SQLiteStore(path, busy_timeout=TIMEOUT) as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
        late = threading.Timer(LATE, lock.execute, ("ROLLBACK",))
        changed = store._log.row_count

        def lock_again(cursor: sqlite3.Cursor) -> int:
            lock.execute("BEGIN IMMEDIATE")
            return changed(cursor)

        store._log.row_count = lock_again  # type: ignore[method-assign]
        late.start()
        unavailable(lambda: store.replace(KEY, make_record(), b"another version.", NOW))
        late.join()
        lock.close()


def test_a_file_that_somebody_else_holds_when_it_is_opened_takes_one_time_out(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with SQLiteStore(path, busy_timeout=TIMEOUT) as store:
        unavailable(lambda: store.create(KEY, make_record(), NOW))
    connection.close()
