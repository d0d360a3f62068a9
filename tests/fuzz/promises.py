"""The kinds of input, each with the promise that must hold for any input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tests.fuzz.headers import Headers
from tests.fuzz.records import Records
from tests.fuzz.sealed import Sealed, Sealings


class Promise(Protocol):
    """A kind of input: valid examples, the parts of the format, and the promise for every other input."""

    valid: Sequence[bytes]
    words: Sequence[bytes]

    def hold(self, data: bytes, turn: int) -> None:
        """Raise if ``data`` breaks a promise: ``Broken``, or the package's own error.

        What the application does with its session depends on ``turn``, any number.
        """


PROMISES: dict[str, type[Promise]] = {"headers": Headers, "records": Records, "sealed": Sealed, "sealings": Sealings}
