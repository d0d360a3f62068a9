"""A clock that a test sets itself, so that no test of sessions has to sleep."""

from __future__ import annotations

from datetime import timedelta


class FakeClock:
    """A replacement for ``time.time``: ``SessionMiddleware(app, ..., clock=FakeClock())``.

    >>> clock = FakeClock()
    >>> clock.advance(timedelta(days=31))
    >>> clock() - FakeClock.START
    2678400.0
    """

    #: The default start time in seconds since the epoch: 2033-05-18 03:33:20 UTC. It is in the future, so that an
    #: engine that expires records by its own clock keeps them during a test.
    START = 2_000_000_000.0

    def __init__(self, start: float = START) -> None:
        self._now = float(start)

    def __call__(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._now

    def advance(self, by: float | timedelta) -> None:
        """Move the clock by a number of seconds or a ``timedelta``; a negative value moves it back."""
        self._now += by.total_seconds() if isinstance(by, timedelta) else by

    def __repr__(self) -> str:
        return f"FakeClock({self._now!r})"
