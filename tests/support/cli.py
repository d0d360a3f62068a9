"""The command line in this process, and stores for its commands."""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from typing import Any

from click.testing import CliRunner, Result

from wsgi_session.cli import cli
from wsgi_session.stores import Record, Store

HOUR = 3600.0


# click 8.1 has to be told to keep the two streams apart.
_APART: dict[str, Any] = {"mix_stderr": False} if version("click").startswith("8.1.") else {}


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(**_APART).invoke(cli, arguments, env=environ, prog_name="wsgi_session")


def fill(store: Store, *, dead: int, live: dict[str, int]) -> None:
    now = time.time()
    for number in range(dead):
        put(store, f"dead {number}", expires=now - 2 * HOUR, created=now - 3 * HOUR)
    for namespace, count in live.items():
        for number in range(count):
            put(store, f"live {namespace} {number}", expires=now + HOUR, created=now, namespace=namespace)


def put(store: Store, name: str, *, expires: float, created: float, namespace: str = "sid") -> None:
    record = Record(b"\x80", os.urandom(16), name, created, created, expires, namespace=namespace)
    store.create(os.urandom(32), record, created)
