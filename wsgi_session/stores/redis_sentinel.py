"""Which server is the primary, as the Sentinels say: asked now and then, also while every connection works.

Where Sentinel is told to change the primary (``SENTINEL FAILOVER``, for maintenance), the old one goes on taking writes
for some ten seconds, and all of them are lost.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from redis.sentinel import SentinelConnectionPool

from wsgi_session.stores.redis_failures import FAILURES

#: Seconds between two questions of a process.
ASK_EVERY = 1.0
#: Seconds until the next question where no Sentinel has answered.
ASK_LATER = 10.0


class Primary:
    """The address of the primary that ``source`` leads to."""

    def __init__(self, source: SentinelConnectionPool) -> None:
        self._source = source
        self._address: Any = None
        self._due = 0.0

    def is_elsewhere(self, connection: Any) -> bool:
        """Return whether ``connection`` leads to a server that is not the primary. Without an answer it does not."""
        now = time.monotonic()
        if now >= self._due:
            # Set before, so that no other thread asks meanwhile.
            self._due = now + ASK_LATER
            with suppress(*FAILURES):
                self._address = self._source.get_master_address()  # type: ignore[no-untyped-call]
                self._due = now + ASK_EVERY
        return self._address is not None and (connection.host, connection.port) != self._address
