"""A few thousand damaged inputs of each kind. A million: ``python -m tests.fuzz``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import __main__ as command
from tests.fuzz import coverage_guided
from tests.fuzz.growth import Make, calls_of, header_families, record_families
from tests.fuzz.mutate import inputs
from tests.fuzz.promises import PROMISES
from tests.fuzz.run import ENOUGH, Report, run
from tests.fuzz.visits import Broken, Visits, read

INPUTS = 2_000
MADE = {name: promise() for name, promise in PROMISES.items()}
STORES = [Visits("memory://"), Visits("cookie://")]


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Silence the log: nearly all records here are damaged, and each is logged as an error."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _silent(text: str) -> None:
    """Do not report the progress of a run."""


@pytest.mark.parametrize("name", PROMISES)
def test_damaged_input_is_answered_and_shows_nothing(name: str) -> None:
    report = Report(name, 1)
    run(MADE[name], INPUTS, report, _silent)
    assert (report.inputs, report.findings) == (INPUTS, [])


@pytest.mark.parametrize("name", PROMISES)
def test_input_from_hypothesis_is_answered_and_shows_nothing(name: str) -> None:
    promise = MADE[name]
    words = st.sampled_from([*promise.words, *promise.valid]) | st.binary(max_size=9)

    @settings(max_examples=100, deadline=None)
    @given(data=st.lists(words, max_size=12).map(b"".join), turn=st.integers(0, 63))
    def holds(data: bytes, turn: int) -> None:
        promise.hold(data, turn)

    holds()


@given(header=st.text())
def test_text_that_no_server_sends_is_an_empty_session(header: str) -> None:
    """PEP 3333 has headers in Latin-1; a header with other characters has no cookie."""
    for visits in STORES:
        visits.make(read, f"sid={header}")
        assert (visits.saw, visits.cookies) == ({}, [])


@pytest.mark.parametrize("target", coverage_guided.TARGETS)
def test_valid_input_of_the_coverage_guided_fuzzers_breaks_no_promise(target: str) -> None:
    each = coverage_guided.promises(target)
    given = list(coverage_guided.seeds(each))
    assert len(given) >= 10
    for data in given:
        coverage_guided.hold(each, data)


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("headers", header_families(MADE["headers"].valid[0])),
        ("sealed", header_families(MADE["sealed"].valid[0])),
        ("records", record_families()),
    ],
)
def test_twice_the_size_is_twice_the_work_at_most(name: str, families: dict[str, Make]) -> None:
    promise = MADE[name]
    for family, make in families.items():
        work = [calls_of(promise, make(size), 1) for size in (4_096, 8_192, 16_384)]
        assert work[2] - work[1] <= 2.2 * (work[1] - work[0]) + 100, (family, work)


# The fuzzers themselves.


class Thin:
    """A promise that breaks if the input has a space."""

    def __init__(self) -> None:
        self.valid: Sequence[bytes] = [b"no", b"a b"]
        self.words: Sequence[bytes] = [b" ", b"x"]

    def hold(self, data: bytes, turn: int) -> None:
        if b" " in data:
            raise Broken("a space")


class Interrupted(Thin):
    """A promise that holds until Ctrl-C is pressed."""

    def hold(self, data: bytes, turn: int) -> None:
        if turn > 500:
            raise KeyboardInterrupt


def test_one_seed_is_one_run() -> None:
    first, again, other = (list(islice(inputs(seed, [b"abc"], [b"x"]), 500)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_finding_names_the_input_and_how_to_repeat_it() -> None:
    report = Report("thin", 3)
    run(Thin(), 10_000, report, _silent)
    assert len(report.findings) == ENOUGH
    assert report.inputs < 500
    assert report.findings[0].startswith("thin --seed 3, input ")
    assert "Broken: a space" in report.findings[0]


def test_ctrl_c_ends_with_the_figures_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PROMISES, "headers", Interrupted)
    assert command.main(["headers", "--inputs", "10000", "--seed", "5"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("headers: 501 inputs, seed 5, 0 s, 0 findings, ")
    assert out.endswith(", stopped\n")


def test_a_run_that_finds_nothing_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["headers", "--inputs", "50"]) == 0
    assert capsys.readouterr().out.startswith("headers: 50 inputs, seed 1, ")
