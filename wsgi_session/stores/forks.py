"""Whether this is a process that was forked: asked at every operation, and so without asking the system.

The process's number would say it too, but a system call takes 0.2 us: twice as long as to take a connection and give it
back.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Protocol

#: madvise(2), Linux 4.14; the mmap module has no name for it.
WIPE_ON_FORK = 18
#: No kernel knows it. What takes it (an emulator) takes anything, and does nothing.
NO_ADVICE = -1


class Mark(Protocol):
    """Item 0 is true in the process that made it, and false in every one forked from it."""

    def __getitem__(self, index: int, /) -> int: ...


class ProcessId:
    """A mark for systems that have no better one."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, index: int, /) -> bool:
        return self._pid == os.getpid()


def new_mark() -> Mark:
    """Return a page of memory that the kernel gives a forked child empty: also where C forked, and told Python nothing.

    By the same means BoringSSL keeps the random numbers of parent and child apart.
    """
    if sys.platform == "linux":
        try:
            page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            page.madvise(WIPE_ON_FORK)
        except OSError:
            return ProcessId()
        try:
            page.madvise(NO_ADVICE)
        except OSError:
            page[0] = 1
            return page
    return ProcessId()
