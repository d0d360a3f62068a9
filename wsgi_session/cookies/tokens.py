"""Tokens: how they are generated, signed and verified for the cookie, and hashed to the keys of a store.

A token is 256 random bits as 43 url-safe characters. The cookie contains ``token.signature``, in the format of
itsdangerous' ``Signer`` with HMAC-SHA256 and a key derived from the secret and the namespace, so that no middleware
accepts the cookie of another (CVE-2021-41263). A store sees only the SHA-256 of the token, so that a copy of the store
is not enough to log in (CVE-2019-16782).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import b32encode
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from hmac import compare_digest

from itsdangerous import Signer

#: The length of a signed token: 43 characters, a dot, 43 characters.
SIGNED_LENGTH = 87
_SIGNED = re.compile(r"[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}", re.ASCII)
_CSRF_PURPOSE = b"wsgi-session csrf token"
# 64 bytes as text. It is checked before decoding: decoders skip invalid characters, and Python 3.15 warns of + and /.
_CSRF_FORM = re.compile(r"[A-Za-z0-9_-]{86}")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = str.maketrans("-_", "+/")


class TokenSigner:
    """Signs and verifies the tokens of one namespace. The first of ``secrets_newest_first`` signs; all verify."""

    def __init__(self, secrets_newest_first: Sequence[bytes], namespace: str) -> None:
        salt = b"wsgi-session.token." + namespace.encode()
        self._newest, *self._older = [make_signer(secret, salt) for secret in secrets_newest_first]

    def sign(self, token: bytes) -> str:
        """Return the signed token, which is the cookie's value."""
        sign = self._newest
        return (token + b"." + sign(token)).decode()

    def verify(self, signed: str) -> tuple[bytes, bool] | None:
        """Return the token and whether the newest secret signed it; ``None`` if the signature is not valid."""
        if len(signed) != SIGNED_LENGTH or not signed.isascii():
            return None
        token, _, signature = signed.encode().partition(b".")
        sign = self._newest
        if compare_digest(sign(token), signature):
            return token, True
        for sign in self._older:
            if compare_digest(sign(token), signature):
                return token, False
        return None


def looks_signed(text: str) -> bool:
    """Return whether ``text`` has the form of a signed token. The signature is not checked."""
    return _SIGNED.fullmatch(text) is not None


def make_signer(secret: bytes, salt: bytes) -> Callable[[bytes], bytes]:
    """Return a function that signs as itsdangerous does (HMAC-SHA256, url-safe text), but prepares its key only once.

    ``salt``: what it is for; each purpose has a key of its own.

    ``Signer.unsign`` derives the key at each call, which was measured as half the cost of reading a session.
    """
    key = Signer(secret, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256).derive_key()
    # HMAC (RFC 2104) with both key pads hashed in advance. hmac.HMAC.copy() would cost as much as the rest of signing.
    padded = key.ljust(hashlib.sha256().block_size, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))

    def signature(token: bytes) -> bytes:
        inside = inner.copy()
        inside.update(token)
        outside = outer.copy()
        outside.update(inside.digest())
        # As _base64url() does, without a call.
        return b2a_base64(outside.digest()).rstrip(b"=\n").translate(_URL_SAFE)

    return signature


def _base64url(raw: bytes) -> bytes:
    return b2a_base64(raw).rstrip(b"=\n").translate(_URL_SAFE)


def new_token() -> bytes:
    """Return a new token: 256 random bits as 43 url-safe characters.

    Only the server issues tokens, never the client (CVE-2011-4718, CVE-2024-38513).
    """
    return _base64url(os.urandom(32))


def token_of(seed: bytes) -> bytes:
    """Return the token that is made of 32 secret bytes."""
    return _base64url(seed)


def new_short_token() -> bytes:
    """Return a new token of 40 characters, for a cookie without a signature: 200 random bits as lowercase base32.

    In one case only, because a column of a database or a file system may ignore the case.
    """
    return b32encode(os.urandom(25)).lower()


def store_key(token: bytes) -> bytes:
    """Return the store's key for the session of ``token``."""
    return hashlib.sha256(token).digest()


def owner_key(namespace: str, owner: str) -> bytes:
    """Return the key of ``owner`` in the store's index: a hash, so that the index contains no names or addresses."""
    # The length keeps ("a", "b:c") and ("a:b", "c") apart. An administrator may ask for an impossible owner, a text
    # with a lone surrogate: "surrogatepass" lets it be hashed, and it has no sessions.
    return hashlib.sha256(f"{len(namespace)}:{namespace}:{owner}".encode(errors="surrogatepass")).digest()


def new_handle_and_version() -> tuple[str, bytes]:
    """Return a new handle, the public name of a session, and a new version, which identifies one write.

    A handle is not a credential (CVE-2020-5224: a list of sessions showed their keys).
    """
    random = os.urandom(28)
    # 12 bytes are 16 characters in base64, without "=".
    return b2a_base64(random[:12], newline=False).translate(_URL_SAFE).decode(), random[12:]


def new_version() -> bytes:
    """Return a new version: 16 random bytes that identify one write."""
    return os.urandom(16)


def new_rotation_version(*, is_login: bool) -> bytes:
    """Return a new version for a write that rotates a session. Its last bit says whether the rotation is a login.

    The tombstone has this version, too: a logout that comes with the old token must not end the session of a login.
    """
    random = os.urandom(16)
    return random[:15] + bytes((random[15] & ~1 | is_login,))


def rotated_by_login(version: bytes) -> bool:
    """Return whether the rotation that wrote this version was a login."""
    return version[-1] & 1 == 1


def csrf_token(token: bytes) -> str:
    """Return a CSRF token for the session of ``token``. The text is different each time.

    The random mask prevents BREACH, an attack that guesses repeated texts by their compressed length. The HMAC keeps
    the token itself out of pages.
    """
    mask = os.urandom(32)
    return _base64url(mask + _xor(mask, _csrf_secret(token))).decode()


def unmasked_csrf_token(masked: str) -> str:
    """Return a CSRF token with a mask of zeros, for frameworks whose interface promises the same text each time."""
    raw = _decode_csrf_token(masked)
    return _base64url(bytes(32) + _xor(raw[:32], raw[32:])).decode()


def csrf_matches(token: bytes, given: object) -> bool:
    """Return whether ``given`` was made by :func:`csrf_token` for ``token``. A value that is not text does not match.

    Never raises, whatever a client sends.
    """
    if not isinstance(given, str) or not _CSRF_FORM.fullmatch(given):
        return False
    raw = _decode_csrf_token(given)
    return compare_digest(_xor(raw[:32], raw[32:]), _csrf_secret(token))


def _decode_csrf_token(masked: str) -> bytes:
    return a2b_base64(masked.translate(_STANDARD) + "==")


def _csrf_secret(token: bytes) -> bytes:
    return hmac.digest(token, _CSRF_PURPOSE, "sha256")


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
