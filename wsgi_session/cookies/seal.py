"""Seals: bytes that only we can make and only we can read, as text for a cookie.

Text of one seal (url-safe base64, unpadded, so that no parser of cookies touches it: rack-session#60)::

    format (1 byte, 1) | key id (4) | salt (16) | nonce (12) | ciphertext and tag (16)        AES-256-GCM

The key id says which secret's key opens it, so that rotation costs no trial loop. Each seal has a key of its own,
derived from the secret's and the salt: no number of cookies wears a key out (random nonces alone last for 2**32). The
seal is bound to its format and its purpose: what was sealed for any other opens nothing (CVE-2021-41263,
CVE-2023-48309). There is one text for one seal: no other spelling of the same base64 is taken. Nothing is compressed,
because the length of the outcome would tell about the contents (CVE-2012-4929).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Changes with what is sealed: what another release sealed is a stranger's, not a riddle.
_FORMAT = b"\x01"
_HEAD, _SALT, _NONCE, _TAG = 5, 16, 12, 16
_SALTED = _HEAD + _SALT
_OPEN = _SALTED + _NONCE
#: Bytes that a seal adds to what is in it.
OVERHEAD = _OPEN + _TAG
#: Where in a seal's text there are random characters, which tell one seal from another: all of them the salt's.
RANDOM = slice(8, 14)
# The characters that hold the head, after the number of cookies if there are several; as many more as a seal has.
_HEAD_OF_TEXT = re.compile(rf"(?:[0-9]\.)?([A-Za-z0-9_-]{{8}})[A-Za-z0-9_-]{{{OVERHEAD * 4 // 3 - 8},}}", re.ASCII)
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class Seals:
    """Seals for one purpose. ``secrets_newest_first``: the first seals, all open."""

    def __init__(self, secrets_newest_first: Sequence[bytes], purpose: bytes) -> None:
        keys = [hmac.digest(secret, b"wsgi-session seal key", "sha256") for secret in secrets_newest_first]
        heads = [_FORMAT + hashlib.sha256(b"id of " + key).digest()[: _HEAD - len(_FORMAT)] for key in keys]
        self._newest = heads[0]
        # By head: the key, and what the seal is bound to. Of two with one id (a chance of 2**-32), the newest.
        found = reversed(list(zip(heads, keys, strict=True)))
        self._keys = {head: (key, purpose + head) for head, key in found}

    def seal(self, plain: bytes) -> str:
        """Return the text of a new seal, another one each time."""
        head = self._newest
        drawn = os.urandom(_SALT + _NONCE)
        key, bound_to = self._keys[head]
        sealed = _cipher(key, drawn[:_SALT]).encrypt(drawn[_SALT:], plain, bound_to)
        return _text(head + drawn + sealed)

    def looks_foreign(self, text: str) -> bool:
        """Whether ``text``, or the part of it in a first cookie, has the form of a seal by a secret that we lack."""
        start = _HEAD_OF_TEXT.match(text)
        if start is None:
            return False
        head = a2b_base64(start[1].encode("ascii").translate(_FROM_URL_SAFE))[:_HEAD]
        return head.startswith(_FORMAT) and head not in self._keys

    def open(self, text: str) -> tuple[bytes, bool] | None:
        """Return what is in a seal, and whether the newest secret made it; ``None`` for anything we did not seal.

        Never raises over what a client sent. Only base64 is undone before it has proved genuine (CVE-2026-39324).
        """
        try:
            raw = a2b_base64(text.encode("ascii").translate(_FROM_URL_SAFE) + b"==")
        except ValueError:
            return None
        head = raw[:_HEAD]
        if head not in self._keys or len(raw) < OVERHEAD or _text(raw) != text:
            return None
        key, bound_to = self._keys[head]
        try:
            plain = _cipher(key, raw[_HEAD:_SALTED]).decrypt(raw[_SALTED:_OPEN], raw[_OPEN:], bound_to)
        except InvalidTag:
            return None
        return plain, head == self._newest


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key, salt, "sha256"))


def _text(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).translate(_TO_URL_SAFE, b"=").decode()
