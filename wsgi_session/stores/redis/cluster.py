"""What is different in a Redis cluster: where a key lies, and an owner index that lies elsewhere than its sessions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisClusterException

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.redis.exchange import Command
from wsgi_session.stores.redis.map import Map
from wsgi_session.stores.redis.node import Node

#: How often a key may turn out to be elsewhere, while slots move, before it is an outage.
REDIRECTIONS = 8


class Cluster:
    """The nodes of a cluster. redis-py's client knows which of them has a key; each is spoken to as a single one is.

    ``client``: or what makes it, when it is first needed: making it asks the cluster. ``size``, ``wait`` and
    ``timeout`` as for :class:`Node`.
    """

    def __init__(
        self, client: RedisCluster | Callable[[], RedisCluster], size: int, wait: int, timeout: float | None
    ) -> None:
        self._map = Map(client, timeout)
        self._size = size
        self._wait = wait
        self._timeout = timeout
        self._nodes: dict[str, Node] = {}

    def deadline(self) -> float:
        """Return when an operation that begins now has to be done; see ``Node``. First use makes the client before."""
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
                # MOVED: for good, after a failover too. ASK: the slot is on its way, and this key is there already.
                asking = not isinstance(error, MovedError)
                self._map.outdated = self._map.outdated or not asking
                node = self._node_at(error.host, error.port, deadline)
            except (StoreUnavailable, ClusterDownError):
                # A primary is down. By the next call, its replica may be its successor.
                self._map.outdated = True
                raise
        raise StoreUnavailable(f"Redis cluster: a key was still on its way after {REDIRECTIONS} redirections")

    def several(
        self,
        names: Sequence[bytes],
        commands: Sequence[Command],
        writes: bool = False,
        deadline: float | None = None,
    ) -> list[Any]:
        """Send each command to the node that has its key, each node all of its own at once; see ``Node.several``."""
        if deadline is None:
            deadline = self._map.deadline()
        places: defaultdict[Node, list[int]] = defaultdict(list)
        for place, name in enumerate(names):
            places[self._node_of(name, deadline)].append(place)
        answers: list[Any] = [None] * len(names)
        try:
            for node, its in places.items():
                of_node = [names[place] for place in its], [commands[place] for place in its]
                found = node.several(*of_node, writes, deadline)
                for place, answer in zip(its, found, strict=True):
                    answers[place] = answer
        except StoreUnavailable:
            self._map.outdated = True
            raise
        return answers

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the names of all keys that match ``pattern``, a few hundred at a time, some more than once."""
        for node in self._primaries(self._map.deadline()):
            yield from node.scan(pattern)

    def eviction(self, deadline: float) -> list[str]:
        """Return the ``maxmemory-policy`` of each primary that tells."""
        return [policy for node in self._primaries(deadline) for policy in node.eviction(deadline)]

    def names(self, name: bytes, deadline: float) -> list[bytes]:
        """Return the names of keys that begin with ``name``: one for each primary that has slots."""
        client = self._map.client(deadline)
        places = {slot: nodes[0].name for slot, nodes in list(client.nodes_manager.slots_cache.items()) if nodes}
        wanted = set(places.values())
        found: list[bytes] = []
        number = 0
        while wanted:
            candidate = b"%b%d" % (name, number)
            place = places.get(client.keyslot(candidate))
            if place in wanted:
                wanted.remove(place)
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
        return [self._node(client, place) for place in client.get_primaries()]

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
        place = client.get_node(host, port)
        if place is None:
            place = ClusterNode(host, port)  # type: ignore[no-untyped-call]
        return self._node(client, place)

    def _node(self, client: Any, place: Any) -> Node:
        node = self._nodes.get(place.name)
        if node is None:
            source = client.get_redis_connection(place).connection_pool
            node = self._nodes.setdefault(place.name, Node(source, self._size, self._wait, self._timeout))
        return node
