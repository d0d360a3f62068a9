"""The slot map of a Redis cluster: this process's redis-py client, which has the map, and when to refresh it."""

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
from wsgi_session.stores.pool import FORK_CHECK_INTERVAL, FORK_CHECKS
from wsgi_session.stores.redis.failures import FAILURES, without_passwords

#: The part of an operation's timeout that each node may take to answer where the slots are.
SHARE = 1 / 3


class _Refresh:
    """Exists only while a thread refreshes the slot map, even if a signal handler interrupts that thread."""

    __slots__ = ("__weakref__",)


class SlotMap:
    """This process's redis-py client. It refreshes its slot map on the next use after ``outdated`` was set."""

    def __init__(self, client: RedisCluster | Callable[[], RedisCluster], timeout: float | None) -> None:
        self.outdated = False
        self._source = client
        self._timeout = timeout
        self._pid = os.getpid()
        # By process id. An inherited client is not closed, because that would send commands on the parent's sockets.
        self._clients: dict[int, RedisCluster] = {}
        self._refresh: Callable[[], _Refresh | None] = _no_refresh
        self._forking = False
        # Whether this process was forked while another thread refreshed the map. redis-py's own locks then stay locked.
        self._forked_mid_refresh = False
        freeze_at_forks(self)

    def deadline(self) -> float:
        """Return the deadline of an operation that begins now, in seconds of ``time.monotonic()``."""
        client = self._process_client()
        return time.monotonic() + (self._timeout or client.get_connection_kwargs().get("socket_timeout") or 1.0)

    def client(self, deadline: float) -> Any:
        """Return the client. One thread refreshes an outdated map; the others keep using the old one meanwhile.

        If no node answers, that thread uses the old map too, which still finds the nodes that are up.
        """
        client = self._process_client()
        # If several nodes did not answer during this operation, too little time is left, and the old map is used.
        in_time = self._timeout is None or deadline - time.monotonic() > SHARE * self._timeout
        if self.outdated and in_time and not self._forking and self._refresh() is None:
            refresh = _Refresh()
            self._refresh = weakref.ref(refresh)
            try:
                self.outdated = False
                self._refresh_slots(client, deadline)
            except BaseException as error:
                self.outdated = True
                if not isinstance(error, StoreUnavailable):
                    raise
            finally:
                self._refresh = _no_refresh
        return client

    def _process_client(self) -> Any:  # redis-py's type hints for the client are incomplete.
        """Return this process's client, and create it if it is missing; ignore ``outdated``."""
        client: Any
        pid = os.getpid()
        if isinstance(self._source, RedisCluster):
            client = self._source
            if self._forked_mid_refresh:
                raise StoreUnavailable(
                    "Redis cluster: this process was forked while another thread asked the cluster where its slots "
                    "are, and the client cannot finish that in this process. Give RedisStore a URL, or a client that "
                    "is created after the fork."
                )
        elif pid in self._clients:
            client = self._clients[pid]
        else:
            # Threads that arrive together each create a client. If they took turns instead and the cluster were down,
            # each would wait for the timeouts of all threads before it.
            created = self._translate_errors(self._source, None)
            client = self._clients.setdefault(pid, created)
            if client is not created:
                created.close()
        if self._pid != pid:
            # The thread that refreshed the map before the fork does not exist in this process.
            self._pid, self._refresh = pid, _no_refresh
        return client

    def _refresh_slots(self, client: Any, deadline: float) -> None:
        """Ask where the slots are. A client that this store created asks one node at a time.

        redis-py would wait for the timeout of every node that does not answer.
        """
        nodes, password = client.nodes_manager, client.get_connection_kwargs().get("password")
        if client is self._source or self._timeout is None:
            self._translate_errors(nodes.initialize, password)
            return
        known = dict(nodes.startup_nodes)
        # The order is random, so that a node that does not answer does not block the others each time.
        names = random.sample(sorted(known), len(known))
        while True:
            name = names.pop()
            nodes.startup_nodes = {name: known[name]}
            try:
                self._translate_errors(nodes.initialize, password)
                return
            except BaseException as error:
                nodes.startup_nodes = known
                # The last share is for the operation itself.
                too_late = deadline - time.monotonic() < 1.5 * SHARE * self._timeout
                if too_late or not names or not isinstance(error, StoreUnavailable):
                    raise

    def close(self) -> None:
        if os.getpid() in self._clients:
            self._clients[os.getpid()].close()

    def freeze(self) -> None:
        """Let no thread refresh the map until ``thaw``, and wait for one that does. Called before a fork."""
        self._forking = True
        for _ in range(FORK_CHECKS):
            if self._refresh() is None:
                break
            time.sleep(FORK_CHECK_INTERVAL)

    def thaw(self, *, in_child: bool) -> None:
        """Let threads refresh the map again."""
        self._forked_mid_refresh = self._forked_mid_refresh or (in_child and self._refresh() is not None)
        self._forking = False

    def _translate_errors(self, call: Callable[[], Any], password: str | None) -> Any:
        try:
            return call()
        except (*FAILURES, RedisClusterException) as failure:
            error = without_passwords(failure, [password])
            raise StoreUnavailable(f"Redis cluster: {error}") from error


def _no_refresh() -> None:
    return None
