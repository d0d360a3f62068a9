"""Node's ``fetch`` with npm's tough-cookie."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.system.clients.client import Client, Page

PACKAGE = "tough-cookie@6.1.0"
SCRIPT = Path(__file__).with_name("node.cjs")


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
