"""Seals: authenticated encryption of bytes (AES-256-GCM), as text for a cookie.

The layout of a seal, before it is encoded as unpadded url-safe base64, which no cookie parser changes
(rack-session#60)::

    format (1 byte, 1) | key id (4) | salt (16) | nonce (12) | ciphertext and tag (16)        AES-256-GCM

The key id shows which secret was used, so that the secrets need not be tried in turn. Each seal has its own key,
derived from the secret and the salt, so that the number of seals is not limited (one key with random nonces is safe
for 2**32 seals). Format and purpose are authenticated too, so that a seal for another purpose is not accepted
(CVE-2021-41263, CVE-2023-48309). Each seal has exactly one valid text: other spellings of the same base64 are refused.
Nothing is compressed, because the compressed length would reveal something about the contents (CVE-2012-4929).
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

# Change this when the sealed fields change, so that seals of another release are refused and not misread.
_FORMAT = b"\x01"
# The sizes of the parts in bytes, and where two of them start. The head is the format and the key id.
_HEAD, _SALT, _NONCE, _TAG = 5, 16, 12, 16
_NONCE_START = _HEAD + _SALT
_CIPHERTEXT_START = _NONCE_START + _NONCE
#: Bytes that sealing adds to the plaintext.
OVERHEAD = _CIPHERTEXT_START + _TAG
#: The part of a seal's text that has only random characters (of the salt), and so identifies the seal.
RANDOM_PART = slice(8, 14)
# The text of a seal, or its first chunk, which starts with the number of cookies (see chunks.py). The group is the
# head.
_HEAD_OF_TEXT = re.compile(rf"(?:[0-9]\.)?([A-Za-z0-9_-]{{8}})[A-Za-z0-9_-]{{{OVERHEAD * 4 // 3 - 8},}}", re.ASCII)
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class Sealer:
    """Seals and opens values for one purpose. The first of ``secrets_newest_first`` seals; all of them open."""

    def __init__(self, secrets_newest_first: Sequence[bytes], purpose: bytes) -> None:
        keys = [hmac.digest(secret, b"wsgi-session seal key", "sha256") for secret in secrets_newest_first]
        heads = [_FORMAT + hashlib.sha256(b"id of " + key).digest()[: _HEAD - len(_FORMAT)] for key in keys]
        self._newest = heads[0]
        # The key and the associated data for each head. If two secrets have the same key id (a chance of 2**-32), the
        # newest wins, because it comes last.
        oldest_first = reversed(list(zip(heads, keys, strict=True)))
        self._keys = {head: (key, purpose + head) for head, key in oldest_first}

    def seal(self, plain: bytes) -> str:
        """Seal ``plain`` and return the text, which is different each time."""
        head = self._newest
        random = os.urandom(_SALT + _NONCE)
        key, associated_data = self._keys[head]
        ciphertext = _make_cipher(key, random[:_SALT]).encrypt(random[_SALT:], plain, associated_data)
        return _encode(head + random + ciphertext)

    def looks_foreign(self, text: str) -> bool:
        """Return whether ``text`` (a seal, or its first chunk) looks like a seal made with an unknown secret."""
        start = _HEAD_OF_TEXT.match(text)
        if start is None:
            return False
        head = a2b_base64(start[1].encode("ascii").translate(_FROM_URL_SAFE))[:_HEAD]
        return head.startswith(_FORMAT) and head not in self._keys

    def open(self, text: str) -> tuple[bytes, bool] | None:
        """Return the plaintext of a seal, and whether the newest secret sealed it; ``None`` if the seal is not valid.

        Never raises, whatever a client sends. Before the text is authenticated, only its base64 is decoded
        (CVE-2026-39324).
        """
        try:
            raw = a2b_base64(text.encode("ascii").translate(_FROM_URL_SAFE) + b"==")
        except ValueError:
            return None
        head = raw[:_HEAD]
        if head not in self._keys or len(raw) < OVERHEAD or _encode(raw) != text:
            return None
        key, associated_data = self._keys[head]
        salt, nonce = raw[_HEAD:_NONCE_START], raw[_NONCE_START:_CIPHERTEXT_START]
        try:
            plain = _make_cipher(key, salt).decrypt(nonce, raw[_CIPHERTEXT_START:], associated_data)
        except InvalidTag:
            return None
        return plain, head == self._newest


def _make_cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key, salt, "sha256"))


def _encode(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).translate(_TO_URL_SAFE, b"=").decode()
