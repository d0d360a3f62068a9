"""A record as one Redis string, so that a load is one GET, and a script reads what it must know without the data.

    byte 0   the form: 1
         1   flags: 1 persistent, 2 has an owner, 4 has an idle timeout
         2   version, 16 bytes
        18   touched   (times are big-endian doubles, seconds since the epoch)
        26   expires
        34   where the data begins (2 bytes, as are all lengths)
        36   length of the handle in bytes; 0 marks a tombstone
        38   created
        46   owner, 32 bytes, if flagged; idle, a double, if flagged; handle; namespace (UTF-8 both); data

``redis_scripts`` counts the same bytes from 1.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, error

from wsgi_session.events import logger
from wsgi_session.stores.contract import Record, make_record

FORM = 1
_PERSISTENT, _OWNED, _IDLE = 1, 2, 4

_HEAD = Struct(">BB16sddHHd")
_DOUBLE = Struct(">d")


def pack(record: Record) -> bytes:
    """Return the record as bytes."""
    data, version, name, created, touched, expires, owner, persistent, idle, namespace = record
    handle = name.encode()
    rest = handle + namespace.encode()
    flags = _PERSISTENT if persistent else 0
    if idle is not None:
        flags |= _IDLE
        rest = _DOUBLE.pack(idle) + rest
    if owner is not None:
        flags |= _OWNED
        rest = owner + rest
    size = _HEAD.size + len(rest)
    return _HEAD.pack(FORM, flags, version, touched, expires, size, len(handle), created) + rest + data


def unpack(value: bytes) -> Record | None:
    """Return the record, or ``None``, and an error in the log, for bytes that are none that this version writes."""
    try:
        form, flags, version, touched, expires, size, length, created = _HEAD.unpack_from(value)
        if form != FORM:
            raise ValueError(f"form {form}")
        place = 46
        owner = idle = None
        if flags & _OWNED:
            owner = value[46:78]
            place = 78
        if flags & _IDLE:
            (idle,) = _DOUBLE.unpack_from(value, place)
            place += 8
        end = place + length
        if not end <= size <= len(value):
            raise ValueError(f"{len(value)} bytes, and the data begins at {size}")
        handle, namespace = value[place:end].decode(), value[end:size].decode()
    except (error, ValueError) as reason:
        logger.error("corrupt a record in Redis cannot be read, and is left as it is: %s", reason)
        return None
    return make_record(
        (value[size:], version, handle, created, touched, expires, owner, flags & 1 == 1, idle, namespace)
    )


_Pack = Callable[..., bytes]
#: A time, as the scripts take it.
pack_time: _Pack = _DOUBLE.pack
#: now and expires, for ``ENLIST``.
pack_times: _Pack = Struct(">dd").pack
#: The version expected, the version written, now: what ``MOVE`` and ``ROTATE`` compare.
pack_versions: _Pack = Struct(">16s16sd").pack
#: The same, touched and expires: the head of a ``REPLACE``.
pack_change: _Pack = Struct(">16s16sddd").pack
#: touched, expires and now, for ``TOUCH``.
pack_touch: _Pack = Struct(">ddd").pack
