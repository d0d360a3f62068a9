"""Sealing: authenticated encryption (AES-256-GCM) of a session's data for the store, each value by itself.

Sealed data is a MessagePack array, while plain data is a map::

    [head, nonce, sealed index, [sealed value, …]]

The head is the format (1 byte) and the id of the secret (4). The index maps the name of each value to the nonce of its
seal, in the order of the values. So the names are sealed too, and a load opens the index only, and a read one value.

The index is bound to the place of the record: its key in the store, its owner and its namespace. So a record that is
copied to another place does not open, and a rotation or a login, which gives a record another key, seals its index
again. The values are bound to the index, by their nonces: a value from another record, from another key of the session
or from an earlier save does not open. A copy of the whole record under its own key does: a store cannot prove that it
returns the newest one.

A nonce is 13 random bytes. The first one selects one of 256 AES keys, which HKDF derives from the secret; the others
are the nonce of AES-GCM. NIST SP 800-38D, section 8.3, allows 2**32 seals under one key with random nonces, so that one
secret is good for 2**40.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgpack import packb, unpackb

from wsgi_session.codec.packing import UNPACK_ERRORS, Packed, split
from wsgi_session.codec.sealed import CorruptData, SealedData, opened

# Change this when the layout changes, so that data of another release is refused and not misread.
_FORMAT = b"\x01"
_NONCE = 13
#: What a seal is for. It is authenticated, so that no value passes for an index.
_VALUE, _INDEX = b"wsgi-session value", b"wsgi-session index"
# What the store's contents can make wrong. IndexError: an empty nonce. KeyError: an unknown secret.
_OPEN_ERRORS = (InvalidTag, IndexError, KeyError, *UNPACK_ERRORS)


class Sealing:
    """Seals and opens the data of records. The first of ``secrets_newest_first`` seals; all of them open.

    ``accept_plain``: also read data that is not sealed, of a time without encryption.
    """

    def __init__(self, secrets_newest_first: Sequence[bytes], *, accept_plain: bool) -> None:
        self.accept_plain = accept_plain
        newest_first = [_Ciphers(secret) for secret in secrets_newest_first]
        self.newest = newest_first[0]
        #: The ciphers for each head. If two secrets have the same id (a chance of 2**-32), the newest wins.
        self.by_head = {ciphers.head: ciphers for ciphers in reversed(newest_first)}

    def join(self, packed: Packed) -> bytes:
        """Seal each value that is not sealed yet; return data that :meth:`bind` can bind to a place in the store."""
        ciphers = self.newest
        random = os.urandom(_NONCE * len(packed))
        nonces, sealed = [], []
        for start, value in zip(range(0, len(random), _NONCE), packed.values(), strict=True):
            nonce = random[start : start + _NONCE]
            if type(value) is bytes:
                ciphertext = ciphers[nonce[0]].encrypt(nonce[1:], value, _VALUE)
            else:
                nonce, ciphertext = self._carry_over(nonce, value)
            nonces.append(nonce)
            sealed.append(ciphertext)
        return _Unbound.of(packed, packb([list(packed), b"".join(nonces)]), packb(sealed))

    def bind(self, data: bytes, key: bytes, owner: bytes | None, namespace: str) -> bytes:
        """Return ``data`` as the store keeps it in the record under ``key``."""
        unbound = data if isinstance(data, _Unbound) else self.join(split(data))
        assert isinstance(unbound, _Unbound)
        ciphers, nonce = self.newest, os.urandom(_NONCE)
        index = ciphers[nonce[0]].encrypt(nonce[1:], unbound.names_and_nonces, _place(key, owner, namespace))
        # An array of four items, of which the last one is packed already.
        return b"".join((b"\x94", packb(ciphers.head), packb(nonce), packb(index), unbound.sealed_values))

    def stored(self, data: object, key: bytes, owner: bytes | None, namespace: str) -> bytes:
        """Return what the store has in the record under ``key``, as data that is opened when it is split."""
        # SQLite stores any type in any column.
        stored = _Stored(data if type(data) is bytes else b"")
        stored.place = self, key, owner, namespace
        return stored

    def _carry_over(self, nonce: bytes, value: Any) -> tuple[bytes, bytes]:
        """Return nonce and ciphertext of a sealed value; with the given nonce if an older secret sealed it."""
        position, data = value
        if data.ciphers is not self.newest:
            try:
                return nonce, self.newest[nonce[0]].encrypt(nonce[1:], opened(value), _VALUE)
            except CorruptData:
                pass  # It stays as it is, and so remains corrupt.
        return data.nonce_of(position), data.values[position]


class _Ciphers(dict[int, AESGCM]):
    """The ciphers of one secret, by the first byte of a nonce. Each is made when it is first needed."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.head = _FORMAT + _derive(secret, b"id")[:4]

    def __missing__(self, first_byte: int) -> AESGCM:
        cipher = self[first_byte] = AESGCM(_derive(self._secret, b"key %d" % first_byte))
        return cipher


class _Unbound(SealedData):
    """Sealed values whose index is not sealed yet. As bytes, both of them, so that their size can be limited."""

    packed: Packed
    names_and_nonces: bytes
    sealed_values: bytes

    @classmethod
    def of(cls, packed: Packed, names_and_nonces: bytes, sealed_values: bytes) -> _Unbound:
        data = cls(names_and_nonces + sealed_values)
        data.packed, data.names_and_nonces, data.sealed_values = packed, names_and_nonces, sealed_values
        return data

    def open(self) -> Packed:
        return self.packed


class _Stored(SealedData):
    """Data as the store keeps it."""

    #: How to open it, and where it was found.
    place: tuple[Sealing, bytes, bytes | None, str]
    #: What opening the index gives: the ciphers of the secret that sealed it, and the seals with their nonces.
    ciphers: _Ciphers
    nonces: bytes
    values: list[bytes]

    def open(self) -> Packed:
        """Open the index; return the values, which are still sealed."""
        # One function, because every request that looks at its session runs it.
        sealing, key, owner, namespace = self.place
        try:
            content = unpackb(self)
            if type(content) is dict:
                return self._plain(content)
            head, nonce, index, self.values = content
            self.ciphers = ciphers = sealing.by_head[head]
            place = _place(key, owner, namespace)
            names, self.nonces = unpackb(ciphers[nonce[0]].decrypt(nonce[1:], index, place))
            # A comprehension, because dict(zip(...)) takes half as long again.
            values: Any = {name: (position, self) for position, name in enumerate(names)}
        except _OPEN_ERRORS as error:
            raise CorruptData("not sealed with one of the secrets, or not for this place") from error
        if type(self.values) is not list or len(self.values) != len(names):
            raise CorruptData("a value is missing")
        if ciphers is not sealing.newest:
            self.outdated = True
        packed: Packed = values
        return packed

    def open_value(self, position: int) -> bytes:
        start = position * _NONCE
        nonces = self.nonces
        try:
            return self.ciphers[nonces[start]].decrypt(
                nonces[start + 1 : start + _NONCE], self.values[position], _VALUE
            )
        except (InvalidTag, TypeError, ValueError) as error:
            raise CorruptData("not sealed with this secret, or not for this place") from error

    def nonce_of(self, position: int) -> bytes:
        return self.nonces[position * _NONCE : (position + 1) * _NONCE]

    def _plain(self, values: Packed) -> Packed:
        sealing, *_ = self.place
        if not sealing.accept_plain or not {bytes}.issuperset(map(type, values.values())):
            raise CorruptData("not sealed")
        self.outdated = True
        return values


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"wsgi-session store " + purpose).derive(bytes(secret))


def _place(key: bytes, owner: bytes | None, namespace: str) -> bytes:
    """Return the associated data of an index. Keys and owners are SHA-256 hashes, so that it is unambiguous."""
    if owner is None:
        return b"".join((_INDEX, key, b"-", namespace.encode()))
    return b"".join((_INDEX, key, b"+", owner, namespace.encode()))
