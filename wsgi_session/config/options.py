"""Checks of the options, made once, at construction."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeGuard

from wsgi_session.config.naming import KEYGEN as _KEYGEN
from wsgi_session.config.secrets import HiddenBytes
from wsgi_session.errors import ConfigError

MIN_SECRET = 32
MAX_SECRETS = 4
#: 100 years: a longer timeout could end after datetime.max.
MAX_SECONDS = 36_525 * 86_400

#: The path below which browsers register and renew, if none is given.
DEVICE_PREFIX = "/device-bound"
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)

# The beginnings of well-known placeholders, which an attacker would guess (CVE-2023-27524, CVE-2020-17526).
_WELL_KNOWN = ("secret", "changeme", "change-me", "change_me", "password", "your-secret", "your_secret", "dev-secret")


def wall_clock() -> float:
    """Return the seconds since the epoch. ``time.time`` is looked up at each call, because freezegun replaces it."""
    return time.time()


def check_clock(clock: Any) -> Callable[[], float]:
    """Return the clock to use, or raise ``ConfigError`` if it cannot be called."""
    check_callable("clock", clock, "a function that returns seconds since the epoch")
    return wall_clock if clock is time.time else clock


def check_secrets(secret: object) -> list[bytes]:
    """Return the secrets as bytes, newest first, or raise ``ConfigError``. No message contains a secret."""
    given: Sequence[Any] = [secret] if isinstance(secret, (str, bytes)) else _sequence(secret)
    if not 1 <= len(given) <= MAX_SECRETS:
        raise ConfigError(
            f"secret has {len(given)} items. Give one secret, or a sequence of at most {MAX_SECRETS}, newest first. "
            f"{_KEYGEN}."
        )
    if len(given) == 1:
        return [_check_secret(given[0], "secret")]
    return [_check_secret(one, f"secret {place}") for place, one in enumerate(given, 1)]


def _sequence(secret: object) -> Sequence[Any]:
    if isinstance(secret, Sequence):
        return secret
    given = "None" if secret is None else f"of type {type(secret).__name__}"
    raise ConfigError(f"secret is {given}. Give text or bytes of at least {MIN_SECRET} bytes. {_KEYGEN}.")


def _check_secret(secret: object, name: str) -> bytes:
    if not isinstance(secret, (str, bytes)):
        raise ConfigError(f"{name} is of type {type(secret).__name__}: give text or bytes. {_KEYGEN}.")
    try:
        raw = HiddenBytes(secret.encode(errors="surrogateescape") if isinstance(secret, str) else secret)
    except UnicodeEncodeError:
        # "from None", because the UnicodeEncodeError contains the secret.
        raise ConfigError(f"{name} cannot be encoded as UTF-8. {_KEYGEN}.") from None
    if raw.strip().lower().startswith(tuple(text.encode() for text in _WELL_KNOWN)):
        raise ConfigError(f"{name} starts like a well-known placeholder. {_KEYGEN}.")
    if len(raw) < MIN_SECRET:
        raise ConfigError(f"{name} has {len(raw)} bytes: give at least {MIN_SECRET}. {_KEYGEN}.")
    return raw


def seconds(option: str, value: object) -> float:
    """Return a duration in seconds, finite and positive, or raise ``ConfigError``."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if not _is_number(number) or not 0 < number <= MAX_SECONDS:
        raise ConfigError(
            f"{option}={value!r}: give a timedelta or a number of seconds, positive and at most 100 years, such "
            "as timedelta(minutes=15)."
        )
    return float(number)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_touch_interval(touch_interval: object, idle_timeout: object) -> float:
    """Return the minimum seconds between two touches, or raise ``ConfigError``."""
    idle = seconds("idle_timeout", idle_timeout)
    if touch_interval is None:
        return idle / 30
    interval = seconds("touch_interval", touch_interval)
    if interval >= idle:
        raise ConfigError(
            f"touch_interval={touch_interval!r} is not shorter than idle_timeout={idle_timeout!r}: active visitors "
            "would be logged out before their activity is recorded. Give a shorter interval, or None for 1/30 of "
            "idle_timeout."
        )
    return interval


def check_anonymous_timeout(anonymous_timeout: object, idle_timeout: object) -> float | None:
    """Return the idle timeout of anonymous visitors in seconds, ``None`` for none of their own; or ``ConfigError``."""
    if anonymous_timeout is None:
        return None
    anonymous = seconds("anonymous_timeout", anonymous_timeout)
    if anonymous > seconds("idle_timeout", idle_timeout):
        raise ConfigError(
            f"anonymous_timeout={anonymous_timeout!r} is longer than idle_timeout={idle_timeout!r}: give a shorter "
            "one, or None for the same."
        )
    return anonymous


def check_validate_every(validate_every: object, validate: object) -> float | None:
    """Return the minimum seconds between two calls of ``validate``, ``None`` for none; or raise ``ConfigError``."""
    if validate_every is None:
        return None
    if validate is None:
        raise ConfigError(f"validate_every={validate_every!r} needs validate: give validate the function to call.")
    return seconds("validate_every", validate_every)


def check_environ_key(value: object) -> str:
    """Return the environ key, or raise ``ConfigError`` if it is not a non-empty text."""
    if not isinstance(value, str) or not value:
        raise ConfigError(f"environ_key={value!r}: give a non-empty str, such as 'session'.")
    return value


def check_max_size(value: object) -> int:
    """Return the bytes that a session may take, or raise ``ConfigError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ConfigError(f"max_size={value!r}: give a positive number of bytes, such as 1_048_576.")
    return value


def check_flag(option: str, value: object) -> bool:
    """Return a flag, or raise ``ConfigError`` if it is not True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{option}={value!r}: give True or False.")
    return value


def check_on_store_error(value: object) -> bool:
    """Return whether an outage gives an empty session, or raise ``ConfigError``."""
    if value not in ("fail", "anonymous"):
        raise ConfigError(f"on_store_error={value!r}: give 'fail' (the client gets 503) or 'anonymous'.")
    return value == "anonymous"


def check_max_sessions(max_sessions: object, *, lists_owners: bool) -> int | None:
    """Return how many sessions a user may have, ``None`` for any number; or raise ``ConfigError``."""
    if max_sessions is None:
        return None
    if type(max_sessions) is not int or max_sessions < 1:
        raise ConfigError(f"max_sessions={max_sessions!r}: give a whole number of sessions, 1 or more, or None.")
    if not lists_owners:
        raise ConfigError(
            f"max_sessions={max_sessions!r}: this store cannot list a user's sessions. Give None, or a store that can, "
            "such as sqlite:///sessions.db."
        )
    return max_sessions


def check_device_bound(value: object, domain: object, partitioned: object) -> str | None:
    """Return the path of ``experimental_device_bound``, ``None`` if it is off; or raise ``ConfigError``."""
    if value is False:
        return None
    prefix = DEVICE_PREFIX if value is True else value
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigError(
            f"experimental_device_bound={value!r}: give True, False, or a path of letters, digits and '-._~' that "
            f"starts with '/' and does not end with it, such as {DEVICE_PREFIX!r}."
        )
    if domain is not None or partitioned:
        option = "cookie_domain" if domain is not None else "cookie_partitioned"
        raise ConfigError(
            f"experimental_device_bound and {option}: browsers bind a session to one origin only, and would come to "
            f"the others without the second cookie. Leave {option} out."
        )
    return prefix


def check_callable(option: str, value: object, allowed: str) -> None:
    """Raise ``ConfigError`` if ``value`` cannot be called."""
    if not callable(value):
        raise ConfigError(f"{option}={value!r} cannot be called: give {allowed}.")


def check_callable_or_none(option: str, value: object, allowed: str) -> None:
    """Raise ``ConfigError`` if ``value`` is neither ``None`` nor can be called."""
    if value is not None:
        check_callable(option, value, allowed)
