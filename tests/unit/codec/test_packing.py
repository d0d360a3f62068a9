"""Packing values into bytes, and unpacking them."""

from __future__ import annotations

import decimal
import enum
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.names import name_of
from tests.support.values import hashables, keepable, shape, values
from wsgi_session.codec import packing
from wsgi_session.codec.packing import CorruptData, check_key, join, new_packer, pack, split, unpack
from wsgi_session.codec.supported import MAX_DEPTH
from wsgi_session.errors import UnsupportedValue


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = wrap(1)
    for _ in range(levels - 1):
        value = wrap(value)
    return value


def refusal(value: Any, key: str = "cart") -> UnsupportedValue:
    with pytest.raises(UnsupportedValue) as caught:
        pack(value, key)
    return caught.value


# Round trips.


@given(values)
def test_every_value_comes_back_as_the_type_it_went_in(value: Any) -> None:
    assert shape(unpack(pack(value, "key"))) == shape(value)


@given(values)
def test_packing_is_canonical(value: Any) -> None:
    packed = pack(value, "key")
    assert pack(unpack(packed), "key") == packed


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        -0.0,
        float("nan"),
        float("-inf"),
        5e-324,
        True,
        1,
        2**63,
        2**64,
        -(2**63) - 1,
        10**100_000,
        -(10**100_000),
        "",
        "\0",
        "\U0010ffff",
        b"",
        Decimal("-0"),
        Decimal("1.10"),
        Decimal("NaN123"),
        Decimal("-sNaN7"),
        Decimal("-Infinity"),
        Decimal("1E+999999"),
        datetime.min,
        datetime.max,
        datetime(2026, 10, 25, 2, 30, fold=1),
        datetime(2026, 1, 1, tzinfo=timezone.utc),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=30, seconds=52, microseconds=7))),
        time(2, 30, fold=1),
        time.max.replace(tzinfo=timezone(timedelta(seconds=-1))),
        timedelta.min,
        timedelta.max,
        timedelta(microseconds=-1),
        UUID(int=0),
        (),
        set(),
        frozenset(),
        {None: 1, True: 2, b"\xff": 3, 2**70: 4, "": 5},
        pytest.param({(1, frozenset({(2, "b")})), (1, frozenset({(2, b"b")}))}, id="set of tuples of frozensets"),
    ],
    ids=lambda value: f"{type(value).__name__} {str(value)[:30] if not isinstance(value, int) else hash(value)}",
)
def test_the_ends_of_every_type_come_back(value: Any) -> None:
    assert shape(unpack(pack(value, "key"))) == shape(value)
    assert shape(unpack(pack([value], "key"))) == shape([value])


@pytest.mark.parametrize("microseconds", [1, -1, 999_999, -999_999, 1_000_001, -60_000_001])
def test_offsets_of_less_than_a_second_come_back_too(microseconds: int) -> None:
    """``fromisoformat`` alone turns them into UTC."""
    zone = timezone(timedelta(microseconds=microseconds))
    for moment in (datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=zone), time(1, tzinfo=zone), time(1, tzinfo=zone, fold=1)):
        assert shape(unpack(pack(moment, "key"))) == shape(moment)


def test_an_aware_datetime_keeps_its_offset_and_not_its_zone() -> None:
    summer = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    back = unpack(pack(summer, "key"))
    assert back == summer
    assert back.tzinfo == timezone(timedelta(hours=2))


def test_no_decimal_context_changes_what_is_read_or_written() -> None:
    value = [Decimal("1E+50"), Decimal("1.000000000000000000000000000000000001")]
    packed = pack(value, "key")
    with decimal.localcontext() as context:
        context.capitals = 0
        context.prec = 3
        assert pack(value, "key") == packed
        assert shape(unpack(packed)) == shape(value)


@given(st.lists(hashables, max_size=8, unique_by=repr), st.randoms())
def test_equal_sets_pack_equally_whatever_the_order_they_were_filled_in(
    items: list[Any], shuffler: random.Random
) -> None:
    first = set(items)
    shuffled = list(first)
    shuffler.shuffle(shuffled)
    assert pack(set(shuffled), "key") == pack(first, "key")
    assert pack(frozenset(shuffled), "key") == pack(frozenset(first), "key")


def test_sets_pack_equally_in_every_process() -> None:
    program = (
        "from wsgi_session.codec.packing import pack; "
        "print(pack({'tags': {'a', 'bb', ('c', frozenset({'x', 'y', 'z'})), b'd', None, 5}}, 'key').hex())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("0", "1", "2", "77")
    }
    assert len(printed) == 1, printed


# Refused values, and the paths to them.


class Money:
    price = 5


class Colour(enum.IntEnum):
    RED = 1


class Markup(str):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0, 1, 2, {"price": Money()}], "cart[3].price: Money"),
        (Money(), "cart: Money"),
        (Money, "cart: type"),
        (bytearray(b"a"), "cart: bytearray"),
        (memoryview(b"a"), "cart: memoryview"),
        ([msgpack.Timestamp(1)], "cart[0]: Timestamp"),
        (1j, "cart: complex"),
        (range(3), "cart: range"),
        ({1: {b"x": (0, {5: len})}}, "cart[1][b'x'][1][5]: builtin_function_or_method"),
        ({"a": {None: object()}}, "cart.a[None]: object"),
        ({Money}, "cart{}: type"),
        ((frozenset({(1j,)}),), "cart[0]{}[0]: complex"),
    ],
    ids=name_of,
)
def test_another_type_is_refused_with_the_path_to_it(value: Any, message: str) -> None:
    error = refusal(value)
    assert str(error).startswith(message + ". A session can store str, int, float"), error
    assert error.path == message.partition(":")[0]
    assert isinstance(error, TypeError)


@pytest.mark.parametrize("key", [1.5, (1,), frozenset(), UUID(int=0)], ids=repr)
def test_a_dict_key_of_another_type_is_refused(key: Any) -> None:
    error = refusal({"ok": 1, "lines": [{key: 1}]})
    assert error.path == "cart.lines[0]"
    assert f"a dict key of type {type(key).__name__}" in str(error)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: [value],
        lambda value: (value,),
        lambda value: {"a": value},
        lambda value: frozenset({value}),
        lambda value: [(value,)] if isinstance(value, int) else [value],
    ],
    ids=["list", "tuple", "dict", "frozenset", "mixed"],
)
def test_containers_stand_64_deep_and_no_deeper(wrap: Callable[[Any], Any]) -> None:
    levels = MAX_DEPTH - 1
    assert shape(unpack(pack(nested(levels, wrap), "key"))) == shape(nested(levels, wrap))
    error = refusal(nested(MAX_DEPTH + 1, wrap))
    assert "more than 64 levels deep, or containing itself" in str(error)


def test_64_levels_are_allowed_and_65_are_not() -> None:
    pack(nested(64, lambda value: [value]), "key")
    assert "more than 64 levels deep" in str(refusal(nested(65, lambda value: [value])))


def test_a_cycle_is_refused() -> None:
    through_list: list[Any] = []
    through_list.append({"again": through_list})
    through_tuple: list[Any] = []
    through_tuple.append((through_tuple,))
    twice: list[Any] = []
    twice += [twice, twice]
    for cycle in (through_list, through_tuple, twice):
        assert "containing itself" in str(refusal(cycle))


def test_tuples_at_full_depth_fit_on_a_small_stack() -> None:
    """Threads may have small stacks. ``unpackb`` takes 40 KB for each tuple, and an overflow ends the process."""
    program = (
        "import threading\n"
        "from wsgi_session.codec.packing import CorruptData, pack, unpack\n"
        "from msgpack import ExtType, packb\n"
        "value = ()\n"
        "for _ in range(63): value = (value,)\n"
        "bomb = packb([])\n"
        "for _ in range(5000): bomb = packb(ExtType(1, b'\\x91' + bomb))\n"
        "def run():\n"
        "    assert unpack(pack(value, 'key')) == value\n"
        "    try: unpack(bomb)\n"
        "    except CorruptData: print('fine')\n"
        "threading.stack_size(512 * 1024)\n"
        "thread = threading.Thread(target=run); thread.start(); thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("\ud800", "cart"),
        (["ok", "\udfff"], "cart[1]"),
        ({"a": {"b": ("ok", "x\ud800")}}, "cart.a.b[1]"),
        ({"a": {"\ud800": 1}}, "cart.a"),
        ({"\ud800": ["\ud800"]}, r"cart['\ud800'][0]"),
        ({"\ud800"}, "cart{}"),
        (frozenset({("\ud800",)}), "cart{}[0]"),
    ],
    ids=ascii,
)
def test_a_lone_surrogate_is_refused_with_the_path_to_it(value: Any, path: str) -> None:
    error = refusal(value)
    assert error.path == path
    assert "a lone surrogate, which UTF-8 cannot encode" in str(error)
    str(error).encode()


def test_a_path_through_the_longest_int_is_short() -> None:
    """Python raises ValueError if such an int is converted to text."""
    error = refusal({10**5000: [Money()]})
    assert error.path == "cart[an int of 16610 bits][0]"
    assert unpack(pack({10**5000: [1]}, "key")) == {10**5000: [1]}


@pytest.mark.parametrize("key", [5, None, b"flash", ("a",), 1.5, 10**5000], ids=lambda key: type(key).__name__)
def test_a_key_that_is_no_str_is_refused(key: Any) -> None:
    with pytest.raises(
        UnsupportedValue, match=rf"a key of type {type(key).__name__}. Session keys must be str"
    ) as caught:
        check_key(key)
    assert len(caught.value.path) <= 200


class Timestamp(datetime):
    """Like that of pandas, which writes nanoseconds."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        return super().isoformat(sep, "microseconds") + "001"


def test_a_moment_that_is_written_in_another_way_comes_back() -> None:
    assert unpack(pack([Timestamp(2026, 1, 2, 3, 4, 5)], "key")) == [datetime(2026, 1, 2, 3, 4, 5)]


def test_of_a_place_that_takes_long_to_say_the_beginning_is_said() -> None:
    """A client may have chosen the keys: building the full path to each part of a large value would take hours."""
    for value in ({"k" * 10_000: [Money()]}, {"k" * 600: {"k" * 600: [Money()]}}):
        assert len(refusal(value).path) <= 1000
    assert len(refusal(Money(), "k" * 10_000).path) <= 1000


def test_a_key_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnsupportedValue, match="a key with a lone surrogate") as caught:
        check_key("a\ud800")
    assert caught.value.path == r"'a\ud800'"


@pytest.mark.parametrize("refused", [Money(), "\ud800"], ids=["type", "surrogate"])
def test_no_line_break_of_a_key_is_in_a_refusal(refused: Any) -> None:
    """Keys may come from a client, and a server logs what was raised (CVE-2025-25184)."""
    for break_ in ("\n", "\r", "\x1b[2K", "\x85", "\u2028"):
        key = f"a{break_}ERROR forged"
        for call in (
            lambda key=key: pack({key: [refused]}, "cart"),
            lambda key=key: pack(refused, key),
            lambda key=key: check_key(key + "\ud800"),
        ):
            with pytest.raises(UnsupportedValue) as caught:
                call()
            assert caught.value.path.isprintable(), caught.value.path
            assert str(caught.value).isprintable(), str(caught.value)


@given(keepable)
def test_any_other_text_is_a_key(key: str) -> None:
    assert check_key(key) is key


class Broken(tzinfo):
    dst = tzname = None  # type: ignore[assignment]

    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise LookupError("no such zone")


def test_an_error_of_the_applications_own_objects_is_its_own() -> None:
    with pytest.raises(LookupError, match="no such zone"):
        pack(datetime(2026, 1, 1, tzinfo=Broken()), "key")


# Bytes that this package did not pack.


def unpacked_or_corrupt(data: bytes) -> Any:
    try:
        return unpack(data)
    except CorruptData:
        return CorruptData


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_corrupt(data: bytes) -> None:
    value = unpacked_or_corrupt(data)
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        # Otherwise it would look like a change by the application.
        assert new_packer()(value) == data


@given(values, st.data())
def test_a_cut_or_flipped_value_is_another_value_or_corrupt(value: Any, data: st.DataObject) -> None:
    packed = pack(value, "key")
    end = data.draw(st.integers(0, len(packed) - 1))
    unpacked_or_corrupt(packed[:end])
    flipped = packed[:end] + bytes([packed[end] ^ data.draw(st.integers(1, 255))]) + packed[end + 1 :]
    unpacked_or_corrupt(flipped)


@given(st.integers(-128, 127), st.binary(max_size=40) | st.builds(msgpack.packb, st.lists(st.booleans() | keepable)))
def test_an_extension_type_outside_the_table_is_never_decoded(code: int, data: bytes) -> None:
    packed = ext(code, data)
    for whole in (packed, b"\x91" + packed):
        value = unpacked_or_corrupt(whole)
        if not 1 <= code <= 10:
            assert value is CorruptData, (code, value)


def ext(code: int, data: bytes) -> bytes:
    return b"\xc8" + len(data).to_bytes(2, "big") + code.to_bytes(1, "big", signed=True) + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\x91\xd6\xff\x00\x00\x00\x01",
        b"\x81\x90\x01",
        b"\x82\x01\xa1a\xc3\xa1b",
        b"\x91\xcc\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xa1\xff",
        b"\x91" * 3000 + b"\x01",
        ext(1, b""),
        ext(1, b"\x01"),
        ext(1, b"\x91"),
        ext(1, b"\x91\x01\x01"),
        ext(2, b"\x92\x02\x01"),
        ext(2, b"\x92\x01\x01"),
        ext(3, b"\x91\x90"),
        ext(4, b"yesterday"),
        ext(4, b"\xff"),
        ext(5, b"2026-02-30"),
        ext(6, b"f"),
        ext(7, b"\x7f" * 30),
        ext(8, b"short"),
        ext(9, b"five"),
    ],
    ids=lambda data: data[:12].hex(),
)
def test_what_no_value_packs_to_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptData):
        unpack(data)


@pytest.mark.parametrize(
    "key", [b"\xd4\x01\x90", b"\xd4\x03\x90", b"\xc7\x0a\x052026-01-02", b"\xcb" + bytes(8)], ids=bytes.hex
)
@pytest.mark.parametrize("around", [b"", b"\x91", b"\x81\x05"], ids=bytes.hex)
def test_a_dict_key_that_no_session_can_have_is_corrupt(key: bytes, around: bytes) -> None:
    """Otherwise the value could be read, but not saved after a change inside it."""
    in_a_tuple = b"\x91" + around + b"\x81" + key + b"\x01"
    for data in (around + b"\x81" + key + b"\x01", b"\xc7" + bytes([len(in_a_tuple), 1]) + in_a_tuple):
        with pytest.raises(CorruptData):
            unpack(data)


def test_a_dict_key_that_is_no_text_is_read_wherever_the_dict_is() -> None:
    value = {5: ({None: [{True: b"", b"k": {"t": {1: 2}}}]},)}
    assert unpack(pack(value, "a")) == value


@pytest.mark.parametrize("levels", [65, 70, 1501])
@pytest.mark.parametrize(
    "wrap",
    [lambda inner: b"\x91" + inner, lambda inner: b"\x81\xa1k" + inner, lambda inner: ext(1, b"\x91" + inner)],
    ids=["list", "dict", "tuple"],
)
def test_deeper_than_any_session_is_corrupt(wrap: Callable[[bytes], bytes], levels: int) -> None:
    data = b"\x90"
    for _ in range(levels - 1):
        data = wrap(data)
    with pytest.raises(CorruptData):
        unpack(data)


def test_many_parts_side_by_side_are_not_deep() -> None:
    value = [{"at": ([number], "ä" * 40)} for number in range(100)]
    assert unpack(pack(value, "a")) == value


# Records.


packed_records = st.dictionaries(keepable | st.binary(), st.binary(), max_size=8)


@given(packed_records)
def test_a_record_splits_into_what_it_was_joined_from_in_order(packed: dict[str | bytes, bytes]) -> None:
    assert list(split(join(packed)).items()) == list(packed.items())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_corrupt(data: bytes) -> None:
    try:
        packed = split(data)
    except CorruptData:
        return
    assert {type(key) for key in packed} <= {str, bytes}
    for value in packed.values():
        unpacked_or_corrupt(value)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x90", b"\xc0", b"\x81\x01\xc4\x00", b"\x81\xa1a", b"\x80\x80", b"\xa1\xff", b"\xd6\xff\0\0\0\1"],
    ids=bytes.hex,
)
def test_what_is_no_map_of_text_or_bytes_is_no_record(data: bytes) -> None:
    with pytest.raises(CorruptData):
        split(data)


@pytest.mark.parametrize("value", [5, "a", None, [b"\x01"], {}, 1.5, msgpack.ExtType(1, b"\x90")], ids=repr)
def test_a_records_value_that_is_no_bytes_is_found_when_it_is_read(value: Any) -> None:
    packed = split(msgpack.packb({"a": value, "b": b"\x05"}))
    assert unpack(packed["b"]) == 5
    with pytest.raises(CorruptData):
        unpack(packed["a"])


def test_msgpack_with_and_without_a_size_for_its_buffer_writes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """msgpack 1.0 has no ``buf_size``. A newer version writes the same without it."""

    def write() -> bytes:
        return join({"a": pack([{1, ("x", 2**70)}], "a"), b"own": pack("b", "b")})

    written = write()
    monkeypatch.setattr(packing, "_SIZED", False)
    assert write() == written


def test_splitting_decodes_no_value() -> None:
    assert split(join({"a": b"\xc1", b"own": b"junk"})) == {"a": b"\xc1", b"own": b"junk"}


def test_threads_pack_at_once_without_mixing_their_bytes() -> None:
    barrier = threading.Barrier(4, timeout=60)
    wrong: list[Any] = []

    def work(number: int) -> None:
        value = [{number, (number, "x" * number)}, {"n": frozenset({number})}] * 20
        expected = pack(value, "key")
        barrier.wait()
        wrong.extend(number for _ in range(100) if pack(value, "key") != expected or unpack(expected) != value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("value", [Money(), [Money()], [Colour.RED], ({Markup("a")},)])
def test_packing_without_checking_still_keeps_no_other_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"Money|Colour|Markup"):
        new_packer()(value)
