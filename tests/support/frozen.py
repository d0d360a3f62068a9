"""Time that stands still until a test moves it, by either of the two libraries that users of ours take for that."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest

Move = Callable[[timedelta], object]
LIBRARIES = ("freezegun", "time_machine")
#: Neither in the past nor far ahead: and once each.
MOMENTS = (datetime(2021, 3, 4, 5, 6, 7, tzinfo=timezone.utc), datetime(2033, 5, 18, 3, 33, 20, tzinfo=timezone.utc))


@contextmanager
def frozen(library: str, moment: datetime) -> Iterator[Move]:
    """Let time stand still at ``moment``; what comes back moves it on."""
    if library == "freezegun":
        freezegun = pytest.importorskip("freezegun", reason="pip install freezegun")
        with warnings.catch_warnings():
            # It looks at every name of every module, deprecated ones too.
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
