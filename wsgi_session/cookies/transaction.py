"""The cookies of transactions: what a login at another site has to remember until that site answers.

The answer may be a POST that the other site's page sends (SAML, OpenID's ``form_post``), with which browsers send only
cookies with ``SameSite=None; Secure``. Each transaction has its own cookie, so that two tabs can log in at once.

Over plain http, browsers refuse that pair. There the cookie has no ``SameSite`` at all: Firefox and Safari send it with
the answer, and Chrome does for two minutes. That is enough for development.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wsgi_session.cookies.cookie import MAX_HEADER, SchemeCookies, SessionCookie
from wsgi_session.events import Events

#: The maximum number of transactions of one browser. The next one replaces the oldest: many cookies would make the
#: header so long that servers refuse it.
MAX_TRANSACTIONS = 4
#: The maximum number of cookies that one response removes. Another host of the domain can set hundreds of them in a
#: browser, and a proxy refuses a response whose header is very long.
MAX_REMOVALS = 16
# The part of the state that the cookie's name contains.
_ID = slice(0, 12)
_SUFFIX = re.compile(r"[A-Za-z0-9_-]{12}", re.ASCII)
_NAME = "-login-"


class TransactionCookies:
    """Reads, sets and removes the cookies of one middleware's transactions. The options are the session cookie's."""

    def __init__(
        self,
        name: str,
        *,
        secure: bool | str,
        path: str = "/",
        domain: str | None = None,
        partitioned: bool = False,
    ) -> None:
        def make(secure: bool) -> SessionCookie:
            return SessionCookie(
                name,
                path=path,
                domain=domain,
                secure=secure,
                samesite="None" if secure else None,
                partitioned=partitioned and secure,
            )

        http = make(secure is True)
        self._cookies = SchemeCookies(http, make(True) if secure == "auto" else http, Events(None))

    def read(self, environ: Mapping[str, Any], state: str) -> list[str]:
        """Return the values of every cookie of the transaction with this state."""
        return self._cookie(environ, state[_ID]).read(environ.get("HTTP_COOKIE", ""))

    def write(self, environ: Mapping[str, Any], state: str, value: str, max_age: float) -> list[str]:
        """Return the Set-Cookie values that begin a transaction, and that remove the oldest of too many."""
        oldest = self._ids(environ)[: 1 - MAX_TRANSACTIONS][:MAX_REMOVALS]
        removals = [self._cookie(environ, old).remove() for old in oldest]
        return [*removals, self._cookie(environ, state[_ID]).write(value, max_age)]

    def remove(self, environ: Mapping[str, Any], state: str) -> str:
        """Return the Set-Cookie value that removes the transaction's cookie."""
        return self._cookie(environ, state[_ID]).remove()

    def _cookie(self, environ: Mapping[str, Any], name: str) -> SessionCookie:
        return self._cookies.of(environ).with_suffix(_NAME + name)

    def _ids(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the ids of the request's transactions; browsers send the oldest first (RFC 6265, 5.4)."""
        header = environ.get("HTTP_COOKIE", "")
        start = self._cookies.of(environ).name + _NAME
        if start not in header or len(header) > MAX_HEADER:
            return []
        names = [part.strip(" \t").partition("=")[0] for part in header.split(";")]
        ids = [name[len(start) :] for name in names if name.startswith(start)]
        # These names come from the client, and go into our Set-Cookie.
        return [name for name in dict.fromkeys(ids) if _SUFFIX.fullmatch(name)]
