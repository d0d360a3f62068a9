"""Records for the tests of stores."""

from __future__ import annotations

import os
from typing import Any

from wsgi_session.stores import Record
from wsgi_session.testing import FakeClock

#: The time in the tests of stores, in seconds since the epoch.
NOW = FakeClock.START
#: The default owner.
OWNER = b"w" * 32


def make_record(data: bytes = b"data", **fields: Any) -> Record:
    """Return a record of a session of OWNER that was created at NOW and expires 1,000 seconds later.

    ``fields`` replace these defaults. Each record has a new version, as each write has.
    """
    made = Record(
        data=data,
        version=os.urandom(16),
        handle="handle",
        created=NOW,
        touched=NOW,
        expires=NOW + 1000,
        owner=OWNER,
        namespace="sid",
    )
    return made._replace(**fields)
