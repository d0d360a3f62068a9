"""The parts of a store URL, and the texts about it that may be shown: nothing before its last ``@``, no password.

``urllib.parse.urlsplit`` is passed by: newer releases of Python refuse several hosts with an IPv6 address among them
(3.10.17, 3.11.12, 3.12.9, 3.13.2 and on), and it takes a ``/`` in a password for the end of the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@\s]*)(?::([0-9]{1,5}))?")
# Options of a query whose value is nobody's business, also those of stores that others have published.
_SECRET_OPTION = re.compile("pass|pwd|secret|token|credential|auth|api[_-]?key|access[_-]?key", re.IGNORECASE)
#: Passwords of fewer characters are looked for in URLs only: they may stand in any text by chance.
SHORT = 4


class Parts(NamedTuple):
    """The parts of a URL, as they are written. What may hold a password does not show in a ``repr``."""

    scheme: str
    #: ``user:password``.
    login: HiddenText
    #: ``host:port``, or several with commas between them. If an ``@`` was forgotten, the password is among them.
    hosts: HiddenText
    path: HiddenText
    query: HiddenText


def split_scheme(url: str) -> tuple[str, HiddenText]:
    """Return the scheme of ``url`` in lower case, empty if it has none, and what follows ``://``."""
    match = _SCHEME.match(url)
    if match is None:
        return "", HiddenText(url)
    return match[0].lower(), HiddenText(url[match.end() + len("://") :])


def split_url(url: str) -> Parts:
    """Return the parts of ``url``.

    Raises ``ConfigError`` for a URL with a ``#`` in it, and for one whose user, password or options hold a character
    that has to be percent-encoded. Only a path after an empty host (``sqlite:////srv/a@b.db``) may hold an ``@``.
    """
    scheme, rest = split_scheme(url)
    place, _, query = rest.partition("?")
    netloc, slash, path = place.partition("/")
    login, _, hosts = netloc.rpartition("@")
    if "#" in rest:
        raise ConfigError(f"{without_secrets(url)}: there is a # in it: write it as %23.")
    if "@" in query or ("@" in path and netloc) or "[" in login or "]" in login:
        raise special_character_error(url)
    return Parts(scheme, login, hosts, HiddenText(slash + path), query)


def special_character_error(url: str) -> ConfigError:
    """Return the error that says how to write what is special in a URL."""
    return ConfigError(
        f"{without_secrets(url)}: percent-encode what is special in user, password and options ([ is %5B, ] is %5D, "
        "@ is %40, / is %2F, ? is %3F, # is %23)."
    )


def read_addresses(url: str, hosts: HiddenText, port: int) -> list[tuple[str, int]]:
    """Return host and port of each of ``hosts``, as ``split_url`` gives them; ``port`` is the default.

    Raises ``ConfigError`` for one that is no address.
    """
    found = []
    for text in map(HiddenText, hosts.split(",")):
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match[2] or port) > 65535:
            raise ConfigError(
                f"{without_secrets(url)}: {_shown(text)!r} is not an address: write host, host:{port} or [::1]:{port}. "
                "User and password stand before an @."
            )
        found.append((match[1].strip("[]") or "localhost", int(match[2] or port)))
    return found


def without_secrets(url: str) -> str:
    """Return ``url`` as it may be shown: without user, password and query. (Passwords come in queries too.)"""
    scheme, rest = split_scheme(url)
    login, at, place = rest.rpartition("@")
    if at and ("?" in login or "#" in login or not scheme):
        # Nobody can tell whether the password goes on after the last @, in the query.
        return f"{scheme}://***" if scheme else "***"
    if not scheme:
        return re.split("[:?#]", place, maxsplit=1)[0]
    place = HiddenText(re.split("[?#]", place, maxsplit=1)[0])
    if at:
        return f"{scheme}://***@{place}"
    hosts, slash, path = place.partition("/")
    return f"{scheme}://{','.join(map(_shown, hosts.split(',')))}{slash}{path}"


def is_secret(option: str) -> bool:
    """Whether an option's name says that its value must not be shown."""
    return _SECRET_OPTION.search(option) is not None


def blot_urls(text: str, urls: Iterable[str]) -> str:
    """Return ``text`` with user and password of every URL blotted out, however a driver may have spelled them."""
    urls = tuple(map(HiddenText, urls))
    for login in filter(None, map(_login, urls)):
        for spelling in (login, unquote(login)):
            text = text.replace(f"{spelling}@", "***@")
    return blot_passwords(text, (password for url in urls for password in _passwords(url)))


def blot_passwords(text: str, passwords: Iterable[str]) -> str:
    """Return ``text`` with every one of ``passwords`` blotted out, as it is and percent-encoded."""
    spellings = {HiddenText(spelling) for password in passwords for spelling in _spellings(password)}
    for spelling in sorted(spellings, key=len, reverse=True):
        if len(spelling) >= SHORT:
            text = text.replace(spelling, "***")
        else:
            # It stands in any text: blotted out there, it would be spelled out by what is missing.
            text = text.replace(f":{spelling}@", ":***@").replace(f"={spelling}", "=***")
    return text


def _shown(address: str) -> str:
    """Return an address as it may be shown: what stands where a port should may be a password without its ``@``."""
    return str(address) if _ADDRESS.fullmatch(address) else address.partition(":")[0] + ":***"


def _login(url: str) -> HiddenText:
    rest = split_scheme(url)[1]
    # After an empty host there is a path of a file, in which an @ is an @.
    return HiddenText("") if rest.startswith("/") else rest.rpartition("@")[0]


def _passwords(url: str) -> Iterator[str]:
    yield _login(url).partition(":")[2]
    rest = split_scheme(url)[1]
    # After the login, in which a ? may stand as well.
    for start in {rest.find("?"), rest.find("?", rest.rfind("@"))} - {-1}:
        for name, value in parse_qsl(rest[start + 1 :]):
            if is_secret(name):
                yield value


def _spellings(password: str) -> set[str]:
    meant = {password, unquote(password), unquote_plus(password)}
    spelled = {function(text, safe="") for text in meant for function in (quote, quote_plus)}
    return (meant | spelled | {repr(text)[1:-1] for text in meant}) - {""}
