"""A plugin for pytest that writes what became of each test, for ``tests/peers/run.py``: ``-p report_pytest``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome != "passed":
        _note(report.nodeid, "failed" if getattr(report, "wasxfail", "") and report.failed else report.outcome)


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        _note(report.nodeid or "the collection", "failed")


def pytest_sessionfinish() -> None:
    Path(os.environ["PEERS_REPORT"]).write_text(json.dumps(_outcomes), "utf-8")


def _note(test: str, outcome: str) -> None:
    # A test that has failed and whose teardown is skipped, or the other way round, has failed.
    if _outcomes.get(test) != "failed":
        _outcomes[test] = outcome
