"""The reference agrees with the code: options, events, errors, and the examples on its pages."""

from __future__ import annotations

import inspect
import logging
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import wsgi_session
from tests.support import ROOT
from tests.support.pages import python_of
from wsgi_session import SessionMiddleware
from wsgi_session.config.keygen import new_secret
from wsgi_session.config.options import wall_clock
from wsgi_session.config.text import parse_options
from wsgi_session.events import EVENTS

REFERENCE = ROOT / "docs" / "reference"
OPTIONS = (REFERENCE / "options.md").read_text("utf-8")
EVENTS_PAGE = (REFERENCE / "events.md").read_text("utf-8")
ERRORS = (REFERENCE / "errors.md").read_text("utf-8")

PARAMETERS = {
    name: parameter for name, parameter in inspect.signature(SessionMiddleware).parameters.items() if name != "app"
}
#: The section of each option.
SECTIONS = dict(re.findall(r"^```\{confval\} (\w+)\n(.*?)^```$", OPTIONS, re.M | re.S))
#: What an option's page may write for a value.
NAMES = {"timedelta": timedelta, "time": time}
PYTHON_ONLY = {"adopt", "namespace", "describe", "outage_page", "validate", "on_event", "clock"}


def no_site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


def test_every_option_has_its_section() -> None:
    assert set(SECTIONS) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_an_option_shows_its_type_its_default_and_when_to_change_it(name: str) -> None:
    section, default = SECTIONS[name], PARAMETERS[name].default
    assert ":type:" in section
    assert "**When to change it**: " in section
    shown = re.findall(r"^:default: [\"']`(.*)`[\"']$", section, re.M)
    if default is inspect.Parameter.empty:
        assert shown == []
    else:
        (text,) = shown
        value = eval(text, dict(NAMES))
        assert (wall_clock if value is time.time else value) == default


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - PYTHON_ONLY))
def test_an_options_lines_for_ini_files_and_the_environment_mean_its_default(name: str) -> None:
    section, default = SECTIONS[name], PARAMETERS[name].default
    (ini,) = re.findall(r"^\* ini: `session\.(\w+ = .*)`$", section, re.M)
    (variable,) = re.findall(r"^\* environment: `WSGI_SESSION_(\w+=.*)`$", section, re.M)
    for option, _, text in (ini.partition(" = "), variable.partition("=")):
        assert option.lower() == name
        given = {"secret": new_secret(), "store": "memory://", name: text}
        value = parse_options({f"session.{key}": each for key, each in given.items()}, "session.")[name]
        if default is not inspect.Parameter.empty:
            assert value == (default.total_seconds() if isinstance(default, timedelta) else default)


@pytest.mark.parametrize("name", sorted(PYTHON_ONLY))
def test_an_option_that_text_cannot_hold_says_so(name: str) -> None:
    assert "* Python only: " in SECTIONS[name]
    with pytest.raises(ValueError, match="cannot be text"):
        parse_options({f"session.{name}": "text"}, "session.")


def test_every_event_has_its_section_with_its_level_its_keys_and_its_reasons() -> None:
    sections = dict(re.findall(r"^```\{event\} (\w+)\n(.*?)^```$", EVENTS_PAGE, re.M | re.S))
    assert set(sections) == set(EVENTS)
    for name, event in EVENTS.items():
        shown = dict(re.findall(r"^\* (level|data|reason): (.*)$", sections[name], re.M))
        assert shown["level"] == logging.getLevelName(event.level).lower(), name
        assert tuple(re.findall(r"`(\w+)`", shown["data"])) == event.keys, name
        assert tuple(re.findall(r"`(\w+)`", shown.get("reason", ""))) == event.reasons, name


def test_the_table_of_events_has_every_event_and_its_keys() -> None:
    rows = re.findall(r"^\| \{event\}`(\w+)` \| (\w+) \| (.*) \|$", EVENTS_PAGE, re.M)
    assert [(name, level, tuple(re.findall(r"`(\w+)`", data))) for name, level, data in rows] == [
        (name, logging.getLevelName(event.level).lower(), event.keys) for name, event in EVENTS.items()
    ]


def test_every_error_has_its_causes_and_its_cure() -> None:
    errors = {
        name
        for name in wsgi_session.__all__
        if inspect.isclass(thing := getattr(wsgi_session, name)) and issubclass(thing, Exception)
    }
    shown = re.findall(r"autoexception:: wsgi_session\.(\w+)\n(.*?)(?=autoexception::|\Z)", ERRORS, re.S)
    assert {name for name, _ in shown} == errors
    for name, text in shown:
        if name != "SessionError":
            assert "**Causes**: " in text, name
            assert "**What to do**: " in text, name


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.md")), ids=lambda page: page.stem)
def test_the_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text("utf-8")
    names: dict[str, Any] = {"SECRET": new_secret(), "site": no_site, "SessionMiddleware": SessionMiddleware}
    exec(compile(python_of(text), str(page), "exec"), names)
    for name in ("app", "counted"):
        if name in names:
            names[name].close()
