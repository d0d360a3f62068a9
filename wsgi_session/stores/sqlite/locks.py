"""Waiting for SQLite's write lock, which one connection of all processes has at a time.

SQLite's own wait sleeps for 1, 2, 5, 10 ms and so on, however short the lock was held, and begins anew with each
statement. Most of our writes hold it for less than 0.1 ms: ours begins with less, and ends with the operation.
"""

from __future__ import annotations

import random
import sqlite3
import time

#: Seconds of the first sleep, at most, and of the longest.
FIRST, LONGEST = 0.0002, 0.01
#: How much longer each sleep may be than the one before.
GROWTH = 1.5


def is_locked(error: sqlite3.Error) -> bool:
    """Whether SQLite refused because another connection has a lock: nothing was done."""
    return "locked" in str(error)


class Wait:
    """The wait of one statement that met a lock, until ``deadline`` (of ``time.monotonic()``)."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        # Counted as well: in a test that has frozen the time, the deadline would never come.
        self._left = deadline - time.monotonic()
        self._pause = FIRST

    def nap(self) -> bool:
        """Sleep before the next attempt; return whether there is time for one."""
        if self._left <= 0 or time.monotonic() >= self._deadline:
            return False
        # By chance, so that those that wait do not all come back at once.
        nap = random.uniform(self._pause / 2, self._pause)  # noqa: S311 - no secret
        self._pause = min(self._pause * GROWTH, LONGEST)
        time.sleep(nap)
        self._left -= nap
        return True
