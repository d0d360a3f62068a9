"""SQLStore after a failover: the connected server no longer accepts writes, and another one does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeAlias

import pytest

from tests.support.records import NOW, make_record
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.postgres import Postgres
from tests.support.servers.process import wait_until
from tests.support.servers.proxy import Proxy
from wsgi_session.backends.revocation import end_sessions
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import Outcome
from wsgi_session.stores.sql import SQLStore
from wsgi_session.stores.sql import connections as sql_connections
from wsgi_session.stores.sql import drivers as sql_drivers

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
SITE = "site"

DatabaseServer: TypeAlias = Postgres | MariaDB


@pytest.fixture(scope="module", params=[Postgres, MariaDB], ids=["postgresql", "mariadb"])
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[DatabaseServer, DatabaseServer]]:
    old, new = request.param(), request.param()
    for server in (old, new):
        server.start()
        if isinstance(server, Postgres):
            server.execute(f"CREATE ROLE {SITE} LOGIN SUPERUSER")
        else:
            # An administrator can write even on a read-only server, so use another user.
            server.execute(f"CREATE USER {SITE}@'127.0.0.1'")
            server.execute(f"GRANT CREATE, INDEX, SELECT, INSERT, UPDATE, DELETE ON test.* TO {SITE}@'127.0.0.1'")
    yield old, new
    for server in (old, new):
        server.remove(os.getpid())


def depose(server: DatabaseServer, yes: bool) -> None:
    if isinstance(server, Postgres):
        # This applies to existing connections too.
        server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if yes else 'off'}")
        server.execute("SELECT pg_reload_conf()")
        setting = "on" if yes else "off"
        wait_until(lambda: server.execute("SHOW default_transaction_read_only") == [(setting,)], "it is told")
    else:
        server.execute(f"SET GLOBAL read_only = {int(yes)}")


def url_at(server: DatabaseServer, port: int, table: str, options: str = "timeout=20&pool=4") -> str:
    root = "postgres" if isinstance(server, Postgres) else "root"
    url = server.url.replace(f"//{root}@", f"//{SITE}@").replace(f":{server.port}", f":{port}")
    return f"{url}?table={table}&{options}"


def connect_all(store: SQLStore) -> None:
    """Open every connection of the pool, and leave them idle."""
    connections = store._database._connections
    barrier = Barrier(4)

    def hold() -> None:
        place = connections.acquire(None, store._database.begin().deadline)
        barrier.wait(30)
        connections.pool.release(place)

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(hold) for _ in range(4)]:
            future.result()


def test_a_write_that_a_deposed_server_refuses_is_sent_to_its_successor_and_nobody_reads_there_any_more(
    servers: tuple[DatabaseServer, DatabaseServer],
) -> None:
    old, new = servers
    table = f"deposed_{os.urandom(4).hex()}"
    kept, ended = make_record(), make_record()
    with Proxy(old.port) as proxy, SQLStore.from_url(url_at(old, proxy.port, table)) as store:
        for server in servers:
            with SQLStore.from_url(url_at(server, server.port, table)) as one:
                one.create(KEY, kept, NOW)
                one.create(OTHER, ended, NOW)
        assert store.load(KEY, NOW) == kept
        connect_all(store)
        proxy.target = new.port
        depose(old, True)
        try:
            with SQLStore.from_url(url_at(new, new.port, table)) as elsewhere:
                assert elsewhere.delete(OTHER)
            changed = make_record(b"changed")
            assert store.replace(KEY, changed, kept.version, NOW) is Outcome.SAVED
            connect_all(store)
            assert store.load(OTHER, NOW) is None
            assert store.load(KEY, NOW) == changed
            assert new.execute(f"SELECT count(*) FROM {table}") == [(1,)]
        finally:
            depose(old, False)


def test_a_server_that_takes_no_writes_and_has_no_successor_is_asked_twice_and_still_read(
    servers: tuple[DatabaseServer, DatabaseServer],
) -> None:
    server, _ = servers
    table = f"alone_{os.urandom(4).hex()}"
    kept = make_record()
    with Proxy(server.port) as proxy, SQLStore.from_url(url_at(server, proxy.port, table)) as store:
        store.create(KEY, kept, NOW)
        before = proxy.accepted
        depose(server, True)
        try:
            with pytest.raises(StoreUnavailable) as caught:
                store.delete(KEY)
            assert not caught.value.answer_lost
            assert proxy.accepted == before + 1
            assert store.load(KEY, NOW) == kept
        finally:
            depose(server, False)
        assert store.delete(KEY)


def works(store: SQLStore) -> bool:
    try:
        store.ping()
        return True
    except StoreUnavailable:
        return False


def test_a_server_that_hangs_keeps_nobody_from_its_successor(
    servers: tuple[DatabaseServer, DatabaseServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's operating system still answers, as with a stalled disk, so no connection breaks."""
    old, new = servers
    monkeypatch.setattr(sql_connections, "HUNG", 3.0)
    table = f"hangs_{os.urandom(4).hex()}"
    with Proxy(old.port) as proxy, SQLStore.from_url(url_at(old, proxy.port, table, "timeout=1&pool=4")) as store:
        for server in servers:
            with SQLStore.from_url(url_at(server, server.port, table)) as one:
                one.ping()
        wait_until(lambda: works(store), "the first connection")
        connect_all(store)
        old.pause()
        try:
            with ThreadPoolExecutor(4) as threads:
                assert not any(threads.map(works, [store] * 4))
            proxy.target = new.port
            wait_until(lambda: works(store), "the successor is found", 30)
        finally:
            old.resume()


def test_a_write_that_its_synchronous_standby_may_not_have_does_not_count(
    servers: tuple[DatabaseServer, DatabaseServer],
) -> None:
    """If the wait for the standby is cancelled, PostgreSQL reports success with only a warning."""
    server, _ = servers
    if not isinstance(server, Postgres):
        pytest.skip("platform: MariaDB has no such wait that can be called off")
    with SQLStore.from_url(url_at(server, server.port, "synchronous", "timeout=1")) as store:
        store.create(KEY, make_record(), NOW)
        follow(server, "nobody")
        try:
            with pytest.raises(StoreUnavailable, match="its standby may not") as caught:
                store.delete(KEY)
        finally:
            follow(server, "")
        # If it were sent again immediately, it would only wait again.
        assert not caught.value.answer_lost


def test_a_look_for_the_tables_that_was_called_off_is_an_outage_and_not_a_want_of_tables(
    servers: tuple[DatabaseServer, DatabaseServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = servers
    if not isinstance(server, Postgres):
        pytest.skip("platform: MariaDB's statements end by themselves")
    import psycopg

    url = url_at(server, server.port, "called_off", "timeout=0.5")
    with SQLStore.from_url(url) as store:
        store.create(KEY, make_record(), NOW)
    with psycopg.connect(server.url) as other, SQLStore.from_url(url) as store:
        other.execute("LOCK TABLE called_off_schema IN ACCESS EXCLUSIVE MODE")
        # The cancellation releases the lock, so that the statement ends without an error.
        monkeypatch.setattr(sql_drivers.Psycopg, "cancel", lambda *_: other.rollback())
        with pytest.raises(StoreUnavailable, match="did not answer in time") as caught:
            store.load(KEY, NOW)
        assert "no tables" not in str(caught.value)
        assert store.load(KEY, NOW) is not None


@pytest.mark.parametrize(
    "attempt", ["create", "replace", "rotate", "delete", "delete of a version", "delete_many", "revoke_all"]
)
def test_what_is_done_already_counts_when_the_synchronous_standby_has_it(
    servers: tuple[DatabaseServer, DatabaseServer], attempt: str
) -> None:
    """A retry finds nothing to change, but must still wait until the standby has the first attempt's write."""
    server, _ = servers
    if not isinstance(server, Postgres):
        pytest.skip("platform: PostgreSQL alone can be asked to wait for a transaction that changes nothing")
    kept, write, owner = make_record(), make_record(b"changed"), os.urandom(32)
    calls: dict[str, Callable[[SQLStore], object]] = {
        "create": lambda store: store.create(KEY, kept, NOW),
        "replace": lambda store: store.replace(KEY, write, kept.version, NOW),
        "rotate": lambda store: store.rotate(KEY, OTHER, write, kept.version, NOW),
        "delete": lambda store: store.delete(KEY),
        "delete of a version": lambda store: store.delete(KEY, kept.version),
        "delete_many": lambda store: store.delete_many([KEY, OTHER]),
        "revoke_all": lambda store: end_sessions(store, owner, NOW, lambda session: True),
    }
    url = url_at(server, server.port, f"done_{os.urandom(4).hex()}", "timeout=1")
    with SQLStore.from_url(url) as store:
        store.create(KEY, kept._replace(owner=owner), NOW)
        first = calls[attempt](store)
        follow(server, "nobody")
        try:
            with SQLStore.from_url(url) as other, pytest.raises(StoreUnavailable, match="its standby may not"):
                calls[attempt](other)
        finally:
            follow(server, "")
        again = calls[attempt](store)
        assert again is Outcome.SAVED if first is Outcome.SAVED else not again


def test_a_role_that_may_not_ask_for_the_standby_still_ends_sessions(
    servers: tuple[DatabaseServer, DatabaseServer],
) -> None:
    server, _ = servers
    if not isinstance(server, Postgres):
        pytest.skip("platform: only PostgreSQL is asked for a standby")
    function, role = "FUNCTION pg_logical_emit_message(boolean, text, text, boolean)", f"plain_{os.urandom(4).hex()}"
    server.execute(f"CREATE ROLE {role} LOGIN")
    server.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    server.execute(f"REVOKE EXECUTE ON {function} FROM PUBLIC")
    try:
        url = url_at(server, server.port, role).replace(f"//{SITE}@", f"//{role}@")
        with SQLStore.from_url(url) as store:
            store.create(KEY, make_record(), NOW)
            assert [store.delete(KEY), store.delete(KEY), store.delete(KEY)] == [True, False, False]
    finally:
        server.execute(f"GRANT EXECUTE ON {function} TO PUBLIC")


def follow(server: Postgres, standby: str) -> None:
    """Let each commit wait for the standby with this name."""
    server.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
    server.execute("SELECT pg_reload_conf()")
    wait_until(lambda: server.execute("SHOW synchronous_standby_names") == [(standby,)], "the setting is read")


def test_of_several_hosts_the_one_that_takes_writes_is_found() -> None:
    standby, primary = Postgres(), Postgres()
    for server in (standby, primary):
        server.start()
    try:
        depose(standby, True)
        hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in (standby, primary))
        url = f"postgresql://postgres@/postgres?{hosts}&target_session_attrs=read-write&timeout=20"
        with SQLStore.from_url(url) as store:
            store.create(KEY, make_record(), NOW)
        assert primary.execute("SELECT count(*) FROM wsgi_sessions") == [(1,)]
    finally:
        for server in (standby, primary):
            server.remove(os.getpid())
