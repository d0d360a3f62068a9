"""Send commands to the nodes of a Redis cluster: to the node that has the key, following redirections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisClusterException

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.redis.exchange import Command
from wsgi_session.stores.redis.map import SlotMap
from wsgi_session.stores.redis.node import Node

#: How many redirections a command follows, while slots move, before it raises ``StoreUnavailable``.
REDIRECTIONS = 8


class Cluster:
    """The nodes of a cluster. redis-py's client knows which node has a key; a :class:`Node` sends commands to it.

    ``client``: a client, or a function that returns one and is called on first use, because it contacts the cluster.
    ``size``, ``wait`` and ``timeout`` are those of :class:`Node`.
    """

    def __init__(
        self, client: RedisCluster | Callable[[], RedisCluster], size: int, wait: int, timeout: float | None
    ) -> None:
        self._map = SlotMap(client, timeout)
        self._size = size
        self._wait = wait
        self._timeout = timeout
        self._nodes: dict[str, Node] = {}

    def deadline(self) -> float:
        """Return the deadline of an operation that begins now; see ``Node``. First use creates the client before."""
        return self._map.deadline()

    def call(
        self,
        name: bytes,
        *command: bytes,
        writes: bool = False,
        repeatable: bool = True,
        deadline: float | None = None,
    ) -> Any:
        """Send a command to the node that has the key ``name``; see ``Node.call``."""
        if deadline is None:
            deadline = self._map.deadline()
        node, asking = self._node_of(name, deadline), False
        for _ in range(REDIRECTIONS):
            try:
                return node.call(name, *command, writes=writes, repeatable=repeatable, asking=asking, deadline=deadline)
            except AskError as error:
                # MOVED: another node has the slot now (also after a failover). ASK: the slot is being moved, and this
                # key has been moved already.
                asking = not isinstance(error, MovedError)
                self._map.outdated = self._map.outdated or not asking
                node = self._node_at(error.host, error.port, deadline)
            except (StoreUnavailable, ClusterDownError):
                # A primary is down. By the next call, a replica may have been promoted.
                self._map.outdated = True
                raise
        raise StoreUnavailable(f"Redis cluster: the key was still being moved after {REDIRECTIONS} redirections.")

    def call_many(
        self,
        names: Sequence[bytes],
        commands: Sequence[Command],
        writes: bool = False,
        deadline: float | None = None,
    ) -> list[Any]:
        """Send each command to the node that has its key, with one request per node; see ``Node.call_many``."""
        if deadline is None:
            deadline = self._map.deadline()
        indexes_by_node: defaultdict[Node, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            indexes_by_node[self._node_of(name, deadline)].append(index)
        answers: list[Any] = [None] * len(names)
        try:
            for node, indexes in indexes_by_node.items():
                batch = [names[index] for index in indexes], [commands[index] for index in indexes]
                found = node.call_many(*batch, writes, deadline)
                for index, answer in zip(indexes, found, strict=True):
                    answers[index] = answer
        except StoreUnavailable:
            self._map.outdated = True
            raise
        return answers

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the names of all keys that match ``pattern``, a few hundred at a time; some are yielded twice."""
        for node in self._primaries(self._map.deadline()):
            yield from node.scan(pattern)

    def eviction_policies(self, deadline: float) -> list[str]:
        """Return the ``maxmemory-policy`` of every primary that reports it."""
        return [policy for node in self._primaries(deadline) for policy in node.eviction_policies(deadline)]

    def names(self, name: bytes, deadline: float) -> list[bytes]:
        """Return names of keys that begin with ``name``, one on each primary that has slots."""
        client = self._map.client(deadline)
        primaries = {slot: nodes[0].name for slot, nodes in list(client.nodes_manager.slots_cache.items()) if nodes}
        missing = set(primaries.values())
        found: list[bytes] = []
        number = 0
        while missing:
            candidate = b"%b%d" % (name, number)
            primary = primaries.get(client.keyslot(candidate))
            if primary in missing:
                missing.remove(primary)
                found.append(candidate)
            number += 1
        return found

    def close(self) -> None:
        for node in self._nodes.values():
            node.close()
        self._map.close()

    def __repr__(self) -> str:
        return "a cluster"

    def _primaries(self, deadline: float) -> list[Node]:
        client = self._map.client(deadline)
        return [self._node(client, cluster_node) for cluster_node in client.get_primaries()]

    def _node_of(self, name: bytes, deadline: float) -> Node:
        client = self._map.client(deadline)
        try:
            return self._node(client, client.nodes_manager.get_node_from_slot(client.keyslot(name)))
        except RedisClusterException as error:
            self._map.outdated = True
            raise StoreUnavailable(f"Redis cluster: {error}") from error

    def _node_at(self, host: str, port: int, deadline: float) -> Node:
        client = self._map.client(deadline)
        host, port = client.nodes_manager.remap_host_port(host, port)
        cluster_node = client.get_node(host, port)
        if cluster_node is None:
            cluster_node = ClusterNode(host, port)  # type: ignore[no-untyped-call]
        return self._node(client, cluster_node)

    def _node(self, client: Any, cluster_node: Any) -> Node:
        node = self._nodes.get(cluster_node.name)
        if node is None:
            source = client.get_redis_connection(cluster_node).connection_pool
            node = self._nodes.setdefault(cluster_node.name, Node(source, self._size, self._wait, self._timeout))
        return node
