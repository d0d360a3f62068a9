"""Making a session of a foreign one: in bounded time, whatever the old store has."""

from __future__ import annotations

import time
from typing import Any

import pytest

from wsgi_session.moving import Adopt, FlaskCookie, Foreign, NotAdopted
from wsgi_session.moving.advance import settings_of
from wsgi_session.moving.opaque import Opaque
from wsgi_session.moving.records import prepare

LARGE = [None] * 20_000


@pytest.mark.parametrize(
    "foreign",
    [
        # Each key has the same large value, with something that cannot be stored: each is looked at anew.
        Foreign({str(number): [LARGE, Opaque("Money")] for number in range(5_000)}),
        Foreign({}, flashes=[("note", [LARGE, Opaque("Money")])] * 5_000),
        # Only the attempt to pack these finds out that they cannot be stored.
        Foreign({str(number): {1.5: 0} for number in range(50)}),
    ],
    ids=["keys", "messages", "late"],
)
def test_values_that_cannot_be_stored_take_little_time(foreign: Any) -> None:
    started = time.process_time()
    with pytest.raises(NotAdopted) as caught:
        prepare(foreign, Adopt(FlaskCookie("key")), settings_of("sid", "30d", "90d"), 1e9)
    assert caught.value.reason == "too_large"
    assert time.process_time() - started < 10
