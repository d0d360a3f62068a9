"""A ``unittest.TestResult`` that writes what became of each test, for ``tests/peers/run.py``."""

from __future__ import annotations

import json
import os
import unittest
from pathlib import Path
from typing import Any


class ReportingResult(unittest.TextTestResult):
    """Writes the report at the end of the run."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._started: set[str] = set()

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802  (unittest's name)
        super().startTest(test)
        self._started.add(test.id())

    def stopTestRun(self) -> None:  # noqa: N802  (unittest's name)
        super().stopTestRun()
        outcomes = dict.fromkeys(sorted(self._started), "passed")
        for test, _ in self.skipped:
            outcomes[test.id()] = "skipped"
        for test, _ in (*self.failures, *self.errors):
            # A subtest belongs to the test that it is a part of.
            outcomes[getattr(test, "test_case", test).id()] = "failed"
        for test in self.unexpectedSuccesses:
            outcomes[test.id()] = "failed"
        Path(os.environ["PEERS_REPORT"]).write_text(json.dumps(outcomes), "utf-8")
