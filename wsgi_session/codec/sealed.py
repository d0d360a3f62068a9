"""Encrypted data and values, as the rest of the package sees them: they are opened when they are first read.

``sealing.py`` makes them. This module does not need the package ``cryptography``.
"""

from __future__ import annotations

from typing import Any


class CorruptData(ValueError):
    """Bytes that this codec did not write."""


#: Bytes that sealing adds to a plaintext.
TAG = 16
#: What the seal of a value is for. It is authenticated, so that no value passes for something else.
VALUE = b"wsgi-session value"
#: How sealed data starts: an array of four items, of which the first is five bytes, beginning with the format.
PREFIX = b"\x94\xc4\x05\x01"


class SealedData(bytes):
    """A record's data that ``split()`` does not decode itself, because its values are sealed."""

    #: Whether an older secret sealed it, or none, so that the next save has to seal it again.
    outdated = False

    def open(self) -> Any:
        """Return the values, of type ``Packed``, or raise ``CorruptData``."""
        raise NotImplementedError


class SealedValue(tuple[bytes, bytes, Any]):
    """A value of a session that is still sealed: nonce, ciphertext, and the ciphers of the secret that sealed it.

    It takes the place of the packed bytes: a save copies it unchanged, and ``unpack()`` opens it. A tuple, because a
    load makes one for each key of the session, and no other object is made as fast.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # equal to its plaintext, which has another hash

    def open(self) -> bytes:
        """Return the packed value, or raise ``CorruptData``."""
        nonce, ciphertext, ciphers = self
        try:
            plain: bytes = ciphers[nonce[0]].decrypt(nonce[1:], ciphertext, VALUE)
        except Exception as error:
            # Only the store's contents can be wrong: a tag, the type of a value, the length of a nonce.
            raise CorruptData("not sealed with this secret, or not for this place") from error
        return plain

    def __len__(self) -> int:
        return len(self[1]) - TAG

    def __eq__(self, other: object) -> bool:
        if type(other) is SealedValue and self[:2] == other[:2]:
            return True
        if not isinstance(other, (bytes, SealedValue)) or len(self) != len(other):
            return False
        try:
            return self.open() == (other if isinstance(other, bytes) else other.open())
        except CorruptData:  # Such a value is not equal to any other.
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other


def is_outdated(data: bytes) -> bool:
    """Return whether a record's data, which was split, has to be sealed again with the newest secret."""
    return isinstance(data, SealedData) and data.outdated


def looks_sealed(data: object) -> bool:
    """Return whether a record's data starts like sealed data."""
    return isinstance(data, bytes) and data.startswith(PREFIX)
