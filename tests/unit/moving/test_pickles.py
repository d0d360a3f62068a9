"""Pickled sessions are read without pickle: what pickle.dumps writes comes back, and nothing that it names is run."""

from __future__ import annotations

import collections
import copyreg
import enum
import io
import os
import pickle
import pickletools
import time
import zoneinfo
from datetime import date, datetime, timedelta, timezone
from datetime import time as daytime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from tests.support.values import shape, values
from wsgi_session.moving.opaque import Opaque, class_in, plain
from wsgi_session.moving.pickle_types import MAX_ITEMS, Global
from wsgi_session.moving.pickles import MAX_MARKS, MAX_MEMO, MAX_OPCODES, MAX_SIZE, load_pickle
from wsgi_session.moving.reader import NotAdopted

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WARSAW = zoneinfo.ZoneInfo("Europe/Warsaw")


def load(data: bytes) -> Any:
    return plain(load_pickle(data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=values)
@settings(max_examples=60, deadline=None)
def test_what_a_session_can_store_comes_back_as_it_was(protocol: int, value: Any) -> None:
    for dumped in (
        pickle.dumps(value, protocol),
        pickletools.optimize(pickle.dumps(value, protocol)),
        pure(value, protocol),
    ):
        found = load(dumped)
        assert shape(found) == shape(pickle.loads(dumped))


def pure(value: Any, protocol: int) -> bytes:
    """Return a pickle by the implementation in Python, which chooses other opcodes."""
    into = io.BytesIO()
    pickle._Pickler(into, protocol).dump(value)  # type: ignore[attr-defined]
    return into.getvalue()


VALUES = [
    datetime(2030, 2, 28, 23, 59, 59, 999_999),
    datetime(2030, 10, 27, 2, 30, fold=1),
    datetime(2030, 1, 1, tzinfo=timezone.utc),
    datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30), "Newfoundland")),
    datetime(2030, 7, 1, 12, tzinfo=WARSAW),
    date(1, 1, 1),
    daytime(23, 59, 59, 1, tzinfo=timezone.utc, fold=1),
    timedelta(-5, 6, 7),
    Decimal("-1.50E+7"),
    Decimal("NaN"),
    UUID(int=5),
    b"",
    b"\x00\xff",
    -(1 << 200),
    1 << 3000,
    "\ud800",
    'it\'s "quoted"\n\\u0041\x00',
    set(),
    frozenset({("a", (2,))}),
    [{"a": ({"b": [1.5, True, None]},)}],
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_each_supported_type_comes_back(protocol: int, value: Any) -> None:
    dumped = pickle.dumps(value, protocol)
    expected = pickle.loads(dumped)  # Protocols below 4 do not keep the fold.
    assert shape(load(dumped)) == shape(expected)


class Colour(str, enum.Enum):
    RED = "red"


class Text(str):
    pass


class Items(list[Any]):
    pass


class Cart(dict[str, Any]):
    pass


class Account:
    def __init__(self) -> None:
        self.name = "Ann"


class WithSlots:
    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "Ann"


class Named(Account):
    def __reduce__(self) -> Any:
        return copyreg.__newobj_ex__, (Named, (), {"a": 1}), {"name": "Ann"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_dicts_of_collections_come_back_as_dicts(protocol: int) -> None:
    ordered = collections.OrderedDict(a=1, b=2)
    counter = collections.Counter("aab")
    default: Any = collections.defaultdict(list, a=[1])
    assert load(pickle.dumps([ordered, counter, default], protocol)) == [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": [1]}]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_markup_comes_back_as_text(protocol: int) -> None:
    found = load(pickle.dumps(Markup("<b>"), protocol))
    assert (type(found), found) == (str, "<b>")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Account(), "Account"),
        (Items([1]), "Items"),
        (Cart(a=1), "Cart"),
        (Colour.RED, "Colour"),
        (Account, "Account"),
        (os.system, "system"),
        (collections.deque([1]), "deque"),
        (bytearray(b"a"), "bytearray"),
        (3 + 4j, "complex"),
        (range(3), "range"),
        ({Account()}, "Account"),
        ({Account(): 1}, "Account"),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, str) else value,
)
def test_any_other_object_is_a_stand_in_with_the_name_of_its_class(protocol: int, value: Any, name: str) -> None:
    found = plain(load_pickle(pickle.dumps([1, value, "after"], protocol)))
    assert found[::2] == [1, "after"]
    assert class_in(found).endswith(name) or (protocol < 2 and not isinstance(found[1], Opaque))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_object_made_with_named_arguments_is_a_stand_in(protocol: int) -> None:
    assert isinstance(load_pickle(pickle.dumps(Named(), protocol)), Opaque)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_object_with_slots_is_a_stand_in(protocol: int) -> None:
    assert class_in(load_pickle(pickle.dumps(WithSlots(), protocol))).endswith("WithSlots")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_object_at_two_places_is_one_object(protocol: int) -> None:
    uid, items = UUID(int=7), [1]
    found = load(pickle.dumps([uid, items, uid, items], protocol))
    assert found == [uid, items, uid, items]
    assert found[1] is found[3]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_value_that_contains_itself_ends(protocol: int) -> None:
    knot: list[Any] = []
    knot += [knot, (knot, {"a": knot})]
    assert class_in(load(pickle.dumps({"knot": knot}, protocol))) == "a value that contains itself"


# Nothing is run.


class Attack:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_that_a_pickle_names_is_called(protocol: int, tmp_path: Any) -> None:
    target = tmp_path / "made"
    attacks = [
        Attack(os.mkdir, (str(target),)),
        Attack(eval, (f"open({str(target)!r}, 'w')",)),
        Attack(exec, (f"open({str(target)!r}, 'w')",)),
        Attack(getattr, (os, "mkdir")) if protocol < 0 else Attack(open, (str(target), "w")),
    ]
    for attack in attacks:
        found = load(pickle.dumps({"a": attack}, protocol))
        assert isinstance(found["a"], Opaque)
    assert not target.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch /tmp/made'\ntR.",
        b"(S'touch /tmp/made'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch /tmp/made'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01a\x85R.",
        b"cbuiltins\ngetattr\n(NNtR.",
        b"cbuiltins\nset\n(NtR.",
        b"cbuiltins\nlist\n(NtR.",
        b"ccollections\nOrderedDict\n(NtR.",
        b"cdatetime\ntimedelta\n(NtR.",
        b"cdecimal\nDecimal\n(NtR.",
        b"c_codecs\nencode\n(NtR.",
        b"cmarkupsafe\nMarkup\n(NtR.",
        b"cdatetime\ndate\n(NtR.",
        b"czoneinfo\nZoneInfo\n(NtR.",
        b"cdatetime\ntime\n(S'\\x01\\x01\\x01\\x00\\x00\\x00'\nS'UTC'\ntR.",
        b"cbuiltins\ngetattr\n(cos\nsystem\nS'__class__'\ntR(tR.",
        b"ccopy_reg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR}b.",
        b"ccopyreg\n__newobj__\n(cos\nsystem\ntR.",
        b"\x80\x04cos\nsystem\n)}\x92.",
        b"cdatetime\ndate\nK\x05R.",
    ],
)
def test_pickles_by_hand_give_stand_ins(data: bytes) -> None:
    assert isinstance(load(data), Opaque)


# Bounds.


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "corrupt"),
        (b".", "corrupt"),
        (b"N", "corrupt"),
        (b"0.", "corrupt"),
        (b"}]s.", "corrupt"),
        (b"(]u.", "corrupt"),
        (b"NNa.", "corrupt"),
        (b"}(Nu.", "corrupt"),
        (b"N(N\x90.", "corrupt"),
        (b"](NNu.", "corrupt"),
        (b"\x80\x04\x8f(]\x90.", "corrupt"),
        (b"h\x05.", "corrupt"),
        (b"\x86.", "corrupt"),
        (b"NN\x93.", "corrupt"),
        (b"NNb.", "corrupt"),
        (b"X\xff\xff\xff\xffabc.", "corrupt"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc.", "corrupt"),
        (b"S'abc\n.", "corrupt"),
        (b"S\n.", "corrupt"),
        (b"I" + b"9" * 5000 + b"\n.", "too_large"),
        (b"Ix\n.", "corrupt"),
        (b"P1\n.", "unsupported"),
        (b"NQ.", "unsupported"),
        (b"\x82\x01.", "unsupported"),
        (b"\x97.", "unsupported"),
        (b"N" * (MAX_OPCODES + 1), "too_large"),
        (b"(" * (MAX_MARKS + 1), "too_large"),
        (b"N" + b"\x94" * (MAX_MEMO + 1), "too_large"),
        (b"N" * (MAX_SIZE + 1), "too_large"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_damaged_or_too_large_pickle_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NotAdopted) as caught:
        load_pickle(data)
    assert caught.value.reason == reason


def test_a_large_place_in_the_memo_takes_no_room() -> None:
    assert load_pickle(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.") is None


@pytest.mark.parametrize(
    "data",
    [
        b"]" + b"2\x86" * 100_000 + b".",  # Tuples that each contain the last one twice.
        b"\x80\x04\x8f(N" + b"2\x86" * 1000 + b"\x90.",  # The same as an element of a set, which is hashed.
        b"\x80\x04}" + b"N" + b"2\x86" * 1000 + b"Ns.",  # The same as a key.
        b"\x80\x04(" + b"N" + b"2\x86" * 1000 + b"\x91.",
        b"]" * 100_000 + b"a" * 99_999 + b".",  # Nested lists.
        b"\x80\x04" + b"N" + b"\x85" * 200_000 + b".",
    ],
)
def test_a_bomb_takes_little_time(data: bytes) -> None:
    started = time.perf_counter()
    class_in(plain(load_pickle(data)))
    assert time.perf_counter() - started < 20


_COPIES = b"cbuiltins\n%s\n\x94" + b"h\x01h\x00\x85R0" * 40_000 + b"N."


@pytest.mark.parametrize(
    "data",
    [
        b"(" + b"N" * 30_000 + b"t\x94" + _COPIES % b"list",
        b"(" + b"N" * 30_000 + b"t\x94" + _COPIES % b"set",
        b"("
        + b"".join(b"J" + place.to_bytes(4, "little") + b"N" for place in range(20_000))
        + b"d\x94"
        + _COPIES % b"dict",
        b"(" + b"N" * 30_000 + b"t\x94" + b"cbuiltins\nset\n\x94" + b"h\x01h\x00R0" * 40_000 + b"N.",
        b"(" + b"N" * 30_000 + b"l\x94cos\nsystem\n\x94" + b"(h\x01h\x00o0" * 40_000 + b"N.",
    ],
)
def test_a_container_cannot_be_copied_again_and_again(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(NotAdopted) as caught:
        load_pickle(data)
    assert caught.value.reason == "too_large"
    assert time.process_time() - started < 20


def test_elements_with_equal_hashes_cannot_slow_a_set_down() -> None:
    prime = (1 << 61) - 1
    small = {Decimal(number * prime) for number in range(100)}
    assert load(pickle.dumps(small)) == small
    for protocol in (2, 4):
        with pytest.raises(NotAdopted):
            load_pickle(pickle.dumps({Decimal(number * prime) for number in range(MAX_ITEMS + 1)}, protocol))
        many = set(map(str, range(5000)))
        assert load(pickle.dumps(many, protocol)) == many
    assert load(pickle.dumps({1 << 70: {1 << 71}})) == {1 << 70: {1 << 71}}


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_or_a_value(data: bytes) -> None:
    for tried in (data, data + b".", b"\x80\x04" + data + b"."):
        try:
            class_in(plain(load_pickle(tried)))
        except NotAdopted:
            pass


@given(
    value=values,
    protocol=st.sampled_from(PROTOCOLS),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_a_damaged_pickle_is_refused_or_a_value(value: Any, protocol: int, changes: list[tuple[int, int]]) -> None:
    data = bytearray(pickle.dumps(value, protocol))
    for place, byte in changes:
        data[place % len(data)] = byte
    try:
        class_in(plain(load_pickle(bytes(data))))
    except NotAdopted:
        pass


MAKERS = ["datetime\ndatetime", "datetime\ndate", "datetime\ntime", "datetime\ntimedelta", "datetime\ntimezone"]
MAKERS += ["zoneinfo\nZoneInfo", "decimal\nDecimal", "_codecs\nencode", "markupsafe\nMarkup", "builtins\ngetattr"]
MAKERS += ["builtins\nset", "builtins\nlist", "collections\nOrderedDict", "collections\nCounter", "uuid\nUUID"]
MAKERS += ["copyreg\n_reconstructor", "copyreg\n__newobj__", "pytz\n_UTC", "builtins\nbytes", "builtins\ndict"]


@given(maker=st.sampled_from(MAKERS), arguments=st.lists(values, max_size=3), code=st.sampled_from([b"R", b"\x81"]))
@settings(max_examples=200, deadline=None)
def test_any_arguments_give_a_value_or_a_stand_in(maker: str, arguments: list[Any], code: bytes) -> None:
    packed = pickle.dumps(tuple(arguments), 4)[2:-1]
    try:
        class_in(plain(load_pickle(b"c" + maker.encode() + b"\n" + packed + code + b".")))
    except NotAdopted:
        pass


def test_a_zone_that_does_not_exist_is_a_stand_in() -> None:
    for key in ("Nowhere/Land", "../../etc/passwd", "", "x" * 200, "Europe"):
        found = load_pickle(b"czoneinfo\nZoneInfo._unpickle\n" + pickle.dumps((key, True), 4)[2:-1] + b"R.")
        assert isinstance(found, Opaque), key


def test_what_python_2_wrote_comes_back() -> None:
    assert load(b"(dp0\nS'user'\np1\nS'ann'\np2\nsS'n'\nI5\nsS'yes'\nI01\nsS'big'\nL5L\nsS'f'\nF1.5\ns.") == {
        "user": "ann",
        "n": 5,
        "yes": True,
        "big": 5,
        "f": 1.5,
    }
    assert load(b"\x80\x02}(U\x01aU\x01bT\x01\x00\x00\x00cK\x05u.") == {"a": "b", "c": 5}
    assert load(b"cdatetime\ndate\n(S'\\x07\\xee\\x02\\x1c'\ntR.") == date(2030, 2, 28)


def test_what_is_added_to_a_stand_in_is_dropped() -> None:
    for code in (b"(Nu", b"(NNu", b"(N\x90", b"(Ne", b"Na", b"NNs", b"Nb"):
        found = load_pickle(b"cshop\nCart\n" + code + b".")
        assert class_in(found) == "shop.Cart"


def test_a_state_that_is_not_a_number_makes_no_uuid() -> None:
    for state in (b"N", b"}", b"}S'int'\nNs", b"}S'int'\nI-1\ns"):
        assert isinstance(load(b"\x80\x02cuuid\nUUID\n)\x81" + state + b"b."), Opaque)


def test_the_class_of_a_pickled_name_is_shown() -> None:
    assert isinstance(load_pickle(b"cshop\nCart\n."), Global)
    assert class_in(load_pickle(b"cshop\nCart\n.")) == "shop.Cart"
