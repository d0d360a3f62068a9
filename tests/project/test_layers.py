"""The package's rooms: which may import which, by the contracts in ``pyproject.toml``."""

from __future__ import annotations

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
