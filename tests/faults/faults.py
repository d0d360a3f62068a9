"""Every fault of the table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.databases import deposed_mariadb, lock_table, locked_behind_pgbouncer, without_create
from tests.faults.disks import full_disk, small_files
from tests.faults.failovers import cluster_failover, sentinel_failover
from tests.faults.scene import Harm, Scene, crash, cut, hang, interrupt, kill_worker, restart, running
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.pgbouncer import PgBouncer
from tests.support.servers.postgres import Postgres
from tests.support.servers.proxy import Proxy
from tests.support.servers.valkey import DURABLE, Valkey

# Seconds that a request may take: the sum of the stores' time-outs for a load, a save, and a second save if the answer
# to the first one was lost, plus one second for a busy machine.
_SQLITE = 5.0 + 1  # one wait for the lock
_REDIS = 1.0 + 2 * (0.5 + 1.0) + 1  # each may have to connect first
_SQL = 3 * 2.0 + 2 * 0.5 + 2.0 + 1  # two statements may have to be cancelled; psycopg takes 2 s to give up connecting


class Fault(NamedTuple):
    """One line of the table."""

    #: The name that ``--only`` takes.
    name: str
    engine: str
    #: What is done.
    harm: str
    open: Callable[[], AbstractContextManager[Scene]]
    #: Seconds within which every request must be answered.
    patience: float
    #: What the engine's own durability allows to be lost, and why; empty if nothing.
    allowance: str = ""
    processes: int = 2
    #: Seconds between two harms.
    calm: float = 3.0


@contextmanager
def on_server(make: Callable[[], Any], harm: Callable[[Any], Harm]) -> Iterator[Scene]:
    """Do ``harm`` to the server that ``make`` returns; clients connect to it directly."""
    with running(make()) as server:
        yield Scene(server.url, harm(server))


@contextmanager
def _cut_off(make: Callable[[], Any]) -> Iterator[Scene]:
    with running(make()) as server, Proxy(server.port) as proxy:
        yield Scene(server.url.replace(f":{server.port}", f":{proxy.port}"), cut(proxy))


@contextmanager
def _pgbouncer(harm: Callable[[PgBouncer, Postgres], Harm]) -> Iterator[Scene]:
    with running(Postgres()) as postgres, running(PgBouncer(postgres)) as bouncer:
        yield Scene(bouncer.url, harm(bouncer, postgres))


@contextmanager
def _sqlite() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as folder:
        yield Scene(f"sqlite:///{Path(folder) / 'sessions.db'}", kill_worker)


def _durable_valkey() -> Valkey:
    return Valkey(*DURABLE)


_DEPOSED = "until the first write that a process is refused, it reads at the old primary"
_ASYNCHRONOUS = "replicas follow a moment later: without ?wait=1 a failover may take the last writes and logouts"

FAULTS = (
    Fault("sqlite-worker", "SQLite", "worker killed in a save", _sqlite, _SQLITE, processes=4, calm=1.0),
    Fault("sqlite-disk", "SQLite", "disk full", full_disk, _SQLITE),
    Fault("sqlite-limit", "SQLite", "file size limit", small_files, _SQLITE),
    Fault("valkey-kill", "Valkey, appendfsync always", "SIGKILL", partial(on_server, _durable_valkey, crash), _REDIS),
    Fault("valkey-hang", "Valkey", "SIGSTOP", partial(on_server, Valkey, hang), _REDIS),
    Fault("valkey-cut", "Valkey", "connections cut", partial(_cut_off, Valkey), _REDIS),
    Fault("cluster", "Valkey Cluster", "failover", cluster_failover, _REDIS, _ASYNCHRONOUS),
    Fault("cluster-wait", "Valkey Cluster, ?wait=1", "failover", partial(cluster_failover, "?wait=1"), _REDIS),
    Fault("sentinel", "Valkey Sentinel", "failover", sentinel_failover, _REDIS, _ASYNCHRONOUS),
    Fault("sentinel-wait", "Valkey Sentinel, ?wait=1", "failover", partial(sentinel_failover, "?wait=1"), _REDIS),
    Fault("postgres-kill", "PostgreSQL", "SIGKILL", partial(on_server, Postgres, crash), _SQL),
    Fault("postgres-restart", "PostgreSQL", "restart", partial(on_server, Postgres, restart), _SQL),
    Fault("postgres-hang", "PostgreSQL", "SIGSTOP", partial(on_server, Postgres, hang), _SQL),
    Fault("postgres-cut", "PostgreSQL", "connections cut", partial(_cut_off, Postgres), _SQL),
    Fault(
        "postgres-worker",
        "PostgreSQL",
        "worker killed in a save",
        partial(on_server, Postgres, lambda _: kill_worker),
        _SQL,
        processes=4,
        calm=1.0,
    ),
    Fault("postgres-lock", "PostgreSQL", "table locked", partial(on_server, Postgres, lock_table), _SQL),
    Fault(
        "postgres-table",
        "PostgreSQL, ?create=off",
        "table taken away and put back",
        partial(without_create, Postgres),
        _SQL,
    ),
    Fault(
        "postgres-signal",
        "PostgreSQL",
        "calls interrupted by signals",
        partial(on_server, Postgres, lambda _: interrupt),
        _SQL,
    ),
    Fault("pgbouncer-lock", "PgBouncer", "table locked", locked_behind_pgbouncer, _SQL),
    Fault("pgbouncer-kill", "PgBouncer", "SIGKILL", partial(_pgbouncer, lambda bouncer, _: crash(bouncer)), _SQL),
    Fault(
        "pgbouncer-restart",
        "PgBouncer",
        "restart of PostgreSQL behind it",
        partial(_pgbouncer, lambda bouncer, postgres: restart(postgres, seen_by=bouncer)),
        _SQL,
    ),
    Fault("mariadb-kill", "MariaDB", "SIGKILL", partial(on_server, MariaDB, crash), _SQL),
    Fault("mariadb-restart", "MariaDB", "restart", partial(on_server, MariaDB, restart), _SQL),
    Fault("mariadb-hang", "MariaDB", "SIGSTOP", partial(on_server, MariaDB, hang), _SQL),
    Fault("mariadb-cut", "MariaDB", "connections cut", partial(_cut_off, MariaDB), _SQL),
    Fault("mariadb-lock", "MariaDB", "table locked", partial(on_server, MariaDB, lock_table), _SQL),
    Fault(
        "mariadb-table", "MariaDB, ?create=off", "table taken away and put back", partial(without_create, MariaDB), _SQL
    ),
    Fault("mariadb-deposed", "MariaDB", "failover by read_only", deposed_mariadb, _SQL, _DEPOSED),
    Fault(
        "mariadb-signal",
        "MariaDB",
        "calls interrupted by signals",
        partial(on_server, MariaDB, lambda _: interrupt),
        _SQL,
    ),
)
