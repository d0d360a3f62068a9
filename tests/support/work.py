"""The cost of a call, as counts that are the same on every machine, however busy it is."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple


class Work(NamedTuple):
    """The cost of one call."""

    #: The number of function calls, including built-in functions.
    calls: int
    #: The maximum of the allocated bytes, minus those at the start.
    peak: int

    def is_at_most(self, times: float, other: Work) -> bool:
        """Return whether the cost is at most ``times`` that of ``other``, with a small allowance."""
        return self.calls <= times * other.calls + 50 and self.peak <= times * other.peak + 16_384


def work_of(function: Callable[[], object]) -> Work:
    """Call ``function`` three times: to warm it up, to count its calls, to measure its memory."""
    function()
    return Work(calls_of(function), peak_of(function))


def calls_of(function: Callable[[], object]) -> int:
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


def peak_of(function: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()
        function()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - start
