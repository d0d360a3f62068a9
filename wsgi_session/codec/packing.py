"""Encodes values as bytes and decodes them: MessagePack with a fixed table of extension types.

Decoding never imports or calls anything that the data names. A record's data maps keys to *packed value bytes*, so that
reading one key decodes only that value, and a save copies the other values unchanged. The application sees only ``str``
keys; keys of type ``bytes`` are internal to this package (flash messages, the owner).

Packing is deterministic: an unpacked value packs to the same bytes again. A change inside a nested value is found by
comparing these bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import msgpack
from msgpack import ExtType, OutOfData, Packer, Unpacker, unpackb

from wsgi_session.codec.plain import plain_text, to_plain
from wsgi_session.codec.sealed import CorruptData as CorruptData
from wsgi_session.codec.sealed import SealedData
from wsgi_session.codec.supported import (
    CONTAINERS,
    DATES,
    IMMUTABLE,
    MAX_DEPTH,
    children,
    fits,
    printable,
    step,
    step_to,
)
from wsgi_session.errors import UnsupportedValue

# Types that are packed again after unpacking, to check that the bytes are the same; and types that need no check.
_PACKED_AGAIN = CONTAINERS | {float}
_UNCHECKED = IMMUTABLE - _PACKED_AGAIN

# The bytes with which MessagePack begins no list, dict or extension type.
_CONTAINER = (*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0))
_NO_CONTAINER = bytes(byte for byte in range(256) if byte not in _CONTAINER)

# Whether a packer can be told to begin with a small buffer instead of a megabyte. msgpack 1.0 has no such option.
_SIZED = msgpack.version >= (1, 1)

#: The packed values of a record. A sealed value, which is a tuple, may take the place of the bytes: see ``sealed.py``.
Packed = dict["str | bytes", bytes]
Moment = TypeVar("Moment", datetime, time)


class NotFlat(Exception):
    """A value contains a tuple or a set."""


def pack(value: Any, key: str, limit: int = sys.maxsize) -> bytes:
    """Return ``value`` as bytes, or raise ``UnsupportedValue`` with the path to the part that is not supported.

    An instance of a subclass is packed as its base type: see ``plain.py``. A container that is sure to take more than
    ``limit`` bytes raises ``SessionTooLarge`` before anything is packed.
    """
    if type(value) not in IMMUTABLE and not fits(value, limit):
        value = to_plain(value, key, limit)
    try:
        return new_packer()(value)
    except UnicodeEncodeError as error:
        path = _surrogate_path(value, printable(key))
        raise UnsupportedValue(
            f"{path}: a text with a lone surrogate, which UTF-8 cannot encode. Decode or clean the text before storing "
            "it.",
            path=path,
        ) from error


def check_key(key: object) -> str:
    """Return ``key`` as plain text if it is a valid session key, else raise ``UnsupportedValue``."""
    key = plain_text(key)
    if type(key) is not str:
        path = step(key)[:200]
        raise UnsupportedValue(f"{path}: a key of type {type(key).__name__}. Session keys must be str.", path=path)
    if key.isascii():
        return key
    try:
        key.encode()
    except UnicodeEncodeError as error:
        path = printable(key)
        raise UnsupportedValue(
            f"{path}: a key with a lone surrogate, which UTF-8 cannot encode. Decode or clean the text before using it "
            "as a key.",
            path=path,
        ) from error
    return key


def new_packer(*, flat: bool = False) -> Callable[[Any], bytes]:
    """Return a function that packs without checking types: for comparisons, and for values that were checked before.

    ``flat``: it raises ``NotFlat`` for a tuple or a set anywhere in the value.

    Threads must not share the function: its ``default`` hook runs Python code, so one packer could mix their bytes.
    """
    default = _extend_scalar if flat else _extend
    # Two calls, because one with **options would take ten times as long.
    packer = (
        Packer(default=default, strict_types=True, buf_size=1024)
        if _SIZED
        else Packer(default=default, strict_types=True)
    )
    pack: Callable[[Any], bytes] = packer.pack
    return pack


def unpack(packed: bytes | tuple[int, Any]) -> Any:
    """Return the value that ``packed`` contains, or raise ``CorruptData``."""
    if type(packed) is tuple:
        position, data = packed
        packed = data.open_value(position)
    try:
        # timestamp=1 decodes msgpack's timestamps, which we never write, as floats: the check below refuses them.
        try:
            value = unpackb(packed, ext_hook=_restore, timestamp=1)
        except ValueError:
            # Dict keys other than str and bytes are rare, so only this slower path checks the type of every key.
            value = unpackb(packed, ext_hook=_restore_any_key, strict_map_key=False, timestamp=1)
            if type(value) not in IMMUTABLE and not fits(value, len(packed)):
                raise CorruptData("not a packed value of a supported type") from None
        if type(value) in _UNCHECKED:
            return value
        # A value that packs to other bytes was not written by this codec, and would look like a change.
        unchanged = type(value) in _PACKED_AGAIN and _pack(value) == packed
        # Each level takes a byte or more.
        if unchanged and (len(packed) <= MAX_DEPTH or not _is_too_deep(value, packed)):
            return value
    except UNPACK_ERRORS as error:
        raise CorruptData("not a packed value") from error
    raise CorruptData("not a packed value of a supported type")


def join(packed: Mapping[str | bytes, bytes]) -> bytes:
    """Return a record's data, made of packed values."""
    data: bytes = (Packer(buf_size=4096) if _SIZED else Packer()).pack(packed)
    return data


def pack_parts(parts: list[Any]) -> bytes:
    """Pack a list whose items are bytes, or lists of names and bytes."""
    data: bytes = (Packer(buf_size=4096) if _SIZED else Packer()).pack(parts)
    return data


def split(data: bytes) -> Packed:
    """Split a record's data into its packed values without decoding them, or raise ``CorruptData``."""
    if type(data) is not bytes and isinstance(data, SealedData):
        values: Packed = data.open()
        return values
    try:
        # Raises if a key is neither text nor bytes. An invalid value is found only when it is read.
        packed = unpackb(data)
    except UNPACK_ERRORS as error:
        raise CorruptData("not a record's data") from error
    if type(packed) is not dict:
        raise CorruptData("not a record's data")
    return packed


#: What decoding raises. Decimal raises ArithmeticError, a set of lists raises TypeError, a truncated tuple raises
#: OutOfData.
UNPACK_ERRORS = (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError, OutOfData)


def _surrogate_path(value: Any, path: str) -> str:
    """Return the path to the text in ``value`` that UTF-8 cannot encode, or ``path`` itself if it is a dict key."""
    if type(value) in CONTAINERS:
        for place, item in children(value):
            try:
                _pack(item)
            except UnicodeEncodeError:
                return _surrogate_path(item, path + step_to(type(value), place))
    return path


def _is_too_deep(value: Any, packed: Any) -> bool:
    """Return whether ``value`` has more than ``MAX_DEPTH`` levels: ``pack()`` has never stored such a value."""
    # Each level takes a byte that begins a container, so few values need a closer look.
    if len(packed.translate(None, _NO_CONTAINER)) <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        parts = (box.values() if type(box) is dict else box for box in level)
        level = [part for items in parts for part in items if type(part) in CONTAINERS]
    return bool(level)


def _pack(value: Any) -> bytes:
    return new_packer()(value)


def _unpack_items(data: bytes, depth: int, strict: bool) -> Any:
    """Return the items of a tuple or a set.

    This uses ``Unpacker``, because ``unpackb`` takes 40 KB of the thread's stack at each call: 200 nested tuples would
    overflow the stack and crash the process.
    """
    if depth > MAX_DEPTH:
        raise CorruptData(f"nested more than {MAX_DEPTH} levels deep")
    size = len(data)
    hook = partial(_restore, depth=depth, strict=strict)
    unpacker = Unpacker(read_size=size, max_buffer_size=size, ext_hook=hook, strict_map_key=strict, timestamp=1)
    unpacker.feed(data)
    # Bytes after the items are found later, when the whole value is packed again and compared.
    return unpacker.unpack()


def _pack_set(items: Iterable[Any]) -> bytes:
    # Sort the items by their bytes. A set has no order, so without sorting, reading one could look like a change.
    packed = sorted(map(_pack, items))
    header: bytes = (Packer(buf_size=16) if _SIZED else Packer()).pack_array_header(len(packed))
    return header + b"".join(packed)


def _pack_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _unpack_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _pack_moment(value: Any) -> bytes:
    text: str = value.isoformat()
    return text.encode() + (b"f" if value.fold else b"")


def _unpack_moment(kind: type[Moment], data: bytes) -> Moment:
    text = data.decode("ascii")
    iso = text.removesuffix("f")
    moment = kind.fromisoformat(iso)
    if iso is not text:
        moment = moment.replace(fold=1)
    if iso[-16:-7] in ("+00:00:00", "-00:00:00"):
        # fromisoformat() turns an offset of less than a second into UTC.
        moment = moment.replace(tzinfo=timezone(timedelta(microseconds=int(iso[-16] + iso[-6:]))))
    return moment


# Stored records contain these numbers, so never change or reuse one.
_TABLE: tuple[tuple[int, type, Callable[[Any], bytes], Callable[[bytes], Any]], ...] = (
    (4, DATES[0], _pack_moment, partial(_unpack_moment, DATES[0])),
    (5, DATES[1], lambda value: value.isoformat().encode(), lambda data: DATES[1].fromisoformat(str(data, "ascii"))),
    (6, time, _pack_moment, partial(_unpack_moment, time)),
    (
        7,
        timedelta,
        lambda value: _pack_int(value // timedelta.resolution),
        lambda data: timedelta(microseconds=_unpack_int(data)),
    ),
    (8, UUID, lambda value: value.bytes, lambda data: UUID(bytes=data)),
    # Always "E", because the thread's decimal context may be set to write "e".
    (9, Decimal, lambda value: str(value).replace("e", "E").encode(), lambda data: Decimal(data.decode("ascii"))),
    (10, int, _pack_int, _unpack_int),
)
# Extension types that contain other values, which are unpacked one level deeper.
_ITEMS: dict[int, Callable[[Any], Any]] = {1: tuple, 2: set, 3: frozenset}
_PACK: dict[type, tuple[int, Callable[[Any], bytes]]] = {kind: (code, packer) for code, kind, packer, _ in _TABLE}
_PACK.update({tuple: (1, lambda items: _pack(list(items))), set: (2, _pack_set), frozenset: (3, _pack_set)})
_UNPACK = {code: unpacker for code, _, _, unpacker in _TABLE}


def _extend(value: Any) -> ExtType:
    """Encode a value that MessagePack has no type for (a tuple, an int over 64 bits …). msgpack calls this."""
    found = _PACK.get(type(value))
    if found is None:
        raise TypeError(type(value).__name__)
    code, packer = found
    return ExtType(code, packer(value))


def _extend_scalar(value: Any) -> ExtType:
    if type(value) in CONTAINERS:
        raise NotFlat
    return _extend(value)


def _restore(code: int, data: bytes, depth: int = 0, strict: bool = True) -> Any:
    """Decode an extension type. msgpack calls this; ``depth`` is the number of tuples and sets around it.

    ``strict``: allow only text and bytes as dict keys in it.
    """
    if code in _ITEMS:
        return _ITEMS[code](_unpack_items(data, depth + 1, strict))
    if code in _UNPACK:
        return _UNPACK[code](data)
    raise CorruptData(f"unknown extension type {code}")


_restore_any_key = partial(_restore, strict=False)
