"""Sealing: authenticated encryption (AES-256-GCM) of a session's data for the store, each value separately.

Sealed data is a MessagePack array, while plain data is a map::

    [head, nonce, sealed index, [sealed value, …]]

The head is the format (1 byte), the id of the secret (4), and a random byte that selects one of 64 AES keys, which
HKDF derives from the secret. The index contains the names of the values, and the nonces of their seals. So the names
are sealed too. A load opens only the index, and reading a key opens only its value.

The index is bound to the place of the record: its key in the store, its handle, its owner and its namespace. So a
record that is copied to another place does not open, and a rotation or a login, which gives a record another key, seals
its index again. The handle is a part of it, because what counts for one login only, such as the key of the device, is
bound to the handle.

The values are bound to the index, by their nonces: a value from another record, from another key of the session or from
an earlier save does not open. An earlier copy of the whole record does open under its own key: a store cannot
prove that it returns the newest one.

Nonces are random. NIST SP 800-38D, section 8.3, then allows 2**32 seals under one key, so that one secret is good for
2**38. A session keeps its key, because a save copies the values that it does not change.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgpack import unpackb

from wsgi_session.codec.packing import UNPACK_ERRORS, Packed, pack_parts, split
from wsgi_session.codec.sealed import PREFIX, CorruptData, SealedData, opened

# The last byte of PREFIX is the format. Change it when the layout changes, so that data of another release is refused
# and not misread.
_FORMAT = PREFIX[-1:]
_ID, _NONCE = 4, 12
# With more keys, a cipher would often be missing from the processor's cache, which costs half a microsecond.
_KEYS = 64
#: What a seal is for. It is authenticated, so that no value passes for an index. For an index, see ``_place``.
_VALUE, _INDEX = b"wsgi-session value", b"wsgi-session index %d %d %d "
# What the store's contents can make wrong. KeyError: an unknown secret. AttributeError: a handle or a namespace that is
# no text, because SQLite stores any type in any column.
_OPEN_ERRORS = (InvalidTag, KeyError, AttributeError, *UNPACK_ERRORS)


class Sealing:
    """Seals and opens the data of records. The first of ``secrets_newest_first`` seals; all of them open.

    ``accept_plain``: also read data that was stored without encryption.
    """

    def __init__(self, secrets_newest_first: Sequence[bytes], *, accept_plain: bool) -> None:
        self.accept_plain = accept_plain
        self.ciphers = _Ciphers(secrets_newest_first)
        self._newest = _id_of(secrets_newest_first[0])
        #: The beginning of data that the newest secret sealed.
        self.newest_prefix = PREFIX + self._newest

    def join(self, packed: Packed) -> bytes:
        """Seal each value that is not sealed yet; return data that :meth:`bind` can bind to a place in the store."""
        head, random = self._head_for(packed), os.urandom(_NONCE * len(packed))
        cipher = self.ciphers[head]
        nonces, sealed = [], []
        value: Any
        for start, value in zip(range(0, len(random), _NONCE), packed.values(), strict=True):
            nonce = random[start : start + _NONCE]
            if type(value) is bytes:
                sealed.append(cipher.encrypt(nonce, value, _VALUE))
            else:
                position, data = value
                its_cipher, its_nonces, ciphertexts = data.opened
                ciphertext = None if its_cipher is cipher else _seal_again(cipher, nonce, value)
                if ciphertext is None:  # It stays as it is, also if it is corrupt.
                    ciphertext, nonce = ciphertexts[position], its_nonces[position * _NONCE : (position + 1) * _NONCE]
                sealed.append(ciphertext)
            nonces.append(nonce)
        return _Unbound.of(packed, head, pack_parts([list(packed), b"".join(nonces)]), pack_parts(sealed))

    def bind(self, data: bytes, key: bytes, handle: str, owner: bytes | None, namespace: str) -> bytes:
        """Return ``data`` as the store keeps it in the record under ``key``."""
        unbound = data if isinstance(data, _Unbound) else self.join(split(data))
        assert isinstance(unbound, _Unbound)
        head, nonce = unbound.head, os.urandom(_NONCE)
        index = self.ciphers[head].encrypt(nonce, unbound.names_and_nonces, _place(key, handle, owner, namespace))
        # An array of four items, of which the last one is packed already.
        return b"\x94" + pack_parts([head, nonce, index])[1:] + unbound.sealed_values

    def stored(self, data: object, key: bytes, handle: str, owner: bytes | None, namespace: str) -> bytes:
        """Return what the store has in the record under ``key``, as data that is opened when it is split."""
        # SQLite stores any type in any column.
        stored = _Stored(data if type(data) is bytes else b"")
        stored.place = self, key, handle, owner, namespace
        return stored

    def _head_for(self, packed: Packed) -> bytes:
        """Return the head of the sealed values, so that they can stay as they are; a new one if there are none."""
        value: Any
        for value in packed.values():
            if type(value) is tuple and value[1].startswith(self.newest_prefix):
                head: bytes = value[1][3 : 5 + _ID]
                return head
        return _FORMAT + self._newest + bytes((os.urandom(1)[0] % _KEYS,))


class _Ciphers(dict[bytes, AESGCM]):
    """The cipher for each head, made when it is first needed. Raises ``KeyError`` for the head of an unknown secret."""

    def __init__(self, secrets_newest_first: Sequence[bytes]) -> None:
        # If two secrets have the same id (a chance of 2**-32), the newest wins, because it comes last.
        self._secrets = {_id_of(secret): secret for secret in reversed(secrets_newest_first)}

    def __missing__(self, head: bytes) -> AESGCM:
        if len(head) != 2 + _ID or head[:1] != _FORMAT:
            raise KeyError("not a head")
        secret = self._secrets[head[1 : 1 + _ID]]
        cipher = self[head] = AESGCM(_derive(secret, b"key " + head[1 + _ID :]))
        return cipher


class _Unbound(SealedData):
    """Sealed values whose index is not sealed yet. Its bytes are the index and the values, to limit their size."""

    outdated = False
    packed: Packed
    head: bytes
    names_and_nonces: bytes
    sealed_values: bytes

    @classmethod
    def of(cls, packed: Packed, head: bytes, names_and_nonces: bytes, sealed_values: bytes) -> _Unbound:
        data = cls(names_and_nonces + sealed_values)
        data.packed, data.head = packed, head
        data.names_and_nonces, data.sealed_values = names_and_nonces, sealed_values
        return data

    def open(self) -> Packed:
        return self.packed


class _Stored(SealedData):
    """Data as the store keeps it."""

    #: How to open it, and where it was found.
    place: tuple[Sealing, bytes, str, bytes | None, str]
    #: What opening the index gives: the cipher, the nonces of the values, and the sealed values.
    opened: tuple[AESGCM, bytes, list[bytes]]

    def open(self) -> Packed:
        """Open the index; return the values, which are still sealed."""
        # One function, because every request that looks at its session runs it.
        sealing, key, handle, owner, namespace = self.place
        try:
            content, place = unpackb(self), _place(key, handle, owner, namespace)
            if type(content) is dict:
                return _accept(content, sealing)
            head, nonce, index, values = content
            cipher = sealing.ciphers[head]
            names, nonces = unpackb(cipher.decrypt(nonce, index, place))
        except _OPEN_ERRORS as error:
            raise CorruptData("not sealed with one of the secrets, or not for this place") from error
        if type(values) is not list or len(values) != len(names):
            raise CorruptData("a value is missing")
        self.opened = cipher, nonces, values
        # A plain loop, because dict(zip(...)) takes half as long again.
        packed: Any = {}
        position = 0
        for name in names:
            packed[name] = position, self
            position += 1  # noqa: SIM113
        values_by_name: Packed = packed
        return values_by_name

    def open_value(self, position: int) -> bytes:
        """Return the packed value at ``position``, or raise ``CorruptData``."""
        cipher, nonces, values = self.opened
        start = position * _NONCE
        try:
            return cipher.decrypt(nonces[start : start + _NONCE], values[position], _VALUE)
        except (InvalidTag, TypeError, ValueError) as error:
            raise CorruptData("not sealed with this secret, or not for this place") from error

    @property
    def outdated(self) -> bool:
        return not self.startswith(self.place[0].newest_prefix)


def _seal_again(cipher: AESGCM, nonce: bytes, value: Any) -> bytes | None:
    """Return the ciphertext of a value that was sealed with another key; ``None`` if it cannot be opened."""
    try:
        return cipher.encrypt(nonce, opened(value), _VALUE)
    except CorruptData:
        return None


def _accept(plain: Packed, sealing: Sealing) -> Packed:
    """Return plain values if they are accepted, else raise ``CorruptData``."""
    if not sealing.accept_plain or not {bytes}.issuperset(map(type, plain.values())):
        raise CorruptData("not sealed")
    return plain


def _id_of(secret: bytes) -> bytes:
    return _derive(secret, b"id")[:_ID]


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"wsgi-session store " + purpose).derive(bytes(secret))


def _place(key: bytes, handle: str, owner: bytes | None, namespace: str) -> bytes:
    """Return the associated data of an index. The lengths keep the parts apart."""
    start = _start(len(key), -1 if owner is None else len(owner), len(handle))
    return b"".join((start, key, owner or b"", handle.encode(), namespace.encode()))


# Most sessions have the same lengths, and to format three numbers takes longer than the rest of _place().
@lru_cache(maxsize=64)
def _start(key_length: int, owner_length: int, handle_length: int) -> bytes:
    return _INDEX % (key_length, owner_length, handle_length)
