"""State kept in the cookie itself, sealed: the other strategy beside ``StoreBackend``.

``seal.py`` says how it is sealed, ``pieces.py`` how a long one is spread over several cookies. The times stand inside
the seal: expiry is the server's, whatever a browser does with the cookie (CVE-2018-1000814).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from msgpack import packb, unpackb

from wsgi_session.backends.base import Credential, Loaded, State
from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import split
from wsgi_session.cookies import tokens
from wsgi_session.cookies.chunks import MAX_PIECES, Pieces
from wsgi_session.cookies.cookie import SchemeCookies
from wsgi_session.cookies.seal import OVERHEAD, RANDOM, Seals
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Outcome, Record, Store

#: Seconds that the clocks of two machines may differ.
MAX_SKEW = 60.0
# What is sealed beside the session's data (token, handle, times, owner …) takes no more bytes than this.
_FIELDS = 160
# Of what types token, data, handle, owner and persistent are: an owner, or an anonymous visitor.
_KINDS = ((bytes, bytes, str, bytes, bool), (bytes, bytes, str, type(None), bool))


class CookieBackend:
    """The sessions of one middleware, in its visitors' cookies."""

    compares = False
    change_needs_cookie = True
    sweep_due = sweep_missed = False

    def __init__(
        self, store: Store, secrets_newest_first: Sequence[bytes], cookies: SchemeCookies, settings: Settings
    ) -> None:
        self.store = store
        self._cookies = cookies
        self._pieces = Pieces(cookies, RANDOM)
        self._seals = Seals(secrets_newest_first, _purpose(cookies, settings))
        room = MAX_PIECES * self._pieces.room * 3 // 4 - OVERHEAD - _FIELDS
        if room <= 0:
            raise ConfigError(
                "cookie_name, cookie_path and cookie_domain are so long that a cookie of 4,096 bytes has no room left "
                "for the session: shorten them, or use a store that keeps sessions, such as sqlite:///sessions.db."
            )
        self.settings = replace(settings, max_size=min(settings.max_size, room))

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the first live session among the request's cookies."""
        found, cookies, corrupt = self._read(environ, now)
        for _ in range(corrupt):
            self.settings.events("corrupt", handle=None)
        if found[0] == "tampered":
            self.settings.events("tampered", cookies=cookies)
            self._cookies.warn_of_foreign(
                map(self._seals.looks_foreign, self._cookies.of(environ).read(environ["HTTP_COOKIE"]))
            )
        return found

    def sweep(self, now: float) -> None:
        """Nothing to do: what is dead is in the browsers."""

    def look_up(self, credential: Credential, now: float) -> Loaded:
        """Return nothing: what other requests made of the session is out of this one's reach."""
        return "unknown", None, None, {}

    def draw(self) -> Credential:
        """Return a credential that nobody has yet."""
        return Credential(tokens.draw_token(), True)

    # Every write succeeds, and is nowhere but in the cookie that goes out with it.

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
        """Nothing to do: the removal of the cookie is all there is to end."""

    def end(self, credential: Credential, now: float) -> Record | None:
        """Nothing to do: as for :meth:`delete`."""

    def forget(self, credential: Credential) -> None:
        """Nothing to do: as for :meth:`delete`."""

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        """Return the Set-Cookie values that put the session into the browser, and take stale pieces out of it."""
        assert credential.record is not None
        text = self._seals.seal(_pack(credential.token, credential.record))
        return self._pieces.write(self._cookies.of(environ), text, max_age, environ.get("HTTP_COOKIE", ""))

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove what the request sent of ours, none if it sent nothing."""
        return self._pieces.remove(self._cookies.of(environ), environ.get("HTTP_COOKIE", ""))

    def _read(self, environ: Mapping[str, Any], now: float) -> tuple[Loaded, int, int]:
        """Return the session, and how many cookies there are and are genuine but not what this release seals.

        In a frame of its own, so that none which tells the log or the application has a token in it: error reporters
        show local variables.
        """
        texts = self._pieces.read(self._cookies.of(environ), environ.get("HTTP_COOKIE", ""))
        state: State = "tampered" if texts else "new"
        corrupt = 0
        for text in texts:
            opened = self._seals.open(text)
            if opened is None:
                continue
            state = "unknown"
            plain, current = opened
            try:
                token, record = self._unpack(plain)
                if not self._is_dead(record, now):
                    credential = Credential(token, current, record=record)
                    return ("live", credential, record, split(record.data)), len(texts), corrupt
            except (ValueError, TypeError):
                corrupt += 1
        return (state, None, None, {}), len(texts), corrupt

    def _is_dead(self, record: Record, now: float) -> bool:
        if max(record.created, record.touched) > now + MAX_SKEW:
            # Dated in the future: a clock was wrong, or somebody replays what a wrong one sealed.
            return True
        return now >= self.settings.lifetime.end_of(record)

    def _unpack(self, plain: bytes) -> tuple[bytes, Record]:
        token, data, handle, created, touched, expires, owner, persistent, idle = unpackb(plain)
        kinds = type(token), type(data), type(handle), type(owner), type(persistent)
        if kinds not in _KINDS or not all(map(_is_time, (created, touched, expires, idle or 0))):
            raise ValueError("sealed, and no session")
        namespace = self.settings.namespace
        return token, Record(data, b"", handle, created, touched, expires, owner, persistent, idle, namespace)


def _is_time(seconds: Any) -> bool:
    # No NaN either, which no comparison would ever find dead.
    return type(seconds) in (float, int) and 0 <= seconds < math.inf


def _pack(token: bytes, record: Record) -> bytes:
    data, _, handle, created, touched, expires, owner, persistent, idle, _ = record
    packed: bytes = packb((token, data, handle, created, touched, expires, owner, persistent, idle))
    return packed


def _purpose(cookies: SchemeCookies, settings: Settings) -> bytes:
    """Return what a seal is bound to: which session it is, and where its cookie stands in a browser.

    A cookie that was set for another path or domain, under earlier options, is out of our reach: we could not remove
    it at a logout, and it would come first in the header and hide every change. So it opens nothing.
    """
    attributes = cookies.http.remove().split("; ")
    place = [text for text in attributes if text.startswith(("Domain=", "Path=", "Partitioned"))]
    purpose: bytes = packb(["wsgi-session session", settings.namespace, settings.environ_key, *place])
    return purpose
