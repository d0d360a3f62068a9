"""Events for logs and metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from wsgi_session.events import EVENTS, Events


def test_every_event_is_logged_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsgi_session")
    tell = Events(None)
    for name, event in EVENTS.items():
        tell(name, **dict.fromkeys(event.keys))
    logged = {record.getMessage().split()[0]: record.levelno for record in caplog.records}
    assert logged == {name: event.level for name, event in EVENTS.items()}


def test_an_event_has_reasons_if_and_only_if_it_has_the_key_for_them() -> None:
    assert {name for name, event in EVENTS.items() if event.reasons} == {
        name for name, event in EVENTS.items() if "reason" in event.keys
    }


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


def test_on_event_gets_what_the_level_of_the_log_leaves_out(
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
