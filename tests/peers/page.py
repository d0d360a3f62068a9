"""The table of ``docs/compatibility.md``: one line for each suite, of which a run replaces its own."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.peers.run import Result

BEGIN, END = "<!-- peers:begin -->\n", "<!-- peers:end -->"
_HEAD = (
    "suite",
    "version",
    "Python",
    "tests run",
    "failing with its own sessions",
    "failing only with this package",
    "why",
)
_NUMBERS = range(3, 6)


def line(result: Result) -> str:
    """Return the line of the table for ``result``."""
    counts = (f"{number:,}" for number in (result.run, len(result.failing), len(result.only_ours)))
    python = ".".join(platform.python_version_tuple()[:2])
    return _row([result.suite, result.version, python, *counts, _why(result)])


def updated(page: str, results: Iterable[Result], order: Sequence[str]) -> str:
    """Return the page with the lines of ``results`` in place of the older ones of the same suites.

    ``order`` has the names of all suites: lines of other suites are dropped.
    """
    before, found, rest = page.partition(BEGIN)
    old, found_end, after = rest.partition(END)
    if not (found and found_end):
        raise ValueError(f"The page has no {BEGIN.strip()} and {END}.")
    lines = {_suite(text): text for text in old.splitlines() if text.startswith("| ")}
    lines.update({result.suite: line(result) for result in results})
    rule = _row(["---:" if place in _NUMBERS else "---" for place in range(len(_HEAD))])
    table = [_row(_HEAD), rule, *(lines[suite] for suite in order if suite in lines)]
    return "".join((before, BEGIN, "\n".join([*table, ""]), END, after))


def _why(result: Result) -> str:
    """Return the reasons, the most frequent first."""
    counts = Counter(reason or "unexplained" for reason in result.only_ours.values())
    return "<br>".join(f"{count}: {_escaped(reason)}" for reason, count in counts.most_common())


def _suite(text: str) -> str:
    return re.split(r"(?<!\\)\|", text)[1].strip().replace(r"\|", "|")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")
