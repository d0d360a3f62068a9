"""Many requests of one visitor at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tests.system.servers.client import Client

TABS = 8
ROUNDS = 6
#: What :func:`write_in_parallel` puts into the session.
WRITTEN = {f"{tab}.{number}": "kept" for tab in range(TABS) for number in range(ROUNDS)}


def write_in_parallel(visitor: Client) -> set[int]:
    """Write each key in a request of its own, several at once; return which processes answered."""
    together = Barrier(TABS)
    tabs = [visitor.twin() for _ in range(TABS)]

    def write(tab: int) -> set[int]:
        together.wait(30)
        return {tabs[tab].get("/put", **{f"{tab}.{number}": "kept"}).seen["pid"] for number in range(ROUNDS)}

    with ThreadPoolExecutor(TABS) as pool:
        return set().union(*pool.map(write, range(TABS)))
