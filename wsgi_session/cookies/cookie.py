"""The session's cookie: its name and attributes, reading it out of a header, writing it into one (RFC 6265bis).

Reading is ours, and strict: ``HTTP_COOKIE`` is split at ``;`` and at nothing else, names match byte for byte, nothing
is unquoted or decoded. Parsers that do more have let cookies be smuggled in (CVE-2023-23934, CVE-2020-8184), swallowed
(CVE-2015-2156), or taken quadratic time (CVE-2024-7592).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any
from urllib.parse import unquote_to_bytes

from wsgi_session.errors import ConfigError
from wsgi_session.events import Events

#: A longer Cookie header is as good as none.
MAX_HEADER = 65_536
#: Seconds: RFC 6265bis caps a cookie's life at 400 days.
MAX_AGE = 400 * 24 * 3600

#: What the event ``outside_path`` says.
OUTSIDE = (
    "no session is kept for a request outside of cookie_path: set a shorter one; or, where a proxy takes a part off "
    "the path before your server sees it, set SCRIPT_NAME to that part"
)
_FOREIGN = (
    "another application on this host has the same cookie_name (ports do not separate cookies): give each its own; "
    "or the secret was changed: keep the old one behind the new"
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_PATH = re.compile(r"/[!-+\--:<-~]*\Z")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?\Z")
_SAMESITE = ("Lax", "Strict", "None")


class SessionCookie:
    """One cookie: what it is called, and how it is set and removed with the very same attributes."""

    def __init__(
        self,
        name: str,
        *,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        samesite: str = "Lax",
        partitioned: bool = False,
    ) -> None:
        if not name.startswith(("__Host-", "__Secure-")) and secure:
            name = ("__Host-" if path == "/" and domain is None else "__Secure-") + name
        self.name = name
        #: What stands before the value in a header.
        self.equals = name + "="
        attributes = [f"Path={path}", "HttpOnly", f"SameSite={samesite}"]
        if domain is not None:
            attributes.insert(0, f"Domain={domain}")
        if secure:
            attributes.append("Secure")
        if partitioned:
            attributes.append("Partitioned")
        self._attributes = "; " + "; ".join(attributes)

    def piece(self, suffix: str) -> SessionCookie:
        """Return the cookie of the same attributes whose name has ``suffix`` added."""
        other = copy(self)
        other.name = self.name + suffix
        other.equals = other.name + "="
        return other

    def read(self, header: str) -> list[str]:
        """Return the values of every cookie of this name, in the header's order."""
        if len(header) > MAX_HEADER:
            return []
        equals = self.equals
        before, found, rest = header.partition(equals)
        if not found:
            return []
        if (not before or before[-2:] == "; ") and equals not in rest:
            # The usual header: one cookie of this name, where a browser puts it. As below, without the split.
            return [rest.partition(";")[0].strip(" \t")]
        parts = [part.strip(" \t") for part in header.split(";")]
        return [part[len(equals) :].strip(" \t") for part in parts if part.startswith(equals)]

    def write(self, value: str, max_age: float | None) -> str:
        """Return a Set-Cookie value; ``max_age`` in seconds, ``None`` for a cookie that ends with the browser."""
        if max_age is None:
            return f"{self.equals}{value}{self._attributes}"
        if max_age > MAX_AGE:
            max_age = MAX_AGE
        return f"{self.equals}{value}; Max-Age={math.ceil(max_age)}{self._attributes}"

    def remove(self) -> str:
        """Return the Set-Cookie value that makes a browser forget the cookie."""
        return f"{self.equals}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{self._attributes}"


class SchemeCookies:
    """Which cookie is a request's: by the scheme that the server says, never by a header that a client sends."""

    def __init__(self, http: SessionCookie, https: SessionCookie, events: Events) -> None:
        self.http = http
        self.https = https
        self._events = events
        self._watching = http is not https
        self._foreign_seen = False

    def of(self, environ: Mapping[str, Any]) -> SessionCookie:
        if environ.get("wsgi.url_scheme") == "https":
            return self.https
        forwarded = environ.get("HTTP_X_FORWARDED_PROTO")
        if forwarded and self._watching and forwarded.strip().lower() == "https":
            self._watching = False
            self._events("behind_proxy", advice="if TLS ends at a proxy of yours, set cookie_secure=True")
        return self.http

    def warn_of_foreign(self, foreign: Iterable[bool]) -> None:
        """Say, once, that a cookie of our name and form was made with another secret.

        ``foreign`` tells that of each cookie, so that no local variable here has one in it: error reporters show them.
        """
        if not self._foreign_seen and any(foreign):
            self._foreign_seen = True
            self._events("foreign_cookie", cookie_name=self.http.name, advice=_FOREIGN)


def as_in_environ(path: str) -> str:
    """Return the path of a URL as a WSGI environ has it: percent-decoded, a character for each byte (PEP 3333)."""
    return unquote_to_bytes(path).decode("latin-1")


def path_covers(cookie_path: str, environ: Mapping[str, Any]) -> bool:
    """Whether a browser sends a cookie of this path with a request such as this one (RFC 6265, 5.1.4).

    ``cookie_path`` is as :func:`as_in_environ` gives it.
    """
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if not path.startswith(cookie_path):
        return False
    return cookie_path.endswith("/") or path[len(cookie_path) :][:1] in ("", "/")


def check_cookie_options(
    name: object, path: object, domain: object, secure: object, samesite: object, partitioned: object
) -> None:
    """Raise ``ConfigError`` over what a browser would refuse, or what would add attributes (CVE-2024-47764)."""
    if not isinstance(name, str) or not _TOKEN.match(name):
        raise ConfigError(f"cookie_name={name!r}: give a name of letters, digits and '-_.', such as 'sid'.")
    if not isinstance(path, str) or not _PATH.match(path):
        raise ConfigError(f"cookie_path={path!r}: give a path that starts with '/', without ';', ',' or spaces.")
    if domain is not None and (not isinstance(domain, str) or not _DOMAIN.match(domain)):
        raise ConfigError(f"cookie_domain={domain!r}: give a host name such as 'example.com', or None.")
    if not isinstance(secure, bool) and secure != "auto":
        raise ConfigError(f"cookie_secure={secure!r}: give 'auto', True or False.")
    if samesite not in _SAMESITE:
        raise ConfigError(f"cookie_samesite={samesite!r}: give 'Lax', 'Strict' or 'None'.")
    if not isinstance(partitioned, bool):
        raise ConfigError(f"cookie_partitioned={partitioned!r}: give True or False.")
    if secure is not True and (samesite == "None" or partitioned):
        option = "cookie_samesite='None'" if samesite == "None" else "cookie_partitioned=True"
        raise ConfigError(f"{option}: browsers take that from Secure cookies only; add cookie_secure=True.")
    prefix = re.match("__(host|secure)-", name, re.IGNORECASE)
    if prefix is None:
        return
    # Browsers compare the prefixes without regard to case, and refuse a cookie that does not keep its promise.
    if prefix.group() not in ("__Host-", "__Secure-") or secure is not True:
        raise ConfigError(
            f"cookie_name={name!r}: the prefix is added over https by itself: give the name without it. To write it "
            "out, spell it '__Host-' or '__Secure-' and add cookie_secure=True."
        )
    if name.startswith("__Host-") and (path != "/" or domain is not None):
        raise ConfigError(f"cookie_name={name!r}: a __Host- cookie has cookie_path='/' and no cookie_domain.")
