"""Frozen time, with either of the two libraries that users of this package use for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest

Move = Callable[[timedelta], object]
LIBRARIES = ("freezegun", "time_machine")
#: One moment in the past, and one in the future.
MOMENTS = (datetime(2021, 3, 4, 5, 6, 7, tzinfo=timezone.utc), datetime(2033, 5, 18, 3, 33, 20, tzinfo=timezone.utc))


@contextmanager
def frozen(library: str, moment: datetime) -> Iterator[Move]:
    """Freeze the time at ``moment``; yield a function that moves it."""
    if library == "freezegun":
        freezegun = pytest.importorskip("freezegun", reason="pip install freezegun")
        with warnings.catch_warnings():
            # freezegun reads every name of every module, including deprecated ones.
            warnings.simplefilter("ignore")
            freezer = freezegun.freeze_time(moment)
            frozen_time = freezer.start()
        try:
            yield frozen_time.tick
        finally:
            freezer.stop()
    else:
        time_machine = pytest.importorskip("time_machine", reason="pip install time-machine")
        with time_machine.travel(moment, tick=False) as traveller:
            yield traveller.shift
