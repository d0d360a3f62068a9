"""Compare the package with ``model.py``: ``python -m tests.fuzz.machine --store sqlite --examples 10000``.

The steps are those of ``rules.py``. Progress goes to stderr, the figures to stdout; Ctrl-C prints the figures so far. A
failure is shown in its shortest form. The tests include a short run.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from bench.report import say
from tests.fuzz.processes import Processes, changing_stores, over
from tests.fuzz.rules import Machine
from tests.support.stores import KINDS, Kind
from wsgi_session.stores.cookie import CookieStore


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz.machine", description=(__doc__ or "").splitlines()[0])
    names = [kind.name for kind in KINDS]
    parser.add_argument("--store", choices=names, default="memory", help="(default: memory)")
    parser.add_argument("--examples", type=int, default=10_000, help="runs from beginning to end (default: 10,000)")
    parser.add_argument("--steps", type=int, default=40, help="steps in each run (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same runs (default: 1)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    figures = Figures(options.examples)
    stopped = False
    with tempfile.TemporaryDirectory() as folder:
        kind = next(kind for kind in KINDS if kind.name == options.store)
        with opened(kind, Path(folder)) as machine:
            try:
                run(machine, options.examples, options.steps, options.seed, figures)
            except KeyboardInterrupt:
                stopped = True
    say("")
    print(f"{options.store}: {figures}, seed {options.seed}{', stopped' if stopped else ''}")
    return int(stopped)


class Figures:
    """The progress of a run."""

    def __init__(self, wanted: int) -> None:
        self.examples = self.steps = 0
        self._wanted = wanted
        self._began = monotonic()

    def add(self, steps: int) -> None:
        self.examples += 1
        self.steps += steps
        say(f"{self} of {self._wanted:,}")

    def __str__(self) -> str:
        return f"{self.examples:,} examples, {self.steps:,} steps, {monotonic() - self._began:.0f} s"


@contextmanager
def opened(kind: Kind, folder: Path) -> Iterator[type[Machine]]:
    """Yield the machine over an empty store of that kind."""
    if kind.name == "migrating":
        yield _machine(kind.name, changing_stores)
    else:
        with kind.open(folder) as store:
            yield _machine(kind.name, lambda: over(store), stateless=isinstance(store, CookieStore))


def run(
    machine: type[Machine], examples: int, steps: int, seed_: int | None = None, figures: Figures | None = None
) -> None:
    """Run a machine ``examples`` times. Raise its first failure, in the shortest form."""
    machine.tell = None if figures is None else figures.add
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=seed_ is None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine if seed_ is None else seed(seed_)(machine), settings=chosen)


def _machine(name: str, start_processes: Callable[[], Processes], *, stateless: bool = False) -> type[Machine]:
    given = {"start_processes": staticmethod(start_processes), "stateless": stateless}
    return type(f"Over_{name.replace('-', '_')}", (Machine,), given)


if __name__ == "__main__":
    sys.exit(main())
