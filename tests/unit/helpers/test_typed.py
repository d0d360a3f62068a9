"""A session as a TypedDict: for type checkers, and nothing at run time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import pytest

from tests.support.site import ANN, Site, log_in
from wsgi_session import Session, get_session, typed, user_or_none

PROGRAM = """
from typing import Any, TypedDict
from wsgi_session import get_session, typed, user_or_none

class Visit(TypedDict, total=False):
    cart: list[str]
    step: int

class User(TypedDict):
    id: int
    name: str

def page(environ: dict[str, Any]) -> str:
    visit = typed(get_session(environ), Visit)
    visit["step"] = visit.get("step", 0) + 1
    visit.setdefault("cart", []).append("tea")
    del visit["step"]
    get_session(environ)["user"]["anything"]
    plain = user_or_none(environ)
    if plain is not None:
        plain["name"]
    if user := typed(user_or_none(environ), User):
        return user["name"]
    reveal_type(visit)
    reveal_type(typed(None, User))
    return "nobody"
"""
WRONG = """
def wrong(environ: dict[str, Any]) -> None:
    visit = typed(get_session(environ), Visit)
    visit["step"] = "one"
    visit["crat"] = []
    typed(user_or_none(environ), User)["name"]
    user_or_none(environ)["name"]
"""


class Visit(TypedDict, total=False):
    cart: list[str]


def test_typed_returns_the_session_itself() -> None:
    browser = Site().browser()

    def page(session: Session) -> None:
        visit = typed(session, Visit)
        assert visit is session  # type: ignore[comparison-overlap]
        visit.setdefault("cart", []).append("tea")

    browser.do(page)
    assert browser.do(lambda session: session["cart"]).result == ["tea"]


def test_nobody_stays_nobody_and_it_loads_nothing() -> None:
    site = Site()
    browser = site.browser()
    browser.do(log_in(ANN))
    site.calls.forget()
    assert typed(None, Visit) is None
    browser.call(lambda environ: typed(get_session(environ), Visit))
    assert site.calls.log == ["answer"]
    assert browser.call(lambda environ: typed(user_or_none(environ), dict)) == ANN


@pytest.mark.full
def test_mypy_knows_the_keys_and_their_types_and_narrows(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="elsewhere: tox -e types has mypy")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + WRONG, "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = (PROGRAM + WRONG).splitlines()
    # Each line of the program that mypy speaks of, and what it says. (It also finds that msgpack has no types.)
    found = re.findall(r"^.*program\.py:(\d+): (?:error|note): (.*)$", done.stdout, re.M)
    said = {lines[int(number) - 1].strip(): text for number, text in found}
    assert {line: text.rpartition("  [")[2] for line, text in said.items() if text.endswith("]")} == {
        'visit["step"] = "one"': "typeddict-item]",
        'visit["crat"] = []': "typeddict-unknown-key]",
        'typed(user_or_none(environ), User)["name"]': "index]",
        'user_or_none(environ)["name"]': "index]",
    }, done.stdout
    assert "Visit" in said["reveal_type(visit)"]
    assert said["reveal_type(typed(None, User))"].endswith('"None"')
