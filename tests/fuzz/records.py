"""Promises about any bytes in a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.fuzz.visits import Broken, Visits, flash, read, read_each, use
from tests.support.site import ANN
from tests.support.values import shape
from wsgi_session.codec.packing import CorruptData, join, pack, split, unpack
from wsgi_session.codec.supported import IMMUTABLE
from wsgi_session.stores import Outcome, OwnedSession, Record, Store, owned_session
from wsgi_session.testing import plant

#: A value of every kind, also nested.
RICH: dict[str, Any] = {
    "user": ANN,
    "text": "ä",
    "huge": -(2**70),
    "float": 0.5,
    "none": None,
    "bytes": b"\xff",
    "list": [1, [{"x": ()}]],
    "tuple": (1, ("2", (3,))),
    "set": {1, 2, 3},
    "frozen": frozenset({("a", frozenset({b""}))}),
    "id": UUID(int=7),
    "dict": {2: "int", None: 0, b"b": 1, True: {}},
    "moment": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    "naive": datetime(2026, 1, 2, fold=1),
    "span": timedelta(1, 2),
    "day": datetime(2026, 1, 2).date(),
    "time": datetime(2026, 1, 2).time(),
    "price": Decimal("1.50"),
}
#: The keys under which a value is damaged.
_NAMES: tuple[str | bytes, ...] = ("user", "list", b"owner", b"flash:1", "dict", "new")


class Records:
    """For any bytes as a record's data: an answer, no half-read data, exactly one event, and nothing overwritten."""

    words: Sequence[bytes] = (
        *[bytes([first]) for first in (0x80, 0x81, 0x8F, 0x90, 0x91, 0x9F, 0xA0, 0xA1, 0xBF, *range(0xC0, 0xE0), 0xFF)],
        *[bytes([0xC7, length, code]) for length in (0, 1, 3, 10) for code in range(12)],
        *[bytes([0xD4 + size, code]) for size in range(5) for code in (0, 1, 2, 3, 7, 10, 255)],
        b"\xc4\x01\x01",
        b"\xc4\x02",
        b"\xc4\x10",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xcb\x7f\xf8\0\0\0\0\0\0",
        b"\xcb\xff\xf0\0\0\0\0\0\0",
        b"\xa4user",
        b"\xc4\x05owner",
        b"\xc4\x07flash:1",
        b"\xa1a",
        b"\xa2\xed\xa0",
        b"2026-01-02",
        b"T03:04:05",
        b"+00:00:00.000001",
        b"24:00",
        b"NaN",
        b"sNaN",
        b"-Infinity",
        b"1E999999",
        b"9" * 60,
        b"\x91" * 70,
    )

    def __init__(self) -> None:
        self._store = OneRecord()
        self._visits = Visits(self._store)
        # The planted token opens whatever record the store has at that moment.
        self._cookie = plant(self._visits.middleware, RICH)
        whole = self._store.record
        assert whole is not None
        self._whole = whole
        packed: dict[str | bytes, bytes] = {key: pack(value, key) for key, value in RICH.items()}
        self._flashed = {**packed, b"flash:1": pack(["info", "text"], "x"), b"flash:2": pack(["", ""], "x")}
        self.valid: Sequence[bytes] = [
            join(packed),
            join(self._flashed),
            join({}),
            whole.data,
            # For a single value, damage the value more often than the record around it.
            *[join({key: value}) for key, value in packed.items()],
            *packed.values(),
        ]

    def hold(self, data: bytes, turn: int) -> None:
        # Use the bytes in turn as a record's data, and as one value in a valid record.
        data = data if turn & 1 else join({**self._flashed, _NAMES[turn // 2 % len(_NAMES)]: data})
        kind = turn // 8 % 4
        self._store.keep(self._whole._replace(data=data))
        visits = self._visits
        visits.make((read, read_each, flash, use)[kind], self._cookie)
        corrupt = visits.events.count("corrupt")
        if corrupt > 1:
            raise Broken(f"{corrupt} events of one record")
        if corrupt and self._store.writes:
            raise Broken("a record that could not be read was written to")
        if kind < 2 and self._store.writes:
            raise Broken(f"a request that only read wrote: {self._store.writes}")
        if corrupt and kind < 2 and visits.saw:
            raise Broken(f"saw {visits.saw} of a record that could not be read")
        self._store.keep(self._whole._replace(data=data))
        self._visits.middleware.sessions.of(ANN)


class Codec:
    """For any bytes, given to the codec alone: ``CorruptData``, or a value that can be packed again."""

    words = Records.words

    def __init__(self) -> None:
        packed = [pack(value, key) for key, value in RICH.items()]
        self.valid: Sequence[bytes] = [*packed, join(dict(zip(RICH, packed, strict=True)))]

    def hold(self, data: bytes, turn: int) -> None:
        self._unpack(data)
        try:
            packed = split(data)
        except CorruptData:
            return
        for value in packed.values():
            self._unpack(value)

    def _unpack(self, packed: Any) -> None:
        try:
            value = unpack(packed)
        except CorruptData:
            return
        again = pack(value, "a")
        # A scalar is not packed again to see whether it changed, so its bytes may differ.
        if again != packed and (type(value) not in IMMUTABLE or shape(unpack(again)) != shape(value)):
            raise Broken(f"{packed!r} is {value!r}, which packs to {again!r}")


class OneRecord(Store):
    """Returns the same record for every key, and notes what is written."""

    multiprocess = True

    def __init__(self) -> None:
        self.record: Record | None = None
        self.writes: list[str] = []

    def keep(self, record: Record) -> None:
        self.record = record
        self.writes.clear()

    def load(self, key: bytes, now: float) -> Record | None:
        return self.record

    def create(self, key: bytes, record: Record, now: float) -> None:
        # Under a key that is never read, except for the first record, which is planted.
        self.record = self.record or record

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self.writes.append("replace")
        return Outcome.SAVED

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self.writes.append("rotate")
        return Outcome.SAVED

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        self.writes.append("touch")
        return True

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        self.writes.append("delete")
        return True

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        return iter(() if self.record is None else [owned_session(b"k" * 32, self.record)])

    def ping(self) -> None:
        """Do nothing: the store is always available."""

    def close(self) -> None:
        """Do nothing: no resource is open."""
