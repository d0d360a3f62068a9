"""Where the slots of a Redis cluster are: redis-py's client of this process, which knows, and when to ask anew."""

from __future__ import annotations

import os
import random
import time
import weakref
from collections.abc import Callable
from typing import Any

from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.forks import freeze_at_forks
from wsgi_session.stores.pool import FORK_LOOKS, FORK_NAP
from wsgi_session.stores.redis.failures import FAILURES, without_passwords

#: Which part of an operation's time-out each node has that is asked where the slots are.
SHARE = 1 / 3


class _Asking:
    """Lives while a thread asks where the slots are, and no longer, even if a signal handler raises meanwhile."""

    __slots__ = ("__weakref__",)


class Map:
    """redis-py's client of this process, asked anew where the slots are once somebody has set ``outdated``."""

    def __init__(self, client: RedisCluster | Callable[[], RedisCluster], timeout: float | None) -> None:
        self.outdated = False
        self._given = client
        self._timeout = timeout
        self._pid = os.getpid()
        # By process. What was inherited is left alone: to close it would speak on the parent's sockets.
        self._made: dict[int, RedisCluster] = {}
        self._asking: Callable[[], _Asking | None] = _nobody
        self._forking = False
        # Whether this process was forked while another thread was asking: redis-py's own locks are taken for ever then.
        self._torn = False
        freeze_at_forks(self)

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
        pid = os.getpid()
        if isinstance(self._given, RedisCluster):
            client = self._given
            if self._torn:
                raise StoreUnavailable(
                    "Redis cluster: this process was forked while another thread asked the cluster where its slots "
                    "are, and the client never finishes that here. Give RedisStore a URL, or a client made after the "
                    "fork."
                )
        elif pid in self._made:
            client = self._made[pid]
        else:
            # Of several threads that come at once each makes one: in line for a cluster that is down, each would wait
            # for as long as all those before it.
            made = self._ask(self._given, None)
            client = self._made.setdefault(pid, made)
            if client is not made:
                made.close()
        if self._pid != pid:
            # The thread that asked before the fork does not exist in this process.
            self._pid, self._asking = pid, _nobody
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
        if os.getpid() in self._made:
            self._made[os.getpid()].close()

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
