"""The query options of a store URL, read strictly: what is not known, or given twice, is an error, not a default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from wsgi_session.config.naming import nearest
from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.urls.parts import is_secret, split_url, without_secrets


def query_options(url: str, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the options in the query of ``url``, each through its function in ``known``.

    Raises ``ConfigError`` for an option that is not known (naming those that are), given twice, or refused by its
    function with a ``ValueError`` that says what is wanted. Only a refused value is shown in the message: parsers must
    not refuse a secret.
    """
    return read_query(without_secrets(url), split_url(url).query, known)


def read_query(name: str, query: str, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the options in ``query``, as :func:`query_options` does; ``name`` is the URL as it may be shown."""
    options: dict[str, Any] = {}
    for option, text in hidden_pairs(query):
        if option not in known:
            if any(map(is_secret, options)):
                # What is taken for a name may be the rest of a password.
                raise ConfigError(f"{name}: there is an unknown option; in a password & is written %26, and ; %3B.")
            valid = ", ".join(sorted(known)) or "none"
            near = nearest(option, known)
            hint = f" (did you mean {near}?)" if near else ""
            raise ConfigError(f"{name}: there is no option {str(option)!r}{hint}; the options are: {valid}")
        if option in options:
            raise ConfigError(f"{name}: {str(option)!r} is given twice")
        try:
            options[str(option)] = known[option](text)
        except ValueError as error:
            raise ConfigError(f"{name}: {option}={str(text)!r}: give {error}") from None
    return options


def hidden_pairs(query: str) -> list[tuple[HiddenText, HiddenText]]:
    """Return names and values of a query. A name may be the rest of a password in which an & was not encoded."""
    return [(HiddenText(name), HiddenText(value)) for name, value in parse_qsl(query, keep_blank_values=True)]


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


def text(text: str) -> str:
    """Read any text but an empty one."""
    if not text:
        raise ValueError("at least one character")
    return text


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
