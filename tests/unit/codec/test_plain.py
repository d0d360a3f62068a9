"""What a session makes of instances of subclasses: values of the types that they are based on."""

from __future__ import annotations

import enum
import http
import itertools
import random
from collections import Counter, OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from msgpack import ExtType
from sqlalchemy import create_engine, text
from sqlalchemy.sql import quoted_name
from werkzeug.datastructures import CombinedMultiDict, ImmutableMultiDict, MultiDict
from werkzeug.local import LocalProxy

from tests.support.values import shape, values
from wsgi_session.codec.packing import check_key, pack, unpack
from wsgi_session.codec.plain import text_key, to_plain
from wsgi_session.errors import SessionTooLarge, UnsupportedValue
from wsgi_session.request.data import Data

LIMIT = 1_000_000


class Colour(enum.IntEnum):
    RED = 1


class Size(str, enum.Enum):
    LARGE = "L"

    def __str__(self) -> str:
        return "a large one"


class Attributes(dict[str, Any]):
    """As many projects have it: the keys are attributes too, and may hide the methods."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.__dict__ = self


class Point(NamedTuple):
    x: Any
    y: Any


class ForeignUUID(UUID):
    """As asyncpg's: the attributes of UUID itself stay empty."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        object.__setattr__(self, "number", number)

    @property  # type: ignore[misc]
    def int(self) -> Any:
        return self.number  # type: ignore[attr-defined]


RequestToken = namedtuple("RequestToken", "key secret")
MOVED = OrderedDict(a=1, b=2)
MOVED.move_to_end("a")
FORM = MultiDict([("a", "1"), ("a", "2"), ("b", "3")])


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, 1),
        (http.HTTPStatus.OK, 200),
        (Size.LARGE, "L"),
        (Markup("<b>"), "<b>"),
        (quoted_name("id", quote=True), "id"),
        (Point(1, [Size.LARGE]), (1, ["L"])),
        (RequestToken("k", "s"), ("k", "s")),
        (MOVED, {"b": 2, "a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (FORM, {"a": "1", "b": "3"}),
        (ImmutableMultiDict(FORM), {"a": "1", "b": "3"}),
        (CombinedMultiDict([FORM, MultiDict([("c", "4")])]), {"a": "1", "b": "3", "c": "4"}),
        (Attributes(items=[1], keys=2), {"items": [1], "keys": 2}),
        ({quoted_name("id", quote=None): 5, Colour.RED: Markup("x"), True: None}, {"id": 5, 1: None}),
        ({Size.LARGE: {Size.LARGE}}, {"L": {"L"}}),
        (ForeignUUID(7), UUID(int=7)),
        (ExtType(1, b"\x90"), (1, b"\x90")),
        ([MOVED, MOVED], [{"b": 2, "a": 1}] * 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_subclass_comes_back_as_what_it_is_based_on(value: Any, plain: Any) -> None:
    assert shape(unpack(pack(value, "key"))) == shape(plain)
    assert pack([value], "key") == pack([plain], "key")


def test_a_row_of_a_database_is_stored_as_the_dict_that_is_made_of_it() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        row = connection.execute(text("SELECT 5 AS id, 'Ann' AS name")).mappings().one()
    engine.dispose()
    assert shape(unpack(pack(dict(row), "user"))) == shape({"id": 5, "name": "Ann"})


# Every nest of subclasses, which all try to get in the way.


def hostile(*args: Any, **more: Any) -> Any:
    raise RuntimeError("this was overridden")


class Text(str):
    __str__ = __len__ = __iter__ = __getitem__ = __format__ = encode = isprintable = isascii = hostile


class Integer(int):
    __int__ = __index__ = __str__ = __repr__ = to_bytes = bit_length = hostile


class Real(float):
    __float__ = __str__ = __repr__ = hostile


class Octets(bytes):
    __len__ = __iter__ = __getitem__ = __bytes__ = hostile


class Moment(datetime):
    isoformat = date = timetz = utcoffset = hostile


class Day(date):
    isoformat = toordinal = hostile


class Clock(time):
    isoformat = utcoffset = hostile


class Span(timedelta):
    __add__ = __floordiv__ = total_seconds = hostile


class Ident(UUID):
    bytes = hex = __str__ = hostile  # type: ignore[assignment]


class Number(Decimal):
    __str__ = as_tuple = hostile


class Array(list[Any]):
    __len__ = __iter__ = __getitem__ = __eq__ = __bool__ = __contains__ = hostile


class Pair(tuple[Any, ...]):
    __len__ = __iter__ = __getitem__ = __bool__ = hostile


class Bag(set[Any]):
    __len__ = __iter__ = __contains__ = __bool__ = hostile


class FrozenBag(frozenset[Any]):
    __len__ = __iter__ = __contains__ = __bool__ = hostile


class Mapped(dict[Any, Any]):
    __len__ = __iter__ = __getitem__ = __eq__ = __bool__ = __contains__ = keys = values = get = copy = hostile


def moment(value: datetime) -> Moment:
    made = Moment(value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return datetime.replace(made, tzinfo=value.tzinfo, fold=value.fold)  # type: ignore[return-value]


SCALARS: dict[type, Callable[[Any], Any]] = {
    str: Text,
    int: Integer,
    float: Real,
    bytes: Octets,
    datetime: moment,
    date: lambda value: Day(value.year, value.month, value.day),
    time: lambda value: Clock(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold),
    timedelta: lambda value: Span(value.days, value.seconds, value.microseconds),
    UUID: lambda value: Ident(int=value.int),
    Decimal: Number,
}
CONTAINERS: dict[type, Any] = {list: Array, tuple: Pair, set: Bag, frozenset: FrozenBag}


def disguised(value: Any, chance: random.Random) -> Any:
    """Return ``value`` with about half of its parts replaced by instances of subclasses."""
    kind, subclass = type(value), chance.random() < 0.5
    if kind is dict:
        pairs = [(disguised(key, chance), disguised(item, chance)) for key, item in value.items()]
        return Mapped(pairs) if subclass else dict(pairs)
    if kind in CONTAINERS:
        items = [disguised(item, chance) for item in value]
        return CONTAINERS[kind](items) if subclass else kind(items)
    return SCALARS[kind](value) if subclass and kind in SCALARS else value


@given(values, st.randoms(use_true_random=False))
def test_any_nest_of_subclasses_packs_to_the_bytes_of_its_plain_copy(value: Any, chance: random.Random) -> None:
    assert pack(disguised(value, chance), "key") == pack(value, "key")
    assert shape(to_plain([disguised(value, chance)], "key", LIMIT)) == shape([value])


@given(values, st.randoms(use_true_random=False))
def test_a_stored_nest_of_subclasses_is_no_change(value: Any, chance: random.Random) -> None:
    data = Data({})
    data.update({"a": disguised(value, chance)})
    data.assign("b", disguised(value, chance))
    assert data.find_changes()
    data.adopt(data.apply_to(data.stored))
    assert not data.find_changes()
    assert data.changed == {}, "it would replace what another request stores meanwhile"


def test_a_moment_of_a_subclass_keeps_fold_and_offset() -> None:
    zone = timezone(timedelta(hours=-3, microseconds=7))
    for value in (datetime(2026, 10, 25, 2, 30, fold=1), datetime(2026, 1, 1, tzinfo=zone)):
        assert shape(unpack(pack(moment(value), "key"))) == shape(value)


# What is refused, and where it stands.


class Money:
    price = 5


def refusal(value: Any) -> UnsupportedValue:
    with pytest.raises(UnsupportedValue) as caught:
        pack(value, "cart")
    return caught.value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (OrderedDict(a=[Money()]), "cart.a[0]: Money"),
        (Point(1, Money()), "cart[1]: Money"),
        (OrderedDict({Colour.RED: Money()}), "cart[1]: Money"),
        (UserDict(a=1), "cart: UserDict"),
        (MappingProxyType({"a": 1}), "cart: mappingproxy"),
        ([Markup("x"), LocalProxy(lambda: "text")], "cart[1]: LocalProxy"),
        (LocalProxy(lambda: datetime.min), "cart: LocalProxy"),
        (LocalProxy(dict), "cart: LocalProxy"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_supported_base_is_refused_with_the_path_to_it(value: Any, message: str) -> None:
    error = refusal(value)
    assert str(error).startswith(message + ". A session can store str, int, float"), error
    assert error.path == message.partition(":")[0]


def test_a_proxy_that_stands_for_nothing_is_refused_too() -> None:
    def unbound() -> None:
        raise RuntimeError("working outside of a request")

    assert refusal([LocalProxy(unbound)]).path == "cart[0]"


@pytest.mark.parametrize("key", [Real(1.5), Point(1, 2), Ident(int=1)], ids=lambda key: type(key).__name__)
def test_a_key_with_no_base_that_a_key_can_have_is_refused(key: Any) -> None:
    assert f"cart: a dict key of type {type(key).__name__}. Dict keys" in str(refusal(OrderedDict([(key, 1)])))


class Hashable(dict[Any, Any]):
    __hash__ = object.__hash__  # type: ignore[assignment]


def test_an_element_that_only_its_subclass_makes_hashable_is_refused() -> None:
    error = refusal(["x", {Hashable()}])
    assert str(error).startswith("cart[1]: a set with an element that is not hashable")
    assert error.path == "cart[1]"


class Itself(dict[Any, Any]):
    """A dict whose ``items()`` returns a new one at each call."""

    def items(self) -> Any:
        return [("again", Itself()), ("and again", Itself())]


class Endless(dict[Any, Any]):
    def items(self) -> Any:
        return ((number, "x") for number in itertools.count())


class Broken(dict[Any, Any]):
    def items(self) -> Any:
        raise LookupError("the session of the database is closed")


class BrokenLater(dict[Any, Any]):
    def items(self) -> Any:
        yield "a", 1
        yield "b", 2, 3


class NoNumber(ForeignUUID):
    int = property(hostile)  # type: ignore[assignment,misc]


@pytest.mark.parametrize("value", [Broken(), BrokenLater(), NoNumber(0)], ids=lambda value: type(value).__name__)
def test_what_cannot_be_read_is_refused_with_its_reason(value: Any) -> None:
    error = refusal({"a": [value]})
    assert error.path == "cart.a[0]"
    assert f"cart.a[0]: {type(value).__name__}, whose content could not be read: " in str(error)
    assert error.__cause__ is not None


def cycle(kind: Callable[[], Any]) -> Any:
    value = kind()
    value["again"] = [value, value]
    return value


@pytest.mark.parametrize("value", [cycle(OrderedDict), Itself(), [Itself()]], ids=["cycle", "itself", "in a list"])
def test_what_contains_itself_is_refused(value: Any) -> None:
    assert "nested more than 64 levels deep, or containing itself" in str(refusal(value))


def shared(levels: int) -> Any:
    value: Any = Point("ab", "cd")
    for _ in range(levels):
        value = Point(value, OrderedDict(a=value))
    return value


class Wide(dict[Any, Any]):
    """Each reader gets new parts: more than a limit on the depth would stop."""

    made = 0

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def items(self) -> Iterator[tuple[int, Any]]:  # type: ignore[override]
        for number in range(100):
            Wide.made += 1
            yield number, Wide(self.levels - 1) if self.levels else "x"


@pytest.mark.parametrize(
    "value",
    [Endless(), [Endless(), Endless()], shared(9), Point("x", ["y"] * 2000), Wide(40)],
    ids=["endless", "two endless", "shared parts", "long", "wide"],
)
def test_what_does_not_fit_is_refused_in_bounded_work(value: Any) -> None:
    Wide.made = 0
    with pytest.raises(SessionTooLarge, match=r"^cart: a value of type \w+ that would take more than 1,000 bytes"):
        pack(value, "cart", 1_000)
    assert Wide.made < 10_000


def test_the_largest_limit_is_no_overflow() -> None:
    assert unpack(pack(MOVED, "key")) == MOVED


# A session's own keys.


@pytest.mark.parametrize("key", [Size.LARGE, Markup("L"), Text("L"), "L"], ids=lambda key: type(key).__name__)
def test_a_key_that_is_text_is_plain_text(key: Any) -> None:
    for plain in (check_key(key), text_key(key)):
        assert (type(plain), plain) == (str, "L")


def test_what_only_looks_like_text_is_no_key() -> None:
    key = LocalProxy(lambda: "L")
    with pytest.raises(UnsupportedValue, match="a key of type LocalProxy"):
        check_key(key)
    with pytest.raises(KeyError):
        text_key(key)
