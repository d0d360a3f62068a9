"""The loop over the inputs, and its report."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from time import monotonic, thread_time
from traceback import extract_tb

from tests.fuzz.mutate import inputs
from tests.fuzz.promises import Promise

#: Seconds of processor time that no input of at most 70 KB may take twice in a row (once may be due to the machine).
TOO_LONG = 0.25
#: Number of findings after which a run stops.
ENOUGH = 20


class Report:
    """The progress and the findings of a run."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.seed = seed
        self.inputs = 0
        self.findings: list[str] = []
        #: Processor time of the slowest input, in seconds, and its bytes.
        self.slowest = (0.0, 0)
        self._began = monotonic()

    def find(self, data: bytes, what: str) -> None:
        shown = repr(data) if len(data) <= 2_000 else f"{data[:2_000]!r}... ({len(data):,} bytes)"
        self.findings.append(f"{self.name} --seed {self.seed}, input {self.inputs:,}: {what}\n  {shown}")

    def __str__(self) -> str:
        seconds = monotonic() - self._began
        slowest, size = self.slowest
        return (
            f"{self.name}: {self.inputs:,} inputs, seed {self.seed}, {seconds:.0f} s, {len(self.findings)} findings, "
            f"the slowest took {slowest * 1000:.1f} ms ({size:,} bytes)"
        )


def run(promise: Promise, count: int, report: Report, say: Callable[[str], None]) -> None:
    """Check ``promise`` with ``count`` inputs, and add the findings to ``report``."""
    for data in islice(inputs(report.seed, promise.valid, promise.words), count):
        report.inputs += 1
        taken = _try(promise, data, report)
        if taken > TOO_LONG and _try(promise, data, report) > TOO_LONG:
            report.find(data, f"took {taken:.2f} s")
        if taken > report.slowest[0]:
            report.slowest = taken, len(data)
        if not report.inputs % 1_000:
            say(f"{report} of {count:,}")
        if len(report.findings) >= ENOUGH:
            return


def _try(promise: Promise, data: bytes, report: Report) -> float:
    """Return the seconds of processor time that one input took."""
    began = thread_time()
    try:
        promise.hold(data, report.inputs)
    except Exception as error:
        last = extract_tb(error.__traceback__)[-1]
        report.find(data, f"{type(error).__name__}: {error} ({last.filename.rpartition('/')[2]}:{last.lineno})")
    return thread_time() - began
