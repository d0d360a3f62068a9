"""Machine instructions that a request's session takes: ``python -m bench.instructions``, with valgrind on the PATH.

Each scenario is run twice under callgrind, with few and with many requests. The difference per request, minus that of
the same application without a session, is the cost of the session. Unlike times, the figures repeat on any machine and
under any load, to about 1 %: callgrind counts what is executed, not how long it took. ``--misses`` simulates the
first-level caches too, which takes longer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

if not __package__:  # run as a file: the packages are beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.driver import SCENARIOS, Scenario, block, environ, visitors
from bench.peers import CONTENDERS, Contender
from bench.report import say

#: Requests of the two runs whose difference counts.
FEW, MANY = 250, 1250
#: Sessions that take turns: several, so that a cache of the last one does not pass for speed.
SESSIONS = 16
NAMES = ("floor-memory", "ours-memory", "floor-sqlite", "ours-sqlite")
_EVENTS = re.compile(r"^events: (.*)$", re.MULTILINE)
_TOTALS = re.compile(r"^(?:summary|totals): (.*)$", re.MULTILINE)


def answer(name: str, scenario: Scenario, requests: int, *, bare: bool) -> None:
    """Answer ``requests`` requests. This is what runs under callgrind."""
    (kind,) = [kind for kind in CONTENDERS if kind.name == name]
    with tempfile.TemporaryDirectory() as folder:
        contender: Contender = kind(Path(folder))
        cookies = visitors(contender, SESSIONS)[scenario.cookie]
        application = contender.bare if bare else contender.applications[scenario.work]
        block(application, islice(cycle([environ(scenario.work, cookie) for cookie in cookies]), requests))
        contender.close()


def count(name: str, scenario: Scenario, *, bare: bool, misses: bool) -> dict[str, float]:
    """Return the cost of one request, by callgrind's names of events."""
    few, many = (_callgrind(name, scenario, requests, bare=bare, misses=misses) for requests in (FEW, MANY))
    return {event: (many[event] - few[event]) / (MANY - FEW) for event in few}


def _callgrind(name: str, scenario: Scenario, requests: int, *, bare: bool, misses: bool) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            f"--cache-sim={'yes' if misses else 'no'}",
            sys.executable,
            "-m",
            "bench.instructions",
            "--answer",
            name,
            scenario.name,
            str(requests),
            *(["--bare"] if bare else []),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        text = out.read_text()
    events, totals = _EVENTS.search(text), _TOTALS.findall(text)
    assert events is not None
    return dict(zip(events[1].split(), map(int, totals[-1].split()), strict=True))


def measure(
    names: list[str], scenarios: list[Scenario], *, misses: bool
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield the contender, the scenario, and the cost of a request's session."""
    for name in names:
        for scenario in scenarios:
            say(f"{name}, {scenario.name} ({scenario.title})")
            total = count(name, scenario, bare=False, misses=misses)
            bare = count(name, scenario, bare=True, misses=misses)
            yield name, scenario.name, {event: total[event] - bare[event] for event in total}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(NAMES), help="such as ours-memory")
    parser.add_argument("--scenarios", nargs="+", metavar="S", default=["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8"])
    parser.add_argument("--misses", action="store_true", help="count first-level cache misses too")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--answer", nargs=3, metavar=("NAME", "S", "REQUESTS"), help=argparse.SUPPRESS)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    of_name = {scenario.name: scenario for scenario in SCENARIOS}
    if arguments.answer:
        name, scenario, requests = arguments.answer
        answer(name, of_name[scenario], int(requests), bare=arguments.bare)
        return
    figures: dict[str, dict[str, dict[str, float]]] = {}
    scenarios = [of_name[name] for name in arguments.scenarios]
    for name, scenario, events in measure(arguments.only, scenarios, misses=arguments.misses):
        figures.setdefault(name, {})[scenario] = events
        print(f"{name:14} {scenario:4} " + "  ".join(f"{event} {value:10,.0f}" for event, value in events.items()))
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
