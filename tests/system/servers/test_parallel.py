"""One visitor, many requests at once, over all threads and processes of the server."""

from __future__ import annotations

from tests.system.servers.client import Client
from tests.system.servers.launchers import Launcher
from tests.system.servers.parallel import WRITTEN, write_in_parallel


def test_requests_in_parallel_lose_no_key(server: Launcher, visitor: Client) -> None:
    visitor.get("/login", **{"as": "ann"})
    served = write_in_parallel(visitor)
    assert visitor.get("/get").seen["data"] == {"user": {"id": "ann"}, **WRITTEN}
    assert 1 <= len(served) <= server.processes
