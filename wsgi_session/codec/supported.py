"""What a session can keep: values are checked before they are packed, and an error names the part that is refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from wsgi_session.errors import SessionError, SessionTooLarge, UnsupportedValue

#: datetime and date of the standard library: freezegun puts subclasses in place of every module's own names.
DATES: Any = tuple(next(base for base in kind.__mro__ if base.__module__ == "datetime") for kind in (datetime, date))
#: How deep containers may stand in one another.
MAX_DEPTH = 64
#: What cannot change once it has been handed out.
IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes, *DATES, time, timedelta, UUID, Decimal})
CONTAINERS = frozenset({dict, list, tuple, set, frozenset})
#: Parts that are packed without a look at what they take: at worst so many times the longest, and never too deep.
FEW = MAX_DEPTH - 1
#: Characters of the place of a value in a message.
LONGEST_PATH = 1000
_MAP_KEYS = frozenset({str, int, bool, bytes, type(None)})
_SUPPORTED = (
    "str, int, float, bool, None, bytes, list, tuple, dict, set, frozenset, datetime, date, time, timedelta, UUID and "
    "Decimal, exactly these types and no subclass (but of datetime and date, kept as such)"
)


def fits(value: Any, limit: int) -> bool:
    """Return True if a container is of supported types, and not sure to take more than ``limit`` bytes packed.

    A part that stands in several places is packed in each of them: a few lines of YAML, whose aliases share parts, can
    make gigabytes. So this is asked before anything is packed, and stops where the room ends.
    """
    return parts_left(value, FEW) >= 0 or _room_after(value, limit) >= 0


def parts_left(value: Any, left: int) -> int:
    """Return ``left`` less the parts of ``value``, or less than 0 if there are more or one is not supported."""
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
    """Return how many of ``room`` bytes a packed container leaves at most, or less than 0 if it cannot be kept."""
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
            # To count digits takes as long as to pack them: stop as soon as there is no room.
            room = room - len(item.as_tuple().digits) if kind is Decimal else _room_after(item, room, depth + 1)
            if room < 0:
                return room
    return room


def refusal(value: Any, key: str, limit: int) -> SessionError:
    """Return the error that says why a container does not fit."""
    return _unsupported(value, spelled(key)[:LONGEST_PATH], 1, set()) or SessionTooLarge(
        f"{spelled(key)}: a {type(value).__name__} that would take more than {limit:,} bytes (max_size). What stands "
        "in several places of it takes its bytes in each. Keep such data in a table of its own, and its id in the "
        "session.",
        size=limit + 1,
        limit=limit,
        largest=[(key, limit + 1)],
    )


def _unsupported(value: Any, path: str, depth: int, seen: set[tuple[int, int]]) -> UnsupportedValue | None:
    """Return what is wrong with a value that is not a scalar, ``None`` if nothing is.

    ``seen``: the containers that were looked at, by identity and depth. No part is looked at twice.
    """
    kind = type(value)
    if isinstance(value, DATES):
        return None
    if kind not in CONTAINERS:
        return UnsupportedValue(
            f"{path}: {kind.__name__}. A session keeps {_SUPPORTED}; store what it is made of.", path=path
        )
    if depth > MAX_DEPTH:
        path = path[:200]
        return UnsupportedValue(f"{path}: more than {MAX_DEPTH} deep, or a cycle. Store it flatter.", path=path)
    if kind is dict:
        for key in value:
            if type(key) not in _MAP_KEYS:
                return UnsupportedValue(
                    f"{path}: a dict key of type {type(key).__name__}. Dict keys are str, int, bool, bytes or None.",
                    path=path,
                )
    for place, item in children(value):
        if type(item) in IMMUTABLE or (id(item), depth) in seen:
            continue
        seen.add((id(item), depth))
        # Of a longer path the beginning: a client may have chosen the keys.
        found = _unsupported(item, (path + spelled_place(value, place))[:LONGEST_PATH], depth + 1, seen)
        if found is not None:
            return found
    return None


def children(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the items of a container, each with its place: its key or its number."""
    return value.items() if type(value) is dict else enumerate(value)


def spelled_place(value: Any, place: Any) -> str:
    if type(value) is dict:
        return step(place)
    return "{}" if type(value) in (set, frozenset) else f"[{place}]"


def spelled(key: str) -> str:
    """Return ``key`` for a message: no line break that a client chose gets into what somebody logs (CVE-2025-25184)."""
    return key if key.isprintable() else repr(key)


def step(key: object) -> str:
    if type(key) is str and key.isprintable():
        return f".{key}"
    if type(key) is int and key.bit_length() > 256:
        # Python refuses to spell out the longest.
        return f"[an int of {key.bit_length()} bits]"
    return f"[{key!r}]"
