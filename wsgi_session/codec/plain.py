"""Turns instances of subclasses into plain values: a session stores an ``OrderedDict`` as a dict.

Only a value that does not consist of exact types gets here. Nothing that a subclass overrides is called, except
``items()`` of a dict's subclass: like ``json``, which Flask and Django use, a session stores the pairs that ``items()``
returns. (A ``MultiDict`` returns one value for each key; a ``CombinedMultiDict`` has its values only there.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import time, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

from wsgi_session.codec.supported import (
    CONTAINERS,
    DATES,
    IMMUTABLE,
    LONGEST_PATH,
    MAP_KEYS,
    MAX_DEPTH,
    fits,
    printable,
    step_to,
)
from wsgi_session.errors import SessionTooLarge, UnsupportedValue

_SUPPORTED = (
    "str, int, float, bool, None, bytes, list, tuple, dict, set, frozenset, datetime, date, time, timedelta, UUID and "
    "Decimal, and subclasses of these, which come back as the type that they are based on"
)
# How to make a plain value of an instance of a subclass. A datetime is a date too, so it comes first.
_TO_BASE: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    DATES[0]: lambda value: DATES[0].combine(value, DATES[0].timetz(value)),
    DATES[1]: lambda value: DATES[1].fromordinal(DATES[1].toordinal(value)),
    time: lambda value: DATES[0].combine(DATES[1].min, value).timetz(),
    timedelta: partial(timedelta.__add__, timedelta(0)),
    UUID: lambda value: UUID(int=value.int),  # asyncpg's UUID overrides it, and leaves the original one empty.
    Decimal: Decimal,
}
_BASES = (*_TO_BASE, *CONTAINERS)


def base_of(value: Any) -> type | None:
    """Return the supported type on which the type of ``value`` is based; ``None`` if there is none."""
    kind = type(value)
    # Not isinstance(): it trusts a proxy's __class__, which may also raise any error.
    return next((base for base in _BASES if issubclass(kind, base)), None)


def to_scalar(value: Any) -> Any:
    """Return the plain value of an instance of a scalar's subclass; any other value unchanged."""
    if type(value) in IMMUTABLE:
        return value
    base = base_of(value)
    return value if base is None or base in CONTAINERS else _TO_BASE[base](value)


def plain_text(value: Any) -> Any:
    """Return a text as plain ``str``; any other value unchanged."""
    return str.__str__(value) if issubclass(type(value), str) else value


def text_key(key: Any) -> str:
    """Return a session's key as plain ``str``; raise ``KeyError`` if it is not a text: no session has such a key."""
    if not issubclass(type(key), str):
        raise KeyError(key)
    return str.__str__(key)


def to_plain(value: Any, key: str, limit: int) -> Any:
    """Return a copy of ``value`` in which the base types replace their subclasses.

    Raises ``UnsupportedValue`` with the path to a part that has no supported base, and ``SessionTooLarge`` if the copy
    is sure to take more than ``limit`` bytes packed. ``limit`` bounds the work and the memory too, even if ``items()``
    never ends.
    """
    copier = _Copier(limit)
    copy = copier.copy(value, printable(key)[:LONGEST_PATH], 1)
    if copier.left >= 0 and (type(copy) in IMMUTABLE or fits(copy, limit)):
        return copy
    raise SessionTooLarge(
        f"{printable(key)}: a value of type {type(value).__name__} that would take more than {limit:,} bytes "
        "(max_size). A part that it contains several times counts each time. Store such data in a table of your own, "
        "and only its id in the session.",
        size=limit + 1,
        limit=limit,
        largest=[(key, limit + 1)],
    )


class _Copier:
    """Makes one plain copy."""

    def __init__(self, limit: int) -> None:
        #: How many items may still be copied: each takes a byte or more. If it is negative, the copy is incomplete.
        self.left = limit
        # The copies of containers by identity and depth, so that none is copied twice. They keep the containers alive,
        # because items() may return new ones, whose identity must not be used again.
        self._copies: dict[tuple[int, int], tuple[Any, Any]] = {}

    def copy(self, value: Any, path: str, depth: int) -> Any:
        """Return the copy of a value, which is not a plain scalar unless ``depth`` is 1."""
        kind = base_of(value)
        if kind is None:
            raise UnsupportedValue(
                f"{path}: {type(value).__name__}. A session can store {_SUPPORTED}. Convert the value to these.",
                path=path,
            )
        if kind not in CONTAINERS:
            try:
                return to_scalar(value)
            except Exception as error:
                raise _unreadable(value, path, error) from error
        if depth > MAX_DEPTH:
            path = path[:200]
            raise UnsupportedValue(
                f"{path}: nested more than {MAX_DEPTH} levels deep, or containing itself. Store a flatter value.",
                path=path,
            )
        place = id(value), depth
        if place not in self._copies:
            self._copies[place] = value, self._copy_items(kind, value, path, depth)
        return self._copies[place][1]

    def _copy_items(self, kind: Any, value: Any, path: str, depth: int) -> Any:
        most = min(max(self.left, -1) + 1, sys.maxsize)
        if kind is dict:
            pairs = self._pairs(value, path, most)
            self.left -= len(pairs)
            # The path is made of the plain keys, because a subclass may override __repr__.
            plain = [(_plain_key(key, path), item) for key, item in pairs]
            return {key: self._copy_item(dict, key, item, path, depth) for key, item in plain}
        items = [*islice(kind.__iter__(value), most)]
        self.left -= len(items)
        copies = [self._copy_item(kind, index, item, path, depth) for index, item in enumerate(items)]
        try:
            return copies if kind is list else kind(copies)
        except TypeError as error:
            raise UnsupportedValue(
                f"{path}: a {kind.__name__} with an element that is not hashable as a plain value: {error}. "
                "Convert the elements to hashable types.",
                path=path,
            ) from error

    def _copy_item(self, kind: type, place: Any, item: Any, path: str, depth: int) -> Any:
        if type(item) in IMMUTABLE:
            return item
        # A client may have chosen very long keys, so the path is cut.
        return self.copy(item, (path + step_to(kind, place))[:LONGEST_PATH], depth + 1)

    def _pairs(self, value: Any, path: str, most: int) -> list[tuple[Any, Any]]:
        kind = type(value)
        if kind is dict:
            return [*islice(value.items(), most)]
        try:
            return [(key, item) for key, item in islice(kind.items(value), most)]
        except Exception as error:
            raise _unreadable(value, path, error) from error


def _plain_key(key: Any, path: str) -> Any:
    if type(key) in MAP_KEYS:
        return key
    if base_of(key) in MAP_KEYS:
        return to_scalar(key)
    raise UnsupportedValue(
        f"{path}: a dict key of type {type(key).__name__}. Dict keys must be str, int, bool, bytes or None.", path=path
    )


def _unreadable(value: Any, path: str, error: Exception) -> UnsupportedValue:
    name = type(value).__name__
    return UnsupportedValue(
        f"{path}: {name}, whose content could not be read: {type(error).__name__}. Convert the value to a plain type.",
        path=path,
    )
