"""Events for logs and metrics."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import pytest

from wsgi_session import events
from wsgi_session.events import Events

TABLE = dict(re.findall(r"^``(\w+)``.*\b(debug|info|warning|error)$", events.__doc__ or "", re.MULTILINE))


def test_the_table_lists_every_event_with_its_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsgi_session")
    tell = Events(None)
    for name in TABLE:
        tell(name, handle="h")
    assert {record.getMessage().split()[0]: record.levelname.lower() for record in caplog.records} == TABLE
    assert set(events._LEVELS) == set(TABLE)


def test_an_event_that_is_not_in_the_table_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="no_such_event"):
        Events(None)("no_such_event")


def test_a_log_line_shows_names_and_data_and_no_line_break_of_a_client(caplog: pytest.LogCaptureFixture) -> None:
    """CVE-2025-25184: a value with a line break forged log lines."""
    caplog.set_level(logging.WARNING, "wsgi_session")
    Events(None)("dropped", handle="h\n2026-01-01 CRITICAL all is lost", keys=["a\r\n"])
    (record,) = caplog.records
    line = record.getMessage()
    assert line.splitlines() == [line]
    assert line == r"dropped handle='h\n2026-01-01 CRITICAL all is lost' keys=['a\r\n']"


def test_what_the_log_does_not_want_is_not_written_and_on_event_gets_it_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "wsgi_session")
    seen: list[tuple[str, Mapping[str, Any]]] = []
    tell = Events(lambda name, data: seen.append((name, data)))
    tell("created", handle="h")
    assert caplog.records == []
    assert seen == [("created", {"handle": "h"})]


def test_an_error_in_on_event_is_logged_and_does_not_fail_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def observe(name: str, data: Mapping[str, Any]) -> None:
        raise LookupError("no such counter")

    Events(observe)("created", handle="h")
    (record,) = caplog.records
    assert record.getMessage() == "on_event failed on created"
    assert record.exc_info is not None
    assert "no such counter" in str(record.exc_info[1])


def test_on_event_may_end_the_program() -> None:
    def observe(name: str, data: Mapping[str, Any]) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        Events(observe)("created", handle="h")
