"""Every application of examples/ in one server: the header ``X-Example`` says which one a request is for.

Each is imported by name, as servers do. One process for all of them makes nine starts of ninety.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from django.db import connections

from tests.system.servers.shop import EXAMPLES, NAMES

sys.path.insert(0, str(EXAMPLES))
# One process after the other: Django's example makes its table of users as it is imported.
with Path(os.environ["FOLDER"], "loading").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    APPLICATIONS: dict[str, Callable[..., Iterable[bytes]]] = {
        name: import_module(f"{name}_app").application for name in NAMES
    }
# The connection with which it did that is not for the processes that are forked from here.
connections.close_all()


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    return APPLICATIONS[environ.get("HTTP_X_EXAMPLE", "plain")](environ, start_response)
