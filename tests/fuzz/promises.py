"""The kinds of input there are, each with what must hold for whatever comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tests.fuzz.headers import Headers
from tests.fuzz.records import Records
from tests.fuzz.sealed import Sealed, Sealings


class Promise(Protocol):
    """A kind of input: what valid ones are, what they are made of, and what must hold for every other."""

    valid: Sequence[bytes]
    words: Sequence[bytes]

    def hold(self, data: bytes, turn: int) -> None:
        """Raise if ``data`` breaks a promise: ``Broken``, or what came out of the package.

        What the application does with its session depends on ``turn``, any number.
        """


PROMISES: dict[str, type[Promise]] = {"headers": Headers, "records": Records, "sealed": Sealed, "sealings": Sealings}
