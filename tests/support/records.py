"""Records for the tests of stores."""

from __future__ import annotations

import os
from typing import Any

from wsgi_session.stores import Record
from wsgi_session.testing import FakeClock

#: When the tests of stores take place, in seconds since the epoch.
NOW = FakeClock.START
#: Whose sessions they are, where a test does not say.
OWNER = b"w" * 32


def make_record(data: bytes = b"data", **fields: Any) -> Record:
    """Return a record of one of OWNER's sessions, which began at NOW and lives for 1,000 seconds.

    ``fields`` replaces what a test cares about. Each record has a version of its own, as each write has.
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
