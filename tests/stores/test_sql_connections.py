"""SQLStore: connections after forks and with unknown drivers, and races between its statements."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from tests.support.records import NOW, make_record
from tests.support.servers.proxy import Proxy
from tests.support.servers.shared import mariadb, postgres
from wsgi_session.errors import ConfigError, KeyExists, StoreUnavailable
from wsgi_session.stores import forks
from wsgi_session.stores.sql import SQLStore
from wsgi_session.stores.sql.database import Operation
from wsgi_session.stores.sql.pool import Slot

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+pysqlite:///{tmp_path / 'sessions.db'}"


@pytest.fixture
def store(sqlite_url: str) -> Iterator[SQLStore]:
    with SQLStore.from_url(sqlite_url) as store:
        yield store


# Forks.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("server", [postgres, mariadb], ids=["postgresql", "mariadb"])
def test_a_fork_has_connections_of_its_own_and_leaves_those_of_its_parent_alone(server: Callable[[], str]) -> None:
    with SQLStore.from_url(f"{server()}?table=fork_{os.urandom(4).hex()}") as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        ours = server_process(store)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # Ends a child that hangs; its status is then not 0.
            status = 1
            try:
                if store.load(KEY, NOW) == kept and store.delete(KEY):
                    os.write(writing, str(server_process(store)).encode())
                    store.close()
                    status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert status == 0
        theirs = int(os.read(reading, 100))
        os.close(reading)
        os.close(writing)
        assert store.load(KEY, NOW) is None
        assert server_process(store) == ours != theirs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_over_sqlite_children_that_are_forked_while_threads_write_use_the_store_at_once(
    sqlite_url: str, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "sessions.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    # SQLite's wait for a lock tries only now and then, so that one writer may wait for long.
    store = SQLStore.from_url(sqlite_url + "?timeout=30")
    stopped = threading.Event()
    store.create(KEY, make_record(), NOW)

    def write() -> None:
        turn = 0
        while not stopped.wait(0.001):
            turn += 1
            store.touch(KEY, NOW + turn, NOW + 1000 + turn, NOW)

    def use() -> bool:
        signal.alarm(20)  # Ends a child that hangs.
        made = os.urandom(32)
        store.create(made, make_record(), NOW)
        return store.load(made, NOW) is not None and store.load(KEY, NOW) is not None

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(15):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    status = 0 if use() else 2
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stopped.set()
        for writer in writers:
            writer.join()
    assert store.load(KEY, NOW) is not None
    store.close()


@pytest.mark.parametrize("hook", ["_after_fork_in_parent", "_after_fork_in_child"])
def test_a_server_may_announce_its_fork_only_afterwards(store: SQLStore, hook: str) -> None:
    getattr(forks, hook)()  # uWSGI calls these hooks only after the fork.
    store.ping()


def server_process(store: SQLStore) -> int:
    """Return the server's process id for the connection that the store uses next."""
    dialect = store._source.dialect.name
    with place_of(store) as place:
        cursor = place.connection.cursor()
        cursor.execute("SELECT pg_backend_pid()" if dialect == "postgresql" else "SELECT connection_id()")
        (number,) = cursor.fetchone() or (0,)
        cursor.close()
    return int(number)


@contextlib.contextmanager
def place_of(store: SQLStore) -> Iterator[Slot]:
    """Acquire a slot of the store's pool for the duration of the block."""
    connections = store._database._connections
    place = connections.acquire(None, time.monotonic() + 30)
    yield place
    connections.pool.release(place)


def test_what_was_inherited_is_neither_used_nor_closed(store: SQLStore) -> None:
    kept = make_record()
    store.create(KEY, kept, NOW)
    connections = store._database._connections
    inherited = connections._process_pool
    inherited.pid += 1  # as in a forked child
    store.close()
    assert store.load(KEY, NOW) == kept
    assert connections._process_pool is inherited.per_process[os.getpid()]
    assert store.load(KEY, NOW) == kept
    assert len(inherited.per_process) == 1
    assert len(inherited.pool._idle) == 1
    inherited.pool.empty()


# Drivers.


class TeaDialect(SQLiteDialect_pysqlite):
    """A driver that this package does not know."""

    driver = "tea"
    supports_statement_cache = True


def test_a_driver_that_we_know_nothing_about_gets_the_query_as_it_is(tmp_path: Path) -> None:
    registry.register("sqlite.tea", __name__, "TeaDialect")
    with SQLStore.from_url(f"sqlite+tea:///{tmp_path}/x.db?cached_statements=7&check_same_thread=false") as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        assert store.load(KEY, NOW) == kept


def test_a_url_that_the_driver_does_not_take_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError, match="the driver does not accept this URL") as caught:
        SQLStore.from_url("sqlite+pysqlite://ann:tea@host/x.db")
    assert "tea" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_connection_that_cannot_be_made_ours_is_closed(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def adopt(connection: Any, limit: object) -> None:
        made.append(connection)
        raise store._source.dialect.loaded_dbapi.OperationalError("no")

    monkeypatch.setattr(store._source.driver, "configure", adopt)
    with pytest.raises(StoreUnavailable, match="no"):
        store.load(KEY, NOW)
    with pytest.raises(store._source.dialect.loaded_dbapi.ProgrammingError, match="closed"):
        made[0].execute("SELECT 1")


def test_where_there_is_no_poll_sockets_are_waited_for_with_select(monkeypatch: pytest.MonkeyPatch) -> None:
    with SQLStore.from_url(f"{postgres()}?table=by_select") as store:
        store.create(KEY, make_record(), NOW)
        monkeypatch.delattr(select, "poll")
        large = make_record(os.urandom(8 << 20))  # more than a socket takes at once
        store.create(OTHER, large, NOW)
        assert store.load(OTHER, NOW) == large
        first = server_process(store)
        assert server_process(store) == first
        with SQLStore.from_url(postgres()) as other:
            end(other, first)
        assert server_process(store) != first


def end(store: SQLStore, number: int) -> None:
    with place_of(store) as place, place.connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (number,))


def test_over_a_driver_whose_sockets_are_not_shown_an_interruption_frees_the_place_at_once(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.init()

    def interrupt(connection: Any) -> Any:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(store._source.driver, "cursor", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.load(KEY, NOW)
    pool = store._database._connections.pool
    assert pool.given_up() == []
    assert len(pool._slots) == len(pool._idle) == 0
    store.ping()


# Other calls between two statements of one operation.


def in_between(store: SQLStore, monkeypatch: pytest.MonkeyPatch, name: str, step: Callable[[], object]) -> None:
    """Call ``step`` each time just before the statement ``name`` is sent."""
    write = store._database.write

    def write_after_step(statement: Any, values: Sequence[object], operation: Operation | None = None) -> int:
        if statement is getattr(store._statements, name):
            step()
        return write(statement, values, operation)

    monkeypatch.setattr(store._database, "write", write_after_step)


def test_a_create_over_a_dead_record_that_is_swept_at_that_moment_is_carried_out(
    store: SQLStore, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(KEY, make_record(expires=NOW - 10_000), NOW - 20_000)
    with SQLStore.from_url(sqlite_url) as other:
        in_between(store, monkeypatch, "create_over_dead", lambda: other.sweep(10, NOW))
        kept = make_record()
        store.create(KEY, kept, NOW)
        assert store.load(KEY, NOW) == kept


def test_a_create_that_loses_every_race_for_its_key_raises_and_changes_nothing(
    store: SQLStore, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = make_record()
    store.create(OTHER, kept, NOW)
    with SQLStore.from_url(sqlite_url) as other:

        def die_again() -> None:
            other.sweep(10, NOW)
            other.create(KEY, make_record(expires=NOW - 10_000), NOW - 20_000)

        in_between(store, monkeypatch, "rotate", die_again)
        with pytest.raises(KeyExists):
            store.rotate(OTHER, KEY, make_record(b"new"), kept.version, NOW)
        monkeypatch.undo()
        in_between(store, monkeypatch, "create", die_again)
        in_between(store, monkeypatch, "create_over_dead", lambda: other.sweep(10, NOW))
        with pytest.raises(KeyExists):
            store.create(KEY, make_record(b"new"), NOW)
    assert store.load(OTHER, NOW) == kept
    assert store.load(KEY, NOW) is None


def test_tables_that_cannot_be_made_are_an_outage_that_says_why(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    with (
        SQLStore.from_url(f"sqlite+pysqlite:///file:{path}?mode=ro&uri=true") as store,
        pytest.raises(StoreUnavailable, match=r"readonly.*python -m wsgi_session init URL"),
    ):
        store.load(KEY, NOW)


def test_a_connection_that_comes_too_late_for_its_operation_is_there_for_the_next_one(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.init()
    store.close()
    connections = store._database._connections
    connect, deadline = connections._connect, time.monotonic() + 1000

    def connect_slowly(patience: float) -> Any:
        monkeypatch.setattr(time, "monotonic", lambda: deadline + 1)
        return connect(patience)

    monkeypatch.setattr(connections, "_connect", connect_slowly)
    with pytest.raises(TimeoutError, match="too long to connect"):
        connections.acquire(None, deadline)
    monkeypatch.undo()
    assert len(connections.pool._idle) == 1
    store.ping()


def test_a_server_that_hangs_up_while_a_connection_is_made_is_an_outage() -> None:
    """The server closes the connection while its limits are set, which is allowed to fail."""
    root, _, rest = mariadb().rpartition(":")
    port, _, path = rest.partition("/")
    with Proxy(int(port)) as proxy, SQLStore.from_url(f"{root}:{proxy.port}/{path}?table=hangs_up") as store:
        proxy.lose_request(b"innodb_lock_wait_timeout")
        with pytest.raises(StoreUnavailable):
            store.ping()
        store.ping()
