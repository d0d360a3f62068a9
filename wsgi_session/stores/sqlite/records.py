"""From SQLite's rows to records. SQLite keeps anything in any column, texts that are invalid UTF-8 as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from wsgi_session.stores.contract import Record, make_record

#: Takes longer than `str` does: only where that has failed once.
lenient_text = partial(str, encoding="utf-8", errors="replace")


def record_of(row: Sequence[object]) -> Record:
    """Return the record in a row of ``LOAD``."""
    data, version, handle, created, touched, expires, owner, persistent, idle, namespace = row
    if isinstance(version, str) and "\ufffd" in version:
        # Invalid UTF-8, decoded leniently: no write could name this version. So the record is corrupt, as one without
        # a time is.
        created = math.nan
    return make_record((data, version, handle, created, touched, expires, owner, persistent == 1, idle, namespace))
