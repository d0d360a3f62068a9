"""What is printed says what was found, and calls broken what was promised."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest

from tests.faults.faults import Fault
from tests.faults.report import as_json, cells, table
from tests.faults.run import Result
from tests.faults.scene import Scene
from tests.faults.verdict import Verdict
from tests.support import ROOT


def result(allowance: str = "", **more: Any) -> Result:
    fault = Fault("oak-fell", "Oak", "felled", lambda: nullcontext(Scene("", lambda crew, s: s)), 4.0, allowance)
    fields = {"harms": 3, "requests": 1200, "acknowledged": 1000, "refused": 199, "unanswered": 1, **more}
    return Result(**{"fault": fault, "verdict": Verdict(), "longest_wait": 1.5, "healing": 0.25, **fields})


def test_the_table_has_every_column_under_its_name() -> None:
    lines = table([cells(result(verdict=Verdict(lost={"a", "b"}, crossed={"c"})))]).splitlines()
    names, _, found = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert dict(zip(names, found, strict=True)) == {
        "engine": "Oak",
        "fault": "felled",
        "harms": "3",
        "requests": "1,200",
        "acknowledged": "1,000",
        "lost": "2",
        "resurrected": "0",
        "crossed": "1",
        "longest wait": "1.50 s",
        "time to heal": "0.25 s",
    }
    assert len({len(line) for line in lines}) == 1


def test_the_json_report_has_every_finding() -> None:
    (found,) = json.loads(as_json([result(verdict=Verdict(lost={"b", "a"}))]))
    assert found["name"] == "oak-fell"
    assert found["lost"] == ["a", "b"]
    assert (found["refused"], found["unanswered"], found["healing"]) == (199, 1, 0.25)
    assert found["broken"] == ["lost: a", "lost: b"]


@pytest.mark.parametrize("kind", ["lost", "resurrected", "crossed", "errors"])
def test_anything_that_was_found_breaks_a_promise(kind: str) -> None:
    verdict = Verdict(**{kind: {"it"}})
    assert len(result(verdict=verdict).broken) == 1
    # What an engine's own durability explains is loss, and a logout that is lost; never a mix-up or another answer.
    assert bool(result("asynchronous", verdict=verdict).broken) is (kind in ("crossed", "errors"))


def test_a_wait_over_the_time_outs_and_a_slow_healing_break_a_promise() -> None:
    assert result().broken == []
    assert len(result(longest_wait=4.1).broken) == 1
    assert len(result(healing=2.1).broken) == 1
    assert len(result(healing=float("inf")).broken) == 1


def test_the_program_lists_its_faults_and_refuses_others() -> None:
    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.faults", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    listed = program("--list", "--only", "valkey,postgres-kill").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["valkey-kill", "valkey-hang", "valkey-cut", "postgres-kill"]
    refused = program("--only", "abacus")
    assert refused.returncode == 2
    assert "no such fault; see --list" in refused.stderr
