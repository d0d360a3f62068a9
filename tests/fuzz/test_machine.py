"""The state machine of ``machine.py``, for a few seconds over each store. Longer: ``python -m tests.fuzz.machine``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.machine import opened, run
from tests.support.stores import ENGINE, KINDS, Kind

EXAMPLES, STEPS = 30, 25


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Silence the log: failing stores and dropped changes are expected here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=kind.name, marks=[pytest.mark.engine] * (ENGINE in kind.flags)) for kind in KINDS],
)
def test_browsers_see_what_the_model_says_and_nothing_else(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as machine:
        run(machine, EXAMPLES // 4 if ENGINE in kind.flags else EXAMPLES, STEPS)
