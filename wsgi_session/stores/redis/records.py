"""Encode a record as one Redis string, so that a load is one GET, and a script can read the head without the data.

    byte 0   version of this format: 1
         1   flags: 1 persistent, 2 has an owner, 4 has an idle timeout
         2   version, 16 bytes
        18   touched   (times are big-endian doubles, seconds since the epoch)
        26   expires
        34   offset of the data (all offsets and lengths have 2 bytes)
        36   length of the handle in bytes; 0 marks a tombstone
        38   created
        46   owner, 32 bytes, if flagged; idle, a double, if flagged; handle; namespace (both UTF-8); data

The Lua scripts count the same bytes from 1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct

from wsgi_session.events import logger
from wsgi_session.stores.contract import Record, make_record

FORMAT_VERSION = 1
_PERSISTENT, _OWNED, _IDLE = 1, 2, 4

_HEAD = Struct(">BB16sddHHd")
_DOUBLE = Struct(">d")


def pack(record: Record) -> bytes:
    """Return the record as bytes."""
    data, version, handle, created, touched, expires, owner, persistent, idle, namespace = record
    handle_bytes = handle.encode()
    rest = handle_bytes + namespace.encode()
    flags = _PERSISTENT if persistent else 0
    if idle is not None:
        flags |= _IDLE
        rest = _DOUBLE.pack(idle) + rest
    if owner is not None:
        flags |= _OWNED
        rest = owner + rest
    size = _HEAD.size + len(rest)
    return _HEAD.pack(FORMAT_VERSION, flags, version, touched, expires, size, len(handle_bytes), created) + rest + data


def unpack(value: bytes) -> Record | None:
    """Return the record. For bytes in another format, log an error and return ``None``."""
    try:
        format_version, flags, version, touched, expires, size, length, created = _HEAD.unpack_from(value)
        if format_version != FORMAT_VERSION:
            raise ValueError(f"format version {format_version}")
        position = 46
        owner = idle = None
        if flags & _OWNED:
            owner = value[46:78]
            position = 78
        if flags & _IDLE:
            (idle,) = _DOUBLE.unpack_from(value, position)
            position += 8
        end = position + length
        if not end <= size <= len(value):
            raise ValueError(f"{len(value)} bytes, and the data begins at {size}")
        handle, namespace = value[position:end].decode(), value[end:size].decode()
    except (struct.error, ValueError) as reason:
        logger.error("corrupt a record in Redis cannot be read, and is left unchanged: %s", reason)
        return None
    return make_record(
        (value[size:], version, handle, created, touched, expires, owner, flags & 1 == 1, idle, namespace)
    )


def unpack_entry(result: bytes) -> tuple[bytes, bytes]:
    """Return the owner and the packed end of a session, as a script that has ended it in a cluster returns them."""
    return result[:32], result[32:]


_Pack = Callable[..., bytes]
#: A time, in the format that the scripts read.
pack_time: _Pack = _DOUBLE.pack
#: now and expires, for ``ADD_ENTRY``.
pack_times: _Pack = Struct(">dd").pack
#: The expected version, the new version and now, for ``LEAVE_TOMBSTONE`` and ``ROTATE``.
pack_versions: _Pack = Struct(">16s16sd").pack
#: The same, then touched and expires, for ``REPLACE``.
pack_change: _Pack = Struct(">16s16sddd").pack
#: touched, expires and now, for ``TOUCH``.
pack_touch: _Pack = Struct(">ddd").pack
