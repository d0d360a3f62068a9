"""The servers that contenders need: those of the tests, one of each per run, in temporary folders."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from functools import cache

# Exit normally on SIGTERM, so that the servers are stopped too.
signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))


@cache
def valkey() -> str:
    """Return the URL of a Valkey that keeps nothing on the disk. Raises ``ImportError`` where it is not installed."""
    import pytest

    from tests.support.servers.valkey import Valkey

    try:
        server = Valkey()
    except pytest.skip.Exception as missing:
        raise ImportError(str(missing)) from missing
    server.start()
    return server.url


@cache
def postgresql() -> str:
    """Return the URL of a PostgreSQL that flushes its log before it answers a write, as it does by default.

    Raises ``ImportError`` where it is not installed.
    """
    import pytest

    from tests.support.servers.postgres import Postgres

    class Durable(Postgres):
        def command(self) -> Sequence[str]:
            # The later of two settings counts.
            return [*super().command(), "-c", "fsync=on", "-c", "autovacuum=on", "-c", "shared_buffers=128MB"]

    try:
        server = Durable()
    except pytest.skip.Exception as missing:
        raise ImportError(str(missing)) from missing
    server.start()
    return server.url
