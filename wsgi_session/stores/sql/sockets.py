"""Wait for a driver's socket until a deadline."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Generator
from typing import Any

from wsgi_session.stores.time_limits import raise_time_limit

# The events to wait for and those that occurred, as bits: psycopg's own numbers.
READ, WRITE = 1, 2
#: Seconds that a statement has left to end after it was cancelled.
GRACE = 0.5
#: For a connection that was given up: seconds between two probes, and until a peer that answers none counts as gone.
PROBE_INTERVAL, GONE_AFTER = 1, 3
# The names of these settings, which differ by operating system.
_PROBES = (
    ("TCP_KEEPIDLE", PROBE_INTERVAL),
    ("TCP_KEEPALIVE", PROBE_INTERVAL),
    ("TCP_KEEPINTVL", PROBE_INTERVAL),
    ("TCP_KEEPCNT", GONE_AFTER),
    ("TCP_USER_TIMEOUT", GONE_AFTER * 1000),
)


class Cancelled(Exception):
    """The statement was cancelled, but has ended without an error."""


def ready(fileno: int, requested: int, timeout: float) -> int:
    """Return which of ``READ`` and ``WRITE`` a socket is ready for within ``timeout`` seconds; 0 if for neither."""
    if not hasattr(select, "poll"):
        reading, writing = [fileno] * bool(requested & READ), [fileno] * bool(requested & WRITE)
        readable, writable, _ = select.select(reading, writing, [], timeout)
        return READ * bool(readable) | WRITE * bool(writable)
    poll = select.poll()
    poll.register(fileno, (select.POLLIN if requested & READ else 0) | (select.POLLOUT if requested & WRITE else 0))
    events = poll.poll(timeout * 1000)
    if not events:
        return 0
    # Report an error or a closed socket as readable: the read then raises.
    event = events[0][1]
    return READ * bool(event & ~select.POLLOUT) | WRITE * bool(event & select.POLLOUT)


def run_generator(
    generator: Generator[int, int, Any], fileno: int, deadline: float, cancel: Callable[[float], object]
) -> Any:
    """Run one operation of psycopg's, a generator of the events that it waits for; return its result.

    At ``deadline`` (of ``time.monotonic()``) ``cancel`` is called once, with the seconds left until the operation must
    end. Raises ``TimeoutError`` if it has not ended by then, and ``Cancelled`` if it has ended without an error.
    """
    cancelled = False
    try:
        requested = next(generator)
        while True:
            ready_events = ready(fileno, requested, max(deadline - time.monotonic(), 0.0))
            if ready_events:
                requested = generator.send(ready_events)
            elif cancelled:
                raise TimeoutError
            else:
                cancelled = True
                deadline = time.monotonic() + GRACE
                cancel(GRACE)
    except StopIteration as done:
        if cancelled:
            raise Cancelled from None
        return done.value


def probe(fileno: int, *, half_close: bool = False) -> None:
    """Let the operating system find out soon if the peer of a TCP connection is gone.

    ``half_close``: also tell the peer that no more data will come, so that it ends after its current statement.
    """
    try:
        with socket.fromfd(fileno, socket.AF_INET, socket.SOCK_STREAM) as handle:
            if half_close:
                handle.shutdown(socket.SHUT_WR)
            # A Unix socket has no such options and raises here. It needs none: its peer cannot vanish silently.
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _PROBES:
                if hasattr(socket, name):
                    handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError as error:
        raise_time_limit(error)
