"""The pages on moving: the application as it was, visitors with carts, the page's diff, the same visitors again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import ROOT
from wsgi_session.config.keygen import new_secret

PAGES = sorted((ROOT / "docs" / "moving").glob("from-*.md"))
NEEDED = {
    "from-beaker": ("beaker", "bottle"),
    "from-django": ("django",),
    "from-flask-cookie": ("flask_login",),
    "from-flask-session": ("flask_session", "cachelib", "flask_login"),
    "from-pyramid": ("pyramid",),
}
#: The longest diff that a page may ask for, in changed lines.
LONGEST = 10
VISITORS = ("ann", "guest", "idle")
HERE = {"ann": "ann: ['tea', 'cup']", "guest": "None: ['bun']", "idle": "None: []"}

pytestmark = [
    pytest.mark.full,
    pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem),
]
Jars = dict[str, dict[str, str]]


@pytest.fixture
def folder(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the application as it is before the move."""
    for module in NEEDED[page.stem]:
        pytest.importorskip(module, reason="pip install -e '.[all,test]'")
    for name, code in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
        (tmp_path / name).write_text(code, "utf-8")
    for name in ("SESSION_SECRET", "SECRET_KEY", "OLD_SECRET"):
        monkeypatch.setenv(name, new_secret())
    return tmp_path


def diffs(page: Path) -> list[list[str]]:
    """Return the lines of each diff of a page: that of the move, and that for going back."""
    return [found.splitlines() for found in re.findall(r"^```diff\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)]


def apply(lines: Sequence[str], folder: Path) -> None:
    """Change the application as a reader of the page does: from top to bottom, each line where the diff shows it."""
    (file,) = [
        file
        for file in sorted(folder.glob("*.py"))
        if all(line[1:] in file.read_text("utf-8").splitlines() for line in lines if line[0] != "+")
    ]
    before, after = file.read_text("utf-8").splitlines(), []
    for line in lines:
        if line[0] == "+":
            after.append(line[1:])
            continue
        position = before.index(line[1:])
        after += before[:position] + ([line[1:]] if line[0] == " " else [])
        before = before[position + 1 :]
    file.write_text("\n".join([*after, *before, ""]), "utf-8")


def visit(folder: Path, jars: Jars, *visits: tuple[str, str]) -> tuple[list[str], Jars]:
    """Let a new process of the application serve these visits; return the pages, and the visitors' cookies."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.frameworks.moving_visits", str(folder / "shop.py")],
        input=json.dumps({"jars": jars, "visits": visits}),
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    return out["texts"], out["jars"]


def fill(folder: Path) -> Jars:
    """Return the cookies of a customer who has logged in, of a guest with a cart, and of a visitor with nothing."""
    visits = [("ann", "/login/ann"), ("ann", "/add/tea"), ("ann", "/add/cup"), ("guest", "/add/bun"), ("idle", "/")]
    return visit(folder, {name: {} for name in VISITORS}, *visits)[1]


def look(folder: Path, jars: Jars) -> tuple[dict[str, str], Jars]:
    texts, after = visit(folder, jars, *[(name, "/") for name in VISITORS])
    return dict(zip(VISITORS, texts, strict=True)), after


def test_the_diff_of_a_page_moves_everybody_and_a_logout_holds(page: Path, folder: Path) -> None:
    old = fill(folder)
    assert look(folder, old)[0] == HERE
    move, _ = diffs(page)
    assert sum(line[0] != " " for line in move) <= LONGEST
    apply(move, folder)

    seen, jars = look(folder, old)
    assert seen == HERE
    assert jars["ann"] != old["ann"]
    # In a later process they are known by the new cookies alone.
    assert look(folder, jars)[0] == HERE
    (added, out, after), _ = visit(folder, jars, ("ann", "/add/pot"), ("ann", "/logout"), ("ann", "/"))
    assert (added, out) == ("Added", "Logged out")
    assert after.startswith("None: ")
    # The old cookie opens nothing any more.
    assert look(folder, old)[0]["ann"] == "None: []"


def test_with_keep_old_the_application_before_the_move_still_knows_everybody(page: Path, folder: Path) -> None:
    before = {file: file.read_text("utf-8") for file in folder.glob("*.py")}
    old = fill(folder)
    for lines in diffs(page):
        apply(lines, folder)
    seen, jars = look(folder, old)
    assert seen == HERE
    for file, text in before.items():
        file.write_text(text, "utf-8")
    assert look(folder, jars)[0] == HERE
