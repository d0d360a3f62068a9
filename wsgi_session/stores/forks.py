"""Forks: what is done around them, and whether this process was forked since.

The latter is asked at every operation, and so without asking the system. The process's number would say it too, but a
system call takes 0.2 us: twice as long as to take a connection and give it back.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from wsgi_session.stores.time_limits import raise_time_limit

#: madvise(2), Linux 4.14; the mmap module has no name for it.
WIPE_ON_FORK = 18
#: No kernel knows it. What takes it (an emulator) takes anything, and does nothing.
NO_ADVICE = -1
#: How often a function is called at a fork.
HOOKS = 3
#: Seconds that a fork waits, at most, for the end of another thread's fork.
FORK_LIMIT = 10.0


class Mark(Protocol):
    """Item 0 is true in the process that made it, and false in every one forked from it."""

    def __getitem__(self, index: int, /) -> int: ...


class ReentrantLock(Protocol):
    """What ``threading.RLock()`` returns, whose type has no public name."""

    def release(self) -> None:
        """Raises ``RuntimeError`` if this thread does not have the lock."""


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
        except OSError as error:
            raise_time_limit(error)
            return ProcessId()
        try:
            page.madvise(NO_ADVICE)
        except OSError as error:
            raise_time_limit(error)
            page[0] = 1
            return page
    return ProcessId()


def call_at_forks(
    before: Callable[[], object], after_in_parent: Callable[[], object], after_in_child: Callable[[], object]
) -> None:
    """Call each of these around every fork that Python hears of, ``HOOKS`` times in a row.

    Where a signal handler raises in a hook, Python goes on with the fork nevertheless: then the next call does what
    that one has left out.
    """
    if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has none
        for _ in range(HOOKS):
            os.register_at_fork(before=before, after_in_parent=after_in_parent, after_in_child=after_in_child)


def release_all(lock: ReentrantLock) -> None:
    """Release ``lock`` as often as this thread has taken it, which may be never."""
    with suppress(RuntimeError):
        while True:
            lock.release()


class Freezable(Protocol):
    """What must be at rest while the process forks."""

    def freeze(self) -> None:
        """Let no operation begin until ``thaw``, and wait for those that have; twice is as good as once."""

    def thaw(self, *, in_child: bool) -> None:
        """Go on, after the fork. ``in_child``: in the process that was forked, where no other thread is."""


Member = TypeVar("Member", bound=Freezable)
_members: weakref.WeakValueDictionary[int, Freezable] = weakref.WeakValueDictionary()
_frozen: list[Freezable] = []
# Reentrant, because each hook takes it again; and then no thread can release it while another one has it.
_forking = threading.RLock()


def freeze_at_forks(member: Member) -> Member:
    """Return ``member``, which is frozen from now on while the process forks. Keeps no reference to it."""
    _members[id(member)] = member
    return member


def _living() -> list[Freezable]:
    return [member for reference in _members.valuerefs() if (member := reference()) is not None]


def _before_fork() -> None:
    _forking.acquire(timeout=FORK_LIMIT)
    for member in _living():
        if member not in _frozen:
            member.freeze()
            _frozen.append(member)


def _after_fork_in_parent() -> None:
    for member in _living():
        member.thaw(in_child=False)
    _frozen.clear()
    release_all(_forking)


def _after_fork_in_child() -> None:  # pragma: no cover - nothing is measured in a child
    global _forking
    # A thread that is not here may have the old one.
    _forking = threading.RLock()
    _frozen.clear()
    for member in _living():
        member.thaw(in_child=True)


call_at_forks(_before_fork, _after_fork_in_parent, _after_fork_in_child)
