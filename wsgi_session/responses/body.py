"""The response's body on its way to the server: what is to be done at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from wsgi_session.backends.base import Backend
from wsgi_session.events import logger


class Sweep:
    """Lets the store remove a little of what is long dead, once, when the visitor has the answer.

    That is when the server closes the body. Some servers never do (asgiref's bridge, serverless-wsgi): then the next
    visitor who gets a cookie waits for it.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend: Backend | None = backend

    def run(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.sweep(backend.settings.clock())

    def __del__(self) -> None:
        # Only a note: Python may be collecting garbage here in the middle of anything, with a lock of the store taken.
        if self._backend is not None:
            self._backend.sweep_missed = True


class Ending(Protocol):
    """What has to be told of the body's end: the exchange."""

    def save_late(self) -> None:
        """Save what changed while the body was sent."""

    def break_off(self) -> None:
        """Take note that the application raised."""

    def end(self) -> None:
        """Let nothing change any more."""

    def finish(self) -> None:
        """Save once more, and let nothing change any more."""


class Body:
    """A body whose end matters to us. The chunks are the application's own, unwrapped."""

    def __init__(
        self, body: Iterable[bytes], chunks: Iterable[bytes], exchange: Ending, sweep: Sweep | None
    ) -> None:
        self._body = body
        self._chunks = chunks
        self._exchange = exchange
        self._sweep = sweep

    def __iter__(self) -> Iterator[bytes]:
        try:
            # Not `yield from`: that would close the application's iterator when the client hangs up, and close() again.
            for chunk in self._chunks:  # noqa: UP028
                yield chunk
        except GeneratorExit:
            # The client did not wait for the rest, which is no failure.
            raise
        except BaseException:
            self._exchange.break_off()
            raise
        # Before the server learns of the end: the visitor's next request may come before it calls close(), and some
        # servers never call it.
        self._exchange.save_late()

    def close(self) -> None:
        try:
            close_body(self._body)
        except BaseException:
            self._exchange.end()
            raise
        self._exchange.finish()
        if self._sweep is not None:
            self._sweep.run()


class SweepingList(list[bytes]):
    """A returned list once more, with an end: servers that look at its length still find it."""

    def __init__(self, body: Iterable[bytes], sweep: Sweep) -> None:
        super().__init__(body)
        self._sweep = sweep

    def close(self) -> None:
        self._sweep.run()


def first(iterator: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the first item, and no more."""
    for item in iterator:
        yield item
        return


def close_in_outage(body: Iterable[bytes]) -> None:
    """Close a body whose answer the client does not get; never raises."""
    try:
        close_body(body)
    except Exception:
        # Most likely over the same outage. The client is told of that one.
        logger.exception("the response's close() failed in an outage")


def close_body(body: Iterable[bytes]) -> None:
    """Close what the application returned, if that can be closed."""
    close = getattr(body, "close", None)
    if close is not None:
        close()
