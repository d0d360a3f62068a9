"""Child processes that check something, and report the result as their exit status."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fork(body: Callable[[], bool], system_call: Callable[[], int] | None = None) -> int:
    """Run ``body`` in a child; return its exit status: 0 if it returned True."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork with other threads
        child = (system_call or os.fork)()
    if child == 0:
        signal.alarm(60)  # Ends a child that hangs; its status is then not 0.
        status = 2
        try:
            status = 0 if body() else 1
        finally:
            os._exit(status)
    return status_of(child)
