"""State kept in the cookie itself, sealed with AES-256-GCM: the other strategy beside ``Backend``.

What is sealed stands in ``sid``, or in up to five cookies if it is long. Text of one seal (url-safe base64, unpadded)::

    format (1 byte, 1) | key id (4) | salt (16) | nonce (12) | ciphertext and tag (16)

The key id says which secret's key opens it, so that rotation costs no trial loop. Each seal has a key of its own,
derived from the secret's and the salt: no number of cookies wears a key out (random nonces alone last for 2**32). The
seal is bound to format, namespace and environ key, so that one for any other purpose opens nothing (CVE-2021-41263,
CVE-2023-48309). Nothing is decoded before the seal has proved genuine (CVE-2026-39324).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgpack import packb, unpackb

from wsgi_session import tokens
from wsgi_session.backend import Bearer, Loaded
from wsgi_session.codec import CorruptData, split
from wsgi_session.config import Settings
from wsgi_session.cookies import SchemeCookies, SessionCookie
from wsgi_session.stores import Outcome, Record, Store

#: Bytes of one cookie, attributes included, that every browser takes (RFC 6265bis, 6.1).
MAX_COOKIE = 4096
#: Cookies that one session may take.
MAX_PIECES = 5
#: Stale pieces removed with one answer: what an attacker plants must not make our headers grow.
MAX_REMOVALS = 10
#: Seconds that the clocks of two machines may differ.
MAX_SKEW = 60.0
_FORMAT = b"\x01"
_KEY_ID, _SALT, _NONCE, _TAG = 4, 16, 12, 16
_HEAD = len(_FORMAT) + _KEY_ID
_OPEN = _HEAD + _SALT + _NONCE
# The record's other fields, and the secret for CSRF tokens, take less than this.
_FIELDS = 160
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class SealedBackend:
    """The sessions of one middleware, in its visitors' cookies."""

    stateless = True
    sweep_due = False

    def __init__(
        self, store: Store, secrets_newest_first: Sequence[bytes], cookies: SchemeCookies, settings: Settings
    ) -> None:
        self.store = store
        self._cookies = cookies
        binding = f"wsgi-session sealed 1:{len(settings.namespace)}:{settings.namespace}:{settings.environ_key}"
        self._binding = binding.encode()
        keys = [hmac.digest(secret, b"wsgi-session seal key", "sha256") for secret in secrets_newest_first]
        ids = [hashlib.sha256(b"id of " + key).digest()[:_KEY_ID] for key in keys]
        # Of two with one id (a chance of 2**-32), the newest.
        self._keys = dict(reversed(list(zip(ids, keys, strict=True))))
        self._newest = ids[0]
        room = sum(self._room(piece) for piece in range(MAX_PIECES)) * 3 // 4 - _OPEN - _TAG - _FIELDS
        self.settings = replace(settings, max_size=min(settings.max_size, room))

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the first live session among the request's cookies."""
        header = environ.get("HTTP_COOKIE")
        cookie = self._cookies.of(environ)
        values = cookie.read(header) if header else None
        if not values or header is None:
            return "new", None, None, {}
        state = "tampered"
        for value in values:
            opened = self._open(cookie, value, header)
            if opened is None:
                continue
            bearer, record = opened
            if self._is_dead(record, now):
                state = "unknown"
                continue
            try:
                return "live", bearer, record, split(record.data)
            except CorruptData:
                self.settings.events("corrupt", handle=record.handle)
                state = "unknown"
        if state == "tampered":
            self.settings.events("tampered", cookies=len(values))
        return state, None, None, {}

    def sweep(self, now: float) -> None:
        """Nothing to do: what is dead is in the browsers."""

    def look_up(self, bearer: Bearer, now: float) -> Loaded:
        """Return nothing: what other requests made of the session is in no reach of this one."""
        return "unknown", None, None, {}

    def draw(self) -> Bearer:
        """Return a bearer that nobody has yet."""
        return Bearer(tokens.draw_token(), True)

    def create(self, bearer: Bearer, record: Record, now: float) -> Bearer:
        bearer.record = record
        return bearer

    def replace(self, bearer: Bearer, record: Record, version: bytes, now: float) -> Outcome:
        bearer.record = record
        return Outcome.SAVED

    def rotate(
        self, old: Bearer, new: Bearer, record: Record, version: bytes, now: float
    ) -> tuple[Outcome, Bearer]:
        new.record = record
        return Outcome.SAVED, new

    def touch(self, bearer: Bearer, touched: float, expires: float, now: float) -> bool:
        assert bearer.record is not None
        bearer.record = bearer.record._replace(touched=touched, expires=expires)
        return True

    def delete(self, bearer: Bearer, record: Record, now: float) -> None:
        """Nothing to do: the cookie's removal is all there is to end."""

    def set_cookies(self, environ: Mapping[str, Any], bearer: Bearer, max_age: float | None) -> list[str]:
        """Return the Set-Cookie values that put the session into the browser, and take stale pieces out of it."""
        assert bearer.record is not None
        cookie = self._cookies.of(environ)
        text = self._seal(bearer.token, bearer.record)
        whole = cookie.write(text, max_age)
        if len(whole) <= MAX_COOKIE:
            return [whole, *self._removals(cookie, environ, keep="")]
        mark = _mark(text)
        pieces: list[str] = []
        while text:
            room = self._room(len(pieces))
            pieces.append(text[:room])
            text = text[room:]
        head = cookie.write(f"{len(pieces)}.{pieces[0]}", max_age)
        rest = [cookie.piece(f".{number}{mark}").write(part, max_age) for number, part in enumerate(pieces[1:], 1)]
        # The head last: until it is there, the browser has the old one and its pieces.
        return [*rest, head, *self._removals(cookie, environ, keep=mark)]

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove what the request sent of ours, none if it sent nothing."""
        cookie = self._cookies.of(environ)
        removals = self._removals(cookie, environ, keep="")
        return [cookie.remove(), *removals] if cookie.read(environ.get("HTTP_COOKIE", "")) else removals

    def _seal(self, token: bytes, record: Record) -> str:
        fields = (
            token, record.data, record.handle, record.created, record.touched, record.expires, record.owner,
            record.persistent, record.idle,
        )  # fmt: skip
        drawn = os.urandom(_SALT + _NONCE)
        head = _FORMAT + self._newest
        key = hmac.digest(self._keys[self._newest], drawn[:_SALT], "sha256")
        sealed = AESGCM(key).encrypt(drawn[_SALT:], packb(fields), self._binding + head)
        return b2a_base64(head + drawn + sealed, newline=False).translate(_URL_SAFE, b"=").decode()

    def _open(self, cookie: SessionCookie, value: str, header: str) -> tuple[Bearer, Record] | None:
        text = self._joined(cookie, value, header)
        if text is None or not text.isascii():
            return None
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        master = self._keys.get(raw[1:_HEAD])
        if master is None or raw[:1] != _FORMAT:
            return None
        key = hmac.digest(master, raw[_HEAD : _HEAD + _SALT], "sha256")
        try:
            plain = AESGCM(key).decrypt(raw[_HEAD + _SALT : _OPEN], raw[_OPEN:], self._binding + raw[:_HEAD])
        except (InvalidTag, ValueError):
            return None
        # Genuine from here on: we wrote it.
        token, data, handle, created, touched, expires, owner, persistent, idle = unpackb(plain)
        record = Record(
            data, b"", handle, created, touched, expires, owner, persistent, idle, self.settings.namespace
        )
        return Bearer(token, raw[1:_HEAD] == self._newest, record=record), record

    def _joined(self, cookie: SessionCookie, value: str, header: str) -> str | None:
        """Return the whole text of a seal whose head is ``value``, ``None`` if a piece is missing."""
        number, dot, first = value.partition(".")
        if not dot:
            return value
        if number not in ("2", "3", "4", "5"):
            return None
        text = first
        for place in range(1, int(number)):
            # By exact name: a crowd of foreign pieces is looked at by nobody.
            found = cookie.piece(f".{place}{_mark(first)}").read(header)
            if not found:
                return None
            text += found[0]
        return text

    def _is_dead(self, record: Record, now: float) -> bool:
        if max(record.created, record.touched) > now + MAX_SKEW:
            # Dated in the future: a clock was wrong, or somebody replays what a wrong one sealed.
            return True
        return now >= min(record.expires, self.settings.expires(record.touched, record.created, record.idle))

    def _removals(self, cookie: SessionCookie, environ: Mapping[str, Any], keep: str) -> list[str]:
        """Return what removes the pieces of other seals that the request sent."""
        suffixes = cookie.suffixes(environ.get("HTTP_COOKIE", ""))
        stale = [suffix for suffix in suffixes if not (keep and suffix.endswith(keep))]
        return [cookie.piece(suffix).remove() for suffix in stale[:MAX_REMOVALS]]

    def _room(self, piece: int) -> int:
        """Return how many characters of a seal fit into one cookie, the longest of names and attributes assumed."""
        longest = max((self._cookies.http, self._cookies.https), key=lambda cookie: len(cookie.name))
        written = longest.piece(f".{piece}123456").write("", 34_560_000.0)
        return MAX_COOKIE - len(written) - len("5.")


def _mark(text: str) -> str:
    """Return what tells the pieces of one seal from another's: random characters out of its salt."""
    return text[8:14]
