"""Values that cannot be kept: stand-ins for objects of the application, and plain values in place of subclasses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wsgi_session.codec.supported import CONTAINERS, IMMUTABLE, MAX_DEPTH


class Opaque:
    """Stands for an object that cannot be kept. It has the name of the class, and nothing of the object."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Pending(Opaque):
    """Stands for an object that is complete only later: pickle creates some objects first and fills them then."""

    __slots__ = ("value",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        #: The complete object; this stand-in itself if it was never completed.
        self.value: Any = self


_CYCLE = Opaque("a value that contains itself")


def plain(value: Any, seen: dict[int, Any] | None = None, depth: int = 0) -> Any:
    """Return ``value`` with subclasses of text, numbers, dicts, lists and tuples replaced by plain ones.

    ``seen``: the results by the identity of their containers, so that shared parts are visited once. Otherwise a
    hostile value of a few lines would take exponential time.
    """
    if type(value) in IMMUTABLE:
        return value
    base: Any
    for base in (str, int, float, bytes):
        if isinstance(value, base):
            # Not base(value), which would call methods of the subclass.
            return base.__new__(base, value)
    if isinstance(value, Pending):
        return value.value
    if not isinstance(value, (dict, list, tuple, set, frozenset)) or depth > MAX_DEPTH:
        return value  # Packing refuses it, unless it is a date.
    seen = {} if seen is None else seen
    if id(value) not in seen:
        seen[id(value)] = _CYCLE
        seen[id(value)] = _plain_container(value, seen, depth + 1)
    return seen[id(value)]


def _plain_container(value: Any, seen: dict[int, Any], depth: int) -> Any:
    if isinstance(value, dict):
        return {plain(key, seen, depth): plain(item, seen, depth) for key, item in value.items()}
    items = [plain(item, seen, depth) for item in value]
    for base in (list, tuple, set):
        if isinstance(value, base):
            return base(items)
    return frozenset(items)


def class_in(value: Any) -> str:
    """Return the name of the first class in ``value`` that cannot be kept; of ``value`` itself if there is none."""
    seen: set[int] = set()
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, Opaque):
            return part.name
        if type(part) in CONTAINERS and id(part) not in seen:
            seen.add(id(part))
            parts.extend([*part.keys(), *part.values()] if type(part) is dict else part)
        elif type(part) not in IMMUTABLE and type(part) not in CONTAINERS:
            return type(part).__name__
    return type(value).__name__


def opaque_in(value: Any) -> str | None:
    """Return the class for which an ``Opaque`` in ``value`` stands; ``None`` if there is none."""
    return next((part.name for part in _parts(value) if isinstance(part, Opaque)), None)


def count_parts(value: Any) -> int:
    """Return the number of items in ``value`` and in the containers in it. A shared container counts once."""
    return sum(1 for _ in _parts(value))


def _parts(value: Any) -> Iterator[Any]:
    """Yield the value and the items in it, at every depth. The items of a shared container come once."""
    seen: set[int] = set()
    parts = [value]
    while parts:
        part = parts.pop()
        yield part
        if isinstance(part, (dict, list, tuple, set, frozenset)) and id(part) not in seen:
            seen.add(id(part))
            parts.extend([*part.keys(), *part.values()] if isinstance(part, dict) else part)
