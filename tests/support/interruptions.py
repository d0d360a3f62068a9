"""Interrupt a call at any of its steps, as a signal handler that raises does."""

from __future__ import annotations

import dis
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from inspect import currentframe
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

from wsgi_session.stores import Record, Store
from wsgi_session.testing.clock import FakeClock

NOW = FakeClock.START


class SoftTimeLimit(Exception):
    """Like celery's: a signal handler raises it at any step."""


#: Functions that are not interrupted, nor their callees: the interpreter may run them while it deletes an object, and
#: then it only reports their exceptions.
NOT_HERE = ("__del__", "<genexpr>")


def interrupted(
    files: tuple[str, ...],
    number: int,
    call: Callable[[], object],
    *expected: type[Exception],
    limit: type[Exception] = SoftTimeLimit,
) -> bool:
    """Call a function, and raise ``limit`` at its ``number``-th step; return whether it has that many steps.

    ``files``: only code of files whose names end like these is interrupted. ``expected``: what the call may raise by
    itself.
    """
    left = number

    def step(code: CodeType, offset: int) -> None:
        nonlocal left
        if threading.current_thread() is not thread or not code.co_filename.endswith(files):
            return
        if offset in moments(code) and not is_deleting():
            left -= 1
            if left == -1:
                raise limit

    def run() -> None:
        with stepping(step), suppress(limit, *expected):
            call()

    # In a separate thread, so that coverage is still measured in this one.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return left < 0


def is_deleting() -> bool:
    """Return True while one of ``NOT_HERE`` runs."""
    frame = currentframe()
    while frame is not None and frame.f_code.co_name not in NOT_HERE:
        frame = frame.f_back
    return frame is not None


@cache
def moments(code: CodeType) -> set[int]:
    """Return the offsets in ``code`` at which the interpreter may run signal handlers.

    These are the beginning of a function, the step after a call, and the end of each iteration of a loop.
    """
    found = set()
    for before, instruction in pairwise(dis.get_instructions(code)):
        if before.opname.startswith(("CALL", "RESUME")):
            found.add(instruction.offset)
        if instruction.opname.startswith(("JUMP_BACKWARD", "JUMP_ABSOLUTE")):
            found.add(instruction.offset)
    return found


if sys.version_info >= (3, 12):
    # From Python 3.12 on, a trace function does not see every step of a function that runs for the first time.
    TOOL = 3

    @contextmanager
    def stepping(step: Callable[[CodeType, int], None]) -> Iterator[None]:
        """Call ``step`` before each instruction of any thread."""
        event = sys.monitoring.events.INSTRUCTION
        sys.monitoring.use_tool_id(TOOL, "interruptions")
        sys.monitoring.register_callback(TOOL, event, step)
        sys.monitoring.set_events(TOOL, event)
        try:
            yield
        finally:
            sys.monitoring.set_events(TOOL, 0)
            sys.monitoring.register_callback(TOOL, event, None)
            sys.monitoring.free_tool_id(TOOL)

else:

    @contextmanager
    def stepping(step: Callable[[CodeType, int], None]) -> Iterator[None]:
        """Call ``step`` before each instruction of this thread, in functions that are called later."""

        def enter(frame: FrameType, event: str, argument: object) -> Any:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            return trace

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if event == "opcode":
                step(frame.f_code, frame.f_lasti)
            return trace

        sys.settrace(enter)
        try:
            yield
        finally:
            sys.settrace(None)


def interrupt_with_signals(store: Store, times: int) -> None:
    """Let a timer's signal handler raise during calls, ``times`` times. A wrong result is a failure.

    Each call reads or touches one of several records, and checks that it got that one. If a connection still had the
    reply to another call, it would get another record.
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

    def use() -> None:
        # A separate function, because Python 3.13 ignores a `try` around a loop at the last step of an iteration.
        for key, record in 5 * list(records.items()):
            found = store.load(key, NOW)
            assert found is not None
            assert found.data == record.data
            assert store.touch(key, NOW, NOW + 1000.0, NOW)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while came < times:
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(2e-4, 3e-3))
                    use()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except SoftTimeLimit:
                came += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    for key, record in records.items():
        assert store.load(key, NOW) == record
