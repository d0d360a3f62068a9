"""Promises about any Cookie header over ``cookie://``, and any bytes in a seal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgpack

from tests.fuzz.headers import Headers
from tests.fuzz.records import RICH, Records
from tests.fuzz.visits import Broken, Visits, log_in, read, read_each, use, write
from wsgi_session.codec.packing import join, pack
from wsgi_session.testing import plant


class Sealed:
    """For any Cookie header over ``cookie://``, and any bytes in a genuine seal: an answer without others' data."""

    def __init__(self) -> None:
        self._visits = Visits("cookie://")
        small = plant(self._visits.middleware, {"whose": 0})
        rich = plant(self._visits.middleware, {**RICH, "whose": 1})
        large = plant(self._visits.middleware, {"whose": 2, "filling": bytes(9_000)})
        # The parts that a header must contain completely to open a session.
        self._needed = [[part.encode() for part in header.split("; ")] for header in (small, rich, large)]
        self.valid: Sequence[bytes] = [header.encode() for header in (small, rich, large)] + [
            f"{small}; {rich}".encode(),
            f"a=b; {large}; {small}".encode(),
            f"sid=5.x; sid.1=; {large}".encode(),
        ]
        pieces = [part for parts in self._needed for part in parts]
        self.words: Sequence[bytes] = [
            *Headers.words,
            *[part.partition(b"=")[2] for part in pieces if len(part) < 1_000],
            b"sid.1=",
            b"sid.2=",
            b"sid.3=",
            b"sid.4=",
            b"sid.5=",
            b"2.",
            b"3.",
            b"5.",
            b"6.",
            b"0.",
            b"1.",
            pieces[0][4:20],
            b"__Host-sid.1=",
        ]

    def hold(self, data: bytes, turn: int) -> None:
        visits = self._visits
        kind = turn % 4
        visits.make((read, read_each, write, use)[kind], data.decode("latin-1"), "https" if turn & 4 else "http")
        if kind < 2 and visits.cookies:
            raise Broken(f"a request that only read got {visits.cookies}")
        whose = visits.saw.get("whose")
        # After `sid=` or `__Host-sid=`: the values of the pieces count, in any place.
        if whose is not None and not all(part.partition(b"=")[2] in data for part in self._needed[whose]):
            raise Broken(f"saw session {whose}, of which the request lacked a part")


class Sealings:
    """For any bytes in a genuine seal, as another release or an attacker with the secret can make it: an answer."""

    words: Sequence[bytes] = (*Records.words, b"\xcb\x41\xdd\xcd\x65\0\0\0\0", b"\x99", b"\xc4\x2b", b"\xa6handle")

    def __init__(self) -> None:
        self._visits = Visits("cookie://")
        backend: Any = self._visits.middleware._backend
        self._seal = backend._sealer.seal
        data = join({key: pack(value, key) for key, value in RICH.items()})
        fields = [b"t" * 43, data, "handle", 2e9, 2e9, 3e9, None, True, None]
        others: list[Any] = [0, -1, 2**63, 1e308, math.nan, math.inf, "", "x", b"", b"x" * 32, [], {}, None, True]
        self.valid: Sequence[bytes] = [
            msgpack.packb(fields),
            msgpack.packb(fields[:8]),
            msgpack.packb([*fields, 1]),
            data,
            *[msgpack.packb([*fields[:place], other, *fields[place + 1 :]]) for place in range(9) for other in others],
        ]

    def hold(self, data: bytes, turn: int) -> None:
        visits = self._visits
        visits.make((read, read_each, use, write, log_in)[turn % 5], "sid=" + self._seal(data))
        if visits.events.count("corrupt") > 1:
            raise Broken("more than one event of one seal")
