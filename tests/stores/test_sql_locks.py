"""SQLStore's pool size and timeout, while another connection holds a lock and when calls are interrupted."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import pytest

from tests.support.records import NOW, make_record
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.pgbouncer import PgBouncer
from tests.support.servers.postgres import Postgres
from tests.support.servers.process import wait_until
from tests.support.servers.proxy import Proxy
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.sql import SQLStore, connections

ANN, BOB = b"a" * 32, b"b" * 32
#: The store's timeout, in seconds.
TIMEOUT = 1.0
POOL = 2


class Site(NamedTuple):
    """A database, and the URL with which the store reaches it."""

    server: Postgres | MariaDB
    url: str


@pytest.fixture(scope="module", params=["postgresql", "pgbouncer", "mariadb"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    server = MariaDB() if request.param == "mariadb" else Postgres()
    server.start()
    if request.param == "pgbouncer":
        bouncer = PgBouncer(server)  # type: ignore[arg-type]
        bouncer.start()
        yield Site(server, bouncer.url)
        bouncer.remove(os.getpid())
    else:
        yield Site(server, server.url)
    server.remove(os.getpid())


@pytest.fixture
def store(site: Site) -> Iterator[SQLStore]:
    url = f"{site.url}?table=locks_{os.urandom(4).hex()}&timeout=30&pool={POOL}"
    with SQLStore.from_url(url) as maker:  # With time to create the tables on a busy machine.
        maker.create(ANN, make_record(), NOW)
        maker.create(BOB, make_record(), NOW)
    with SQLStore.from_url(url.replace("timeout=30", f"timeout={TIMEOUT}")) as store:
        wait_until(lambda: loads(store), "the first load")
        yield store


def loads(store: SQLStore) -> bool:
    try:
        return store.load(ANN, NOW) is not None
    except StoreUnavailable:
        return False


def touch(store: SQLStore, key: bytes) -> bool:
    return store.touch(key, NOW + 1, NOW + 2000, NOW)


class Held:
    """A lock that another connection holds until the block ends."""

    def __init__(self, site: Site, sql: str) -> None:
        self._site = site
        self._sql = sql

    def __enter__(self) -> Held:
        self._connection: Any
        if isinstance(self._site.server, Postgres):
            import psycopg

            self._connection = psycopg.connect(self._site.server.url)
        else:
            import pymysql

            self._connection = pymysql.connect(
                host="127.0.0.1", port=self._site.server.port, user="root", database="test"
            )
        cursor = self._connection.cursor()
        cursor.execute(self._sql)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def table_lock(site: Site, store: SQLStore) -> Held:
    table = store._schema.sessions.fullname
    exclusive = f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
    return Held(site, exclusive if isinstance(site.server, Postgres) else f"LOCK TABLES {table} WRITE")


def row_lock(site: Site, store: SQLStore, *keys: bytes) -> Held:
    if isinstance(site.server, Postgres):
        column, values = "key", ", ".join(f"decode('{key.hex()}', 'hex')" for key in keys)
    else:
        column, values = "`key`", ", ".join(f"X'{key.hex()}'" for key in keys)
    return Held(site, f"SELECT handle FROM {store._schema.sessions.fullname} WHERE {column} IN ({values}) FOR UPDATE")


def waiting(site: Site) -> int:
    """Return the number of the server's connections that wait for a lock."""
    if isinstance(site.server, Postgres):
        sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    else:
        sql = (
            "SELECT count(*) FROM information_schema.processlist"
            " WHERE info LIKE '%locks%' AND info NOT LIKE '%processlist%'"
        )
    ((number,),) = site.server.execute(sql)
    return int(str(number))


def fails(call: Callable[[], object]) -> tuple[StoreUnavailable, float]:
    """Return the error that ``call`` raises, and the seconds until then."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        call()
    return caught.value, time.monotonic() - started


def many_fail(site: Site, call: Callable[[bytes], object]) -> int:
    """Make the call for Ann and Bob in many threads, all of which fail; return the peak of waiting connections."""
    most = 0
    with ThreadPoolExecutor(4 * POOL) as threads:
        futures = [threads.submit(fails, partial(call, key)) for _ in range(6 * POOL) for key in (ANN, BOB)]
        while not all(future.done() for future in futures):
            most = max(most, waiting(site))
        for future in futures:
            future.result()
    return most


def test_a_lock_that_somebody_holds_leaves_no_more_waiting_at_the_server_than_the_pool_has(
    site: Site, store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, cancelling a statement may take so long that its server would be taken for one that hangs.
    monkeypatch.setattr(connections, "HUNG", 600)
    with table_lock(site, store):
        assert 0 < many_fail(site, lambda key: store.load(key, NOW)) <= POOL
        wait_until(lambda: ends_at_the_server(site, store), "no abandoned statement waits at the server")
    wait_until(lambda: loads(store), "it heals")


def ends_at_the_server(site: Site, store: SQLStore) -> bool:
    """Return whether, after Ann and Bob have tried again, no connection waits any more in a second's time.

    A busy machine may take too long to cancel a statement. An operation that then finds no free slot cancels it again.
    """
    for key in (ANN, BOB):
        fails(partial(store.load, key, NOW))
    soon = time.monotonic() + 1
    while still := waiting(site):
        if time.monotonic() > soon:
            break
    return not still


def test_waiting_connections_are_bounded_where_the_server_cannot_cancel_a_statement(
    site: Site, store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dull(store, monkeypatch)
    wait_until(lambda: loads(store), "a connection that waits for ever")
    pool = store._database._connections.pool
    with row_lock(site, store, ANN, BOB):
        assert 0 < many_fail(site, partial(touch, store)) <= POOL
        # On a busy machine, the first attempt may not even connect in time.
        calls = [partial(touch, store, key) for key in (ANN, BOB)]
        wait_until(lambda: all(map(fails, calls)) and len(pool.given_up()) == POOL, "all of the pool waits")
        error, _ = fails(lambda: store.load(BOB, NOW))
        assert f"{POOL} of them for statements that were given up" in str(error)
    wait_until(lambda: loads(store), "it heals")
    assert pool.given_up() == []


def dull(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let statements wait for a lock without a limit, as with an old libpq or an old MariaDB."""
    import psycopg

    monkeypatch.setattr(psycopg.capabilities, "has_cancel_safe", lambda: False)
    monkeypatch.setattr("wsgi_session.stores.sql.drivers._MYSQL_LIMITS", "SET SESSION no_such_setting = {whole}")
    store.close()


def test_a_connection_that_was_given_up_is_free_when_the_server_has_closed_it(
    site: Site, store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dull(store, monkeypatch)
    wait_until(lambda: loads(store), "a connection that waits for ever")
    pool = store._database._connections.pool
    with row_lock(site, store, ANN):
        assert fails(partial(touch, store, ANN))[0].answer_lost
        assert len(pool.given_up()) == 1
        if isinstance(site.server, Postgres):
            site.server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        else:
            ((number,),) = site.server.execute(
                "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
            )
            site.server.execute(f"KILL {number}")
        wait_until(lambda: pool.given_up() == [], "it is closed")
    wait_until(lambda: loads(store), "it works")


def test_a_connection_that_was_given_up_is_free_when_the_network_has_cut_it(
    site: Site, store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dull(store, monkeypatch)
    port = int(site.url.rpartition(":")[2].partition("/")[0])
    with Proxy(port) as proxy, row_lock(site, store, ANN):
        table = store._schema.sessions.fullname
        url = f"{site.url.replace(f':{port}/', f':{proxy.port}/')}?table={table}&timeout={TIMEOUT}&pool={POOL}"
        with SQLStore.from_url(url) as cut_off:
            wait_until(lambda: loads(cut_off), "the first load")
            assert fails(partial(touch, cut_off, ANN))[0].answer_lost
            pool = cut_off._database._connections.pool
            # For MariaDB, our side of the connection was half closed, and then this proxy cuts it.
            assert len(pool.given_up()) == 1 or isinstance(site.server, MariaDB)
            proxy.sever()
            wait_until(lambda: pool.given_up() == [], "it is cut")
            wait_until(lambda: loads(cut_off), "it works")


def test_a_statement_that_waited_for_a_lock_in_vain_is_never_carried_out(site: Site, store: SQLStore) -> None:
    with row_lock(site, store, ANN):
        error, _ = fails(lambda: store.delete(ANN))
        assert not error.answer_lost
    assert store.load(ANN, NOW) is not None


def test_requests_to_one_locked_session_leave_half_of_the_pool_to_the_others(site: Site, store: SQLStore) -> None:
    stopped = threading.Event()

    def touch_again_and_again() -> None:
        while not stopped.is_set():
            try:
                store.touch(ANN, NOW + 1, NOW + 2000, NOW)
            except StoreUnavailable:
                pass

    with row_lock(site, store, ANN), ThreadPoolExecutor(4 * POOL) as threads:
        futures = [threads.submit(touch_again_and_again) for _ in range(4 * POOL)]
        wait_until(lambda: waiting(site), "one waits for the lock")
        try:
            for turn in range(20):
                assert store.touch(BOB, NOW + turn, NOW + 2000 + turn, NOW)
        finally:
            stopped.set()
        for future in futures:
            future.result()


def test_all_attempts_of_an_operation_share_its_time_out(site: Site, store: SQLStore) -> None:
    if isinstance(site.server, MariaDB):
        site.server.execute("SET GLOBAL innodb_lock_wait_timeout = 1")
    found = store.load(ANN, NOW)
    assert found is not None
    with row_lock(site, store, ANN):
        for call in (
            lambda: store.touch(ANN, NOW + 1, NOW + 2000, NOW),
            lambda: store.replace(ANN, make_record(), found.version, NOW),
            lambda: store.rotate(ANN, os.urandom(32), make_record(), found.version, NOW),
            lambda: store.delete(ANN),
        ):
            _, seconds = fails(call)
            assert seconds < TIMEOUT + 2


# Interruptions.


class SoftTimeLimit(Exception):
    """Like celery's."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="platform: no timer signals here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # for connections that drivers drop
def test_interruptions_by_signals_cost_no_place_and_leave_nothing_running(site: Site, store: SQLStore) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise SoftTimeLimit

    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-4, 2e-2))
                while time.monotonic() < end:  # Python ignores what is raised while it deletes an object.
                    store.load(ANN, NOW)
                    store.touch(ANN, NOW, NOW + 1000, NOW)
            except SoftTimeLimit:
                interrupted += 1
            except StoreUnavailable:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 5
    gc.collect()
    pool = store._database._connections.pool
    wait_until(lambda: pool.given_up() == [], "what was interrupted has ended")
    assert sum(reference() is not None for reference in pool._slots) == len(pool._idle)
    wait_until(lambda: loads(store), "it works")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="platform: no timer signals here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_interrupted_while_it_waits_for_a_lock_waits_no_longer(site: Site, store: SQLStore) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise SoftTimeLimit

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with row_lock(site, store, ANN):
            for _ in range(3 * POOL):
                signal.setitimer(signal.ITIMER_REAL, TIMEOUT / 5)
                with pytest.raises((SoftTimeLimit, StoreUnavailable)):
                    store.touch(ANN, NOW + 1, NOW + 2000, NOW)
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert waiting(site) <= POOL
            wait_until(lambda: waiting(site) == 0 or not fails(partial(touch, store, ANN)), "nothing waits")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    wait_until(lambda: store._database._connections.pool.given_up() == [], "what was interrupted has ended")
    wait_until(lambda: loads(store), "it works")
