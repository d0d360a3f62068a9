"""Waiting for a driver's socket, and for no longer than we will."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

# What is waited for, and what came, as bits: psycopg's own numbers.
READ, WRITE = 1, 2
#: Seconds that a statement has left to end after it was called off.
GRACE = 0.5
#: Of a connection that was given up: seconds between two probes, and until a peer that answers none counts as gone.
PROBE, GONE = 1, 3
# What a system calls them, if it has them.
_PROBES = (
    ("TCP_KEEPIDLE", PROBE),
    ("TCP_KEEPALIVE", PROBE),
    ("TCP_KEEPINTVL", PROBE),
    ("TCP_KEEPCNT", GONE),
    ("TCP_USER_TIMEOUT", GONE * 1000),
)


class CalledOff(Exception):
    """The statement was called off, and came to its end nevertheless."""


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


def drive(
    generator: Generator[int, int, Any], descriptor: int, deadline: float, call_off: Callable[[float], object]
) -> Any:
    """Carry out one operation of psycopg's, a generator of what it waits for; return its result.

    At ``deadline`` (of ``time.monotonic()``), ``call_off`` is called once, with the seconds that are left to it and to
    the operation's end. Raises ``TimeoutError`` after that, and ``CalledOff`` for an end without an error before.
    """
    called_off = False
    try:
        wanted = next(generator)
        while True:
            came = ready(descriptor, wanted, max(deadline - time.monotonic(), 0.0))
            if came:
                wanted = generator.send(came)
            elif called_off:
                raise TimeoutError
            else:
                called_off = True
                deadline = time.monotonic() + GRACE
                call_off(GRACE)
    except StopIteration as done:
        if called_off:
            raise CalledOff from None
        return done.value


def probe(descriptor: int, *, half_close: bool = False) -> None:
    """Let the system find out soon if the peer of a TCP connection is gone.

    ``half_close``: also tell the peer that nothing more will come, so that it ends when it has done what it is doing.
    """
    with suppress(OSError), socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as handle:
        if half_close:
            handle.shutdown(socket.SHUT_WR)
        # A socket file, which has no such options, raises: its peer cannot vanish unseen.
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBES:
            if hasattr(socket, name):
                handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
