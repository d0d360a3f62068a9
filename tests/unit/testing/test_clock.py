"""A clock that moves only when a test says so."""

from __future__ import annotations

from datetime import timedelta

from wsgi_session.testing import FakeClock


def test_it_stands_still_until_it_is_told_to_move() -> None:
    clock = FakeClock()
    assert clock() == clock() == FakeClock.START


def test_it_moves_by_seconds_or_a_timedelta_and_back_too() -> None:
    clock = FakeClock(1000)
    clock.advance(1.5)
    clock.advance(timedelta(minutes=1))
    clock.advance(-0.5)
    assert clock() == 1061.0
    assert repr(clock) == "FakeClock(1061.0)"
