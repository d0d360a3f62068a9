"""Convert SQLite's rows to records. SQLite stores any value in any column, including invalid UTF-8."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from wsgi_session.stores.contract import Record, make_record

#: A ``text_factory`` that is slower than ``str``, and so is used only after ``str`` has failed once.
lenient_text = partial(str, encoding="utf-8", errors="replace")
#: For short parameters of the statements that every request runs: sqlite3 spends 0.3 µs on each bytes parameter in a
#: search for adapters; a bytearray it binds directly.
as_blob = bytearray
fetch_one: Callable[[sqlite3.Cursor], tuple[object, ...] | None] = sqlite3.Cursor.fetchone
fetch_all = sqlite3.Cursor.fetchall


def record_of(row: Sequence[object]) -> Record:
    """Return the record in a row of ``LOAD``."""
    data, version, handle, created, touched, expires, owner, persistent, idle, namespace = row
    if isinstance(version, str) and "\ufffd" in version:
        # The version was invalid UTF-8 and was decoded leniently, so no write could match it. Mark the record as
        # corrupt, like one with an invalid time.
        created = math.nan
    return make_record((data, version, handle, created, touched, expires, owner, persistent == 1, idle, namespace))
