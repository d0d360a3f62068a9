"""A full disk, for SQLite: a small file system with a large file in it, or a limit on the size of files."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.crew import Crew
from tests.faults.scene import Harm, Scene

#: Bytes of the small disk.
SIZE = 48 << 20
#: Bytes of a file that the processes may write up to, where files are limited.
LIMIT = 64 << 10


@contextmanager
def full_disk() -> Iterator[Scene]:
    """A file system in memory, filled to the last byte, and emptied again."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip(f"mounting a small disk failed: {mounted.stderr.decode().strip()}")
        try:
            file = Path(folder) / "sessions.db"
            yield Scene(f"sqlite:///{file}", _fill(file))
        finally:
            # Lazily: with a file still open somewhere it would fail, and the folder could not be deleted.
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def small_files() -> Iterator[Scene]:
    """The system's limit on the size of a process's files (RLIMIT_FSIZE), lowered and raised again."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("platform: limits of another process are Linux's")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sessions.db"
        yield Scene(f"sqlite:///{file}", _limit(file))


def _fill(file: Path) -> Harm:
    ballast = file.with_name("ballast")

    def harm(crew: Crew, seconds: float) -> float:
        _empty_log(file)
        _write_until_full(ballast)
        time.sleep(seconds)
        ballast.unlink()
        return _when_written(file)

    return harm


def _limit(file: Path) -> Harm:
    def harm(crew: Crew, seconds: float) -> float:
        _empty_log(file)
        limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in crew.pids}
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (LIMIT, hard))
        time.sleep(seconds)
        for pid, both in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, both)
        return _when_written(file)

    return harm


def _empty_log(file: Path) -> None:
    """Have SQLite truncate its log: a long one has room for writes even if the disk is full."""
    with closing(sqlite3.connect(file, timeout=5)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write_until_full(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as out:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    out.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _when_written(file: Path) -> float:
    with closing(sqlite3.connect(file, timeout=5)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version}")
    return time.monotonic()
