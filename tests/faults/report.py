"""The table, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.faults.run import Result

COLUMNS = (
    "engine",
    "fault",
    "harms",
    "requests",
    "acknowledged",
    "lost",
    "resurrected",
    "crossed",
    "longest wait",
    "time to heal",
)
_LEFT = 2


def cells(result: Result) -> tuple[str, ...]:
    """Return one line, in the order of ``COLUMNS``."""
    verdict = result.verdict
    numbers = (result.harms, result.requests, result.acknowledged)
    findings = (len(verdict.lost), len(verdict.resurrected), len(verdict.crossed))
    times = (f"{result.longest_wait:.2f} s", f"{result.healing:.2f} s")
    return (result.fault.engine, result.fault.harm, *(f"{number:,}" for number in (*numbers, *findings)), *times)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    rows = [COLUMNS, *lines]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    rule = ["-" * width if place < _LEFT else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "".join(f"| {' | '.join(_padded(row, widths))} |\n" for row in (COLUMNS, rule, *lines))


def as_json(results: Sequence[Result]) -> str:
    """Return everything that is known."""
    found = []
    for result in results:
        fault = result.fault
        about = {"name": fault.name, "engine": fault.engine, "harm": fault.harm, "patience": fault.patience}
        numbers = {name: value for name, value in vars(result).items() if isinstance(value, (int, float))}
        findings = {name: sorted(what) for name, what in vars(result.verdict).items()}
        found.append({**about, **numbers, **findings, "allowance": fault.allowance, "broken": result.broken})
    return json.dumps(found, indent=2)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if place < _LEFT else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
