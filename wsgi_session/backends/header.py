"""Sessions whose token is in a request header that the client sets itself, for JSON APIs and mobile apps.

The header is ``Authorization: Bearer TOKEN``, or another one with the token alone. A new token is in the header
``Session-Token`` of the response: after a login, a rotation or the first write, or if an older secret had signed the
token of the request. Such a request neither reads a cookie nor sets one. No page of another site can send it, because
browsers set none of these headers by themselves; so it needs no CSRF check.

If the site accepts cookies too, each request is of one kind. A request with the header is of this kind, even if its
token is invalid or it also has a cookie: the token of a cookie, which scripts must not see, never gets into a response
header. Tokens of the two kinds have different signatures, so that neither is accepted as the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hmac import compare_digest
from typing import Any

from wsgi_session.backends.base import Credential, Loaded, Transactions
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.settings import Settings
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Store

#: The response header that contains the new token.
ANSWER = "Session-Token"
#: What a client sends in place of a token while it has none.
NEW = "new"

# nginx drops headers with an underscore.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*", re.ASCII)
# A page of another site can make a browser send these headers, with a value of its choice (Fetch standard, 2.2.2), or
# browsers send them by themselves. If one of them had the token, its requests would need the CSRF check that they skip.
_OTHER_USE = re.compile(
    r"""
    a-im | accept(-.*)? | access-control-.* | alt-used | cache-control | connection | content-.* | cookie2? | date |
    device-memory | dnt | downlink | dpr | ect | expect | forwarded | from | host | hx-.* | if-.* | keep-alive |
    last-event-id | max-forwards | origin | pragma | priority | proxy-.* | purpose | range | referer | rtt | save-data |
    sec-.* | secure-session-.* | service-worker | set-cookie | te | trailer | transfer-encoding | upgrade(-.*)? |
    user-agent | via | viewport-width | width | x-csrf-token | x-forwarded-.* | x-real-ip | x-requested-with
    """,
    re.VERBOSE | re.IGNORECASE,
)


class TokenHeader:
    """The request header with the token. ``only``: the site accepts no cookies."""

    def __init__(self, name: str, *, only: bool) -> None:
        self.only = only
        #: The name of the header in an environ.
        self.key = "HTTP_" + name.upper().replace("-", "_")
        self._has_scheme = self.key == "HTTP_AUTHORIZATION"
        #: RFC 9110, 15.5.2: a 401 has a challenge. Browsers open no dialog for these schemes.
        self.challenge = f'{"Bearer" if self._has_scheme else name} realm="login"'
        #: The request headers on which a response depends.
        self.vary = name if only else f"Cookie, {name}"

    def read(self, environ: Mapping[str, Any]) -> str | None:
        """Return the token as it was sent, "" for a client that has none; ``None`` if the request has no such header.

        ``Authorization`` with another scheme, such as ``Basic``, is not such a header.
        """
        value = environ.get(self.key)
        if value is None:
            return None
        if self._has_scheme:
            scheme, _, value = value.partition(" ")
            if scheme.lower() != "bearer":
                return None
        value = value.strip(" \t")
        return "" if value == NEW else value

    def of_client(self, token: str) -> str:
        """Return the value of the header with which a client sends ``token``."""
        return f"Bearer {token}" if self._has_scheme else token


def check_transport(transport: object, name: object) -> TokenHeader | None:
    """Return the header of these two options, ``None`` if there is none; or raise ``ConfigError``."""
    if transport not in ("cookie", "header", "both"):
        raise ConfigError(f"transport={transport!r}: give 'cookie', 'header' or 'both'.")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _OTHER_USE.fullmatch(name):
        raise ConfigError(
            f"transport_header={name!r}: give the name of a request header that no browser and no proxy sends by "
            "itself, of letters, digits and '-', such as 'Authorization' or 'Session-Token'."
        )
    if transport != "cookie":
        return TokenHeader(name, only=transport == "header")
    if name != "Authorization":
        raise ConfigError(
            f"transport_header={name!r} has no effect with transport='cookie': give transport='both' or 'header'."
        )
    return None


class HeaderBackend(StoreBackend):
    """The sessions of one middleware, in a store, for the requests that send the token in a header."""

    browser_sends = False
    answer_header = ANSWER

    def __init__(
        self,
        store: Store,
        secrets_newest_first: Sequence[bytes],
        header: TokenHeader,
        transactions: Transactions,
        settings: Settings,
    ) -> None:
        self.store = store
        self.transactions = transactions
        # No cookie's name contains a space, so no cookie has such a signature.
        self._signer = tokens.TokenSigner(secrets_newest_first, settings.namespace + " header")
        # The rules for cookies that a browser leaves out, or does not send to another path, do not apply.
        self.settings = replace(settings, samesite="None", cookie_path="/")
        self.header = header
        self.credential_key = header.key
        self.challenge = header.challenge

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the session of the request's token. A bad signature costs no store call."""
        credential, given = self._credential(environ)
        if credential is not None:
            return self.look_up(credential, now)
        if not given:
            return "new", None, None, {}
        self.settings.events("tampered", cookies=0)
        return "tampered", None, None, {}

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        """Return the value of the response header; nothing if the request has sent this token itself.

        A late response with an old token could otherwise replace the client's new one.
        """
        signed, sent = self._signer.sign(credential.token), self.header.read(environ) or ""
        return [] if sent.isascii() and compare_digest(sent, signed) else [signed]

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return nothing: the client forgets the token when it logs out, and the token is no longer valid."""
        return []

    def _credential(self, environ: Mapping[str, Any]) -> tuple[Credential | None, bool]:
        """Return the credential, if the request has exactly one valid token, and whether it has sent anything.

        Two headers reach an application as one with a comma, which no token contains. A separate method, so that no
        frame that waits for the store, or calls the log, has a token in a local variable, which error reporters show.
        """
        given = self.header.read(environ)
        verified = self._signer.verify(given) if given else None
        if verified is None:
            return None, bool(given)
        token, current = verified
        return Credential(token, current, tokens.store_key(token)), True
