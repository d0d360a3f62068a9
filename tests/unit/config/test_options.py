"""Options: checked at construction, and read from text."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_session import ConfigError, SessionMiddleware
from wsgi_session.config import options as config
from wsgi_session.config.keygen import new_secret
from wsgi_session.config.options import check_anonymous_timeout, check_secrets, parse_options, seconds

GOOD = "q7" * 16
HOUR = 3600.0


# Secrets.


@pytest.mark.parametrize(
    ("given_secret", "expected"),
    [
        (GOOD, [GOOD.encode()]),
        (GOOD.encode(), [GOOD.encode()]),
        ([GOOD, b"\xff" * 32], [GOOD.encode(), b"\xff" * 32]),
        ((b"1" * 32, b"2" * 32, b"3" * 32, b"4" * 32), [b"1" * 32, b"2" * 32, b"3" * 32, b"4" * 32]),
        ("\xe9" * 16, "\xe9".encode() * 16),
        ("\udcff" * 32, [b"\xff" * 32]),
    ],
    ids=ascii,
)
def test_secrets_come_as_bytes_newest_first(given_secret: Any, expected: Any) -> None:
    """Text from the environment may hold bytes that are no UTF-8: they are those bytes again."""
    assert check_secrets(given_secret) == (expected if isinstance(expected, list) else [expected])


def test_what_keygen_makes_is_taken() -> None:
    assert check_secrets(new_secret())


TELLTALE = "tell-tale"


def test_of_several_secrets_the_error_says_which() -> None:
    for secret, named in [("short", "secret has"), (["short"], "secret has"), ([GOOD, "short"], "secret 2 has")]:
        with pytest.raises(ConfigError, match=f"^{named} 5 bytes"):
            check_secrets(secret)


@pytest.mark.parametrize(
    "secret",
    [
        None,
        5,
        "",
        b"",
        [],
        (),
        {GOOD},
        {GOOD: GOOD},
        iter([GOOD]),
        TELLTALE,
        TELLTALE.encode(),
        "x" * 31,
        [GOOD] * 5,
        [GOOD, TELLTALE],
        [GOOD, None],
        [TELLTALE.encode(), 5],
        bytearray(32),
        "secret" + TELLTALE * 9,
        "Secret-" + TELLTALE * 9,
        " \tsecret" + TELLTALE * 9,
        b"changeme" + TELLTALE.encode() * 9,
        "CHANGE-ME" + TELLTALE * 9,
        "your_secret_key" + TELLTALE * 9,
        [GOOD, "password" + TELLTALE * 9],
        "\ud800" + TELLTALE * 9,
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_a_missing_short_or_well_known_secret_is_refused_unprinted_with_how_to_make_one(secret: Any) -> None:
    """CVE-2023-27524, CVE-2020-17526: sites that ran on the secret of the documentation."""
    with pytest.raises(ConfigError) as caught:
        check_secrets(secret)
    error = caught.value
    assert str(error).startswith("secret")
    assert str(error).endswith("python -m wsgi_session keygen.")
    chained = [error, error.__cause__, error.__context__ if not error.__suppress_context__ else None]
    assert TELLTALE not in repr([(one, getattr(one, "object", "")) for one in chained])


# Durations.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (timedelta(minutes=15), 900.0),
        (timedelta(microseconds=1), 1e-06),
        (config.MAX_SECONDS, float(config.MAX_SECONDS)),
    ],
    ids=repr,
)
def test_a_duration_is_a_timedelta_or_seconds(value: Any, expected: float) -> None:
    assert seconds("idle_timeout", value) == expected
    assert type(seconds("idle_timeout", value)) is float


@pytest.mark.parametrize(
    "value",
    [
        0,
        0.0,
        -1,
        math.nan,
        math.inf,
        -math.inf,
        True,
        "15m",
        "900",
        None,
        1j,
        [1],
        timedelta(0),
        timedelta(-1),
        timedelta.max,
        10**400,
        config.MAX_SECONDS + 1,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_duration_that_no_clock_could_count_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        seconds("idle_timeout", value)
    assert str(caught.value).startswith(f"idle_timeout={value!r}: give a timedelta or a number of seconds")


def test_an_anonymous_timeout_is_at_most_the_idle_timeout() -> None:
    assert check_anonymous_timeout(None, 900) is None
    assert check_anonymous_timeout(timedelta(minutes=15), 900) == 900.0
    with pytest.raises(ConfigError, match=r"^anonymous_timeout=901 is longer than idle_timeout=900: give"):
        check_anonymous_timeout(901, 900)
    for value in (0, -1, float("nan"), "1h", True):
        with pytest.raises(ConfigError, match=r"^anonymous_timeout="):
            check_anonymous_timeout(value, 900)


# From text.

REQUIRED = {"session.secret": GOOD, "session.store": "memory://"}


def parsed(**more: Any) -> dict[str, Any]:
    options = parse_options({**REQUIRED, **{f"session.{name}": value for name, value in more.items()}}, "session.")
    return {name: value for name, value in options.items() if name in more}


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("secret", f" {GOOD}\n{GOOD}\t{GOOD}", [GOOD] * 3),
        ("store", " sqlite:///a.db ", "sqlite:///a.db"),
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
        *[
            ("max_size", text)
            for text in ["", "1MB", "-1", "1.5", "1__0", "1_0", "_1", "9" * 5000, "1" + "_000" * 5000]
        ],
        *[("cookie_secure", text) for text in ["", "maybe", "2"]],
        ("cookie_partitioned", "none"),
        ("cookie_persistent", "nein"),
        *[(option, "myapp:function") for option in ["validate", "on_event", "clock"]],
    ],
    ids=lambda value: value[:20],
)
def test_text_that_means_nothing_is_refused_by_the_name_it_was_written_under(option: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(**{option: text})
    assert str(caught.value).startswith(f"session.{option}={text!r}: ")


def test_every_option_of_the_middleware_has_a_form_in_text_or_says_that_it_has_none() -> None:
    signature = inspect.signature(SessionMiddleware.__init__)
    options = {name for name, option in signature.parameters.items() if option.kind is option.KEYWORD_ONLY}
    assert set(config._PARSERS) == options


def test_what_is_no_text_is_taken_as_it_is() -> None:
    check = parsed(validate=len, idle_timeout=timedelta(minutes=1), cookie_secure=True, secret=[GOOD])
    assert check == {"validate": len, "idle_timeout": timedelta(minutes=1), "cookie_secure": True, "secret": [GOOD]}


def test_entries_of_others_are_left_alone_and_unknown_ones_of_ours_are_refused() -> None:
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


@given(st.sampled_from(sorted(config._PARSERS)), st.text())
def test_no_text_raises_anything_but_config_error(option: str, text: str) -> None:
    try:
        options = parsed(**{option: text})
    except ConfigError as error:
        assert f"session.{option}" in str(error)  # noqa: PT017  (most texts are refused, not all)
    else:
        assert set(options) == {option}


@given(st.lists(st.text("abcXYZ0189-_", min_size=32, max_size=40), min_size=1, max_size=4))
def test_several_secrets_stand_apart_by_spaces(secrets: Sequence[str]) -> None:
    assert parsed(secret=" ".join(secrets)) == {"secret": list(secrets)}
