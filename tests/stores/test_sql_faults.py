"""SQLStore when its server is killed, hangs, loses its tables or refuses writes: it reports this and recovers."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from multiprocessing.synchronize import Barrier
from typing import Any, TypeAlias

import pytest

from tests.support.records import NOW, make_record
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.postgres import Postgres
from tests.support.servers.process import wait_until
from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.stores import SWEEP_GRACE, Outcome, owned_session
from wsgi_session.stores.sql import SQLStore

KEY = bytes(range(32))
#: The store's timeout, and the longest time of a call in which everything times out (psycopg connects for 2 s).
TIMEOUT = 1.0
PATIENCE = 5.0

DatabaseServer: TypeAlias = Postgres | MariaDB
numbers = count(1)


@pytest.fixture(scope="module", params=[Postgres, MariaDB], ids=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    server: DatabaseServer = request.param()
    server.start()
    yield server
    server.remove(os.getpid())


@pytest.fixture
def table() -> str:
    return f"faults_{next(numbers)}"


@pytest.fixture
def store(server: DatabaseServer, table: str) -> Iterator[SQLStore]:
    with SQLStore.from_url(f"{server.url}?table={table}&timeout={TIMEOUT}") as store:
        yield store


def fails(call: Callable[[], object]) -> StoreUnavailable:
    """Return the error that ``call`` raises; it must do so within the timeouts."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        call()
    assert time.monotonic() - started < PATIENCE
    return caught.value


def taken(store: SQLStore) -> int:
    """Return the number of acquired slots of the pool."""
    pool = store._database._connections.pool
    pool.given_up()
    return sum(reference() is not None for reference in pool._slots) - len(pool._idle)


def hold(server: DatabaseServer, table: str) -> Any:
    """Return a connection of another program that has locked the record under ``KEY``."""
    connection: Any
    if isinstance(server, Postgres):
        import psycopg

        connection, key = psycopg.connect(server.url), f"key = decode('{KEY.hex()}', 'hex')"
    else:
        import pymysql

        connection = pymysql.connect(host="127.0.0.1", port=server.port, user="root", database="test")
        key = f"`key` = X'{KEY.hex()}'"
    cursor = connection.cursor()
    cursor.execute(f"SELECT handle FROM {table} WHERE {key} FOR UPDATE")
    cursor.fetchall()
    return connection


# The server goes away.


def test_a_killed_server_is_an_outage_and_what_it_acknowledged_is_there_when_it_is_back(
    server: DatabaseServer, store: SQLStore
) -> None:
    kept, lost = make_record(), os.urandom(32)
    store.create(KEY, kept, NOW)
    server.kill()
    try:
        error = fails(lambda: store.load(KEY, NOW))
        assert error.__cause__ is not None
        assert not error.answer_lost
        fails(lambda: store.create(lost, make_record(), NOW))
        fails(store.ping)
    finally:
        server.start()
    assert store.load(KEY, NOW) == kept
    assert store.load(lost, NOW) is None
    store.ping()


def test_a_restart_between_two_requests_fails_neither_a_read_nor_a_write(
    server: DatabaseServer, store: SQLStore
) -> None:
    kept = make_record()
    store.create(KEY, kept, NOW)
    changed = make_record(b"changed")
    writes: list[tuple[Callable[[], object], object]] = [
        (lambda: store.load(KEY, NOW), kept),
        (lambda: store.replace(KEY, changed, kept.version, NOW), Outcome.SAVED),
        (lambda: store.touch(KEY, NOW + 1, NOW + 2000, NOW), True),
        (lambda: store.delete(KEY), True),
    ]
    for call, wanted in writes:
        several_at_once(store)  # so that more than one connection is idle
        server.stop()
        server.start()
        assert call() == wanted


def several_at_once(store: SQLStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(store.load, os.urandom(32), NOW) for _ in range(40)]:
            assert future.result() is None


def test_a_server_that_hangs_costs_no_more_than_the_time_outs(server: DatabaseServer, store: SQLStore) -> None:
    kept = make_record()
    store.create(KEY, kept, NOW)
    changed = make_record(b"changed")
    server.pause()
    try:
        assert "SQL store" in str(fails(lambda: store.load(KEY, NOW)))
        fails(lambda: store.load(KEY, NOW))  # which has to connect
    finally:
        server.resume()
    assert store.load(KEY, NOW) == kept
    server.pause()
    try:
        assert fails(lambda: store.replace(KEY, changed, kept.version, NOW)).answer_lost
    finally:
        server.resume()
    # The write may be applied when the server continues; repeating the same write shows it.
    assert store.replace(KEY, changed, kept.version, NOW) is Outcome.SAVED
    found = store.load(KEY, NOW)
    assert found is not None
    assert found.data == b"changed"


def test_a_connection_that_the_server_ended_while_idle_is_replaced_unseen(
    server: DatabaseServer, store: SQLStore, table: str
) -> None:
    for _ in range(2):
        store.create(os.urandom(32), make_record(), NOW)
        end_all_others(server)


def end_all_others(server: DatabaseServer) -> None:
    if isinstance(server, Postgres):
        ended = server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        assert ended
        assert all(row == (True,) for row in ended)
        return
    clients = "SELECT id FROM information_schema.processlist WHERE user = 'root' AND id <> connection_id()"
    numbers = [row[0] for row in server.execute(clients)]
    assert numbers
    for number in numbers:
        server.execute(f"KILL {number}")
    wait_until(lambda: not {row[0] for row in server.execute(clients)} & set(numbers), "the connections are ended")


def test_a_connection_that_is_ended_in_the_middle_of_a_write_leaves_it_open_whether_it_was_kept(
    server: DatabaseServer, table: str
) -> None:
    with SQLStore.from_url(f"{server.url}?table={table}&timeout=30") as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        other = hold(server, table)
        with ThreadPoolExecutor(1) as pool:
            write = pool.submit(store.replace, KEY, make_record(b"changed"), kept.version, NOW)
            wait_until(lambda: waiting(server), "the write waits for the lock")
            for number in waiting(server):
                end = "SELECT pg_terminate_backend({})" if isinstance(server, Postgres) else "KILL {}"
                server.execute(end.format(number))
            assert fails(write.result).answer_lost
        other.close()
        assert store.load(KEY, NOW) == kept


def waiting(server: DatabaseServer) -> list[object]:
    """Return the server's ids of the connections that wait for a lock."""
    if isinstance(server, Postgres):
        rows = server.execute("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    else:
        rows = server.execute(
            "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        )
    return [row[0] for row in rows]


def test_a_read_is_asked_again_when_its_connection_breaks(
    server: DatabaseServer, store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = make_record()
    store.create(KEY, kept, NOW)
    driver = store._source.driver
    make_cursor = driver.cursor

    def cursor(connection: Any) -> Any:
        monkeypatch.undo()
        end_all_others(server)  # after the pool has checked the connection
        return make_cursor(connection)

    monkeypatch.setattr(driver, "cursor", cursor)
    assert store.load(KEY, NOW) == kept


# Others hold locks.


def test_a_write_that_waits_for_a_lock_gives_up_within_the_time_out(
    server: DatabaseServer, store: SQLStore, table: str
) -> None:
    kept = make_record()
    store.create(KEY, kept, NOW)
    other = hold(server, table)
    try:
        assert not fails(lambda: store.touch(KEY, NOW + 1, NOW + 2000, NOW)).answer_lost
        assert store.load(KEY, NOW) == kept
        assert waiting(server) == []
    finally:
        other.close()
    # The server has cancelled the write too.
    assert store.load(KEY, NOW) == kept


def test_when_all_connections_are_busy_the_message_says_what_to_raise(server: DatabaseServer, table: str) -> None:
    with SQLStore.from_url(f"{server.url}?table={table}&timeout={TIMEOUT}&pool=1") as store:
        store.create(KEY, make_record(), NOW)
        connections = store._database._connections
        place = connections.acquire(None, time.monotonic() + TIMEOUT)
        try:
            error = fails(lambda: store.load(KEY, NOW))
        finally:
            connections.pool.release(place)
        assert "?pool=" in str(error)
        assert not error.answer_lost
        assert store.load(KEY, NOW) is not None


def test_a_sweep_passes_over_what_somebody_holds(server: DatabaseServer, store: SQLStore, table: str) -> None:
    late = NOW + 1001 + SWEEP_GRACE
    store.create(KEY, make_record(), NOW)
    other = hold(server, table)
    try:
        for _ in range(3):
            store.create(os.urandom(32), make_record(), NOW)
        assert store.sweep(100, late) == 3
    finally:
        other.rollback()
        other.close()
    assert store.sweep(100, late) == 1


def test_a_sweep_removes_more_than_one_batch(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgi_session.stores.sql.store.SWEEP_BATCH", 3)
    for _ in range(8):
        store.create(os.urandom(32), make_record(), NOW)
    assert store.sweep(7, NOW + 1001 + SWEEP_GRACE) == 7
    assert store.sweep(7, NOW + 1001 + SWEEP_GRACE) == 1


# Tables.


@pytest.mark.parametrize("dropped", [[""], ["", "_schema"], ["_schema", ""]], ids=["sessions", "both", "schema first"])
def test_a_table_that_is_dropped_is_one_outage_and_is_made_again(
    server: DatabaseServer, store: SQLStore, table: str, dropped: list[str]
) -> None:
    store.create(KEY, make_record(), NOW)
    for suffix in dropped:
        server.execute(f"DROP TABLE {table}{suffix}")
    error = fails(lambda: store.load(KEY, NOW))
    assert table in str(error)
    assert store.load(KEY, NOW) is None
    store.create(KEY, make_record(), NOW)
    with SQLStore.from_url(f"{server.url}?table={table}&create=off") as other:
        assert other.load(KEY, NOW) is not None


def test_init_makes_a_table_that_was_dropped_and_says_so_only_then(server: DatabaseServer, table: str) -> None:
    url = f"{server.url}?table={table}&create=off"
    with SQLStore.from_url(url) as store:
        store.init()
        server.execute(f"DROP TABLE {table}")
        for _ in range(2):
            assert "python -m wsgi_session init URL" in str(fails(store.ping)) + str(fails(store.ping))
        store.init()
        store.ping()


def test_a_store_that_has_read_its_schema_version_does_not_need_its_table(
    server: DatabaseServer, store: SQLStore, table: str
) -> None:
    store.create(KEY, make_record(), NOW)
    server.execute(f"DROP TABLE {table}_schema")
    assert store.load(KEY, NOW) is not None
    with SQLStore.from_url(f"{server.url}?table={table}&timeout=30") as late:
        assert late.load(KEY, NOW) is not None
    assert server.execute(f"SELECT version FROM {table}_schema") == [(1,)]


def test_without_create_missing_tables_are_an_outage_that_ends_with_init(server: DatabaseServer, table: str) -> None:
    url = f"{server.url}?table={table}"
    with SQLStore.from_url(f"{url}&create=off") as store:
        for _ in range(2):
            error = fails(lambda: store.load(KEY, NOW))
            assert "python -m wsgi_session init URL" in str(error)
        with SQLStore.from_url(url) as maker:
            maker.init()
            maker.init()
        assert store.load(KEY, NOW) is None


def test_the_printed_sql_makes_the_tables_that_the_store_takes(server: DatabaseServer, table: str) -> None:
    with SQLStore.from_url(f"{server.url}?table={table}&create=off") as store:
        for statement in store.ddl().split(";\n")[:-1]:
            server.execute(statement)
        kept = make_record(owner=os.urandom(32))
        store.create(KEY, kept, NOW)
        assert list(store.of_owner(kept.owner or b"", NOW)) == [owned_session(KEY, kept)]


def test_tables_of_a_newer_version_are_refused_and_left_alone(
    server: DatabaseServer, store: SQLStore, table: str
) -> None:
    store.init()
    server.execute(f"UPDATE {table}_schema SET version = 2")
    with SQLStore.from_url(f"{server.url}?table={table}") as late:
        error = fails(lambda: late.load(KEY, NOW))
        assert isinstance(error.__cause__, ConfigError)
        assert "schema version 2, and this wsgi-session knows 1" in str(error.__cause__)
        fails(late.init)
    assert server.execute(f"SELECT version FROM {table}_schema") == [(2,)]


def test_tables_that_were_made_by_halves_are_completed(server: DatabaseServer, store: SQLStore, table: str) -> None:
    store.init()
    server.execute(f"DELETE FROM {table}_schema")
    with SQLStore.from_url(f"{server.url}?table={table}") as other:
        assert other.load(KEY, NOW) is None
    assert server.execute(f"SELECT version FROM {table}_schema") == [(1,)]


def _first_use(url: str, barrier: Barrier, key: bytes) -> None:
    with SQLStore.from_url(url) as store:
        barrier.wait(60)
        store.create(key, make_record(), NOW)


def test_of_several_processes_that_come_first_at_once_all_find_the_tables(server: DatabaseServer, table: str) -> None:
    context = multiprocessing.get_context("spawn")
    url, keys = f"{server.url}?table={table}&timeout=30", [os.urandom(32) for _ in range(5)]
    barrier = context.Barrier(len(keys))
    processes = [context.Process(target=_first_use, args=(url, barrier, key)) for key in keys]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(keys)
    with SQLStore.from_url(url) as store:
        assert store.count(NOW) == len(keys)


def test_of_several_threads_that_come_first_at_once_all_find_the_tables(server: DatabaseServer, table: str) -> None:
    for turn in range(5):
        stores = [SQLStore.from_url(f"{server.url}?table={table}_{turn}&timeout=30") for _ in range(6)]
        barrier = threading.Barrier(len(stores))

        def first_use(store: SQLStore, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(60)
            store.init()

        with ThreadPoolExecutor(len(stores)) as pool:
            for future in [pool.submit(first_use, store) for store in stores]:
                future.result()
        for store in stores:
            store.ping()
            store.close()


# Writing is refused.


def test_a_database_that_takes_no_writes_still_answers_reads(
    server: DatabaseServer, store: SQLStore, table: str
) -> None:
    kept = make_record()
    store.create(KEY, kept, NOW)
    if isinstance(server, Postgres):
        server.execute(f"CREATE ROLE reader_{table} LOGIN")
        server.execute(f"GRANT ALL ON {table}, {table}_schema TO reader_{table}")
        server.execute(f"ALTER ROLE reader_{table} SET default_transaction_read_only = on")
    else:
        server.execute(f"CREATE USER reader_{table}@'127.0.0.1'")
        server.execute(f"GRANT SELECT ON test.* TO reader_{table}@'127.0.0.1'")
    url = server.url.replace("//root@", "//postgres@").replace("//postgres@", f"//reader_{table}@")
    with SQLStore.from_url(f"{url}?table={table}") as reader:
        assert reader.load(KEY, NOW) == kept
        for write in (
            reader.ping,
            lambda: reader.delete(KEY),
            lambda: reader.replace(KEY, make_record(b"x"), kept.version, NOW),
        ):
            assert not fails(write).answer_lost
        assert reader.load(KEY, NOW) == kept


def test_an_interruption_leaves_no_connection_with_an_unfinished_statement(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = make_record()
    store.create(KEY, kept, NOW)

    def interrupt(connection: Any) -> Any:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(store._source.driver, "cursor", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.load(KEY, NOW)
    wait_until(lambda: taken(store) == 0, "the server has ended it")
    assert store.load(KEY, NOW) == kept
