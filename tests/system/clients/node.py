"""Node's ``fetch`` with tough-cookie, which is installed from npm once and kept in pytest's cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.system.clients.client import Client, Page

PACKAGE = "tough-cookie@6.1.0"
SCRIPT = Path(__file__).with_name("node.cjs")


def modules(cache: Path) -> Path:
    """The folder ``node_modules`` that has tough-cookie. Skips where there is no Node, or no way to npm's registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not installed: apt-get install nodejs npm")
    kept = cache / PACKAGE
    if not kept.exists():
        # In a folder of its own first: other tests may be doing the same at this moment.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, PACKAGE]
            done = subprocess.run(install, capture_output=True, text=True, timeout=120)
            if done.returncode != 0:
                pytest.skip(f"npm install {PACKAGE} failed: {done.stderr}")
            try:
                Path(folder, "node_modules").rename(kept)
            except OSError:
                assert kept.exists()
    return kept


class Node(Client):
    def __init__(self, address: str, folder: Path, authority: Path | None, modules: Path) -> None:
        self.modules = modules
        super().__init__(address, folder, authority)

    def start(self) -> None:
        environ = {**os.environ, "NODE_PATH": str(self.modules)}
        if self.authority:
            environ["NODE_EXTRA_CA_CERTS"] = str(self.authority)
        self.process = subprocess.Popen(
            ["node", str(SCRIPT), str(self.file)], env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def end(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0

    def ask(self, url: str, fields: dict[str, str] | None) -> Page:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps({"url": url, "fields": fields}), file=self.process.stdin, flush=True)
        return Page(**json.loads(self.process.stdout.readline()))
