"""Values to bytes and back: MessagePack, with a closed table of extension types. Nothing is imported or called by name.

A record's data is a map of key to *packed value bytes*, so that reading one key decodes that one, and a save copies
the others as they are. What the application sees are ``str`` keys; keys of ``bytes`` are the package's own (flash
messages, the owner), and no mapping operation reaches them.

Packing is canonical: equal values that went through :func:`pack` give equal bytes. That is how a change inside a
nested value is seen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from msgpack import ExtType, OutOfData, Packer, Unpacker, unpackb

from wsgi_session.codec.supported import (
    CONTAINERS,
    DATES,
    IMMUTABLE,
    MAX_DEPTH,
    children,
    fits,
    refusal,
    spelled,
    spelled_place,
    step,
)
from wsgi_session.errors import UnsupportedValue

# What is compared with its bytes when it is unpacked, and what is not worth it.
_PACKED_AGAIN = CONTAINERS | {float}
_AS_FOUND = IMMUTABLE - _PACKED_AGAIN

Packed = dict["str | bytes", bytes]
Moment = TypeVar("Moment", datetime, time)


class CorruptData(ValueError):
    """Bytes that this codec did not write."""


def pack(value: Any, key: str, limit: int = sys.maxsize) -> bytes:
    """Return ``value`` as bytes, or raise ``UnsupportedValue`` with the path to what cannot be kept.

    A container that is sure to take more than ``limit`` bytes is ``SessionTooLarge`` before anything is packed.
    """
    if type(value) not in IMMUTABLE and not fits(value, limit):
        raise refusal(value, key, limit)
    try:
        return new_packer()(value)
    except UnicodeEncodeError as error:
        path = _surrogate_path(value, spelled(key))
        raise UnsupportedValue(
            f"{path}: a lone surrogate, which UTF-8 cannot hold. Decode or clean the text before storing it.",
            path=path,
        ) from error


def check_key(key: object) -> str:
    """Return ``key`` if a session can have it, else raise ``UnsupportedValue``."""
    if type(key) is not str:
        path = step(key)[:200]
        raise UnsupportedValue(f"{path}: a key of type {type(key).__name__}. A session's keys are str.", path=path)
    if key.isascii():
        return key
    try:
        key.encode()
    except UnicodeEncodeError as error:
        path = spelled(key)
        raise UnsupportedValue(f"{path}: a key with a lone surrogate, which UTF-8 cannot hold.", path=path) from error
    return key


def new_packer() -> Callable[[Any], bytes]:
    """Return a function that packs without checking: to compare, and for values that are known to be fine.

    Not to be shared between threads: ``default`` runs Python code, and one packer would mix their bytes.
    """
    pack: Callable[[Any], bytes] = Packer(default=_extend, strict_types=True, buf_size=1024).pack
    return pack


def unpack(packed: bytes) -> Any:
    """Return the value that ``packed`` holds, or raise ``CorruptData``."""
    try:
        # msgpack's own timestamps come out as floats: no type of its own for what we never write.
        try:
            value = unpackb(packed, ext_hook=_restore, timestamp=1)
        except ValueError:
            # Dict keys other than text and bytes are rare: only then is it worth asking for the types of all of them.
            value = unpackb(packed, ext_hook=_restore_any_key, strict_map_key=False, timestamp=1)
            if type(value) not in IMMUTABLE and not fits(value, len(packed)):
                raise CorruptData("not a packed value of a supported type") from None
        if type(value) in _AS_FOUND:
            return value
        # What does not pack to the very same bytes is not ours, and would look like a change of the application's.
        if type(value) in _PACKED_AGAIN and _pack(value) == packed:
            return value
    except _UNPACK_ERRORS as error:
        raise CorruptData("not a packed value") from error
    raise CorruptData("not a packed value of a supported type")


def join(packed: Mapping[str | bytes, bytes]) -> bytes:
    """Return a record's data."""
    data: bytes = Packer(buf_size=4096).pack(packed)
    return data


def split(data: bytes) -> Packed:
    """Return the packed values of a record's data, none of them decoded, or raise ``CorruptData``."""
    try:
        # Keys are text or bytes, or this raises. What is no packed value is found when it is read.
        packed = unpackb(data)
    except _UNPACK_ERRORS as error:
        raise CorruptData("not a record's data") from error
    if type(packed) is not dict:
        raise CorruptData("a record's data is a map")
    return packed


# Decimal's errors are ArithmeticErrors, a set of lists a TypeError, a cut-off tuple OutOfData.
_UNPACK_ERRORS = (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError, OutOfData)


def _surrogate_path(value: Any, path: str) -> str:
    """Return the path to the text in ``value`` that UTF-8 cannot hold; ``path`` if it is a dict key there."""
    if type(value) in CONTAINERS:
        for place, item in children(value):
            try:
                _pack(item)
            except UnicodeEncodeError:
                return _surrogate_path(item, path + spelled_place(value, place))
    return path


def _pack(value: Any) -> bytes:
    return new_packer()(value)


def _unpack_items(data: bytes, depth: int, strict: bool) -> Any:
    """Return the items of a tuple or a set. ``unpackb`` takes 40 KB of the thread's stack at each call: this does not.

    200 tuples in one another would overflow it, and end the process.
    """
    if depth > MAX_DEPTH:
        raise CorruptData(f"more than {MAX_DEPTH} deep")
    size = len(data)
    hook = partial(_restore, depth=depth, strict=strict)
    unpacker = Unpacker(read_size=size, max_buffer_size=size, ext_hook=hook, strict_map_key=strict, timestamp=1)
    unpacker.feed(data)
    # What follows the items is found when the whole is packed again.
    return unpacker.unpack()


def _pack_set(items: Iterable[Any]) -> bytes:
    # In the order of the elements' bytes: a set has none of its own, and reading one would look like a change.
    packed = sorted(map(_pack, items))
    header: bytes = Packer(buf_size=16).pack_array_header(len(packed))
    return header + b"".join(packed)


def _pack_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _unpack_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _pack_moment(kind: Any, value: Any) -> bytes:
    # Not as a subclass writes it: pandas' has nanoseconds.
    text: str = kind.isoformat(value)
    return text.encode() + (b"f" if value.fold else b"")


def _unpack_moment(kind: type[Moment], data: bytes) -> Moment:
    text = data.decode("ascii")
    iso = text.removesuffix("f")
    moment = kind.fromisoformat(iso)
    if iso is not text:
        moment = moment.replace(fold=1)
    if iso[-16:-7] in ("+00:00:00", "-00:00:00"):
        # fromisoformat() makes UTC of an offset of less than a second.
        moment = moment.replace(tzinfo=timezone(timedelta(microseconds=int(iso[-16] + iso[-6:]))))
    return moment


# The numbers are in stored records: they never change, and none is given twice.
_TABLE: tuple[tuple[int, type, Callable[[Any], bytes], Callable[[bytes], Any]], ...] = (
    (4, DATES[0], partial(_pack_moment, DATES[0]), partial(_unpack_moment, DATES[0])),
    (
        5,
        DATES[1],
        lambda value: DATES[1].isoformat(value).encode(),
        lambda data: DATES[1].fromisoformat(str(data, "ascii")),
    ),
    (6, time, partial(_pack_moment, time), partial(_unpack_moment, time)),
    (
        7,
        timedelta,
        lambda value: _pack_int(value // timedelta.resolution),
        lambda data: timedelta(microseconds=_unpack_int(data)),
    ),
    (8, UUID, lambda value: value.bytes, lambda data: UUID(bytes=data)),
    # "E", whatever the thread's decimal context writes.
    (9, Decimal, lambda value: str(value).replace("e", "E").encode(), lambda data: Decimal(data.decode("ascii"))),
    (10, int, _pack_int, _unpack_int),
)
# What holds other values, and is unpacked one level deeper.
_ITEMS: dict[int, Callable[[Any], Any]] = {1: tuple, 2: set, 3: frozenset}
_PACK: dict[type, tuple[int, Callable[[Any], bytes]]] = {kind: (code, packer) for code, kind, packer, _ in _TABLE}
_PACK.update({tuple: (1, lambda items: _pack(list(items))), set: (2, _pack_set), frozenset: (3, _pack_set)})
_UNPACK = {code: unpacker for code, _, _, unpacker in _TABLE}


def _extend(value: Any) -> ExtType:
    """Called by msgpack for what it has no form of its own for: a tuple, a set, an int past 64 bits …"""
    found = _PACK.get(type(value)) or next((_PACK[kind] for kind in DATES if isinstance(value, kind)), None)
    if found is None:
        raise TypeError(type(value).__name__)
    code, packer = found
    return ExtType(code, packer(value))


def _restore(code: int, data: bytes, depth: int = 0, strict: bool = True) -> Any:
    """Called by msgpack for every extension type; ``depth`` is how many tuples and sets stand around it.

    ``strict``: dict keys in it are text or bytes.
    """
    if code in _ITEMS:
        return _ITEMS[code](_unpack_items(data, depth + 1, strict))
    if code in _UNPACK:
        return _UNPACK[code](data)
    raise CorruptData(f"extension type {code} is unknown")


_restore_any_key = partial(_restore, strict=False)
