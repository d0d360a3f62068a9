"""Options as text: every option has a parser, and invalid text names the option."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_session import ConfigError, SessionMiddleware
from wsgi_session.config.text import PARSERS, parse_options

GOOD = "q7" * 16
REQUIRED = {"session.secret": GOOD, "session.store": "memory://"}


def parsed(**more: Any) -> dict[str, Any]:
    options = parse_options({**REQUIRED, **{f"session.{name}": value for name, value in more.items()}}, "session.")
    return {name: value for name, value in options.items() if name in more}


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("secret", f" {GOOD}\n{GOOD}\t{GOOD}", [GOOD] * 3),
        ("store", " sqlite:///a.db ", "sqlite:///a.db"),
        ("encrypt", "True", True),
        ("encrypt", "off", False),
        ("encrypt", "Accept-Plain", "accept-plain"),
        ("environ_key", "shop", "shop"),
        ("cookie_name", "shop", "shop"),
        ("cookie_path", "/shop", "/shop"),
        ("cookie_domain", "example.com", "example.com"),
        ("cookie_domain", "none", None),
        ("cookie_domain", "", None),
        ("cookie_secure", "auto", "auto"),
        ("cookie_secure", "AUTO", "auto"),
        ("cookie_secure", "true", True),
        ("cookie_secure", "No", False),
        ("cookie_samesite", "Strict", "Strict"),
        ("cookie_partitioned", "on", True),
        ("cookie_persistent", "off", False),
        ("cookie_persistent", "0", False),
        ("cookie_persistent", "1", True),
        ("idle_timeout", "900", 900.0),
        ("idle_timeout", "900s", 900.0),
        ("idle_timeout", "15m", 900.0),
        ("idle_timeout", "15 m", 900.0),
        ("idle_timeout", "1.5h", 5400.0),
        ("idle_timeout", "30d", 2_592_000.0),
        ("idle_timeout", "2w", 1_209_600.0),
        ("absolute_timeout", "none", None),
        ("absolute_timeout", "90d", 7_776_000.0),
        ("anonymous_timeout", "none", None),
        ("anonymous_timeout", "2h", 7200.0),
        ("touch_interval", "None", None),
        ("touch_interval", "1d", 86_400.0),
        ("max_sessions", "5", 5),
        ("max_sessions", "None", None),
        ("validate_every", "5m", 300.0),
        ("validate_every", "none", None),
        ("experimental_device_bound", "true", True),
        ("experimental_device_bound", "off", False),
        ("experimental_device_bound", "/auth/device", "/auth/device"),
        ("max_size", "4096", 4096),
        ("max_size", "1_048_576", 1_048_576),
        ("on_store_error", "anonymous", "anonymous"),
    ],
    ids=repr,
)
def test_every_option_is_read_from_text(option: str, text: str, expected: Any) -> None:
    assert parsed(**{option: text}) == {option: expected}


@pytest.mark.parametrize(
    ("option", "text"),
    [
        *[("idle_timeout", text) for text in ["", "soon", "15x", "-5m", "1e3", "inf", "5m 3s", "none", "15M", ".5h"]],
        ("absolute_timeout", "never"),
        ("touch_interval", ""),
        *[("experimental_device_bound", text) for text in ["", "maybe", "device"]],
        *[("max_sessions", text) for text in ["", "many", "-1", "1.5", "9" * 5000]],
        *[
            ("max_size", text)
            for text in ["", "1MB", "-1", "1.5", "1__0", "1_0", "_1", "9" * 5000, "1" + "_000" * 5000]
        ],
        *[("cookie_secure", text) for text in ["", "maybe", "2"]],
        ("cookie_partitioned", "none"),
        ("cookie_persistent", "nein"),
        *[(option, "myapp:function") for option in ["namespace", "validate", "on_event", "clock"]],
    ],
    ids=lambda value: value[:20],
)
def test_invalid_text_is_refused_and_the_message_names_the_option_as_written(option: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(**{option: text})
    assert str(caught.value).startswith(f"session.{option}={text!r}: ")


@pytest.mark.parametrize(
    ("option", "text", "allowed"),
    [
        ("encrypt", "accept_plain", "true or false, or accept-plain."),
        ("experimental_device_bound", "auth/device", "true or false, or a path such as /device-bound."),
    ],
)
def test_the_message_names_each_form_that_a_flag_may_have(option: str, text: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(**{option: text})
    assert str(caught.value) == f"session.{option}={text!r}: give {allowed}"


def test_every_option_of_the_middleware_has_a_form_in_text_or_says_that_it_has_none() -> None:
    signature = inspect.signature(SessionMiddleware.__init__)
    options = {name for name, option in signature.parameters.items() if option.kind is option.KEYWORD_ONLY}
    assert set(PARSERS) == options


def test_a_value_that_is_not_text_is_returned_unchanged() -> None:
    check = parsed(validate=len, idle_timeout=timedelta(minutes=1), cookie_secure=True, secret=[GOOD])
    assert check == {"validate": len, "idle_timeout": timedelta(minutes=1), "cookie_secure": True, "secret": [GOOD]}


def test_other_entries_are_ignored_and_unknown_options_are_refused() -> None:
    assert parse_options({**REQUIRED, "sqlalchemy.url": "x", "sessions": "y"}, "session.") == {
        "secret": [GOOD],
        "store": "memory://",
    }
    with pytest.raises(ConfigError, match=re.escape("session.zzz: no such option. The options are: session.secret, ")):
        parsed(zzz="15m")
    with pytest.raises(ConfigError, match=r"^session\.idle_timeuot: did you mean session\.idle_timeout\?$"):
        parsed(idle_timeuot="15m")


@pytest.mark.parametrize("missing", ["secret", "store"])
def test_a_missing_secret_or_store_is_named(missing: str) -> None:
    rest = {name: value for name, value in REQUIRED.items() if name != f"session.{missing}"}
    remedy = {"secret": "python -m wsgi_session keygen\\.$", "store": "sqlite:///sessions.db\\.$"}
    with pytest.raises(ConfigError, match=rf"^session\.{missing} is missing\. .*{remedy[missing]}"):
        parse_options(rest, "session.")


@given(st.sampled_from(sorted(PARSERS)), st.text())
def test_no_text_raises_anything_but_config_error(option: str, text: str) -> None:
    try:
        options = parsed(**{option: text})
    except ConfigError as error:
        assert f"session.{option}" in str(error)  # noqa: PT017  (most texts are refused, not all)
    else:
        assert set(options) == {option}


@given(st.lists(st.text("abcXYZ0189-_", min_size=32, max_size=40), min_size=1, max_size=4))
def test_several_secrets_are_separated_by_spaces(secrets: Sequence[str]) -> None:
    assert parsed(secret=" ".join(secrets)) == {"secret": list(secrets)}
