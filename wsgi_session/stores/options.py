"""The query options of a store URL, read strictly: what is not known, or given twice, is an error, not a default."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from wsgi_session.errors import ConfigError


def query_options(url: str, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the options in the query of ``url``, each through its function in ``known``.

    Raises ``ConfigError`` for an option that is not known (naming those that are), given twice, or refused by its
    function with a ``ValueError`` that says what is wanted. Only a refused value is shown in the message: let no
    function refuse a secret.
    """
    options: dict[str, Any] = {}
    for name, text in parse_qsl(split_url(url).query, keep_blank_values=True):
        if name not in known:
            valid = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"{without_secrets(url)}: there is no option {name!r}; the options are: {valid}")
        if name in options:
            raise ConfigError(f"{without_secrets(url)}: {name!r} is given twice")
        try:
            options[name] = known[name](text)
        except ValueError as error:
            raise ConfigError(f"{without_secrets(url)}: {name}={text!r}: give {error}") from None
    return options


def split_url(url: str) -> SplitResult:
    """Return the parts of ``url``, or raise a ``ConfigError`` that says what may be wrong with it."""
    try:
        return urlsplit(url)
    except ValueError:
        # Not chained: its message may hold the password.
        raise ConfigError(
            f"{without_secrets(url)}: percent-encode what is special in user and password ([ is %5B, ] is %5D)"
        ) from None


def without_secrets(url: str) -> str:
    """Return ``url`` as it may be shown: without user, password and query. (Passwords come in queries too.)"""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return re.split("[:?#]", url, maxsplit=1)[0]
    # The last @: a password that was not percent-encoded may hold any character.
    _, at, place = rest.rpartition("@")
    return scheme + "://" + ("***@" if at else "") + re.split("[?#]", place, maxsplit=1)[0]


def seconds(text: str) -> float:
    """Read a time: ``2.5``."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError("seconds, more than 0")
    return number


def count(text: str) -> int:
    """Read a whole number, 1 or more."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError("a whole number, 1 or more")
    return int(text)


def switch(text: str) -> bool:
    """Read ``on`` or ``off``."""
    return choice("on", "off")(text) == "on"


def choice(*values: str) -> Callable[[str], str]:
    """Make a reader of one of ``values``."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(" or ".join(values))
        return text

    return read
