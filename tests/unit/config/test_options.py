"""The checks of options at construction."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from wsgi_session import ConfigError
from wsgi_session.config import options as config
from wsgi_session.config.keygen import new_secret
from wsgi_session.config.options import check_anonymous_timeout, check_secrets, seconds

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
    """Text from the environment may contain bytes that are not UTF-8: they become the same bytes again."""
    assert check_secrets(given_secret) == (expected if isinstance(expected, list) else [expected])


def test_the_middleware_accepts_a_secret_of_keygen() -> None:
    assert check_secrets(new_secret())


TELLTALE = "tell-tale"


def test_the_error_says_which_of_several_secrets_is_wrong() -> None:
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
    """CVE-2023-27524, CVE-2020-17526: sites used the secret of the documentation."""
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
