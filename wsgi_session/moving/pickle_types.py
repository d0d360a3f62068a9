"""The closed list of what a pickle may construct. Nothing is imported or called by a name that the pickle contains.

Each function here takes the arguments that the pickle has for a class or function of that name, and returns a plain
value. For any other name the reader puts in an :class:`~wsgi_session.moving.opaque.Opaque`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wsgi_session.moving.opaque import Opaque, Pending
from wsgi_session.moving.reader import NotAdopted

#: A longer number in decimal digits is refused: converting it takes quadratic time.
MAX_DIGITS = 4300

_PLAIN_BASES = {"str": str, "int": int, "float": float, "bytes": bytes, "list": list, "tuple": tuple, "dict": dict}
# The names in Python 2, which protocols 0 to 2 still write.
_PLAIN_BASES |= {"unicode": str, "long": int}


class Global(Opaque):
    """A name in a pickle: it stands for a class or a function, which is never looked up."""

    __slots__ = ("path",)

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"{module}.{name}"[:200])
        self.path = (module if module != "__builtin__" else "builtins", name)


def construct(maker: object, arguments: Any) -> Any:
    """Return what ``maker(*arguments)`` stands for, with a maker of the closed list; otherwise an ``Opaque``."""
    if not isinstance(maker, Global):
        return maker if isinstance(maker, Opaque) else Opaque(type(maker).__name__)
    make = _MAKERS.get(maker.path)
    if make is None or type(arguments) is not tuple:
        return Opaque(maker.name)
    try:
        return make(*arguments)
    except (TypeError, ValueError, ArithmeticError):
        return Opaque(maker.name)


def build(target: Any, state: Any) -> None:
    """Complete an object that was created before. The state of an ``Opaque`` is not kept."""
    if isinstance(target, Pending) and type(state) is dict:
        number = state.get("int")
        if type(number) is int and 0 <= number < 1 << 128:
            target.value = UUID(int=number)


def _datetime(raw: Any, zone: Any = None) -> datetime:
    # The bytes of datetime.__reduce__. The constructor would take them too, but numbers as well.
    data = _bytes(raw, 10)
    month, fold = data[2] & 0x7F, data[2] >> 7
    micro = int.from_bytes(data[7:10], "big")
    year = int.from_bytes(data[:2], "big")
    return datetime(year, month, data[3], data[4], data[5], data[6], micro, _zone(zone), fold=fold)


def _date(raw: Any) -> date:
    data = _bytes(raw, 4)
    return date(int.from_bytes(data[:2], "big"), data[2], data[3])


def _time(raw: Any, zone: Any = None) -> time:
    data = _bytes(raw, 6)
    hour, fold = data[0] & 0x7F, data[0] >> 7
    return time(hour, data[1], data[2], int.from_bytes(data[3:6], "big"), _zone(zone), fold=fold)


def _bytes(raw: Any, length: int) -> bytes:
    # Python 2 wrote them as text of characters below 256.
    data: Any = raw.encode("latin-1") if type(raw) is str else raw
    if type(data) is not bytes or len(data) != length:
        raise ValueError("not the bytes of a date or time")
    return data


def _zone(zone: Any) -> tzinfo | None:
    if zone is not None and not isinstance(zone, tzinfo):
        raise ValueError("a time zone that is not known")
    return zone


def _timedelta(days: Any, seconds: Any = 0, micros: Any = 0) -> timedelta:
    if not all(type(number) is int for number in (days, seconds, micros)):
        raise ValueError("no numbers")
    return timedelta(days, seconds, micros)


def _timezone(offset: Any, name: Any = None) -> timezone:
    return timezone(offset) if name is None else timezone(offset, name)


def _zone_info(key: Any, from_cache: Any = True) -> ZoneInfo:
    if type(key) is not str or len(key) > 100:
        raise ValueError("not the name of a time zone")
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError("an unknown time zone") from error


def _decimal(text: Any) -> Decimal:
    if type(text) is not str or len(text) > MAX_DIGITS:
        raise ValueError("not the digits of a Decimal")
    return Decimal(text)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    # How protocols below 3 write bytes.
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError("not the bytes of protocol 2")
    return text.encode("latin-1")


def _text(value: Any = "") -> str:
    if type(value) is not str:
        raise ValueError("no text")
    return value


def _dict(pairs: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    items = list(pairs.items() if type(pairs) is dict else pairs)
    add_pairs(made, [key for key, _ in items], [value for _, value in items])
    return made


def _items(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def make(items: Any = ()) -> Any:
        if type(items) not in (list, tuple):
            raise ValueError("no items")
        return kind(items)

    return make


def _set(items: Any = ()) -> set[Any]:
    if type(items) not in (list, tuple):
        raise ValueError("no items")
    made: set[Any] = set()
    add_items(made, items)
    return made


def _reconstruct(kind: Any, base: Any, state: Any) -> Any:
    """Return the plain value of a subclass: protocols 0 and 1 name the base class and contain its value."""
    if isinstance(kind, Global) and kind.path == ("uuid", "UUID"):
        return Pending(kind.name)
    if isinstance(base, Global) and base.path[0] == "builtins" and type(state) is _PLAIN_BASES.get(base.path[1]):
        return state
    return Opaque(kind.name if isinstance(kind, Opaque) else "object")


def _attribute(parent: Any, name: Any) -> Any:
    """Return the name of a name: protocols below 4 write ``ZoneInfo._unpickle`` as a call of ``getattr``."""
    if not isinstance(parent, Global) or type(name) is not str:
        raise ValueError("not a name")
    return Global(parent.path[0], f"{parent.path[1]}.{name}")


def _new(kind: Any, *arguments: Any) -> Any:
    return construct_new(kind, arguments)


def construct_new(kind: Any, arguments: Any) -> Any:
    """Return what ``kind.__new__(kind, *arguments)`` stands for."""
    if isinstance(kind, Global) and kind.path == ("uuid", "UUID") and arguments == ():
        return Pending(kind.name)
    return construct(kind, arguments)


_MAKERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("datetime", "datetime"): _datetime,
    ("datetime", "date"): _date,
    ("datetime", "time"): _time,
    ("datetime", "timedelta"): _timedelta,
    ("datetime", "timezone"): _timezone,
    ("zoneinfo", "ZoneInfo._unpickle"): _zone_info,
    ("zoneinfo", "ZoneInfo"): _zone_info,
    ("pytz", "_UTC"): lambda: timezone.utc,
    ("decimal", "Decimal"): _decimal,
    ("_codecs", "encode"): _encode,
    ("markupsafe", "Markup"): _text,
    ("builtins", "getattr"): _attribute,
    ("builtins", "bytes"): lambda: b"",
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): lambda items=(): frozenset(_set(items)),
    ("builtins", "list"): _items(list),
    ("builtins", "tuple"): _items(tuple),
    ("builtins", "dict"): _dict,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): lambda factory=None: {},
    ("collections", "Counter"): _dict,
    ("copyreg", "_reconstructor"): _reconstruct,
    ("copy_reg", "_reconstructor"): _reconstruct,
    ("copyreg", "__newobj__"): _new,
    ("copy_reg", "__newobj__"): _new,
}

# Types whose hashes nobody can make equal in large numbers.
_SAFE = frozenset({str, bytes, bool, type(None), float})
#: The most parts that an element of a set may have, and the most elements whose hashes could have been made equal.
MAX_PARTS, MAX_ITEMS = 256, 1_000


def add_pairs(target: dict[Any, Any], keys: Sequence[Any], values: Sequence[Any]) -> None:
    """Put the values under the keys. A key that a session cannot have becomes a stand-in."""
    _check_hashes(len(target), keys)
    target.update(zip(map(_safe_key, keys), values, strict=True))


def add_items(target: set[Any], items: Sequence[Any]) -> None:
    """Add the elements to a set. An element that could take long to hash becomes a stand-in."""
    _check_hashes(len(target), items)
    target.update(map(_safe_item, items))


def _check_hashes(before: int, items: Sequence[Any]) -> None:
    """Raise ``NotAdopted`` for many elements with hashes that may have been made equal, which takes quadratic time."""
    if before + len(items) > MAX_ITEMS and not all(map(_is_safe, items)):
        raise NotAdopted("too_large", f"a pickled set or dict of more than {MAX_ITEMS:,} elements")


def _is_safe(item: Any) -> bool:
    return type(item) in _SAFE or (type(item) is int and item.bit_length() <= 64)


def _safe_key(key: Any) -> Any:
    if _is_safe(key) or type(key) is int or isinstance(key, Opaque):
        return key
    return Opaque(f"a key of type {type(key).__name__}")


def _safe_item(item: Any) -> Any:
    # The hash of a tuple visits shared parts again and again.
    if type(item) in (tuple, frozenset) and _parts(item, MAX_PARTS) < 0:
        return Opaque("a large element of a set")
    return item


def _parts(value: Any, left: int) -> int:
    for item in value:
        left -= 1
        if left >= 0 and type(item) in (tuple, frozenset):
            left = _parts(item, left)
        if left < 0:
            break
    return left
