"""All workers of one run: several processes, several threads in each, and the ledger of them all."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from types import TracebackType

from tests.faults.ledger import Ledger
from tests.support import ROOT

#: Seconds in which a worker process ends: longer than the longest wait for any engine.
PATIENCE = 30.0


class Crew:
    """``processes`` times ``threads`` workers over the store at ``url``, who share the session of ``shared``."""

    def __init__(self, url: str, shared: str, processes: int, threads: int) -> None:
        self.ledger = Ledger()
        #: When each killed worker was killed, by its number.
        self.killed: dict[int, float] = {}
        self._arguments = (url, shared)
        self._threads = threads
        self._started = 0
        # The process to kill when one of its workers next says that it is about to save.
        self._doomed: subprocess.Popen[str] | None = None
        #: The number of each process's first worker.
        self._processes: dict[subprocess.Popen[str], int] = {}
        self._readers: list[threading.Thread] = []
        for _ in range(processes):
            self._start()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    @property
    def workers(self) -> set[int]:
        """The numbers of the running workers."""
        return {number for first in self._processes.values() for number in range(first, first + self._threads)}

    def kill_one(self) -> None:
        """Kill the oldest process in the middle of a save, and start another one in its place."""
        oldest, first = next(iter(self._processes.items()))
        del self._processes[oldest]
        self._doomed = oldest
        oldest.wait(PATIENCE)
        self.killed |= dict.fromkeys(range(first, first + self._threads), time.monotonic())
        _kill(oldest)
        self._start()

    def check(self) -> None:
        """Fail if a process has ended by itself."""
        for process in self._processes:
            assert process.poll() is None, f"a worker ended with {process.returncode}: see above"

    def stop(self) -> None:
        """Let every worker finish its request, and end."""
        self.check()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            _kill(process)
        for reader in self._readers:
            reader.join()

    def _start(self) -> None:
        first = self._started * self._threads
        self._started += 1
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker", *self._arguments, str(first), str(self._threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            # Ctrl-C must reach only this process, which then ends the workers.
            start_new_session=True,
        )
        self._processes[process] = first
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                entry = self.ledger.take(line)
                if process is self._doomed and entry.end is None and entry.op != "look":
                    process.kill()


def _kill(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.kill()
    process.wait()
    process.stdin.close()
