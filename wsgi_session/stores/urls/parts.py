"""Split a store URL into its parts, and remove its secrets from texts that are shown.

``urllib.parse.urlsplit`` is not used. Newer releases of Python (3.10.17, 3.11.12, 3.12.9, 3.13.2 and later) reject
several hosts if one is an IPv6 address, and it reads a ``/`` in a password as the end of the host.
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
# Names of options whose values are secret, including those of stores in other packages.
_SECRET_OPTION = re.compile("pass|pwd|secret|token|credential|auth|api[_-]?key|access[_-]?key", re.IGNORECASE)
#: Passwords with fewer characters are only removed from URLs, because any other text may contain them by chance.
SHORT = 4


class Parts(NamedTuple):
    """The parts of a URL, not decoded. The ``repr`` does not show the parts that may contain a password."""

    scheme: str
    #: ``user:password``.
    login: HiddenText
    #: ``host:port``, or several with commas between them. If an ``@`` is missing, the password may be in here.
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

    Raises ``ConfigError`` for a URL that contains a ``#``, and for one whose user, password or options contain a
    character that has to be percent-encoded. Only a path after an empty host (``sqlite:////srv/a@b.db``) may contain an
    ``@``.
    """
    scheme, rest = split_scheme(url)
    place, _, query = rest.partition("?")
    netloc, slash, path = place.partition("/")
    login, _, hosts = netloc.rpartition("@")
    if "#" in rest:
        raise ConfigError(f"{without_secrets(url)}: there is a # in the URL. Write it as %23.")
    if "@" in query or ("@" in path and netloc) or "[" in login or "]" in login:
        raise special_character_error(url)
    return Parts(scheme, login, hosts, HiddenText(slash + path), query)


def special_character_error(url: str) -> ConfigError:
    """Return the error that says how to write special characters in a URL."""
    return ConfigError(
        f"{without_secrets(url)}: percent-encode special characters in user, password and options ([ is %5B, ] is %5D, "
        "@ is %40, / is %2F, ? is %3F, # is %23)."
    )


def read_addresses(url: str, hosts: HiddenText, port: int) -> list[tuple[str, int]]:
    """Return host and port of each of ``hosts``, a part of :class:`Parts`; ``port`` is the default.

    Raises ``ConfigError`` if one is not an address.
    """
    found = []
    for text in map(HiddenText, hosts.split(",")):
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match[2] or port) > 65535:
            raise ConfigError(
                f"{without_secrets(url)}: {_shown(text)!r} is not an address. Write host, host:{port} or [::1]:{port}, "
                "and user and password before an @."
            )
        found.append((match[1].strip("[]") or "localhost", int(match[2] or port)))
    return found


def without_secrets(url: str) -> str:
    """Return ``url`` without user, password and query, so that it can be shown. (A query can contain a password.)"""
    scheme, rest = split_scheme(url)
    login, at, place = rest.rpartition("@")
    if at and ("?" in login or "#" in login or not scheme):
        # The password may continue after the last @, in the query.
        return f"{scheme}://***" if scheme else "***"
    if not scheme:
        return re.split("[:?#]", place, maxsplit=1)[0]
    place = HiddenText(re.split("[?#]", place, maxsplit=1)[0])
    if at:
        return f"{scheme}://***@{place}"
    hosts, slash, path = place.partition("/")
    return f"{scheme}://{','.join(map(_shown, hosts.split(',')))}{slash}{path}"


def is_secret(option: str) -> bool:
    """Return whether the name of an option says that its value is secret."""
    return _SECRET_OPTION.search(option) is not None


def redact_urls(text: str, urls: Iterable[str]) -> str:
    """Return ``text`` with user and password of every URL replaced by ``***``, however a driver may encode them."""
    urls = tuple(map(HiddenText, urls))
    for login in filter(None, map(_login, urls)):
        for spelling in (login, unquote(login)):
            text = text.replace(f"{spelling}@", "***@")
    return redact_passwords(text, (password for url in urls for password in _passwords(url)))


def redact_passwords(text: str, passwords: Iterable[str]) -> str:
    """Return ``text`` with each of ``passwords`` replaced by ``***``, whether percent-encoded or not."""
    spellings = {HiddenText(spelling) for password in passwords for spelling in _spellings(password)}
    for spelling in sorted(spellings, key=len, reverse=True):
        if len(spelling) >= SHORT:
            text = text.replace(spelling, "***")
        else:
            # Any text may contain a short password by chance, and replacing it everywhere would reveal it.
            text = text.replace(f":{spelling}@", ":***@").replace(f"={spelling}", "=***")
    return text


def _shown(address: str) -> str:
    """Return an address without secrets: the part where a port should be may be a password whose ``@`` is missing."""
    return str(address) if _ADDRESS.fullmatch(address) else address.partition(":")[0] + ":***"


def _login(url: str) -> HiddenText:
    rest = split_scheme(url)[1]
    # If the host is empty, the rest is the path of a file, in which an @ has no special meaning.
    return HiddenText("") if rest.startswith("/") else rest.rpartition("@")[0]


def _passwords(url: str) -> Iterator[str]:
    yield _login(url).partition(":")[2]
    rest = split_scheme(url)[1]
    # The login may contain a ? too, so also look for the query after the login.
    for start in {rest.find("?"), rest.find("?", rest.rfind("@"))} - {-1}:
        for name, value in parse_qsl(rest[start + 1 :]):
            if is_secret(name):
                yield value


def _spellings(password: str) -> set[str]:
    decoded = {password, unquote(password), unquote_plus(password)}
    encoded = {function(text, safe="") for text in decoded for function in (quote, quote_plus)}
    return (decoded | encoded | {repr(text)[1:-1] for text in decoded}) - {""}
