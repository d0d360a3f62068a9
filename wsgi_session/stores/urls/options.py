"""Parse the query options of a store URL strictly: an unknown or repeated option is an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from wsgi_session.config.naming import nearest
from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.urls.parts import is_secret, split_url, without_secrets


def parse_query_options(url: str, parsers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the options in the query of ``url``, each converted by its parser.

    Raises ``ConfigError`` for an option that is unknown, given twice, or rejected by its parser with a ``ValueError``
    that names the allowed values. The message shows a rejected value, so the parser of a secret option must not raise.
    """
    return parse_query(without_secrets(url), split_url(url).query, parsers)


def parse_query(name: str, query: str, parsers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the options in ``query``, as :func:`parse_query_options` does; ``name`` is the URL without secrets."""
    options: dict[str, Any] = {}
    for option, text in hidden_pairs(query):
        if option not in parsers:
            if any(map(is_secret, options)):
                # The name is not shown, because it may be the rest of a password.
                raise ConfigError(f"{name}: there is an unknown option. In a password write & as %26, and ; as %3B.")
            valid = ", ".join(sorted(parsers)) or "none"
            near = nearest(option, parsers)
            hint = f" (did you mean {near}?)" if near else ""
            raise ConfigError(f"{name}: there is no option {str(option)!r}{hint}. The options are: {valid}.")
        if option in options:
            raise ConfigError(f"{name}: {str(option)!r} is given twice. Give it once.")
        try:
            options[str(option)] = parsers[option](text)
        except ValueError as error:
            raise ConfigError(f"{name}: {option}={str(text)!r}: give {error}.") from None
    return options


def hidden_pairs(query: str) -> list[tuple[HiddenText, HiddenText]]:
    """Return names and values of a query, as hidden texts: a name may be a part of a password with an unencoded &."""
    return [(HiddenText(name), HiddenText(value)) for name, value in parse_qsl(query, keep_blank_values=True)]


def parse_seconds(text: str) -> float:
    """Parse a positive number of seconds, such as ``2.5``."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError("a number of seconds, more than 0")
    return number


def parse_count(text: str) -> int:
    """Parse a whole number, 1 or more."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError("a whole number, 1 or more")
    return int(text)


def parse_text(text: str) -> str:
    """Return the text; an empty one is not allowed."""
    if not text:
        raise ValueError("at least one character")
    return text


def parse_switch(text: str) -> bool:
    """Parse ``on`` or ``off``."""
    return choice_parser("on", "off")(text) == "on"


def choice_parser(*values: str) -> Callable[[str], str]:
    """Return a parser that accepts exactly one of ``values``."""

    def parse_choice(text: str) -> str:
        if text not in values:
            raise ValueError(" or ".join(values))
        return text

    return parse_choice
