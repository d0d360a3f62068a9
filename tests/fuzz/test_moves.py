"""The orders of ``moves.py`` that found every mistake so far. ``python -m tests.fuzz.moves`` runs more."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import combinations, product

import pytest

from tests.fuzz.interleavings import Actor, explore, sample
from tests.fuzz.moves import ALL, MIXTURES, possible, same_each_time, scenario
from wsgi_session.stores import Outcome, Record, Store

#: The most runs of one test.
LIMIT = 400


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Silence the log: processes that die are expected here."""
    logging.disable(logging.CRITICAL)
    with same_each_time():
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("ending", ["logout", "revoke"])
@pytest.mark.parametrize("other", ["read", "write", "touch", "rotate", "login", "logout"])
def test_what_ended_between_any_two_store_calls_stays_ended(mixture: str, ending: str, other: str) -> None:
    assert explore(scenario(mixture, (ending, other)), LIMIT)


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("actions", list(combinations(("read", "write", "touch", "rotate", "login"), 2)), ids="-".join)
def test_no_session_write_or_login_is_lost_between_any_two_store_calls(mixture: str, actions: Sequence[str]) -> None:
    assert explore(scenario(mixture, actions), LIMIT)


@pytest.mark.parametrize("mover", ["read", "copy"])
@pytest.mark.parametrize("other", ["read", "write", "rotate", "logout", "revoke"])
def test_a_process_that_dies_within_a_move_costs_no_session_and_revives_none(mover: str, other: str) -> None:
    mixture = "move+move" if mover == "copy" else "move+prepare"
    assert explore(scenario(mixture, (mover, other), mortal=(True,)), LIMIT)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_three_actions_at_once_lose_and_revive_nothing(mixture: str) -> None:
    for seed, actions in enumerate(product(ALL, repeat=3)):
        if seed % 9 == 0 and possible(mixture, actions):
            sample(scenario(mixture, actions, mortal=(True, False, False)), 3, seed)


# The explorer itself.


def test_the_explorer_finds_a_lost_update_and_tells_the_order() -> None:
    key, first = b"k" * 32, Record(b"", b"v" * 16, "handle", 0.0, 0.0, 10.0)

    def make(new: Store, old: Store) -> object:
        new.create(key, first, 1.0)

        def add(letter: bytes) -> Outcome:
            loaded = new.load(key, 1.0)
            assert loaded is not None
            # Replace whatever version is there by now, which no store may do.
            there = new.load(key, 1.0)
            assert there is not None
            return new.replace(key, loaded._replace(data=loaded.data + letter, version=letter * 16), there.version, 1.0)

        def check(results: object) -> None:
            loaded = new.load(key, 1.0)
            assert loaded is not None
            assert len(loaded.data) == 2, "an update is lost"

        return [Actor("a", lambda: add(b"a")), Actor("b", lambda: add(b"b"))], check

    with pytest.raises(AssertionError, match=r"(?s)an update is lost.*after:.* a: new\.load.* b: new\.load"):
        explore(make)  # type: ignore[arg-type]
