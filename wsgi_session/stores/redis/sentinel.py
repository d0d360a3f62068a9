"""Ask a Sentinel regularly which server is the primary, even while every connection works.

If Sentinel is told to change the primary (``SENTINEL FAILOVER``, for maintenance), the old primary accepts writes for
about ten more seconds, and all of them are lost.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, NamedTuple

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from wsgi_session.stores.redis.failures import FAILURES

#: Seconds between two questions of one process.
ASK_EVERY = 1.0
#: Seconds that an answer may take; it never takes more than half of the operation's remaining time.
ANSWER_TIMEOUT = 0.25
#: Seconds until the next question if no Sentinel has answered.
ASK_LATER = 10.0
#: Connections to other addresses are replaced for this many seconds after a change of the primary. By then the old
#: primary has closed its connections.
CHANGE_PERIOD = 15.0


class Announcement(NamedTuple):
    """The primary that a Sentinel names."""

    address: tuple[str, int]
    #: The number of the change that made this server the primary.
    epoch: int


class Primary:
    """The address of the primary that ``source`` connects to."""

    def __init__(self, source: SentinelConnectionPool) -> None:
        self._source: Any = source
        self._announced: Announcement | None = None
        self._due = self._changing_until = 0.0
        # The number of the Sentinel to ask next, and how many Sentinels in a row have not answered.
        self._number = self._failures = 0

    def is_elsewhere(self, connection: Any, deadline: float) -> bool:
        """Return whether the server of ``connection`` is no longer the primary, according to a Sentinel.

        If a question is due, this asks a Sentinel, for a part of the time until ``deadline`` (of ``time.monotonic()``).
        The caller then lets redis-py find the primary, and does not use the address that the Sentinel named: that
        server may have failed since, and may come back empty.
        """
        now = time.monotonic()
        if now >= self._due:
            # Set before asking, so that no other thread asks at the same time.
            self._due = now + ASK_LATER
            self._ask(connection, min(ANSWER_TIMEOUT, (deadline - now) / 2))
        if self._announced is None or now >= self._changing_until:
            return False
        return _address(connection) != self._announced.address

    def close(self) -> None:
        """Close the idle connections that redis-py keeps to the Sentinels; it opens new ones if it needs them again."""
        for sentinel in self._source.sentinel_manager.sentinels:
            sentinel.connection_pool.disconnect(inuse_connections=False)

    def _ask(self, connection: Any, timeout: float) -> None:
        sentinels = self._source.sentinel_manager.sentinels
        named = None
        with suppress(*FAILURES):
            named = self._ask_sentinel(sentinels[self._number % len(sentinels)].connection_pool, timeout)
        now = time.monotonic()
        if named is None:
            # The next question goes to the next Sentinel.
            self._number += 1
            self._failures += 1
            self._due = now + (ASK_EVERY if self._failures % len(sentinels) else ASK_LATER)
            return
        self._failures = 0
        if self._announced is None and named.address != _address(connection):
            # The client translates addresses, so its addresses cannot be compared with those that a Sentinel names.
            self._due = now + ASK_LATER
            return
        self._due = now + ASK_EVERY
        if self._announced is None:
            self._announced = named
        elif named.epoch > self._announced.epoch:
            # A lower epoch comes from a Sentinel that has not heard of the last change yet, so it is ignored.
            self._announced, self._changing_until = named, now + CHANGE_PERIOD

    def _ask_sentinel(self, source: ConnectionPool, timeout: float) -> Announcement:
        limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), timeout / 2)
        # Each question has a connection of its own, so that an interruption or a fork leaves nothing behind.
        sentinel = source.connection_class(**{**source.connection_kwargs, **limits, "retry": Retry(NoBackoff(), 0)})
        try:
            sentinel.send_command("SENTINEL", "MASTER", self._source.service_name)
            answer = sentinel.read_response(disable_decoding=True)
        finally:
            sentinel.disconnect()
        # The answer is a list of alternating names and values, or with RESP3 a dictionary.
        state = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        return Announcement((state[b"ip"].decode(), int(state[b"port"])), int(state[b"config-epoch"]))


def _address(connection: Any) -> tuple[str, int]:
    return connection.host, connection.port
