"""The guard of ``tests/conftest.py``: what CI has is not skipped there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import FULL_ONLY
from tests.support import ROOT

PLUGINS = ("-p", "tests.conftest", "-p", "no:cacheprovider")

SKIPS = {
    "call": "def test_it(): pytest.skip('no server')",
    "mark": "@pytest.mark.skipif(True, reason='no server')\ndef test_it(): pass",
    "fixture": "@pytest.fixture\ndef server(): pytest.skip('no server')\ndef test_it(server): pass",
    "module": "pytest.skip('no server', allow_module_level=True)",
    "import": "pytest.importorskip('no_such_module', reason='no server')",
}
ALLOWED = {
    "platform": "def test_it(): pytest.skip('platform: no fork')",
    "elsewhere": "def test_it(): pytest.skip('elsewhere: tox -e browser')",
    "xfail": "@pytest.mark.xfail(reason='known')\ndef test_it(): raise ValueError",
}


def run(folder: Path, sources: dict[str, str], *arguments: str, ci: str) -> tuple[int, str]:
    """Run each source as a test file of its own under our conftest; return pytest's exit code and what it printed."""
    for name, source in sources.items():
        (folder / f"test_{name}.py").write_text(f"import pytest\n{source}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--continue-on-collection-errors", *PLUGINS, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SESSIONS_SKIP_NOTHING": ci},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_every_kind_of_skip_fails_in_ci_and_says_what_was_skipped(tmp_path: Path) -> None:
    code, printed = run(tmp_path, SKIPS, ci="1")
    assert code != 0, printed
    assert printed.count("skipped, though everything should be there: ") >= len(SKIPS), printed
    assert "no server" in printed
    assert "1 failed, 4 errors" in printed, printed


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    _, printed = run(tmp_path, SKIPS, ci="")
    assert "5 skipped" in printed, printed
    assert "failed" not in printed
    assert "error" not in printed


def test_what_the_platform_cannot_run_or_runs_elsewhere_and_expected_failures_pass_in_ci(tmp_path: Path) -> None:
    code, printed = run(tmp_path, ALLOWED, ci="1")
    assert code == 0, printed
    assert "2 skipped, 1 xfailed" in printed, printed


def test_the_quick_run_leaves_out_the_engines_and_says_how_to_run_them(tmp_path: Path) -> None:
    settings = '[tool.pytest.ini_options]\ntestpaths = ["."]\nmarkers = ["engine", "full"]\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    marked = "@pytest.mark.engine\ndef test_engine(): pass\n@pytest.mark.full\ndef test_long(): pass\n"
    tests = {"it": f"{marked}def test_memory(): pass"}
    _, quick = run(tmp_path, tests, ci="1")
    assert "1 passed, 2 deselected" in quick, quick
    assert "python -m pytest --full" in quick
    for arguments in (["--full"], ["test_it.py"]):
        _, full = run(tmp_path, tests, *arguments, ci="1")
        assert "3 passed" in full, full
        assert "--full" not in full


def test_what_the_quick_run_leaves_out_is_there() -> None:
    assert [path for path in FULL_ONLY if not path.exists()] == []
