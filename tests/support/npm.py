"""Packages from npm, each installed once and kept in pytest's cache."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def modules(cache: pytest.Cache, *packages: str) -> Path:
    """The folder ``node_modules`` that has ``packages``. Skips where there is no Node, or no way to npm's registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not installed: apt-get install nodejs npm")
    kept = cache.mkdir("npm-packages") / "+".join(packages)
    if not kept.exists():
        # In a folder of its own first: other tests may be doing the same at this moment.
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            new = Path(folder, "new")
            install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(new), *packages]
            done = subprocess.run(install, capture_output=True, text=True, timeout=120)
            if done.returncode != 0:
                pytest.skip(f"npm install {packages} failed: {done.stderr}")
            try:
                new.rename(kept)
            except OSError:
                assert kept.exists()
    return kept / "node_modules"
