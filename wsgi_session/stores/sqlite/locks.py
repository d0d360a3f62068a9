"""Wait for SQLite's write lock, which only one connection of all processes holds at a time.

SQLite's own wait sleeps for 1, 2, 5, 10 ms and so on, however briefly the lock was held, and starts again with each
statement. Most writes of this store hold the lock for less than 0.1 ms. So this wait starts with a shorter sleep, and
ends with the operation.
"""

from __future__ import annotations

import random
import sqlite3
import time

#: The longest possible first sleep, and the longest of all, in seconds.
FIRST, LONGEST = 0.0002, 0.01
#: The factor by which the longest possible sleep grows each time.
GROWTH = 1.5


def is_locked(error: sqlite3.Error) -> bool:
    """Return whether SQLite did nothing because another connection holds a lock."""
    return "locked" in str(error)


class Wait:
    """The wait of one statement that met a lock, until ``deadline`` (of ``time.monotonic()``)."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        # The sleeps are counted too: in a test that has frozen the clock, the deadline would never come.
        self._left = deadline - time.monotonic()
        self._pause = FIRST

    def sleep(self) -> bool:
        """Sleep before the next attempt; return whether there is time for one."""
        if self._left <= 0 or time.monotonic() >= self._deadline:
            return False
        # A random length, so that waiting statements do not all try again at the same moment.
        pause = random.uniform(self._pause / 2, self._pause)  # noqa: S311 - no secret
        self._pause = min(self._pause * GROWTH, LONGEST)
        time.sleep(pause)
        self._left -= pause
        return True
