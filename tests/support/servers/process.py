"""A server as a process of this test run: started on a free loopback port, killed, paused, and always ended."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

#: Seconds that a server may take to start, or to end.
PATIENCE = 60.0
#: The user for servers that refuse to run as root.
NOBODY = "nobody"


class Server:
    """One server process with its own folder. A subclass defines how it is started and when it answers."""

    name = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove, os.getpid())

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start the server, and return when it answers."""
        self._process = self.launch(self.command())
        wait_until(self._answers_or_died, f"{self.name} answers on port {self.port}\n{self.log()}")

    def stop(self) -> None:
        """Shut the server down."""
        self._signal(signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """Kill all processes of the server, as a crash does."""
        self._signal(signal.SIGKILL)
        self._wait()

    def pause(self) -> None:
        """Suspend the server, and return when each of its threads has stopped."""
        self._signal(signal.SIGSTOP)
        wait_until(lambda: all(map(has_stopped, self.pids())), f"{self.name} is paused")

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            # In a new session, so that Ctrl-C reaches only the tests, which then end the server.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user(),
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )

    def user(self) -> str | None:
        return None

    def pids(self) -> list[int]:
        return [] if self._process is None else [self._process.pid]

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def remove(self, pid: int) -> None:
        """End the server and delete its folder; do nothing in a fork of the process ``pid`` that started it."""
        if os.getpid() == pid:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(PATIENCE)
            self._process = None

    def _answers_or_died(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{self.log()}")
        return self.answers()


def _end_with_parent() -> None:
    # A test run that is killed runs no exit functions.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class _Ports:
    """The ports for the servers of this process: a block of a hundred that no other test process uses.

    Linux assigns ports from 32768 on to clients. So none of these: a client that connects while the server is down
    could be assigned the port that it connects to, and would then talk to itself.
    """

    SIZE = 100

    def __init__(self) -> None:
        self._pid = 0

    def draw(self) -> int:
        """Return a port on which nothing listens. Each is returned again only after all the others."""
        if self._pid != os.getpid():
            self._claim()
        for _ in range(self.SIZE):
            port = next(self._turn)
            if _is_free(port):
                return port
        raise AssertionError(f"none of the ports {self._first} to {self._first + self.SIZE - 1} is free")

    def _claim(self) -> None:
        # A socket that listens on the first port reserves the block. It closes when this process ends or crashes.
        blocks = list(range(10_000, 32_700, self.SIZE))
        random.shuffle(blocks)
        for first in blocks:
            claim = socket.socket()
            try:
                claim.bind(("127.0.0.1", first))
                claim.listen(1)
            except OSError:
                claim.close()
                continue
            self._pid, self._claimed, self._first = os.getpid(), claim, first
            self._turn = itertools.cycle(range(first + 1, first + self.SIZE))
            return
        raise AssertionError("every hundred of the ports 10000 to 32699 is claimed")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


_ports = _Ports()


def free_port() -> int:
    """Return a port for a server of this process. No other server of the tests gets it meanwhile."""
    return _ports.draw()


def has_stopped(pid: int) -> bool:
    """Return whether every thread of a process has stopped: after SIGSTOP this can take time on a busy machine."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(stat.read_text().rpartition(")")[2].split()[0])
    return all(state in "TtZX" for state in states)


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Return as soon as ``condition()`` is true; fail after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.01)


def need(program: str, remedy: str) -> str:
    """Return the path of a program, or skip the test and show the command that installs it."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"no {program} here: {remedy}")
    return path


def as_nobody() -> str | None:
    """Return the user for programs that refuse to run as root; ``None`` if the tests do not run as root."""
    return NOBODY if os.geteuid() == 0 else None


def hand_over(folder: Path) -> None:
    """Make the server's user the owner of ``folder``."""
    user = as_nobody()
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
