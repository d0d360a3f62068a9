"""The response's body, with the work that is done when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from wsgi_session.backends.base import Backend
from wsgi_session.events import logger


class Sweep:
    """Lets the store remove some expired records, once, after the visitor has received the response.

    That is when the server closes the body. Some servers never do (asgiref's bridge, serverless-wsgi): then the next
    response that sets a cookie is delayed by the sweep.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend: Backend | None = backend

    def run(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.sweep(backend.settings.clock())

    def __del__(self) -> None:
        # Only set a flag: garbage collection may run this at any point, even while the thread has a lock of the store.
        if self._backend is not None:
            self._backend.sweep_missed = True


class Ending(Protocol):
    """The part of the exchange that is called when the body ends."""

    def save_late(self) -> None:
        """Save what changed while the body was sent."""

    def mark_failed(self) -> None:
        """Record that the application raised."""

    def close(self) -> None:
        """Refuse all further changes."""

    def finish(self) -> None:
        """Save the last changes, and refuse all further ones."""


class Body:
    """A response body that runs our code at its end. It yields the application's chunks unchanged."""

    def __init__(self, body: Iterable[bytes], chunks: Iterable[bytes], exchange: Ending, sweep: Sweep | None) -> None:
        self._body = body
        self._chunks = chunks
        self._exchange = exchange
        self._sweep = sweep

    def __iter__(self) -> Iterator[bytes]:
        try:
            # Not `yield from`: if the client disconnects, that would close the application's iterator, and so would
            # close() later.
            for chunk in self._chunks:  # noqa: UP028
                yield chunk
        except GeneratorExit:
            # The client disconnected, which is not an error of the application.
            raise
        except BaseException:
            self._exchange.mark_failed()
            raise
        # Before the server learns of the end: the visitor's next request may come before it calls close(), and some
        # servers never call it.
        self._exchange.save_late()

    def close(self) -> None:
        try:
            close_body(self._body)
        except BaseException:
            self._exchange.close()
            raise
        self._exchange.finish()
        if self._sweep is not None:
            self._sweep.run()


class SweepingList(list[bytes]):
    """A copy of the returned list with a ``close()`` method. It is still a list, so servers can use its length."""

    def __init__(self, body: Iterable[bytes], sweep: Sweep) -> None:
        super().__init__(body)
        self._sweep = sweep

    def close(self) -> None:
        self._sweep.run()


def first_item(iterator: Iterator[bytes]) -> Iterator[bytes]:
    """Yield only the first item."""
    for item in iterator:
        yield item
        return


def close_in_outage(body: Iterable[bytes]) -> None:
    """Close the body of a response that is not sent to the client; never raises."""
    try:
        close_body(body)
    except Exception:
        # Probably caused by the same outage, which the client is already told about.
        logger.exception("the response's close() failed in an outage")


def close_body(body: Iterable[bytes]) -> None:
    """Close the application's body if it has a ``close()`` method."""
    close = getattr(body, "close", None)
    if close is not None:
        close()
