"""Options as text: from ini files, environment variables and a framework's settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wsgi_session.config.naming import missing_option, unknown_option
from wsgi_session.config.secrets import hide
from wsgi_session.errors import ConfigError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)?\Z")
_UNITS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def check_names(options: Iterable[str]) -> None:
    """Raise ``ConfigError`` for the first option that does not exist."""
    for option in options:
        if option not in PARSERS:
            raise unknown_option(option, option, PARSERS)


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
        if option not in PARSERS:
            raise unknown_option(prefix + spell(option), option, PARSERS, lambda known: prefix + spell(known))
        options[option] = PARSERS[option](prefix + spell(option), value.strip()) if isinstance(value, str) else value
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


def _flag(name: str, value: str, or_else: str = "") -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ConfigError(f"{name}={value!r}: give true or false{or_else}.")


def _secure(name: str, value: str) -> bool | str:
    return "auto" if value.lower() == "auto" else _flag(name, value)


def _encrypt(name: str, value: str) -> bool | str:
    return value.lower() if value.lower() == "accept-plain" else _flag(name, value, ", or accept-plain")


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


def _count(name: str, value: str) -> int | None:
    if value.lower() == "none":
        return None
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ConfigError(f"{name}={value!r}: give a whole number, such as 5, or none.")
    return int(value)


def _flag_or_path(name: str, value: str) -> bool | str:
    return value if value.startswith("/") else _flag(name, value, ", or a path such as /device-bound")


def _not_text(name: str, value: str) -> Any:
    raise ConfigError(f"{name}={value!r}: this option cannot be text. Pass a Python object to SessionMiddleware.")


PARSERS: dict[str, Callable[[str, str], Any]] = {
    "secret": _secrets,
    "store": _text,
    "encrypt": _encrypt,
    "environ_key": _text,
    "cookie_name": _text,
    "namespace": _not_text,
    "cookie_path": _text,
    "cookie_domain": _optional_text,
    "cookie_secure": _secure,
    "cookie_samesite": _text,
    "cookie_partitioned": _flag,
    "cookie_persistent": _flag,
    "transport": _text,
    "transport_header": _text,
    "idle_timeout": _duration,
    "absolute_timeout": _optional_duration,
    "anonymous_timeout": _optional_duration,
    "touch_interval": _optional_duration,
    "max_size": _bytes,
    "max_sessions": _count,
    "describe": _not_text,
    "on_store_error": _text,
    "outage_page": _not_text,
    "validate": _not_text,
    "validate_every": _optional_duration,
    "adopt": _not_text,
    "experimental_device_bound": _flag_or_path,
    "on_event": _not_text,
    "report_store_calls": _flag,
    "clock": _not_text,
}
