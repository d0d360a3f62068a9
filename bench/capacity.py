"""How much of a server's processor a session takes: ``python -m bench.capacity``.

The processor time of all processes of the server, for each ``create``, ``load`` and ``replace`` of a session of 500 B.
Unlike the time on the clock, it does not depend on other programs and on the network. It shows how many operations
one core of the server can do. The room that a session takes, with its indexes, is shown as well.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the packages are beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.report import facts, say
from bench.scale import DATA, NOW, key, record
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.postgres import Postgres
from tests.support.servers.process import Server
from tests.support.servers.valkey import Valkey
from wsgi_session.stores import Store, open_store

SESSIONS, CALLS = 20_000, 20_000
TICKS = os.sysconf("SC_CLK_TCK")


def processor_time(server: Server) -> float:
    """Return the seconds that the server's processes and their children have used so far, ended ones included."""
    total, pids = 0, server.pids()[:1]
    while pids:
        pid = pids.pop()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    return total / TICKS


def measure(server: Server, what: str, function: Callable[[int], Any], times: int) -> float:
    """Return the microseconds of the server's processor that a call of ``function`` takes."""
    before = processor_time(server)
    for number in range(times):
        if number % 1000 == 0:
            say(f"{server.name}: {what} {number:,} of {times:,}")
        function(number)
    return (processor_time(server) - before) / times * 1e6


def run(server: Server, store: Store) -> list[float]:
    """Return the microseconds for each ``create``, ``load`` and ``replace``."""

    def replace(_: int) -> None:
        which = key(random.randrange(SESSIONS))
        found = loaded[which]
        changed = found._replace(data=os.urandom(DATA), version=os.urandom(16))
        store.replace(which, changed, found.version, NOW)
        loaded[which] = changed

    loaded: dict[bytes, Any] = {}
    created = measure(server, "create", lambda number: store.create(key(number), record(), NOW), SESSIONS)
    loads = measure(server, "load", lambda _: store.load(key(random.randrange(SESSIONS)), NOW), CALLS)
    loaded = {key(number): store.load(key(number), NOW) for number in range(SESSIONS)}
    return [created, loads, measure(server, "replace", replace, CALLS)]


def main() -> None:
    print("µs of the server's processor for each operation on a session of 500 B")
    print(f"{'':12}{'create':>10}{'load':>10}{'replace':>10}")
    for kind in (Valkey, Postgres, MariaDB):
        server: Any = kind()
        server.start()
        with open_store(server.url) as store:
            times = run(server, store)
        say("")
        print(f"{server.name:12}" + "".join(f"{time:10.0f}" for time in times))
        server.kill()
    print(", ".join(f"{name} {value}" for name, value in facts().items()))


if __name__ == "__main__":
    main()
