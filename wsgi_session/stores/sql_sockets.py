"""Waiting for a driver's socket, and for no longer than we will."""

from __future__ import annotations

import select
import time
from collections.abc import Generator
from typing import Any

# What is waited for, and what came, as bits: psycopg's own numbers.
READ, WRITE = 1, 2


def ready(descriptor: int, wanted: int, patience: float) -> int:
    """Return which of ``READ`` and ``WRITE`` a socket is ready for within so many seconds; 0: for nothing."""
    if not hasattr(select, "poll"):
        reading, writing = [descriptor] * bool(wanted & READ), [descriptor] * bool(wanted & WRITE)
        readable, writable, _ = select.select(reading, writing, [], patience)
        return READ * bool(readable) | WRITE * bool(writable)
    poll = select.poll()
    poll.register(descriptor, (select.POLLIN if wanted & READ else 0) | (select.POLLOUT if wanted & WRITE else 0))
    events = poll.poll(patience * 1000)
    if not events:
        return 0
    # An error, a closed socket: to be read.
    event = events[0][1]
    return READ * bool(event & ~select.POLLOUT) | WRITE * bool(event & select.POLLOUT)


def drive(generator: Generator[int, int, Any], descriptor: int, patience: float) -> Any:
    """Carry out one operation of psycopg's, a generator of what it waits for; return its result.

    Raises ``TimeoutError`` if that takes longer than ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    try:
        wanted = next(generator)
        while True:
            came = ready(descriptor, wanted, max(deadline - time.monotonic(), 0.0))
            if not came:
                raise TimeoutError(f"no answer within {patience:g} s")
            wanted = generator.send(came)
    except StopIteration as done:
        return done.value
