"""The manual as a site: built once for a run of the tests, with warnings as errors."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

NEEDED = ("sphinx", "furo", "myst_parser", "sphinx_click", "sphinx_copybutton", "sphinx_sitemap", "sphinxext")
#: Where the site is published in the tests; a build without an address has no sitemap and no cards.
ADDRESS = "https://manual.example/en/latest/"


def build_site(folder: Path) -> Path:
    """Build the site into ``folder`` and return it. Skips where Sphinx or one of its extensions is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"elsewhere: pip install -e '.[all,docs]', or tox -e docs: there is no {', '.join(missing)}")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(folder / "trees"), "docs"]
    done = subprocess.run(
        [*command, str(folder / "site")],
        cwd=ROOT,
        env={**os.environ, "READTHEDOCS_CANONICAL_URL": ADDRESS},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"
