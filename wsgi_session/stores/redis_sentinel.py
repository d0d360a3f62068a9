"""Which server is the primary, as a Sentinel says: asked now and then, also while every connection works.

Where Sentinel is told to change the primary (``SENTINEL FAILOVER``, for maintenance), the old one goes on taking writes
for some ten seconds, and all of them are lost.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from wsgi_session.stores.redis_failures import FAILURES

#: Seconds between two questions of a process.
ASK_EVERY = 1.0
#: Seconds that an answer may take, and no more than half of what the operation has left.
PATIENCE = 0.25
#: Seconds until the next question where no Sentinel has answered.
ASK_LATER = 10.0
#: Seconds for which connections to another address are replaced after a Sentinel has named a new one: by then the old
#: primary has closed them.
CHANGING = 15.0


class Primary:
    """The address of the primary that ``source`` leads to."""

    def __init__(self, source: SentinelConnectionPool) -> None:
        self._source: Any = source
        self._address: tuple[str, int] | None = None
        self._due = self._changing_until = 0.0
        # Which Sentinel is asked, and how many in a row have not answered.
        self._number = self._failures = 0

    def is_elsewhere(self, connection: Any, deadline: float) -> bool:
        """Return whether ``connection`` leads to a server that is the primary no more, as far as a Sentinel says.

        Asks it if that is due, for a part of the time until ``deadline`` (of ``time.monotonic()``).
        """
        now = time.monotonic()
        if now >= self._due:
            # Set before, so that no other thread asks meanwhile.
            self._due = now + ASK_LATER
            self._ask(connection, min(PATIENCE, (deadline - now) / 2))
        return now < self._changing_until and (connection.host, connection.port) != self._address

    def connect(self, connection: Any) -> None:
        """Connect to the primary: right after a change to the one just named, else to whom redis-py finds."""
        if self._address is not None and time.monotonic() < self._changing_until:
            connection.connect_to(self._address)
        else:
            connection.connect()

    def _ask(self, connection: Any, patience: float) -> None:
        sentinels = self._source.sentinel_manager.sentinels
        address = None
        with suppress(*FAILURES, ValueError):
            address = self._answer_of(sentinels[self._number % len(sentinels)].connection_pool, patience)
        now = time.monotonic()
        if address is None:
            # It is asked again when all the others have failed, too.
            self._number += 1
            self._failures += 1
            self._due = now + (ASK_EVERY if self._failures % len(sentinels) else ASK_LATER)
            return
        self._failures = 0
        if self._address is None and address != (connection.host, connection.port):
            # A client that translates addresses calls servers by other names than the Sentinel: they tell us nothing.
            self._due = now + ASK_LATER
            return
        self._due = now + ASK_EVERY
        if self._address not in (None, address):
            self._changing_until = now + CHANGING
        self._address = address

    def _answer_of(self, source: ConnectionPool, patience: float) -> tuple[str, int] | None:
        limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), patience / 2)
        # One for each question: nothing is left of it, whatever interrupts us, in a fork as well.
        sentinel = source.connection_class(**{**source.connection_kwargs, **limits, "retry": Retry(NoBackoff(), 0)})
        try:
            sentinel.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._source.service_name)
            answer = sentinel.read_response(disable_decoding=True)
        finally:
            sentinel.disconnect()
        return None if answer is None else (answer[0].decode(), int(answer[1]))
