"""What a request's session costs, in one process, without sockets: ``python -m bench.micro``.

In every round, each contender answers a block of requests, and so does the same application without a session. The
difference per request is the session's cost. The order of the contenders rotates from round to round, and the median of
the rounds is shown, so that a machine that slows down for a while affects all contenders alike.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

if not __package__:  # run as a file: the packages are beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.driver import SCENARIOS, VISITORS, Clock, Runner, Scenario, block, visitors
from bench.peers import CONTENDERS, USUAL, Contender
from bench.report import facts, say

#: By contender and what it is compared with: the highest allowed ratio for each scenario. Compared with None, the cost
#: over the bare application in µs.
TARGETS: dict[tuple[str, str | None], dict[str, float]] = {
    ("ours-memory", None): {"S1": 1.2, "S2": 1.2},
    ("ours-memory", "floor-memory"): {"S3": 1.6, "S4": 1.5, "S5": 2.5, "S6": 0.15, "S7": 8},
    ("ours-memory", "beaker-memory"): {"S1": 0.6, "S2": 0.6, "S3": 0.2, "S4": 0.35, "S5": 0.55, "S6": 0.06, "S7": 0.25},
    ("ours-sqlite", None): {"S1": 1.2, "S2": 1.2},
    ("ours-sqlite", "floor-sqlite"): {"S3": 1.6, "S4": 1.5, "S5": 1.5, "S6": 0.25, "S7": 8},
    ("ours-redis", "floor-redis"): {"S3": 1.25, "S4": 1.4},
    ("ours-redis", "beaker-redis"): {"S3": 1 / 3, "S4": 1 / 1.5},
    ("ours-redis", "flask-session-redis"): {"S3": 1 / 3, "S4": 1 / 1.5},
    ("ours-redis", "django-redis"): {"S3": 1 / 3, "S4": 1 / 1.5},
    ("ours-redis", "pyramid-session-redis"): {"S3": 1 / 3, "S4": 1 / 1.5},
    ("ours-postgresql", "floor-postgresql"): {"S3": 3, "S4": 1.4},
}
#: The same for contenders without a floor: µs on a machine where floor-memory answers S3 in ``SCALE`` µs.
SCALED = {"ours-cookie": {"S3": 25.0, "S4": 60.0}}
SCALE = 6.4


def measure(
    contenders: list[Contender],
    scenarios: list[Scenario],
    rounds: int,
    quick: bool,
    clock: Clock,
    least: bool,
) -> dict[str, Any]:
    """Return, by scenario and contender, the result of ``summary``; with ``least``, from many short blocks."""
    planted = {}
    for contender in contenders:
        say(f"{contender.name}: making sessions")
        planted[contender.name] = visitors(contender, VISITORS // 8 if quick else VISITORS)
    results: dict[str, Any] = {}
    for scenario in scenarios:
        runners: list[Runner] = []
        for contender in contenders:
            if scenario.cookie == "large" and not contender.keeps_large:
                continue
            # A block of writes to a disk must be long enough for several checkpoints. Otherwise some blocks have one
            # and others have none.
            writes = scenario.work in ("write", "new_small") and contender.name.endswith(("sqlite", "postgresql"))
            seconds = 0.002 if least else (0.1 if writes else 0.02) / (4 if quick else 1)
            runners.append(Runner(contender, scenario, planted[contender.name][scenario.cookie], seconds, clock))
        gc.collect()
        gc.freeze()  # so that a collection within a block does not visit the prepared sessions
        for turn in range(rounds):
            say(f"{scenario.name} ({scenario.title}): round {turn + 1} of {rounds}")
            start = turn % max(len(runners), 1)
            for runner in runners[start:] + runners[:start]:
                runner.round()
        gc.unfreeze()
        results[scenario.name] = {runner.name: summary(runner, least) for runner in runners}
    say("")
    return results


def summary(runner: Runner, least: bool) -> dict[str, float]:
    """Return the median of the costs in µs, and their quartiles.

    With ``least``: the cheapest block minus the cheapest bare one, which other programs disturbed the least.
    """
    costs = [total - bare for total, bare in zip(runner.total_costs, runner.bare_costs, strict=True)]
    low, middle, high = statistics.quantiles(costs, n=4) if len(costs) > 1 else costs * 3
    if least:
        middle = min(runner.total_costs) - min(runner.bare_costs)
    return {"us": middle, "low": low, "high": high}


def profile(contender: Contender, scenario: Scenario, calls: int = 20_000) -> None:
    """Print the cost of one request by function. Read it for shares: cProfile's own cost inflates small functions."""
    runner = Runner(contender, scenario, visitors(contender, 64)[scenario.cookie], 0.02)
    plain = block(runner.application, islice(runner.visitors, calls)) / calls * 1e6
    bare = block(runner.bare, islice(runner.visitors, calls)) / calls * 1e6
    profiler = cProfile.Profile()
    profiler.enable()
    block(runner.application, islice(runner.visitors, calls))
    profiler.disable()
    print(f"{contender.name} {scenario.name} ({scenario.title}): {plain - bare:.2f} µs without the profiler")
    print(f"{'calls':>7} {'own µs':>8} {'with its':>8}   a request, under the profiler")
    rows = pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]
    for (file, line, function), (_, count, own, total, _) in sorted(rows, key=lambda row: -row[1][2])[:30]:
        where = function if file == "~" else f"{Path(file).name}:{line} {function}"
        print(f"{count / calls:7.2f} {own / calls * 1e6:8.2f} {total / calls * 1e6:8.2f}   {where}")


def targets(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every target whose two sides were measured, and whether it is met."""
    for (ours, other), limits in TARGETS.items():
        for scenario, limit in limits.items():
            costs = results.get(scenario, {})
            if ours not in costs or (other is not None and other not in costs):
                continue
            value = costs[ours]["us"] / (costs[other]["us"] if other is not None else 1)
            found = {"scenario": scenario, "ours": ours, "against": other, "limit": limit, "value": value}
            yield found | {"met": value <= limit}
    scale = results.get("S3", {}).get("floor-memory")
    for ours, limits in SCALED.items():
        for scenario, limit in limits.items():
            if scale is None or ours not in results.get(scenario, {}):
                continue
            value = results[scenario][ours]["us"] * SCALE / scale["us"]
            found = {"scenario": scenario, "ours": ours, "against": None, "limit": limit, "value": value}
            yield found | {"met": value <= limit}


def table(title: str, names: list[str], results: dict[str, Any], cell: Callable[[dict[str, Any], str], str]) -> None:
    """Print one row for each contender and one column for each scenario."""
    width = max(map(len, names)) + 2
    print(f"\n{title}\n{'':<{width}}" + "".join(f"{scenario:>9}" for scenario in results))
    for name in names:
        print(f"{name:<{width}}" + "".join(f"{cell(costs, name):>9}" for costs in results.values()))


def times_ours(costs: dict[str, Any], name: str) -> str:
    """Return this contender's cost as a multiple of ours over the same engine, or ``-`` if either is missing."""
    ours = costs.get(f"ours-{engine(name)}")
    return f"{costs[name]['us'] / ours['us']:.2f}" if ours and name in costs else "-"


def engine(name: str) -> str:
    return name.rpartition("-")[2]


def show(results: dict[str, Any], names: list[str], shown: str) -> None:
    """Print the costs, the ratios, and the targets."""
    for scenario in SCENARIOS:
        if scenario.name in results:
            print(f"{scenario.name:<4} {scenario.title}")
    table(
        f"µs per request, minus the same application without a session: {shown}",
        names,
        results,
        lambda costs, name: f"{costs[name]['us']:.2f}" if name in costs else "-",
    )
    if any(name.startswith("ours-") for name in names):
        table("Multiples of the cost of ours over the same engine", names, results, times_ours)
    found = list(targets(results))
    if found:
        print("\nTargets: at most this many times the other contender (or this many µs over the bare application;")
        print(f"for cookies, µs as on a machine where floor-memory answers S3 in {SCALE})")
    for target in found:
        against = f"times {target['against']}" if target["against"] else "µs"
        print(
            f"{target['ours']:<16}{target['scenario']:<3} {target['value']:6.2f} {against:<28}"
            f" at most {target['limit']:4.2f}   {'met' if target['met'] else 'MISSED'}"
        )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description="What a request's session costs.")
    engines = list(dict.fromkeys(engine(kind.name) for kind in CONTENDERS))
    known = [scenario.name for scenario in SCENARIOS] + engines + [kind.name for kind in CONTENDERS]
    parser.add_argument("--rounds", type=int, help="how many (21; with --quick 7; with --least ten times that)")
    parser.add_argument("--quick", action="store_true", help="shorter blocks, fewer visitors: under 20 s, for a glance")
    parser.add_argument("--only", default="", help=f"some of these, separated by commas: {', '.join(known)}")
    parser.add_argument("--all", action="store_true", help="also contenders that need a server, and encrypted cookies")
    parser.add_argument("--least", action="store_true", help="take the cheapest of many short blocks, not the median")
    parser.add_argument("--cpu", action="store_true", help="count processor time, for a busy machine")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--profile", metavar="SCENARIO", help="show where the time goes, in ours-memory or the contenders of --only"
    )
    chosen = parser.parse_args()
    chosen.only = [name for name in chosen.only.split(",") if name]
    if unknown := set(chosen.only) - set(known):
        parser.error(f"unknown in --only: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if chosen.profile and chosen.profile not in known[: len(SCENARIOS)]:
        parser.error(f"--profile takes one of {', '.join(known[: len(SCENARIOS)])}, not {chosen.profile}")
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds takes at least 1")
    return chosen


def main() -> None:
    chosen = options()
    kinds = [kind for kind in CONTENDERS if kind.name in chosen.only or engine(kind.name) in chosen.only]
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in chosen.only] or list(SCENARIOS)
    if not kinds:
        usual = CONTENDERS if chosen.all else USUAL
        kinds = [kind for kind in usual if kind.name == "ours-memory" or not chosen.profile]
    with tempfile.TemporaryDirectory(prefix="wsgi-session-bench-") as folder:
        contenders = []
        try:
            for kind in kinds:
                try:
                    contenders.append(kind(Path(folder)))
                except ImportError as error:
                    print(f"{kind.name} is left out: {error}", file=sys.stderr)
            if not contenders:
                raise SystemExit("No contender is left to measure.")
            if chosen.profile:
                scenario = next(scenario for scenario in SCENARIOS if scenario.name == chosen.profile)
                for contender in contenders:
                    profile(contender, scenario)
                return
            rounds = chosen.rounds or (7 if chosen.quick else 21) * (10 if chosen.least else 1)
            clock = thread_time if chosen.cpu else perf_counter
            results = measure(contenders, scenarios, rounds, chosen.quick, clock, chosen.least)
        finally:
            for contender in contenders:
                contender.close()
    if chosen.json:
        print(json.dumps({"facts": facts(), "costs": results, "targets": list(targets(results))}, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in facts().items()))
    show(results, [contender.name for contender in contenders], "least" if chosen.least else "medians")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
