"""What is different in a Redis cluster: where a key lies, and an owner index that lies elsewhere than its sessions."""

from __future__ import annotations

import os
import random
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
from wsgi_session.stores.redis.failures import FAILURES, without_passwords
from wsgi_session.stores.redis.node import Command, Node

#: How often a key may turn out to be elsewhere, while slots move, before it is an outage.
REDIRECTIONS = 8
#: Which part of an operation's time-out each node has that is asked where the slots are.
SHARE = 1 / 3


class Cluster:
    """The nodes of a cluster. redis-py's client knows which of them has a key; each is spoken to as a single one is.

    ``client``: or what makes it, when it is first needed: making it asks the cluster. ``size``, ``wait`` and
    ``timeout`` as for :class:`Node`.
    """

    def __init__(
        self, client: RedisCluster | Callable[[], RedisCluster], size: int, wait: int, timeout: float | None
    ) -> None:
        self._map = _Map(client, timeout)
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


class _Asking:
    """Lives while a thread asks where the slots are, and no longer, even if a signal handler raises meanwhile."""

    __slots__ = ("__weakref__",)


class _Map:
    """redis-py's client of this process, asked anew where the slots are once somebody has set ``outdated``."""

    def __init__(self, client: RedisCluster | Callable[[], RedisCluster], timeout: float | None) -> None:
        self.outdated = False
        self._given = client
        self._timeout = timeout
        self._pid = os.getpid()
        self._made: RedisCluster | None = None
        self._asking: Callable[[], _Asking | None] = _nobody
        self._forking = False
        # Whether this process was forked while another thread was asking: redis-py's own locks are taken for ever then.
        self._torn = False
        _maps.add(self)

    def deadline(self) -> float:
        """Return when an operation that begins now has to be done."""
        client = self._own_client()
        return time.monotonic() + (self._timeout or client.get_connection_kwargs().get("socket_timeout") or 1.0)

    def client(self, deadline: float) -> Any:
        """Return the client. Only one thread waits for a new map; the others go on with the old one.

        So does that one if nobody answers: a node that is still there is found by the old map.
        """
        client = self._own_client()
        # Where several nodes have hung in this operation already, the old map has to do.
        in_time = self._timeout is None or deadline - time.monotonic() > SHARE * self._timeout
        if self.outdated and in_time and not self._forking and self._asking() is None:
            asking = _Asking()
            self._asking = weakref.ref(asking)
            try:
                self.outdated = False
                self._renew(client, deadline)
            except BaseException as error:
                self.outdated = True
                if not isinstance(error, StoreUnavailable):
                    raise
            finally:
                self._asking = _nobody
        return client

    def _own_client(self) -> Any:  # redis-py's type hints of it are half there
        """Return the client of this process; make it, where that is left to us, without looking at ``outdated``."""
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
        return client

    def _renew(self, client: Any, deadline: float) -> None:
        """Ask where the slots are: a client of our own one node at a time, as redis-py would ask all that hang."""
        nodes, password = client.nodes_manager, client.get_connection_kwargs().get("password")
        if client is self._given or self._timeout is None:
            self._ask(nodes.initialize, password)
            return
        known = dict(nodes.startup_nodes)
        # In another order each time: one that hangs does not keep us from the others for ever.
        names = random.sample(sorted(known), len(known))
        while True:
            name = names.pop()
            nodes.startup_nodes = {name: known[name]}
            try:
                self._ask(nodes.initialize, password)
                return
            except BaseException as error:
                nodes.startup_nodes = known
                # The last share is for the operation itself.
                over = deadline - time.monotonic() < 1.5 * SHARE * self._timeout
                if over or not names or not isinstance(error, StoreUnavailable):
                    raise

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
