"""CVE-2026-57585: msgpack before 1.2.1 crashes where an ``Unpacker`` is used again after an error. None is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgpack
import pytest

import wsgi_session
from wsgi_session.codec import packing
from wsgi_session.codec.packing import CorruptData, pack, unpack


def test_no_other_file_uses_an_unpacker() -> None:
    package = Path(wsgi_session.__file__).parent
    using = {path.name for path in package.rglob("*.py") if re.search(r"\bUnpacker\b", path.read_text("utf-8"))}
    assert using == {"packing.py"}


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_unpacker_that_failed_is_never_used_again(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    made: list[Any] = []

    class Counting(msgpack.Unpacker):  # type: ignore[misc]
        calls = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

        def unpack(self) -> Any:
            self.calls += 1
            return super().unpack()

    monkeypatch.setattr(packing, "Unpacker", Counting)
    packed = pack((({1, (2, "three")},), (4, (5, b"six"))), "key")
    for damaged in (
        packed,
        packed[:-cut],
        packed[:-cut] + b"\xc1" * cut,
        packed[: 2 + cut] + b"\xc1" + packed[3 + cut :],
    ):
        try:
            unpack(damaged)
        except CorruptData:
            pass
    assert made
    assert {unpacker.calls for unpacker in made} == {1}
