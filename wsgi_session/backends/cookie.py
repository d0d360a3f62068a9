"""The cookie backend, which keeps a session's data encrypted in the cookie. The alternative to ``StoreBackend``.

``seal.py`` encrypts the data, and ``chunks.py`` splits a long value into several cookies. The times are inside the
seal, so the server decides when a session expires, even if the browser keeps the cookie (CVE-2018-1000814).
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgpack import packb, unpackb

from wsgi_session.backends.base import COOKIE_CHALLENGE, Credential, Loaded, State, Transactions
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import join, split
from wsgi_session.cookies import tokens
from wsgi_session.cookies.chunks import MAX_CHUNKS, CookieChunks
from wsgi_session.cookies.cookie import SchemeCookies
from wsgi_session.cookies.seal import OVERHEAD, RANDOM_PART, Sealer
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Outcome, OwnedSession, Record, Store

if TYPE_CHECKING:
    from wsgi_session.backends.binding import Binding

#: The maximum difference between the clocks of two servers, in seconds.
MAX_SKEW = 60.0
# The maximum size in bytes of the sealed fields other than the data (token, handle, times, owner …).
_MAX_FIELDS_SIZE = 160
# The valid types of (token, data, handle, owner, persistent): with an owner, and without one.
_FIELD_TYPES = ((bytes, bytes, str, bytes, bool), (bytes, bytes, str, type(None), bool))


class CookieBackend:
    """The sessions of one middleware, in its visitors' cookies."""

    compares = False
    #: No session is bound to a device, because a copied cookie stays valid.
    binding: Binding | None = None
    change_needs_cookie = True
    browser_sends = True
    credential_key = "HTTP_COOKIE"
    answer_header = "Set-Cookie"
    challenge = COOKIE_CHALLENGE
    by_header = None
    sweep_due = sweep_missed = False

    def __init__(
        self,
        store: Store,
        secrets_newest_first: Sequence[bytes],
        cookies: SchemeCookies,
        transactions: Transactions,
        settings: Settings,
    ) -> None:
        self.store = store
        self.transactions = transactions
        self._cookies = cookies
        self._chunks = CookieChunks(cookies, RANDOM_PART)
        self._sealer = Sealer(secrets_newest_first, _purpose(cookies, settings))
        max_size = MAX_CHUNKS * self._chunks.chunk_size * 3 // 4 - OVERHEAD - _MAX_FIELDS_SIZE
        if max_size <= 0:
            raise ConfigError(
                "cookie_name, cookie_path and cookie_domain are so long that a cookie of 4,096 bytes has no room left "
                "for the session. Shorten them, or use a store that keeps sessions, such as sqlite:///sessions.db."
            )
        # The whole cookie is sealed, so its data is not sealed once more.
        self.settings = replace(settings, max_size=min(settings.max_size, max_size), join=join)

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the first live session among the request's cookies."""
        loaded, cookies, corrupt_count, expired = self._read(environ, now)
        for _ in range(corrupt_count):
            self.settings.events("corrupt", handle=None)
        for record in expired:
            reason = self.settings.lifetime.reason(record)
            self.settings.events("expired", handle=record.handle, owner=stored_owner(record), reason=reason)
        if loaded[0] == "tampered":
            self.settings.events("tampered", cookies=cookies)
            self._cookies.warn_of_foreign(
                map(self._sealer.looks_foreign, self._cookies.of(environ).read(environ["HTTP_COOKIE"]))
            )
        return loaded

    def sweep(self, now: float) -> None:
        """Do nothing: expired sessions exist only in browsers."""

    def look_up(self, credential: Credential, now: float) -> Loaded:
        """Return an unknown session: other requests' changes are only in their cookies, so nothing can be loaded."""
        return "unknown", None, None, {}

    def new_credential(self) -> Credential:
        """Return a new, unused credential."""
        return Credential(tokens.new_token(), True)

    # Writes always succeed. They only change the record that the response's cookie will contain.

    def create(self, credential: Credential, record: Record, now: float) -> Credential:
        credential.record = record
        return credential

    def replace(self, credential: Credential, record: Record, version: bytes, now: float) -> Outcome:
        credential.record = record
        return Outcome.SAVED

    def rotate(
        self, old: Credential, new: Credential, record: Record, version: bytes, now: float
    ) -> tuple[Outcome, Credential]:
        new.record = record
        return Outcome.SAVED, new

    def touch(self, credential: Credential, touched: float, expires: float, now: float) -> bool:
        assert credential.record is not None
        credential.record = credential.record._replace(touched=touched, expires=expires)
        return True

    def delete(self, credential: Credential, record: Record, now: float) -> None:
        """Do nothing: removing the cookie ends the session."""

    def end(self, credential: Credential, now: float) -> Record | None:
        """Do nothing, as :meth:`delete`."""

    def logins_of(self, owner: bytes, now: float) -> list[OwnedSession]:
        """Return an empty list: a user's other sessions are in other browsers."""
        return []

    def end_logins(self, owner: bytes, handles: Container[str], now: float) -> int:
        """End nothing, for the same reason."""
        return 0

    def revoke_foreign(self, owner: bytes | None, now: float, *, anonymous: bool = False) -> None:
        """Do nothing: no sessions are adopted."""

    def forget(self, credential: Credential) -> None:
        """Do nothing, as :meth:`delete`."""

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        """Return the Set-Cookie values that store the session in the browser, and that remove stale chunks.

        ``max_age`` is in seconds; ``None`` means until the browser closes.
        """
        assert credential.record is not None
        value = self._sealer.seal(_pack(credential.token, credential.record))
        return self._chunks.write(self._cookies.of(environ), value, max_age, environ.get("HTTP_COOKIE", ""))

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove the request's session cookies; an empty list if it sent none."""
        return self._chunks.remove(self._cookies.of(environ), environ.get("HTTP_COOKIE", ""))

    def _read(self, environ: Mapping[str, Any], now: float) -> tuple[Loaded, int, int, list[Record]]:
        """Return the session, the numbers of session cookies and of authentic unreadable ones, and the expired records.

        A separate method, so that no frame that calls the log or the application has a token in a local variable, which
        error reporters show.
        """
        values = self._chunks.read(self._cookies.of(environ), environ.get("HTTP_COOKIE", ""))
        state: State = "tampered" if values else "new"
        corrupt_count = 0
        expired: list[Record] = []
        for value in values:
            opened = self._sealer.open(value)
            if opened is None:
                continue
            state = "unknown"
            plain, current = opened
            try:
                token, record = self._unpack(plain)
                if not self._is_expired(record, now):
                    credential = Credential(token, current, record=record)
                    return ("live", credential, record, split(record.data)), len(values), corrupt_count, expired
                expired.append(record)
            except (ValueError, TypeError):
                corrupt_count += 1
        return (state, None, None, {}), len(values), corrupt_count, expired

    def _is_expired(self, record: Record, now: float) -> bool:
        if max(record.created, record.touched) > now + MAX_SKEW:
            # A server's clock was ahead when it sealed the cookie. The session would live too long, so it is refused.
            return True
        return now >= self.settings.lifetime.end_of(record)

    def _unpack(self, plain: bytes) -> tuple[bytes, Record]:
        token, data, handle, created, touched, expires, owner, persistent, idle = unpackb(plain)
        types = type(token), type(data), type(handle), type(owner), type(persistent)
        if types not in _FIELD_TYPES or not all(map(_is_time, (created, touched, expires, idle or 0))):
            raise ValueError("The sealed value is not a session.")
        namespace = self.settings.namespace
        if owner is None:
            # It may have been sealed under another anonymous_timeout; the current one counts.
            idle = self.settings.lifetime.anonymous
        return token, Record(data, b"", handle, created, touched, expires, owner, persistent, idle, namespace)


def _is_time(seconds: Any) -> bool:
    # NaN and infinity are refused, because a session with such times would never expire.
    return type(seconds) in (float, int) and 0 <= seconds < math.inf


def _pack(token: bytes, record: Record) -> bytes:
    data, _, handle, created, touched, expires, owner, persistent, idle, _ = record
    packed: bytes = packb((token, data, handle, created, touched, expires, owner, persistent, idle))
    return packed


def _purpose(cookies: SchemeCookies, settings: Settings) -> bytes:
    """Return the purpose that seals are bound to: the session's name, and the cookie's domain, path and partition.

    We could not remove a cookie that earlier options set for another path or domain: it would survive a logout, and
    could come first in the header and hide all changes. As the seal includes these attributes, it is not accepted.
    """
    attributes = cookies.http.remove().split("; ")
    scope = [text for text in attributes if text.startswith(("Domain=", "Path=", "Partitioned"))]
    purpose: bytes = packb(["wsgi-session session", settings.namespace, settings.environ_key, *scope])
    return purpose
