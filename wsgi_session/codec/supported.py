"""Which values a session can store as they are. Values are checked before they are packed.

Values of other types go through ``plain.py``, which replaces instances of subclasses, and refuses the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from gc import is_tracked
from typing import Any
from uuid import UUID

#: datetime and date of the standard library, even if freezegun has replaced both names by subclasses.
DATES: Any = tuple(next(base for base in kind.__mro__ if base.__module__ == "datetime") for kind in (datetime, date))
#: The maximum nesting depth of containers.
MAX_DEPTH = 64
#: Types whose values the application cannot change in place.
IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes, *DATES, time, timedelta, UUID, Decimal})
CONTAINERS = frozenset({dict, list, tuple, set, frozenset})
#: A container with at most this number of parts is packed without an estimate of its size. It cannot be nested too
#: deeply, and its packed size is limited: it is at most this number of times the size of its largest part.
FEW = MAX_DEPTH - 1
#: The maximum number of characters of a path in a message.
LONGEST_PATH = 1000
#: The types of a dict's keys.
MAP_KEYS = frozenset({str, int, bool, bytes, type(None)})


def fits(value: Any, limit: int) -> bool:
    """Return whether a container can be packed: False for an unsupported type, or if it must exceed ``limit`` bytes.

    A part that is contained several times is packed several times: a few lines of YAML, whose aliases share parts, can
    become gigabytes. So call this before packing; it stops as soon as the limit is reached.
    """
    return parts_left(value, FEW) >= 0 or _room_after(value, limit) >= 0


def is_small(value: Any) -> bool:
    """Return whether a plain container has few items, which are all scalars, dicts of scalars, or tuples.

    To be fast, this asks whether the garbage collector tracks the items: it tracks all other containers. It may not
    track a tuple of any size, so :func:`fits` still has to check the container before it is packed.
    """
    if type(value) is dict:
        return len(value) <= FEW and (not is_tracked(value) or not any(map(is_tracked, value.values())))
    return (
        type(value) in CONTAINERS and len(value) <= FEW and (not is_tracked(value) or not any(map(is_tracked, value)))
    )


def parts_left(value: Any, left: int) -> int:
    """Return ``left`` minus the number of parts of ``value``; negative if there are more, or one is not supported."""
    kind = type(value)
    if kind is dict:
        left -= len(value)
        if left >= 0:
            for key, item in value.items():
                if type(key) is not str and type(key) not in MAP_KEYS:
                    return -1
                if type(item) not in IMMUTABLE:
                    left = parts_left(item, left)
        return left
    if kind not in CONTAINERS:
        return -1
    left -= len(value)
    if left >= 0:
        for item in value:
            if type(item) not in IMMUTABLE:
                left = parts_left(item, left)
    return left


def _room_after(value: Any, room: int, depth: int = 1) -> int:
    """Return at most how many of ``room`` bytes a packed container leaves; negative if it cannot be stored."""
    kind = type(value)
    if kind not in CONTAINERS:
        return -1
    if depth > MAX_DEPTH:
        return -1
    room -= len(value)
    if kind is dict:
        for key in value:
            kind = type(key)
            if kind is str or kind is bytes:
                room -= len(key)
            elif kind is int:
                room -= key.bit_length() >> 3
            elif kind not in MAP_KEYS:
                return -1
        value = value.values()
    if room < 0:
        return room
    for item in value:
        kind = type(item)
        if kind is str or kind is bytes:
            room -= len(item)
        elif kind is int:
            room -= item.bit_length() >> 3
        elif kind not in IMMUTABLE or kind is Decimal:
            # Counting a Decimal's digits takes as long as packing them, so stop as soon as there is no room.
            room = room - len(item.as_tuple().digits) if kind is Decimal else _room_after(item, room, depth + 1)
            if room < 0:
                return room
    return room


def children(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the items of a container, each with its place: its key or its index."""
    return value.items() if type(value) is dict else enumerate(value)


def step_to(kind: type, place: Any) -> str:
    """Return the part of a path that leads from a container of type ``kind`` to the item at ``place``."""
    if kind is dict:
        return step(place)
    return "{}" if kind in (set, frozenset) else f"[{place}]"


def printable(key: str) -> str:
    """Return ``key`` for a message, escaped so that a client cannot put line breaks into a log (CVE-2025-25184)."""
    return key if key.isprintable() else repr(key)


def step(key: object) -> str:
    """Return the part of a path that leads to a dict's value under ``key``."""
    if type(key) is str and key.isprintable():
        return f".{key}"
    if type(key) is int and key.bit_length() > 256:
        # Python refuses to convert very large ints to text.
        return f"[an int of {key.bit_length()} bits]"
    return f"[{key!r}]"
