"""The package's rooms: which may import which, by the contracts in ``pyproject.toml``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import wsgi_session
from tests.support import ROOT

PACKAGE = Path(wsgi_session.__file__).parent
#: The most lines that a file may have, and the most modules in the package's root.
MAX_LINES, MAX_MODULES = 300, 12


def test_no_import_runs_upwards_or_in_a_circle() -> None:
    pytest.importorskip("importlinter", reason="elsewhere: pip install import-linter, or tox -e lint")
    # In a process of its own: it configures the log for all of its process.
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    lengths = {path.relative_to(PACKAGE): len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_the_root_has_few_modules() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= MAX_MODULES


def test_the_table_of_rooms_has_each_room_in_the_order_of_the_layers() -> None:
    written = (ROOT / "pyproject.toml").read_text("utf-8")
    (layers,) = re.findall(r"^layers = \[\n(.*?)^\]$", written, re.M | re.S)
    heights = {room: row for row, line in enumerate(layers.splitlines()) for room in re.findall(r"\w+", line)}
    _, _, table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("| path in `wsgi_session/` |")
    table, _, _ = table.partition("\n\n")
    rows = [re.findall(r"`(\w+)(?:/|\.py)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    assert sorted(room for row in rows for room in row) == sorted(heights)
    assert all(len({heights[room] for room in row}) == 1 for row in rows)
    assert sorted(rows, key=lambda row: heights[row[0]]) == rows
