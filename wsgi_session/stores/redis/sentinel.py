"""Which server is the primary, as a Sentinel says: asked now and then, also while every connection works.

Where Sentinel is told to change the primary (``SENTINEL FAILOVER``, for maintenance), the old one goes on taking writes
for some ten seconds, and all of them are lost.
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

#: Seconds between two questions of a process.
ASK_EVERY = 1.0
#: Seconds that an answer may take, and no more than half of what the operation has left.
PATIENCE = 0.25
#: Seconds until the next question where no Sentinel has answered.
ASK_LATER = 10.0
#: Seconds for which connections to another address are replaced after a Sentinel has named a new one: by then the old
#: primary has closed them.
CHANGING = 15.0


class Named(NamedTuple):
    """What a Sentinel says of the primary."""

    address: tuple[str, int]
    #: Which of the changes made it the primary: they are numbered.
    epoch: int


class Primary:
    """The address of the primary that ``source`` leads to."""

    def __init__(self, source: SentinelConnectionPool) -> None:
        self._source: Any = source
        self._named: Named | None = None
        self._due = self._changing_until = 0.0
        # Which Sentinel is asked, and how many in a row have not answered.
        self._number = self._failures = 0

    def is_elsewhere(self, connection: Any, deadline: float) -> bool:
        """Return whether ``connection`` leads to a server that is the primary no more, as far as a Sentinel says.

        Asks it if that is due, for a part of the time until ``deadline`` (of ``time.monotonic()``). The new connection
        goes to whom redis-py finds, not to the address that was named: that server may be down by then, and come back
        empty.
        """
        now = time.monotonic()
        if now >= self._due:
            # Set before, so that no other thread asks meanwhile.
            self._due = now + ASK_LATER
            self._ask(connection, min(PATIENCE, (deadline - now) / 2))
        return self._named is not None and now < self._changing_until and _address(connection) != self._named.address

    def _ask(self, connection: Any, patience: float) -> None:
        sentinels = self._source.sentinel_manager.sentinels
        named = None
        with suppress(*FAILURES):
            named = self._answer_of(sentinels[self._number % len(sentinels)].connection_pool, patience)
        now = time.monotonic()
        if named is None:
            # It is asked again when all the others have failed, too.
            self._number += 1
            self._failures += 1
            self._due = now + (ASK_EVERY if self._failures % len(sentinels) else ASK_LATER)
            return
        self._failures = 0
        if self._named is None and named.address != _address(connection):
            # A client that translates addresses calls servers by other names than the Sentinel: they tell us nothing.
            self._due = now + ASK_LATER
            return
        self._due = now + ASK_EVERY
        if self._named is None:
            self._named = named
        elif named.epoch > self._named.epoch:
            # Not so of a Sentinel that has yet to hear of the last change: it names the primary of before.
            self._named, self._changing_until = named, now + CHANGING

    def _answer_of(self, source: ConnectionPool, patience: float) -> Named:
        limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), patience / 2)
        # One for each question: nothing is left of it, whatever interrupts us, in a fork as well.
        sentinel = source.connection_class(**{**source.connection_kwargs, **limits, "retry": Retry(NoBackoff(), 0)})
        try:
            sentinel.send_command("SENTINEL", "MASTER", self._source.service_name)
            answer = sentinel.read_response(disable_decoding=True)
        finally:
            sentinel.disconnect()
        # A list of names and values in turn, or with RESP3 a dictionary.
        state = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        return Named((state[b"ip"].decode(), int(state[b"port"])), int(state[b"config-epoch"]))


def _address(connection: Any) -> tuple[str, int]:
    return connection.host, connection.port
