"""A few seconds of each fault that needs nothing but Python packages. All of them: ``python -m tests.faults``."""

from __future__ import annotations

from functools import partial

import pytest

from tests.faults.faults import FAULTS, Fault, on_server
from tests.faults.run import run
from tests.faults.scene import crash
from tests.support.servers.valkey import Valkey

SECONDS = 1.5
# A worker that is killed in a save may have been answered by then: SQLite is quick.
TRIES = 5


@pytest.mark.parametrize("name", ["sqlite-worker", "valkey-kill", "postgres-kill"])
def test_nothing_acknowledged_is_lost_and_nothing_ended_comes_back(name: str) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    for _ in range(TRIES):
        result = run(fault, SECONDS, lambda progress: None)
        assert result.broken == []
        assert result.acknowledged > 50, result
        if result.refused + result.unanswered > 0:
            return
    raise AssertionError(f"no request failed during the harm: {result}")


def test_a_server_that_keeps_nothing_on_the_disk_is_seen_to_lose_it() -> None:
    fault = Fault("valkey-volatile", "Valkey", "SIGKILL", partial(on_server, Valkey, crash), patience=6.0)
    result = run(fault, SECONDS, lambda progress: None)
    assert len(result.verdict.lost) > 10, result
    assert result.verdict.errors == set()
    assert any(what.startswith("lost: ") for what in result.broken)
