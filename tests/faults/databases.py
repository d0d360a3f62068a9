"""What administrators do to a database: lock the table, remove it for a while, fail over to a replica."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from tests.faults.crew import Crew
from tests.faults.scene import Harm, Scene, running
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.pgbouncer import PgBouncer
from tests.support.servers.postgres import Postgres
from tests.support.servers.process import wait_until
from tests.support.servers.proxy import Proxy
from wsgi_session.stores.sql import SQLStore

TABLE = "wsgi_sessions"
DatabaseServer: TypeAlias = Postgres | MariaDB

_WAITING = {
    Postgres: "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    MariaDB: "SELECT count(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for%lock%'",
}


def lock_table(server: DatabaseServer) -> Harm:
    """A lock on the whole table, as a schema change holds it: nothing is read or written meanwhile.

    Fails if more connections wait for it than there are workers.
    """

    def harm(crew: Crew, seconds: float) -> float:
        end = time.monotonic() + seconds
        with _connection(server) as connection:
            connection.cursor().execute(
                f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE"
                if isinstance(server, Postgres)
                else f"LOCK TABLES {TABLE} WRITE"
            )
            while time.monotonic() < end:
                ((waiting,),) = server.execute(_WAITING[type(server)])
                assert int(str(waiting)) <= len(crew.workers), f"{waiting} connections wait"
                time.sleep(0.1)
        return time.monotonic()

    return harm


def take_table_away(server: DatabaseServer) -> Harm:
    """The table is renamed, as if it were dropped, and put back."""

    def harm(crew: Crew, seconds: float) -> float:
        server.execute(f"ALTER TABLE {TABLE} RENAME TO {TABLE}_away")
        time.sleep(seconds)
        server.execute(f"ALTER TABLE {TABLE}_away RENAME TO {TABLE}")
        return time.monotonic()

    return harm


@contextmanager
def without_create(make: type[DatabaseServer]) -> Iterator[Scene]:
    """A site whose tables an administrator creates and removes."""
    with running(make()) as server:
        with SQLStore(server.url) as store:
            store.init()
        yield Scene(server.url + "?create=off", take_table_away(server))


@contextmanager
def locked_behind_pgbouncer() -> Iterator[Scene]:
    with running(Postgres()) as postgres, running(PgBouncer(postgres)) as bouncer:
        yield Scene(bouncer.url, lock_table(postgres))


@contextmanager
def deposed_mariadb() -> Iterator[Scene]:
    """A primary that is made read-only once its replica has everything; the replica takes its place.

    Connections to the old one stay open and are answered: only new ones go to the new one.
    """
    with (
        running(MariaDB("--server-id=1", "--log-bin", "--log-slave-updates")) as one,
        running(MariaDB("--server-id=2", "--log-bin", "--log-slave-updates")) as other,
        Proxy(one.port) as proxy,
    ):
        for server in (one, other):
            server.execute("RESET MASTER")
        _follow(other, one)
        # An administrator may write even if the server is read-only.
        one.execute("CREATE USER site@'127.0.0.1'")
        one.execute("GRANT CREATE, INDEX, SELECT, INSERT, UPDATE, DELETE ON test.* TO site@'127.0.0.1'")
        wait_until(lambda: _position(one) == _position(other), "the replica has everything")
        pair = [one, other]

        def harm(crew: Crew, seconds: float) -> float:
            old, new = pair
            old.execute("SET GLOBAL read_only = 1")
            wait_until(lambda: _position(old) == _position(new), "the replica has everything")
            new.execute("STOP SLAVE")
            new.execute("RESET SLAVE ALL")
            new.execute("SET GLOBAL read_only = 0")
            proxy.target = new.port
            switched = time.monotonic()
            time.sleep(seconds)
            _follow(old, new)
            pair.reverse()
            return switched

        yield Scene(f"mariadb://site@127.0.0.1:{proxy.port}/test", harm)


def _follow(replica: MariaDB, primary: MariaDB) -> None:
    replica.execute("SET GLOBAL read_only = 1")
    replica.execute(
        f"CHANGE MASTER TO master_host = '127.0.0.1', master_port = {primary.port}, master_user = 'root',"
        " master_use_gtid = slave_pos"
    )
    replica.execute("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos")
    replica.execute("START SLAVE")


def _position(server: MariaDB) -> object:
    return server.execute("SELECT @@GLOBAL.gtid_binlog_pos")


@contextmanager
def _connection(server: DatabaseServer) -> Iterator[Any]:
    if isinstance(server, Postgres):
        import psycopg

        connection: Any = psycopg.connect(server.url)
    else:
        import pymysql

        connection = pymysql.connect(host="127.0.0.1", port=server.port, user="root", database="test")
    try:
        yield connection
    finally:
        connection.close()
