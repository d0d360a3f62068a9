"""Tokens: how they are drawn, signed for the cookie, opened again, and hashed into the key that a store sees.

A token is 256 random bits as 43 url-safe characters. In the cookie it stands signed, ``token.signature``, in the form
of itsdangerous' ``Signer`` with HMAC-SHA256 and a key derived from the secret and the namespace, so that a cookie of
one middleware opens nothing at another (CVE-2021-41263). A store only ever sees the SHA-256 of it: a dump of the store
logs nobody in (CVE-2019-16782).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from hmac import compare_digest

from itsdangerous import Signer

#: What a signed token looks like on the wire: 43 characters, a dot, 43 characters.
SIGNED_LENGTH = 87
_TOKEN_LENGTH = 43
_SIGNED = re.compile(r"[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}", re.ASCII)
_CSRF_PURPOSE = b"wsgi-session csrf token"
# 64 bytes. Checked before anything is decoded: decoders skip foreign characters, and Python 3.15 warns of "+" and "/".
_CSRF_FORM = re.compile(r"[A-Za-z0-9_-]{86}")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = str.maketrans("-_", "+/")


class Tokens:
    """Draws, signs and opens the tokens of one namespace. ``secrets_newest_first``: the first signs, all verify."""

    def __init__(self, secrets_newest_first: Sequence[bytes], namespace: str) -> None:
        self._newest, *self._older = [_signature_with(secret, namespace) for secret in secrets_newest_first]

    def draw(self) -> bytes:
        """Return a fresh token: only the server ever issues one (CVE-2011-4718, CVE-2024-38513)."""
        return draw_token()

    def sign(self, token: bytes) -> str:
        """Return what stands in the cookie."""
        return (token + b"." + self._newest(token)).decode()

    def open(self, signed: str) -> tuple[bytes, bool] | None:
        """Return the token and whether the newest secret signed it; ``None`` for anything we did not sign."""
        if len(signed) != SIGNED_LENGTH or not signed.isascii():
            return None
        token, _, given = signed.encode().partition(b".")
        if compare_digest(self._newest(token), given):
            return token, True
        for signature in self._older:
            if compare_digest(signature(token), given):
                return token, False
        return None


def looks_signed(text: str) -> bool:
    """Whether ``text`` has the form of a signed token, whatever secret signed it."""
    return _SIGNED.fullmatch(text) is not None


def _signature_with(secret: bytes, namespace: str) -> Callable[[bytes], bytes]:
    """Return what signs a token as itsdangerous does, its key derived and scheduled once and not with every cookie.

    ``Signer.unsign`` derives the key again at each call: measured, that was half of what reading a session cost.
    """
    salt = b"wsgi-session.token." + namespace.encode()
    key = Signer(secret, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256).derive_key()
    # RFC 2104, with both key pads hashed already. (hmac.HMAC.copy() costs as much as all the rest.)
    padded = key.ljust(hashlib.sha256().block_size, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))

    def signature(token: bytes) -> bytes:
        inside = inner.copy()
        inside.update(token)
        outside = outer.copy()
        outside.update(inside.digest())
        return b2a_base64(outside.digest(), newline=False).translate(_URL_SAFE, b"=")

    return signature


def _url_safe(raw: bytes) -> bytes:
    return b2a_base64(raw, newline=False).translate(_URL_SAFE, b"=")


def draw_token() -> bytes:
    """Return 256 random bits as 43 url-safe characters."""
    return b2a_base64(os.urandom(32), newline=False).translate(_URL_SAFE, b"=")


def key_of(token: bytes) -> bytes:
    """Return what a store files the session of ``token`` under."""
    return hashlib.sha256(token).digest()


def owner_key(namespace: str, owner: str) -> bytes:
    """Return what a store files the sessions of ``owner`` under: no name or address stands in its index."""
    # The length keeps ("a", "b:c") and ("a:b", "c") apart.
    # What no owner can be (a lone surrogate, asked for by an administrator) is an owner without sessions.
    return hashlib.sha256(f"{len(namespace)}:{namespace}:{owner}".encode(errors="surrogatepass")).digest()


def draw_names() -> tuple[str, bytes]:
    """Return a handle and a version: the public name of a session, and the name of one write.

    A handle opens nothing (CVE-2020-5224: a list of sessions showed their keys).
    """
    drawn = os.urandom(28)
    # 12 bytes make 16 characters, and no "=".
    return b2a_base64(drawn[:12], newline=False).translate(_URL_SAFE).decode(), drawn[12:]


def draw_version() -> bytes:
    """Return the name of one write."""
    return os.urandom(16)


def draw_rotation(*, begins: bool) -> bytes:
    """Return the name of the write that rotates a session; ``begins``: a login, so that another session begins.

    The last bit says which, for a logout that comes with the token from before: it has nothing but the tombstone, which
    has this version.
    """
    drawn = os.urandom(16)
    return drawn[:15] + bytes((drawn[15] & ~1 | begins,))


def begins_another(version: bytes) -> bool:
    """Whether the rotation that wrote this version was a login."""
    return version[-1] & 1 == 1


def csrf_token(token: bytes) -> str:
    """Return a CSRF token for the session of ``token``, another text each time.

    The mask keeps compression from leaking it (BREACH), and the HMAC keeps the token itself out of pages.
    """
    mask = os.urandom(32)
    return _url_safe(mask + _xor(mask, _csrf_secret(token))).decode()


def steady_csrf_token(masked: str) -> str:
    """Return the same CSRF token without its mask, the same text each time, for a framework that promises that."""
    raw = _raw(masked)
    return _url_safe(bytes(32) + _xor(raw[:32], raw[32:])).decode()


def csrf_matches(token: bytes, given: object) -> bool:
    """Whether ``given`` was made by :func:`csrf_token` for ``token``. What is not text was not: a file part, ``None``.

    Never raises over what a client sent.
    """
    if not isinstance(given, str) or not _CSRF_FORM.fullmatch(given):
        return False
    raw = _raw(given)
    return compare_digest(_xor(raw[:32], raw[32:]), _csrf_secret(token))


def _raw(masked: str) -> bytes:
    return a2b_base64(masked.translate(_STANDARD) + "==")


def _csrf_secret(token: bytes) -> bytes:
    return hmac.digest(token, _CSRF_PURPOSE, "sha256")


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
