"""What the tool makes of two runs of a suite, and its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.__main__ import PAGE, PEERS
from tests.peers.page import BEGIN, END, updated
from tests.peers.peer import INSIDE, Command, Suite
from tests.peers.run import compare

PYTHON = f" {sys.version_info.major}.{sys.version_info.minor} |"
EMPTY = f"before\n{BEGIN}{END}\nafter\n"


def suite(name: str = "Peer: all", **reasons: str) -> Suite:
    return Suite(name, lambda ours: Command([]), reasons)


def test_only_what_fails_with_ours_alone_needs_a_reason() -> None:
    theirs = {"a": "passed", "b": "failed", "c": "skipped", "d": "passed", "e": "passed"}
    ours = {"a": "passed", "b": "failed", "c": "skipped", "d": "failed", "f": "failed"}
    result = compare(suite(d="we differ", a="it did fail"), "1.0", theirs, ours)
    assert (result.run, result.failing) == (4, ["b"])
    assert result.only_ours == {"d": "we differ", "e": None, "f": None}, "e has disappeared, which is a failure"
    assert result.unexplained == ["e", "f"]
    assert result.needless == ["a"]


def test_the_table_has_a_line_for_each_suite_and_its_reasons_by_number() -> None:
    theirs = dict.fromkeys("abcd", "passed")
    result = compare(suite(**{"[ab]": "counts a | b", "c": "other"}), "1.0", theirs, dict.fromkeys("abcd", "failed"))
    (line,) = (text for text in updated(EMPTY, [result], ["Peer: all"]).splitlines() if "Peer" in text)
    assert (
        line.replace(PYTHON, "") == r"| Peer: all | 1.0 | 4 | 0 | 4 | 2: counts a \| b<br>1: other<br>1: unexplained |"
    )


def test_a_run_of_one_suite_keeps_the_lines_of_the_others_in_the_order_of_the_peers() -> None:
    order = ["Peer: one", "Peer: two"]
    passed = {"a": "passed"}
    page = updated(EMPTY, [compare(suite("Peer: two"), "1.0", passed, passed)], order)
    page = updated(page, [compare(suite("Peer: one"), "2.0", passed, passed)], order)
    page = updated(page, [compare(suite("Peer: two"), "3.0", passed, passed)], order)
    lines = [text for text in page.splitlines() if text.startswith("| Peer")]
    assert [text.replace(PYTHON, "") for text in lines] == [
        "| Peer: one | 2.0 | 1 | 0 | 0 |  |",
        "| Peer: two | 3.0 | 1 | 0 | 0 |  |",
    ]
    assert (page.startswith("before\n"), page.endswith("\nafter\n")) == (True, True)
    assert "Peer: one" not in updated(page, [], ["Peer: two"]), "a suite that is gone has no line"


def test_the_page_lacks_no_suite_and_no_reason() -> None:
    table = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    for peer in PEERS:
        for listed in peer.suites:
            assert f"| {listed.name} |" in table, f"python -m tests.peers --only {peer.name}"
    assert "unexplained" not in table


THEIR_TESTS = """
import unittest
import pytest

class Case(unittest.TestCase):
    def test_passes(self): pass
    def test_fails(self): self.fail()
    def test_errs(self): raise OSError
    def test_skips(self): self.skipTest("")
    @unittest.expectedFailure
    def test_is_expected_to_fail(self): self.fail()
    @unittest.expectedFailure
    def test_passes_unexpectedly(self): pass
    def test_fails_in_part(self):
        with self.subTest(a=1):
            self.fail()
"""
FOUND = {
    "passes": "passed",
    "fails": "failed",
    "errs": "failed",
    "skips": "skipped",
    "passes_unexpectedly": "failed",
    "fails_in_part": "failed",
}
RUN_UNITTEST = """
import unittest, report_unittest, test_theirs
suite = unittest.defaultTestLoader.loadTestsFromModule(test_theirs)
unittest.TextTestRunner(resultclass=report_unittest.ReportingResult).run(suite)
"""
RUNNERS = {
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "report_pytest", "test_theirs.py"],
    "unittest": ["-c", RUN_UNITTEST],
}


@pytest.mark.parametrize("runner", RUNNERS)
def test_each_recorder_tells_what_became_of_each_test(runner: str, tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(THEIR_TESTS)
    report = tmp_path / "report.json"
    environ = {**os.environ, "PYTHONPATH": str(INSIDE), "PEERS_REPORT": str(report)}
    subprocess.run([sys.executable, *RUNNERS[runner]], cwd=tmp_path, env=environ, capture_output=True, check=False)
    outcomes = {name.rpartition("test_")[2]: outcome for name, outcome in json.loads(report.read_text()).items()}
    expected = outcomes.pop("is_expected_to_fail")
    assert outcomes == FOUND
    assert expected != "failed"
