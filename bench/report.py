"""Shared by the programs: progress on the terminal, and the versions and hardware that the figures depend on."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from time import monotonic

_last_line = 0.0


def say(text: str) -> None:
    """Show progress on stderr: on a terminal in one line that the next one replaces, in a log as one line every 5 s."""
    global _last_line
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
    elif text and monotonic() - _last_line > 5:
        _last_line = monotonic()
        print(text, file=sys.stderr, flush=True)


def facts() -> dict[str, str]:
    """Return the versions and the hardware that the figures depend on."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "cores": str(os.cpu_count()),
    }
