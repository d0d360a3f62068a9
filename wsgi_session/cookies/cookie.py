"""The session cookie: its name and attributes, and how it is read from a request and set in a response (RFC 6265bis).

This module parses the header itself, and strictly: it splits ``HTTP_COOKIE`` only at ``;``, compares names byte for
byte, and unquotes or decodes nothing. Parsers that do more have let attackers smuggle cookies in (CVE-2023-23934,
CVE-2020-8184), have lost cookies (CVE-2015-2156), or have taken quadratic time (CVE-2024-7592).
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

#: A longer Cookie header is ignored.
MAX_HEADER = 65_536
#: The maximum number of cookies of one name to look up or open. A browser sends several only if an attacker has set
#: some.
MAX_CREDENTIALS = 3
#: In seconds: RFC 6265bis limits a cookie's lifetime to 400 days.
MAX_AGE = 400 * 24 * 3600

#: The advice of the event ``outside_path``.
OUTSIDE = (
    "no session is stored for a request outside of cookie_path: set a shorter cookie_path; or, if a proxy removes a "
    "part of the path before your server sees it, set SCRIPT_NAME to that part"
)
#: The advice of the event ``cross_site_write``.
CROSS_SITE = (
    "a request that another site's page sent came without the session cookie, so nothing was stored: a new session "
    "would replace the visitor's. Redirect to a page of this site first, or use begin_transaction() for a login"
)
_FOREIGN = (
    "another application on this host has the same cookie_name (ports do not separate cookies): give each its own; "
    "or the secret was changed: keep the old one after the new one; "
    "or another tenant of namespace= set the cookie: give each tenant a host, and no cookie_domain for all of them"
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_PATH = re.compile(r"/[!-+\--:<-~]*\Z")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?\Z")
_SAMESITE = ("Lax", "Strict", "None")


class SessionCookie:
    """One cookie: its name, and the Set-Cookie values that set and remove it with the same attributes."""

    def __init__(
        self,
        name: str,
        *,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        samesite: str | None = "Lax",
        partitioned: bool = False,
    ) -> None:
        if not name.startswith(("__Host-", "__Secure-")) and secure:
            name = ("__Host-" if path == "/" and domain is None else "__Secure-") + name
        self.name = name
        #: What stands before the value in a header.
        self.equals = name + "="
        attributes = [f"Path={path}", "HttpOnly"]
        if samesite is not None:
            attributes.append(f"SameSite={samesite}")
        if domain is not None:
            attributes.insert(0, f"Domain={domain}")
        if secure:
            attributes.append("Secure")
        if partitioned:
            attributes.append("Partitioned")
        self._attributes = "; " + "; ".join(attributes)

    @property
    def attributes(self) -> str:
        """The attributes as in a Set-Cookie value, without the lifetime."""
        return self._attributes[2:]

    def with_suffix(self, suffix: str) -> SessionCookie:
        """Return a cookie with the same attributes and with ``suffix`` added to the name."""
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
            # The usual header has one cookie of this name. The result is that of the code below, without splitting.
            value = rest.partition(";")[0] if ";" in rest else rest
            return [value.strip(" \t")]
        parts = [part.strip(" \t") for part in header.split(";")]
        return [part[len(equals) :].strip(" \t") for part in parts if part.startswith(equals)]

    def write(self, value: str, max_age: float | None) -> str:
        """Return a Set-Cookie value. ``max_age`` is in seconds; ``None`` means until the browser closes."""
        if max_age is None:
            return f"{self.equals}{value}{self._attributes}"
        if max_age > MAX_AGE:
            max_age = MAX_AGE
        return f"{self.equals}{value}; Max-Age={math.ceil(max_age)}{self._attributes}"

    def remove(self) -> str:
        """Return the Set-Cookie value that removes the cookie."""
        return f"{self.equals}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{self._attributes}"


class SchemeCookies:
    """Chooses a request's cookie by the server's ``wsgi.url_scheme``, never by a header that a client sends."""

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
            self._events("behind_proxy", advice="if your own proxy terminates TLS, set cookie_secure=True")
        return self.http

    def warn_of_foreign(self, foreign: Iterable[bool]) -> None:
        """Report, once, that another secret, or another tenant, signed or sealed a cookie of our name.

        ``foreign`` has a truth value for each cookie. The cookies themselves must not be in a local variable, because
        error reporters show these.
        """
        if not self._foreign_seen and any(foreign):
            self._foreign_seen = True
            self._events("foreign_cookie", cookie_name=self.http.name, advice=_FOREIGN)


def as_in_environ(path: str) -> str:
    """Return a URL's path as a WSGI environ has it: percent-decoded, with one character for each byte (PEP 3333)."""
    return unquote_to_bytes(path).decode("latin-1")


def path_covers(cookie_path: str, environ: Mapping[str, Any]) -> bool:
    """Return whether a browser sends a cookie of this path with this request (RFC 6265, 5.1.4).

    ``cookie_path`` must come from :func:`as_in_environ`.
    """
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if not path.startswith(cookie_path):
        return False
    return cookie_path.endswith("/") or path[len(cookie_path) :][:1] in ("", "/")


def may_lack_cookie(environ: Mapping[str, Any], samesite: object) -> bool:
    """Return whether another site's page sent the request, so that the browser leaves out a cookie that it may have.

    A new cookie would then replace the visitor's. With ``SameSite=Lax``, browsers send the cookie only with safe
    methods, such as the click on a link; with ``Strict``, with nothing that comes from another site.
    """
    if environ.get("HTTP_SEC_FETCH_SITE") != "cross-site":
        return False
    if samesite == "Lax":
        return environ.get("REQUEST_METHOD") not in ("GET", "HEAD", "OPTIONS", "TRACE")
    return samesite == "Strict"


def check_cookie_options(
    name: object, path: object, domain: object, secure: object, samesite: object, partitioned: object
) -> None:
    """Raise ``ConfigError`` for options that a browser would refuse, or that inject attributes (CVE-2024-47764)."""
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
        raise ConfigError(f"{option}: browsers accept this only for Secure cookies. Add cookie_secure=True.")
    prefix = re.match("__(host|secure)-", name, re.IGNORECASE)
    if prefix is None:
        return
    # Browsers compare these prefixes case-insensitively, and refuse a cookie that does not meet their conditions.
    if prefix.group() not in ("__Host-", "__Secure-") or secure is not True:
        raise ConfigError(
            f"cookie_name={name!r}: the prefix is added automatically over https, so give the name without it. To give "
            "the prefix yourself, write '__Host-' or '__Secure-' and add cookie_secure=True."
        )
    if name.startswith("__Host-") and (path != "/" or domain is not None):
        raise ConfigError(f"cookie_name={name!r}: a __Host- cookie needs cookie_path='/' and no cookie_domain.")


def make_cookies(name: str, secure: bool | str, events: Events, **attributes: Any) -> SchemeCookies:
    """Return the cookies for http and https; the attributes are those of ``SessionCookie``."""
    http = SessionCookie(name, secure=secure is True, **attributes)
    https = SessionCookie(name, secure=True, **attributes) if secure == "auto" else http
    return SchemeCookies(http, https, events)
