"""What a signal handler that raises does to a call: an exception at any of its moments."""

from __future__ import annotations

import dis
import random
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from wsgi_session.stores import Record, Store
from wsgi_session.testing.clock import FakeClock

NOW = FakeClock.START


class SoftTimeLimit(Exception):
    """As celery's: raised by a signal handler, anywhere."""


def interrupted(files: tuple[str, ...], number: int, call: Callable[[], object], *expected: type[Exception]) -> bool:
    """Make a call into which ``SoftTimeLimit`` comes at the ``number``-th moment; return whether it has that many.

    Those are the moments at which the interpreter runs signal handlers: at the beginning of a function, after a call,
    and at the end of a loop's round. ``files``: how the names of those end whose code is interrupted. ``expected``:
    what the call may raise by itself.
    """
    left = number

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(files) or frame.f_code.co_name == "__del__":
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        before = ""

        def step(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal before, left
            if event == "opcode":
                if before.startswith(("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")):
                    left -= 1
                    if left == -1:
                        raise SoftTimeLimit
                before = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            return step

        return step

    def run() -> None:
        sys.settrace(enter)
        try:
            call()
        except (SoftTimeLimit, *expected):
            pass
        finally:
            sys.settrace(None)

    # In a thread of its own: what measures the coverage of this one goes on.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return left < 0


def interrupt_with_signals(store: Store, rounds: int) -> int:
    """Let a timer's signal handler raise in the middle of calls; return how often it did. A wrong answer is a failure.

    Each round reads and touches its own record and checks that it is that one: a connection with another call's answer
    still on its way would give another.
    """
    came = 0
    chance = random.Random(1)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise SoftTimeLimit

    records = {}
    for number in range(8):
        records[b"%032d" % number] = Record(b"%d" % number, b"v" * 16, "handle", NOW, NOW, NOW + 1000.0)
    for key, record in records.items():
        store.create(key, record, NOW)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(rounds):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(2e-4, 3e-3))
                    for key, record in 5 * list(records.items()):
                        found = store.load(key, NOW)
                        assert found is not None
                        assert found.data == record.data
                        assert store.touch(key, NOW, NOW + 1000.0, NOW)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except SoftTimeLimit:
                came += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    for key, record in records.items():
        assert store.load(key, NOW) == record
    return came
