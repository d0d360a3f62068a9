"""Encrypted data and values, as the rest of the package sees them: each is opened when it is first needed.

``sealing.py`` makes them. This module does not need the package ``cryptography``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

#: How sealed data starts: an array of four items, of which the first is six bytes, beginning with the format.
PREFIX = b"\x94\xc4\x06\x01"


class CorruptData(ValueError):
    """Bytes that this codec did not write."""


class SealedData(bytes):
    """A record's data that ``split()`` does not decode itself, because its values are sealed.

    A sealed value is a tuple ``(position, data)``. It takes the place of the packed bytes: a save copies it unchanged,
    and ``unpack()`` opens it. It is a plain tuple, the cheapest object, because a load makes one for each key.
    """

    @abstractmethod
    def open(self) -> Any:
        """Return the values, of type ``Packed``, or raise ``CorruptData``."""

    @property
    @abstractmethod
    def outdated(self) -> bool:
        """Whether it was not sealed with the newest secret, so that the next save has to seal it again."""


def opened(packed: Any) -> bytes:
    """Return a packed value as bytes. Raises ``CorruptData`` if it is sealed and cannot be opened."""
    if type(packed) is tuple:
        position, data = packed
        plain: bytes = data.open_value(position)
        return plain
    value: bytes = packed
    return value


def same_value(one: Any, other: Any) -> bool:
    """Return whether two packed values are equal, sealed or not. ``None`` stands for no value."""
    if type(one) is not tuple and type(other) is not tuple:
        return bool(one == other)
    try:
        return opened(one) == opened(other)
    except CorruptData:
        return False


def size_of(packed: bytes) -> int:
    """Return the size of a packed value in bytes; 0 if it is sealed and cannot be opened."""
    try:
        return len(opened(packed))
    except CorruptData:
        return 0


def is_outdated(data: bytes) -> bool:
    """Return whether a record's data has to be sealed again with the newest secret; False without encryption."""
    return isinstance(data, SealedData) and data.outdated


def looks_sealed(data: object) -> bool:
    """Return whether a record's data starts like sealed data."""
    return isinstance(data, bytes) and data.startswith(PREFIX)
