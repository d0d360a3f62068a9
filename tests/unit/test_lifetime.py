"""When a session ends, and when activity is recorded."""

from __future__ import annotations

import pytest

from wsgi_session.config.options import check_touch_interval
from wsgi_session.lifetime import Lifetime
from wsgi_session.stores import SWEEP_GRACE, Record

HOUR = 3600.0


def record(*, touched: float = 0.0, expires: float = 0.0, idle: float | None = None) -> Record:
    return Record(b"", b"", "h", 0.0, touched, expires, idle=idle)


@pytest.mark.parametrize(
    ("absolute", "touched", "created", "idle", "expected"),
    [
        (None, 100.0, 0.0, None, 100 + HOUR),
        (None, 100.0, 0.0, 60.0, 160.0),
        (None, 100.0, 0.0, 9 * HOUR, 100 + HOUR),
        (1.5 * HOUR, HOUR, 0.0, None, 1.5 * HOUR),
        (1.5 * HOUR, HOUR, 0.0, 60.0, HOUR + 60),
        (1.5 * HOUR, 0.0, 0.0, None, HOUR),
    ],
)
def test_a_session_ends_by_the_shorter_idle_timeout_or_by_the_absolute_one(
    absolute: float | None, touched: float, created: float, idle: float | None, expected: float
) -> None:
    assert Lifetime(HOUR, absolute, HOUR / 30).end(touched, created, idle) == expected


def test_a_stored_end_that_is_earlier_than_the_settings_counts() -> None:
    lifetime = Lifetime(HOUR, None, HOUR / 30)
    assert lifetime.end_of(record(expires=60.0)) == 60.0
    assert lifetime.end_of(record(expires=2 * HOUR)) == HOUR


@pytest.mark.parametrize(
    ("interval", "idle", "due_after"),
    [(None, None, HOUR / 30), (None, 900.0, 30.0), (None, 9 * HOUR, HOUR / 30), (5.0, 900.0, 5.0)],
)
def test_activity_is_due_after_the_interval_or_a_thirtieth_of_the_idle_timeout(
    interval: float | None, idle: float | None, due_after: float
) -> None:
    lifetime = Lifetime(HOUR, None, check_touch_interval(interval, HOUR))
    seen = record(touched=1000.0, idle=idle)
    assert not lifetime.touch_due(seen, 1000.0 + due_after - 0.001)
    assert lifetime.touch_due(seen, 1000.0 + due_after)


def test_activity_never_moves_an_end_to_an_earlier_time() -> None:
    lifetime = Lifetime(HOUR, None, HOUR / 30)
    assert lifetime.times_after(record(expires=9 * HOUR), HOUR / 2, touching=True) == (HOUR / 2, 9 * HOUR)
    assert lifetime.times_after(record(expires=HOUR), HOUR / 2, touching=True) == (HOUR / 2, 1.5 * HOUR)
    assert lifetime.times_after(record(expires=HOUR), HOUR / 2, touching=False) == (0.0, HOUR)


@pytest.mark.parametrize(
    ("absolute", "now", "expected"),
    [
        (None, HOUR - 1, HOUR - 1),
        (None, HOUR, 7.0),
        (None, HOUR + SWEEP_GRACE - 1, 7.0),
        (None, HOUR + SWEEP_GRACE, None),
        (1.5 * HOUR, 1.5 * HOUR - 1, 7.0),
        (1.5 * HOUR, 1.5 * HOUR, None),
    ],
)
def test_a_session_that_was_live_when_it_was_loaded_is_live_for_an_hour_past_its_idle_end(
    absolute: float | None, now: float, expected: float | None
) -> None:
    assert Lifetime(HOUR, absolute, HOUR / 30).judged_at(record(expires=9 * HOUR), now, 7.0) == expected
