"""The demo as a process: ``python -m demo``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.support import ROOT


class Demo:
    """``python -m demo`` as a process of its own, in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.errors = folder / "stderr.txt"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo", *options],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout
        # Ends a demo that prints nothing, because readline() would wait for ever.
        impatience = threading.Timer(60, self.process.kill)
        impatience.start()
        self.first_line = self.process.stdout.readline()
        impatience.cancel()
        found = re.search(r"http://\S+", self.first_line)
        if not found:
            self.end()
            raise AssertionError(f"no address in {self.first_line!r}; {self.errors.read_text()}")
        self.address = found[0]

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Stop the demo as Ctrl-C does; return its exit code and the rest of its output."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        output, _ = self.process.communicate(timeout=20)
        return self.process.returncode, output

    def complaints(self) -> str:
        """Return what the server wrote to stderr, without messages about a request at the moment of its end."""
        return re.sub(r"WARNING waitress: Canceling \d+ pending task\(s\)\n", "", self.errors.read_text())
