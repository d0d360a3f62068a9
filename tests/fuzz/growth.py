"""The cost of twice the size: linear work doubles, quadratic work takes four times as long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import thread_time
from typing import Any

from tests.fuzz.headers import Headers
from tests.fuzz.promises import Promise
from tests.fuzz.records import Records
from tests.fuzz.sealed import Sealed
from wsgi_session.codec.packing import join, pack

#: Sizes in bytes, up to the part of a header that is read, and up to half of the largest record.
HEADER_SIZES = (8_000, 16_000, 32_000, 64_000)
RECORD_SIZES = (65_536, 131_072, 262_144, 524_288)
#: The highest growth of the time when the size doubles, on average: above 2 because other programs run meanwhile.
LIMIT = 2.6
#: Each time is the best of this many.
_TRIES = 5

Make = Callable[[int], bytes]


def header_families(valid: bytes) -> dict[str, Make]:
    """Return headers that have made other cookie parsers slow, and that might slow this one. ``valid``: a cookie."""
    bad = b"sid=" + b"A" * 43 + b"." + b"A" * 43 + b"; "
    units = [
        b";",
        b" ",
        b"\t",
        b"=",
        b'"',
        b",",
        b"\\",
        b"\\073",
        b"%3B",
        b"; ",
        b"sid",
        b"sid=",
        b"sid=;",
        b"sid=; ",
        b" sid=",
        b"a=b; ",
        b'a="b\\"; ',
        b"sid=x; ",
        b"sid=2.x; ",
        b"sid=5." + b"x" * 20 + b"; ",
        b"sid.1=m.x; ",
        b"sid=2.; sid.1=.; ",
        b"__Host-sid=x; ",
        b"$Version=1; ",
        b"\x1f",
        b"\xa0",
        bad,
        valid + b"; ",
    ]
    return {repr(unit)[1:]: partial(_repeated, unit) for unit in units}


def record_families() -> dict[str, Make]:
    """Return records of one kind of value each, and some invalid ones."""
    values: dict[str, Callable[[int], Any]] = {
        "text": lambda size: "x" * size,
        "bytes": bytes,
        "int": lambda size: 1 << size * 8,
        "list": lambda size: [1] * size,
        "tuple": lambda size: (1,) * size,
        "dict": lambda size: dict.fromkeys(range(size // 6)),
        "set": lambda size: set(range(size // 5)),
        "set of tuples": lambda size: {(number,) for number in range(size // 9)},
        "tuples in tuples": lambda size: _nested(tuple, size),
        "frozen sets in frozen sets": lambda size: _nested(frozenset, size),
    }
    families: dict[str, Make] = {name: partial(_one_value, make) for name, make in values.items()}
    families["many keys"] = lambda size: join({str(number): b"\x01" for number in range(size // 9)})
    families["many flashes"] = _many_flashes
    for unit in (b"\x91", b"\x81", b"\xc4", b"\xd4\x01", b"\xc7\x01\x01", b"\x81\xa1a", b"\xc1"):
        families[f"{unit.hex()} again and again"] = partial(_repeated, unit)
        families[f"a list of {unit.hex()}"] = partial(_as_list, unit)
    return families


def measure() -> int:
    """Print the growth of each family, and return 1 if one grows faster than its size."""
    failed = 0
    for name, promise, families, sizes in _all():
        for family, make in families.items():
            times = [_best(promise, make(size)) for size in sizes]
            growth = float((times[-1] / times[0]) ** (1 / (len(sizes) - 1)))
            failed += growth > LIMIT
            each = ", ".join(f"{seconds * 1000:.2f}" for seconds in times)
            print(f"{name:8} {family:32} x{growth:.1f} ({each} ms){'   GROWS TOO FAST' * (growth > LIMIT)}", flush=True)
    print(f"{failed} families grow by more than x{LIMIT} when the size is doubled")
    return int(failed > 0)


def calls_of(promise: Promise, data: bytes, turn: int) -> int:
    """Return the number of function calls, C functions included, while ``promise`` is checked with ``data``."""
    counted = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event.endswith("call")

    sys.setprofile(count)
    try:
        promise.hold(data, turn)
    finally:
        sys.setprofile(None)
    return counted


def _all() -> list[tuple[str, Promise, dict[str, Make], Sequence[int]]]:
    headers, sealed = Headers(), Sealed()
    return [
        ("headers", headers, header_families(headers.valid[0]), HEADER_SIZES),
        ("sealed", sealed, header_families(sealed.valid[0]), HEADER_SIZES),
        ("records", Records(), record_families(), RECORD_SIZES),
    ]


def _best(promise: Promise, data: bytes) -> float:
    return min(_time(promise, data) for _ in range(_TRIES))


def _time(promise: Promise, data: bytes) -> float:
    began = thread_time()
    for turn in range(8):
        promise.hold(data, turn)
    return thread_time() - began


def _repeated(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


def _one_value(make: Callable[[int], Any], size: int) -> bytes:
    return join({"a": pack(make(size), "a")})


def _as_list(unit: bytes, size: int) -> bytes:
    count = size // len(unit)
    return join({"a": b"\xdd" + count.to_bytes(4, "big") + unit * count})


def _many_flashes(size: int) -> bytes:
    return join({b"flash:%d" % number: b"\x92\xa0\xa0" for number in range(size // 16)})


def _nested(kind: Callable[[Any], Any], size: int) -> Any:
    value = kind(range(size // 64))
    for _ in range(60):
        value = kind((value,))
    return value
