"""What is different in a Redis cluster: where a key lies, and an owner index that lies elsewhere than its sessions."""

from __future__ import annotations

import os
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisClusterException

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.pool import FORK_LOOKS, FORK_NAP
from wsgi_session.stores.redis_node import FAILURES, Command, Node, without_passwords

#: How often a key may turn out to be elsewhere, while slots move, before it is an outage.
REDIRECTIONS = 8


class Cluster:
    """The nodes of a cluster. redis-py's client knows which of them has a key; each is spoken to as a single one is.

    ``client``: or what makes it, when it is first needed: making it asks the cluster. ``size`` and ``wait`` as for
    :class:`Node`.
    """

    def __init__(self, client: RedisCluster | Callable[[], RedisCluster], size: int, wait: int) -> None:
        self._map = _Map(client)
        self._size = size
        self._wait = wait
        self._nodes: dict[str, Node] = {}

    def call(self, name: bytes, *command: bytes, writes: bool = False, repeatable: bool = True) -> Any:
        """Send a command to the node that has the key ``name``; see ``Node.call``."""
        node, asking = self._node_of(name), False
        for _ in range(REDIRECTIONS):
            try:
                return node.call(name, *command, writes=writes, repeatable=repeatable, asking=asking)
            except AskError as error:
                # MOVED: for good, after a failover too. ASK: the slot is on its way, and this key is there already.
                asking = not isinstance(error, MovedError)
                self._map.outdated = self._map.outdated or not asking
                node = self._node_at(error.host, error.port)
            except (StoreUnavailable, ClusterDownError):
                # A primary is down. By the next call, its replica may be its successor.
                self._map.outdated = True
                raise
        raise StoreUnavailable(f"Redis cluster: a key was still on its way after {REDIRECTIONS} redirections")

    def several(self, names: Sequence[bytes], commands: Sequence[Command], writes: bool = False) -> list[Any]:
        """Send each command to the node that has its key, each node all of its own at once; see ``Node.several``."""
        places: defaultdict[Node, list[int]] = defaultdict(list)
        for place, name in enumerate(names):
            places[self._node_of(name)].append(place)
        answers: list[Any] = [None] * len(names)
        try:
            for node, its in places.items():
                found = node.several([names[place] for place in its], [commands[place] for place in its], writes)
                for place, answer in zip(its, found, strict=True):
                    answers[place] = answer
        except StoreUnavailable:
            self._map.outdated = True
            raise
        return answers

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the names of all keys that match ``pattern``, a few hundred at a time, some more than once."""
        for node in self._primaries():
            yield from node.scan(pattern)

    def eviction(self) -> list[str]:
        """Return the ``maxmemory-policy`` of each primary that tells."""
        return [policy for node in self._primaries() for policy in node.eviction()]

    def close(self) -> None:
        for node in self._nodes.values():
            node.close()
        self._map.close()

    def __repr__(self) -> str:
        return "a cluster"

    def _primaries(self) -> list[Node]:
        return [self._node(place) for place in self._map.client().get_primaries()]

    def _node_of(self, name: bytes) -> Node:
        client = self._map.client()
        try:
            return self._node(client.nodes_manager.get_node_from_slot(client.keyslot(name)))
        except RedisClusterException as error:
            self._map.outdated = True
            raise StoreUnavailable(f"Redis cluster: {error}") from error

    def _node_at(self, host: str, port: int) -> Node:
        client = self._map.client()
        host, port = client.nodes_manager.remap_host_port(host, port)
        place = client.get_node(host, port)
        return self._node(ClusterNode(host, port) if place is None else place)  # type: ignore[no-untyped-call]

    def _node(self, place: Any) -> Node:
        node = self._nodes.get(place.name)
        if node is None:
            source = self._map.client().get_redis_connection(place).connection_pool
            node = self._nodes.setdefault(place.name, Node(source, self._size, self._wait))
        return node


class _Asking:
    """Lives while a thread asks where the slots are, and no longer, even if a signal handler raises meanwhile."""

    __slots__ = ("__weakref__",)


class _Map:
    """redis-py's client of this process, asked anew where the slots are once somebody has set ``outdated``."""

    def __init__(self, client: RedisCluster | Callable[[], RedisCluster]) -> None:
        self.outdated = False
        self._given = client
        self._pid = os.getpid()
        self._made: RedisCluster | None = None
        self._asking: Callable[[], _Asking | None] = _nobody
        self._forking = False
        # Whether this process was forked while another thread was asking: redis-py's own locks are taken for ever then.
        self._torn = False
        _maps.add(self)

    def client(self) -> Any:  # redis-py's type hints of it are half there
        """Return the client. Only one thread waits for a new map; the others go on with the old one."""
        client: Any
        if isinstance(self._given, RedisCluster):
            client = self._given
            if self._torn:
                raise StoreUnavailable(
                    "Redis cluster: this process was forked while another thread asked the cluster where its slots "
                    "are, and the client never finishes that here. Give RedisStore a URL, or a client made after the "
                    "fork."
                )
        elif self._made is not None and self._pid == os.getpid():
            client = self._made
        else:
            # Of several threads that come at once each makes one: in line for a cluster that is down, each would wait
            # for as long as all those before it.
            client = self._made = self._ask(self._given, None)
        if self._pid != os.getpid():
            # The thread that asked before the fork does not exist in this process.
            self._pid, self._asking = os.getpid(), _nobody
        if self.outdated and not self._forking and self._asking() is None:
            asking = _Asking()
            self._asking = weakref.ref(asking)
            try:
                self.outdated = False
                self._ask(client.nodes_manager.initialize, client.get_connection_kwargs().get("password"))
            except BaseException:
                self.outdated = True
                raise
            finally:
                self._asking = _nobody
        return client

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def freeze(self) -> None:
        """Let no thread ask until ``thaw``, and wait for one that does: around a fork."""
        self._forking = True
        for _ in range(FORK_LOOKS):
            if self._asking() is None:
                break
            time.sleep(FORK_NAP)

    def thaw(self, *, in_child: bool) -> None:
        self._torn = self._torn or (in_child and self._asking() is not None)
        self._forking = False

    def _ask(self, question: Callable[[], Any], password: str | None) -> Any:
        try:
            return question()
        except (*FAILURES, RedisClusterException) as failure:
            error = without_passwords(failure, [password])
            raise StoreUnavailable(f"Redis cluster: {error}") from error


def _nobody() -> None:
    return None


_maps: weakref.WeakSet[_Map] = weakref.WeakSet()


def _before_fork() -> None:
    for slots in list(_maps):
        slots.freeze()


def _after_fork(*, in_child: bool) -> None:
    for slots in list(_maps):
        slots.thaw(in_child=in_child)


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has none
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, in_child=False),
        after_in_child=partial(_after_fork, in_child=True),
    )
