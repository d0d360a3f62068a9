"""The cost of a session when Redis holds many of them: ``python -m bench.scale_redis``.

It measures ``load`` and ``replace`` as the number of sessions grows, beside a bare GET and SET among as many keys on
the same server in the same run, and the memory that a session takes there. The cheapest of many short rounds is shown,
because other programs on the machine disturb it the least.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the packages are beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

try:
    from redis import Redis
except ImportError as missing:
    raise SystemExit(f"{missing}: pip install -r bench/requirements.txt") from missing

from bench import servers
from bench.report import facts, say
from bench.scale import DATA, compare, key, record
from wsgi_session.stores.redis import RedisStore
from wsgi_session.stores.redis.records import pack

PREFIX, BARE = "session:", "bare:"
#: Milliseconds after which every key expires.
LIFE = 30 * 86400 * 1000
BATCH = 1000
#: Sessions that a round loads and replaces.
CALLS = 100


class Bare:
    """redis-py by itself: one GET, one SET with an expiry."""

    def __init__(self, client: Redis) -> None:
        self.client = client

    def load(self, which: bytes) -> Any:
        return self.client.get(BARE.encode() + which)

    def replace(self, which: bytes, data: bytes) -> None:
        self.client.set(BARE.encode() + which, data, px=LIFE)


def grow(client: Redis, have: int, want: int) -> float:
    """Put the sessions from number ``have`` to ``want`` and as many bare keys; return the bytes that a session takes.

    The records are written in batches, in the store's own format: ``compare`` checks that the store can read them.
    """
    before = client.info("memory")["used_memory"]
    fill(client, "sessions", have, want, PREFIX.encode(), lambda: pack(record()))
    after = client.info("memory")["used_memory"]
    fill(client, "bare keys", have, want, BARE.encode(), lambda: os.urandom(DATA))
    return (after - before) / (want - have)


def fill(client: Redis, what: str, have: int, want: int, prefix: bytes, value: Any) -> None:
    for start in range(have, want, BATCH):
        say(f"creating {what}: {start:,} of {want:,}")
        pipeline = client.pipeline(transaction=False)
        for number in range(start, min(start + BATCH, want)):
            pipeline.set(prefix + key(number), value(), px=LIFE)
        pipeline.execute()


def run(sizes: list[int], rounds: int) -> dict[int, dict[str, float]]:
    client = Redis.from_url(servers.valkey())
    store, bare = RedisStore(Redis.from_url(servers.valkey()), prefix=PREFIX), Bare(client)
    results, have = {}, 0
    for size in sizes:
        taken = grow(client, have, size)
        have = size
        results[size] = {**compare(store, bare, size, rounds, CALLS, min), "bytes": taken}
    store.close()
    client.close()
    say("")
    return results


def show(results: dict[int, dict[str, float]]) -> None:
    print("Redis, µs an operation (least), and bytes of the server's memory for a session of 500 B")
    print(
        f"{'sessions':>10}{'load':>8}{'bare get':>10}{'ratio':>7}{'replace':>9}{'bare set':>10}{'ratio':>7}{'bytes':>8}"
    )
    for size, found in results.items():
        print(
            f"{size:>10,}{found['load']:8.1f}{found['bare get']:10.1f}{found['load'] / found['bare get']:7.2f}"
            f"{found['replace']:9.1f}{found['bare update']:10.1f}{found['replace'] / found['bare update']:7.2f}"
            f"{found['bytes']:8.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale_redis", description="What many sessions cost in Redis."
    )
    parser.add_argument("--quick", action="store_true", help="up to 10^5 sessions; otherwise 10^6, which take 1.4 GB")
    parser.add_argument("--rounds", type=int, default=100, help="how many for each size (100)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds takes at least 1")
    sizes = [10**3, 10**5] if chosen.quick else [10**3, 10**5, 10**6]
    try:
        results = run(sizes, chosen.rounds)
    except ImportError as missing:
        raise SystemExit(str(missing)) from missing
    if chosen.json:
        print(json.dumps({"facts": facts(), "sizes": results}, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in facts().items()))
    show(results)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
