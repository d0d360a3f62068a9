"""The cost of a session when there are many of them: ``python -m bench.scale``.

It measures ``load`` and ``replace`` in SQLite as the table grows, beside a bare SELECT and UPDATE on an equally large
table in the same run; the room that a session takes on disk and in memory; and how long a sweep blocks other writers.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

if not __package__:  # run as a file: the packages are beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.report import facts, say
from wsgi_session.stores import SWEEP_LIMIT, Outcome, Record, Store
from wsgi_session.stores.memory import MemoryStore
from wsgi_session.stores.sqlite import SQLiteStore
from wsgi_session.stores.sqlite.file import CACHE, CHECKPOINT

#: The time of every operation here, so that only sessions that are meant to expire do.
NOW = 1_800_000_000.0
DAY = 86400.0
#: What a session holds, in bytes, as the store sees it.
DATA = 500
#: Bytes a session may take, and milliseconds that a batch of the sweep may hold the lock for.
DISK_TARGET, MEMORY_TARGET, LOCK_TARGET = 800, 1300, 50


def key(number: int) -> bytes:
    """Return the key of session ``number``: evenly distributed, like the SHA-256 of a token."""
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def record(owner: bytes | None = None, expires: float = NOW + 30 * DAY) -> Record:
    """Return a record of 500 B like those of the middleware. It shares no objects with other records."""
    created = NOW - random.random() * DAY
    return Record(
        data=os.urandom(DATA),
        version=os.urandom(16),
        handle=os.urandom(12).hex(),
        created=created,
        touched=created + 1.0,
        expires=expires + random.random(),
        owner=owner,
        namespace="sid",
    )


class Bare:
    """SQLite by itself: one table, one SELECT, one UPDATE, and the settings of the store."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode = wal", "synchronous = normal", f"wal_autocheckpoint = {CHECKPOINT}"):
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.execute("CREATE TABLE sessions (key BLOB PRIMARY KEY, data BLOB, expires REAL)")
        self.connection.execute(f"PRAGMA cache_size = -{CACHE}")

    def create(self, number: int) -> None:
        row = (key(number), os.urandom(DATA), NOW + DAY)
        self.connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", row)

    def load(self, which: bytes) -> Any:
        query = "SELECT data FROM sessions WHERE key = ? AND expires > ?"
        return self.connection.execute(query, (which, NOW)).fetchone()

    def replace(self, which: bytes, data: bytes) -> None:
        query = "UPDATE sessions SET data = ? WHERE key = ? AND expires > ?"
        self.connection.execute(query, (data, which, NOW))


def grow(store: SQLiteStore, bare: Bare, have: int, want: int) -> None:
    """Create the sessions from number ``have`` to ``want`` in the store and in the bare table."""
    for number in range(have, want):
        if number % 2000 == 0:
            say(f"creating sessions: {number:,} of {want:,}")
        store.create(key(number), record(), NOW)
    bare.connection.execute("BEGIN")
    for number in range(have, want):
        if number % 20000 == 0:
            say(f"creating bare rows: {number:,} of {want:,}")
            bare.connection.execute("COMMIT")
            bare.connection.execute("BEGIN")
        bare.create(number)
    bare.connection.execute("COMMIT")


def compare(
    store: Store,
    bare: Any,
    count: int,
    rounds: int,
    calls: int,
    middle: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Return the median µs of each operation, over rounds in which both use the same keys.

    ``bare`` has a ``load`` and a ``replace`` like ``Bare``.
    """
    times: dict[str, list[float]] = {"load": [], "bare get": [], "replace": [], "bare update": []}
    for turn in range(rounds):
        say(f"{count:,} sessions: round {turn + 1} of {rounds}")
        keys = [key(random.randrange(count)) for _ in range(calls)]
        loaded = {which: store.load(which, NOW) for which in keys}
        keys = list(loaded)
        writes = [
            (which, found._replace(data=os.urandom(DATA), version=os.urandom(16)), found.version)
            for which, found in loaded.items()
            if found is not None
        ]
        if len(writes) != len(keys):
            raise SystemExit(f"{len(keys) - len(writes)} of {len(keys)} sessions were not there")

        def loads(keys: list[bytes] = keys) -> None:
            for which in keys:
                store.load(which, NOW)

        def gets(keys: list[bytes] = keys) -> None:
            for which in keys:
                bare.load(which)

        def replaces(writes: list[tuple[bytes, Record, bytes]] = writes) -> None:
            for which, wanted, version in writes:
                if store.replace(which, wanted, version, NOW) is not Outcome.SAVED:
                    raise SystemExit("a replace did not save")

        def updates(writes: list[tuple[bytes, Record, bytes]] = writes) -> None:
            for which, wanted, _ in writes:
                bare.replace(which, wanted.data)

        works: list[tuple[str, Callable[[], object]]] = [
            ("load", loads),
            ("bare get", gets),
            ("replace", replaces),
            ("bare update", updates),
        ]
        for name, work in works if turn % 2 else works[::-1]:
            times[name].append(timed(work) / len(keys) * 1e6)
    return {name: middle(values) for name, values in times.items()}


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    begin = perf_counter()
    work()
    return perf_counter() - begin


def on_disk(path: Path) -> int:
    """Write the log back into the file, and return the file's size."""
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def in_memory(count: int, with_owner: bool) -> float:
    """Return the bytes that ``MemoryStore`` takes for one session of 500 B, including all objects it refers to."""
    store = MemoryStore(count)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(count):
        store.create(key(number), record(owner=key(-1 - number % 1000 + count) if with_owner else None), NOW)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    store.close()
    return (after - before) / count


def watch_lock(path: str, stop: Event, longest: Any) -> None:
    """Ask for the write lock again and again, in another process; note the longest time for which it was held."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    free, refused = perf_counter(), False
    while not stop.is_set():
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            refused = True
            continue
        connection.execute("ROLLBACK")
        if refused:
            longest.value = max(longest.value, perf_counter() - free)
        sleep(0.0005)  # so that the sweep gets the lock too
        free, refused = perf_counter(), False
    connection.close()


def sweep(store: SQLiteStore, path: Path, live: int, dead: int, batch: int) -> dict[str, float]:
    """Sweep ``dead`` expired sessions beside ``live`` ones, while another process watches the lock."""
    past = NOW - 40 * DAY
    for number in range(dead):
        if number % 2000 == 0:
            say(f"creating expired sessions: {number:,} of {dead:,}")
        store.create(key(live + number), record(expires=past + DAY), past)
    context = multiprocessing.get_context("spawn")
    stop, longest = context.Event(), context.Value("d", 0.0)
    other = context.Process(target=watch_lock, args=(str(path), stop, longest), daemon=True)
    other.start()
    try:
        swept, batches = 0, []
        while swept < dead:
            begin = perf_counter()
            gone = store.sweep(batch, NOW)
            batches.append(perf_counter() - begin)
            swept += gone
            say(f"sweeping: {swept:,} of {dead:,}")
            if not gone:
                raise SystemExit(f"the sweep stopped at {swept:,} of {dead:,}")
    finally:
        stop.set()
        other.join()
    if store.sweep(batch, NOW) or store.count(NOW) != live:
        raise SystemExit(f"the sweep left {store.count(NOW):,} live sessions of {live:,}")
    return {
        "live": live,
        "expired": dead,
        "batch": batch,
        "seconds": sum(batches),
        "median batch ms": statistics.median(batches) * 1e3,
        "longest batch ms": max(batches) * 1e3,
        "longest lock ms": longest.value * 1e3,
    }


def run(folder: Path, sizes: list[int], dead: int, batch: int, rounds: int, calls: int) -> dict[str, Any]:
    results: dict[str, Any] = {"sizes": {}}
    paths = {name: folder / f"{name}.db" for name in ("ours", "bare", "owned")}
    with SQLiteStore(paths["ours"]) as store:
        bare, have = Bare(paths["bare"]), 0
        for size in sizes:
            grow(store, bare, have, size)
            have = size
            found = compare(store, bare, size, rounds, calls)
            found["bytes on disk"] = on_disk(paths["ours"]) / size
            found["bytes on disk, bare"] = on_disk(paths["bare"]) / size
            results["sizes"][size] = found
        bare.connection.close()
        results["sweep"] = sweep(store, paths["ours"], have, dead, batch)
    with SQLiteStore(paths["owned"]) as store:
        for number in range(100_000 if sizes[-1] > 100_000 else 20_000):
            if number % 2000 == 0:
                say(f"creating sessions of logged-in visitors: {number:,}")
            store.create(key(number), record(owner=key(number + 10**9)), NOW)
    results["bytes on disk, logged in"] = on_disk(paths["owned"]) / (number + 1)
    say("filling memory")
    results["bytes in memory"] = in_memory(20_000, with_owner=False)
    results["bytes in memory, logged in"] = in_memory(20_000, with_owner=True)
    say("")
    return results


def show(results: dict[str, Any]) -> None:
    print("SQLite, µs an operation (medians) and bytes a session of 500 B on disk")
    print(
        f"{'sessions':>10}{'load':>8}{'bare get':>10}{'ratio':>7}{'replace':>9}{'bare update':>13}{'ratio':>7}"
        f"{'bytes':>8}{'bare':>6}"
    )
    for size, found in results["sizes"].items():
        print(
            f"{size:>10,}{found['load']:8.1f}{found['bare get']:10.1f}{found['load'] / found['bare get']:7.2f}"
            f"{found['replace']:9.1f}{found['bare update']:13.1f}{found['replace'] / found['bare update']:7.2f}"
            f"{found['bytes on disk']:8.0f}{found['bytes on disk, bare']:6.0f}"
        )
    last = list(results["sizes"].values())[-1]["bytes on disk"]
    print()
    print(against_target("bytes on disk, anonymous", last, DISK_TARGET))
    print(f"{'bytes on disk, logged in':<34}{results['bytes on disk, logged in']:8.0f}")
    print(against_target("bytes in memory, anonymous", results["bytes in memory"], MEMORY_TARGET))
    print(against_target("bytes in memory, logged in", results["bytes in memory, logged in"], MEMORY_TARGET))
    found = results["sweep"]
    print(
        f"\nSweep of {found['expired']:,} expired beside {found['live']:,} live, {found['batch']} at a time:"
        f" {found['seconds']:.2f} s in all; a batch {found['median batch ms']:.1f} ms (median),"
        f" {found['longest batch ms']:.1f} ms (longest, the log's checkpoint included, which locks nobody out)"
    )
    print(against_target("write lock held at most, ms", found["longest lock ms"], LOCK_TARGET))


def against_target(name: str, value: float, limit: float) -> str:
    return f"{name:<34}{value:8.0f}   at most {limit:>4}   {'met' if value <= limit else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="What many sessions cost.")
    parser.add_argument("--quick", action="store_true", help="up to 10^5 sessions and 10^4 expired ones")
    parser.add_argument("--rounds", type=int, default=9, help="how many for each size (9)")
    parser.add_argument("--batch", type=int, default=SWEEP_LIMIT, help=f"records swept at a time ({SWEEP_LIMIT})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    chosen = parser.parse_args()
    if chosen.rounds < 1 or chosen.batch < 1:
        parser.error("--rounds and --batch take at least 1")
    sizes, dead = ([10**3, 10**5], 10**4) if chosen.quick else ([10**3, 10**5, 10**6], 10**5)
    with tempfile.TemporaryDirectory(prefix="wsgi-session-bench-") as folder:
        results = run(Path(folder), sizes, dead, chosen.batch, chosen.rounds, calls=1000)
    if chosen.json:
        print(json.dumps({"facts": facts(), **results}, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in facts().items()))
    show(results)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
