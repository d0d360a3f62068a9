"""Checks of the options, made once, at construction; and parsing of options from text (ini files, environment)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeGuard

from wsgi_session.config.naming import KEYGEN as _KEYGEN
from wsgi_session.config.naming import missing_option, unknown_option
from wsgi_session.config.secrets import HiddenBytes, hide
from wsgi_session.config.secrets import hide_secret as hide_secret
from wsgi_session.errors import ConfigError

Seconds = timedelta | float
Secret = str | bytes
MIN_SECRET = 32
MAX_SECRETS = 4
#: 100 years: a longer timeout could end after datetime.max.
MAX_SECONDS = 36_525 * 86_400

# The beginnings of well-known placeholders, which an attacker would guess (CVE-2023-27524, CVE-2020-17526).
_WELL_KNOWN = ("secret", "changeme", "change-me", "change_me", "password", "your-secret", "your_secret", "dev-secret")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)?\Z")
_UNITS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


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
    """Return the seconds between two recorded activities, or raise ``ConfigError``."""
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


def check_callable(option: str, value: object, allowed: str) -> None:
    """Raise ``ConfigError`` if ``value`` cannot be called."""
    if not callable(value):
        raise ConfigError(f"{option}={value!r} cannot be called: give {allowed}.")


def check_names(options: Iterable[str]) -> None:
    """Raise ``ConfigError`` for the first option that does not exist."""
    for option in options:
        if option not in _PARSERS:
            raise unknown_option(option, option, _PARSERS)


def parse_options(mapping: Mapping[str, Any], prefix: str, spell: Callable[[str], str] = str) -> dict[str, Any]:
    """Parse the entries of ``mapping`` whose names start with ``prefix``, and return them as keyword arguments.

    Other entries are ignored; an unknown option with the prefix raises ``ConfigError``. Values that are not ``str`` (a
    ``Store``, a callable) are returned unchanged. ``spell`` turns an option's name into what the user writes after the
    prefix, for error messages: ``str.upper`` for environment variables.
    """
    options: dict[str, Any] = {}
    for name, value in mapping.items():
        if not name.startswith(prefix):
            continue
        option = name[len(prefix) :]
        if option not in _PARSERS:
            raise unknown_option(prefix + spell(option), option, _PARSERS, lambda known: prefix + spell(known))
        options[option] = _PARSERS[option](prefix + spell(option), value.strip()) if isinstance(value, str) else value
    for required in ("secret", "store"):
        if required not in options:
            raise missing_option(prefix + spell(required), required)
    return options


def _text(name: str, value: str) -> str:
    return value


def _optional_text(name: str, value: str) -> str | None:
    return None if value.lower() in ("", "none") else value


def _secrets(name: str, value: str) -> object:
    return hide(value.split())


def _flag(name: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ConfigError(f"{name}={value!r}: give true or false.")


def _secure(name: str, value: str) -> bool | str:
    return "auto" if value.lower() == "auto" else _flag(name, value)


def _duration(name: str, value: str) -> float:
    match = _DURATION.match(value)
    if match is None:
        raise ConfigError(
            f"{name}={value!r}: give a number of seconds, or a number with s, m, h, d or w, such as 15m or 30d."
        )
    return float(match.group(1)) * _UNITS[match.group(2)]


def _optional_duration(name: str, value: str) -> float | None:
    return None if value.lower() == "none" else _duration(name, value)


def _bytes(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}(_[0-9]{3}){0,5}", value):
        raise ConfigError(f"{name}={value!r}: give a number of bytes, such as 1048576.")
    return int(value)


def _not_text(name: str, value: str) -> Any:
    raise ConfigError(f"{name}={value!r}: this option cannot be text. Pass a Python object to SessionMiddleware.")


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "secret": _secrets,
    "store": _text,
    "environ_key": _text,
    "cookie_name": _text,
    "cookie_path": _text,
    "cookie_domain": _optional_text,
    "cookie_secure": _secure,
    "cookie_samesite": _text,
    "cookie_partitioned": _flag,
    "cookie_persistent": _flag,
    "idle_timeout": _duration,
    "absolute_timeout": _optional_duration,
    "touch_interval": _optional_duration,
    "max_size": _bytes,
    "on_store_error": _text,
    "outage_page": _not_text,
    "validate": _not_text,
    "adopt": _not_text,
    "on_event": _not_text,
    "clock": _not_text,
}
