"""What every visitor asked for, and what the site acknowledged: recorded before and after each request.

Workers write lines that are short enough for a pipe to take each in one piece. So the requests of a killed process are
known, and the answers that it received.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Entry:
    """One request. Times are those of ``time.monotonic()``, which all processes share."""

    worker: int
    #: ``write``, ``count``, ``own``, ``look``, ``arrive``, ``login``, ``logout`` or ``revoke``: see ``worker.py``.
    op: str
    #: The user or label that the site should show to the visitor.
    whose: str
    #: The cookie that was sent.
    cookie: str | None
    #: What was to be written.
    value: Any
    start: float
    end: float | None = None
    #: ``None`` where no answer came: the process was killed.
    status: int | None = None
    #: The cookie that the visitor has afterwards.
    kept: str | None = None
    saw: dict[str, Any] = field(default_factory=dict)

    @property
    def acknowledged(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether the visitor was asked to try again. The change may have been made nevertheless."""
        return self.status == 503


class Ledger:
    """The requests of all workers; those of one worker in the order in which it made them."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = list(entries)
        self._under_way: dict[int, Entry] = {}

    def take(self, line: str) -> Entry:
        """Record a line that :class:`Pen` wrote, and return its request."""
        worker, *rest = json.loads(line)
        if worker in self._under_way:
            entry = self._under_way.pop(worker)
            entry.end, entry.status, entry.kept, entry.saw = rest
        else:
            op, whose, cookie, value, start = rest
            entry = self._under_way[worker] = Entry(worker, op, whose, cookie, value, start)
            self.entries.append(entry)
        return entry


class Pen:
    """Writes the lines of one worker to ``descriptor``."""

    def __init__(self, descriptor: int, worker: int) -> None:
        self._descriptor = descriptor
        self._worker = worker

    def asks(self, op: str, whose: str, cookie: str | None, value: Any, start: float) -> None:
        self._write(op, whose, cookie, value, start)

    def got(self, end: float, status: int, cookie: str | None, saw: dict[str, Any]) -> None:
        self._write(end, status, cookie, saw)

    def _write(self, *what: Any) -> None:
        # One system call, so that threads do not mix their lines and a SIGKILL does not cut one in half.
        line = json.dumps([self._worker, *what], separators=(",", ":")).encode() + b"\n"
        assert len(line) <= 4096, f"a pipe would not take this as one piece: {line!r}"
        os.write(self._descriptor, line)
