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


def execute_in_turn(
    connection: sqlite3.Connection, sql: str, parameters: tuple[object, ...], deadline: float
) -> sqlite3.Cursor:
    """Execute a statement that met a lock, again and again until ``deadline`` (of ``time.monotonic()``).

    Raises ``sqlite3.OperationalError`` if it is still locked then.
    """
    pause = FIRST
    # Counted as well: in a test that has frozen the time, the deadline would never come.
    left = deadline - time.monotonic()
    while True:
        # By chance, so that those that wait do not all come back at once.
        nap = random.uniform(pause / 2, pause)  # noqa: S311 - no secret
        time.sleep(nap)
        left -= nap
        try:
            return connection.execute(sql, parameters)
        except sqlite3.OperationalError as error:
            if not is_locked(error) or left <= 0 or time.monotonic() >= deadline:
                raise
        pause = min(pause * GROWTH, LONGEST)
