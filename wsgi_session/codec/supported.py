"""Which values a session can store. Values are checked before they are packed; an error names the refused part."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from gc import is_tracked
from typing import Any
from uuid import UUID

from wsgi_session.errors import SessionError, SessionTooLarge, UnsupportedValue

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
_MAP_KEYS = frozenset({str, int, bool, bytes, type(None)})
_SUPPORTED = (
    "str, int, float, bool, None, bytes, list, tuple, dict, set, frozenset, datetime, date, time, timedelta, UUID and "
    "Decimal, but no subclasses of these (except of datetime and date, which come back as datetime and date)"
)


def fits(value: Any, limit: int) -> bool:
    """Return whether a container can be packed: False for an unsupported type, or if it must exceed ``limit`` bytes.

    A part that is contained several times is packed several times: a few lines of YAML, whose aliases share parts, can
    become gigabytes. So call this before packing; it stops as soon as the limit is reached.
    """
    return parts_left(value, FEW) >= 0 or _room_after(value, limit) >= 0


def is_small(value: Any) -> bool:
    """Return whether a container has few items, which are all scalars, dicts of scalars, or tuples.

    To be fast, this asks whether the garbage collector tracks the items: it tracks all other containers. It may not
    track a tuple of any size, so :func:`fits` still has to check the container before it is packed.
    """
    return len(value) <= FEW and (
        not is_tracked(value) or not any(map(is_tracked, value.values() if type(value) is dict else value))
    )


def parts_left(value: Any, left: int) -> int:
    """Return ``left`` minus the number of parts of ``value``; negative if there are more, or one is not supported."""
    kind = type(value)
    if kind is dict:
        left -= len(value)
        if left >= 0:
            for key, item in value.items():
                if type(key) is not str and type(key) not in _MAP_KEYS:
                    return -1
                if type(item) not in IMMUTABLE:
                    left = parts_left(item, left)
        return left
    if kind not in CONTAINERS:
        return left if isinstance(value, DATES) else -1
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
        return room if isinstance(value, DATES) else -1
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
            elif kind not in _MAP_KEYS:
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


def refusal(value: Any, key: str, limit: int) -> SessionError:
    """Return the error that says why :func:`fits` refused a container."""
    return _unsupported(value, printable(key)[:LONGEST_PATH], 1, set()) or SessionTooLarge(
        f"{printable(key)}: a value of type {type(value).__name__} that would take more than {limit:,} bytes "
        "(max_size). A part that it contains several times counts each time. Store such data in a table of your own, "
        "and only its id in the session.",
        size=limit + 1,
        limit=limit,
        largest=[(key, limit + 1)],
    )


def _unsupported(value: Any, path: str, depth: int, seen: set[tuple[int, int]]) -> UnsupportedValue | None:
    """Return the error for a value that is not a scalar; ``None`` if all its parts are supported.

    ``seen``: the containers that were checked, by identity and depth, so that none is checked twice.
    """
    kind = type(value)
    if isinstance(value, DATES):
        return None
    if kind not in CONTAINERS:
        return UnsupportedValue(
            f"{path}: {kind.__name__}. A session can store {_SUPPORTED}. Convert the value to these.", path=path
        )
    if depth > MAX_DEPTH:
        path = path[:200]
        return UnsupportedValue(
            f"{path}: nested more than {MAX_DEPTH} levels deep, or containing itself. Store a flatter value.", path=path
        )
    if kind is dict:
        for key in value:
            if type(key) not in _MAP_KEYS:
                return UnsupportedValue(
                    f"{path}: a dict key of type {type(key).__name__}. "
                    "Dict keys must be str, int, bool, bytes or None.",
                    path=path,
                )
    for place, item in children(value):
        if type(item) in IMMUTABLE or (id(item), depth) in seen:
            continue
        seen.add((id(item), depth))
        # A client may have chosen very long keys, so the path is cut.
        found = _unsupported(item, (path + step_to(value, place))[:LONGEST_PATH], depth + 1, seen)
        if found is not None:
            return found
    return None


def children(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the items of a container, each with its place: its key or its index."""
    return value.items() if type(value) is dict else enumerate(value)


def step_to(value: Any, place: Any) -> str:
    """Return the part of a path that leads from the container ``value`` to the item at ``place``."""
    if type(value) is dict:
        return step(place)
    return "{}" if type(value) in (set, frozenset) else f"[{place}]"


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
