"""Tokens: how they are drawn, signed for the cookie, opened again, and hashed into the key that a store sees.

A token is 256 random bits as 43 url-safe characters. In the cookie it stands signed, ``token.signature``, by
itsdangerous with HMAC-SHA256 and a key derived from the secret and the namespace, so that a cookie of one middleware
opens nothing at another (CVE-2021-41263). A store only ever sees the SHA-256 of it: a dump of the store logs nobody in
(CVE-2019-16782).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

#: What a signed token looks like on the wire: 43 characters, a dot, 43 characters.
SIGNED_LENGTH = 87
_CSRF_PURPOSE = b"wsgi-session csrf token"
_CSRF_LENGTH = 86


class _KeyedOnce(SigningAlgorithm):
    """HMAC-SHA256 whose key schedule is computed once, not with every cookie."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        signature = self._keyed.copy()
        signature.update(value)
        return signature.digest()


def _signer(secret: bytes, namespace: str) -> Signer:
    salt = b"wsgi-session.token." + namespace.encode()
    derived = Signer(secret, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256).derive_key()
    return Signer(derived, salt=salt, key_derivation="none", algorithm=_KeyedOnce(derived))


class Tokens:
    """Draws, signs and opens the tokens of one namespace. ``secrets_newest_first``: the first signs, all verify."""

    def __init__(self, secrets_newest_first: Sequence[bytes], namespace: str) -> None:
        newest, *older = (_signer(secret, namespace) for secret in secrets_newest_first)
        self._newest = newest
        self._older = older

    def draw(self) -> bytes:
        """Return a fresh token: only the server ever issues one (CVE-2011-4718, CVE-2024-38513)."""
        return secrets.token_urlsafe(32).encode()

    def sign(self, token: bytes) -> str:
        """Return what stands in the cookie."""
        return self._newest.sign(token).decode()

    def open(self, signed: str) -> tuple[bytes, bool] | None:
        """Return the token and whether the newest secret signed it; ``None`` for anything we did not sign."""
        if len(signed) != SIGNED_LENGTH or not signed.isascii():
            return None
        try:
            return self._newest.unsign(signed), True
        except BadSignature:
            for signer in self._older:
                try:
                    return signer.unsign(signed), False
                except BadSignature:
                    continue
        return None


def key_of(token: bytes) -> bytes:
    """Return what a store files the session of ``token`` under."""
    return hashlib.sha256(token).digest()


def owner_key(namespace: str, owner: str) -> bytes:
    """Return what a store files the sessions of ``owner`` under: no name or address stands in its index."""
    # The length keeps ("a", "b:c") and ("a:b", "c") apart.
    return hashlib.sha256(f"{len(namespace)}:{namespace}:{owner}".encode()).digest()


def draw_handle() -> str:
    """Return a public name for a session. It opens nothing (CVE-2020-5224: a list of sessions showed their keys)."""
    return secrets.token_urlsafe(12)


def draw_version() -> bytes:
    """Return the name of one write."""
    return os.urandom(16)


def csrf_token(token: bytes) -> str:
    """Return a CSRF token for the session of ``token``, another text each time.

    The mask keeps compression from leaking it (BREACH), and the HMAC keeps the token itself out of pages.
    """
    mask = os.urandom(32)
    return urlsafe_b64encode(mask + _xor(mask, _csrf_secret(token))).decode().rstrip("=")


def csrf_matches(token: bytes, given: str) -> bool:
    """Whether ``given`` was made by :func:`csrf_token` for ``token``. Never raises over what a client sent."""
    if len(given) != _CSRF_LENGTH or not given.isascii():
        return False
    try:
        raw = urlsafe_b64decode(given + "==")
    except ValueError:
        return False
    # The decoder skips foreign characters: what had any is too short now.
    if len(raw) != 64:
        return False
    return hmac.compare_digest(_xor(raw[:32], raw[32:]), _csrf_secret(token))


def _csrf_secret(token: bytes) -> bytes:
    return hmac.digest(token, _CSRF_PURPOSE, "sha256")


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
