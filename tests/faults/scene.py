"""Where a fault takes place: an engine of its own, and the harm that is done to it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from tests.faults.crew import Crew
from tests.faults.worker import LIMIT
from tests.support.servers.process import Server, wait_until
from tests.support.servers.proxy import Proxy

#: Gets the workers, and how many seconds of an outage are wanted. Returns when a bare client was answered again, in
#: seconds of ``time.monotonic()``.
Harm = Callable[[Crew, float], float]


AnyServer = TypeVar("AnyServer", bound=Server)


class Scene(NamedTuple):
    """What is visited, and what will happen to it."""

    url: str
    harm: Harm


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Start ``server``; end it and delete its folder afterwards."""
    try:
        server.start()
        yield server
    finally:
        server.remove(os.getpid())


def crash(server: Server) -> Harm:
    """SIGKILL to every process of the server; a new start after half the time."""

    def harm(crew: Crew, seconds: float) -> float:
        server.pause()  # So that it has no more children by the time that all are to be killed.
        server.kill()
        time.sleep(seconds / 2)
        server.start()
        return time.monotonic()

    return harm


def restart(server: Server, seen_by: Server | None = None) -> Harm:
    """As an administrator does it. ``seen_by``: who stands between the server and its clients."""

    def harm(crew: Crew, seconds: float) -> float:
        server.stop()
        server.start()
        if seen_by is not None:
            wait_until(seen_by.answers, f"{seen_by.name} answers")
        return time.monotonic()

    return harm


def hang(server: Server) -> Harm:
    """SIGSTOP: connections stay, the system still takes new ones, and nobody answers."""

    def harm(crew: Crew, seconds: float) -> float:
        server.pause()
        time.sleep(seconds)
        server.resume()
        wait_until(server.answers, f"{server.name} answers")
        return time.monotonic()

    return harm


def cut(proxy: Proxy) -> Harm:
    """Connections that end before a request has arrived, before its answer has, or in the middle of one."""

    def harm(crew: Crew, seconds: float) -> float:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            random.choice(
                [
                    lambda: proxy.lose_request(b""),
                    lambda: proxy.lose_answer(b""),
                    lambda: proxy.lose_answer(b"", let=random.randrange(1, 100)),
                    proxy.sever,
                ]
            )()
            time.sleep(random.uniform(0, 0.04))
        wait_until(lambda: proxy.pending == 0, "the last connection that was to be cut is")
        return time.monotonic()

    return harm


def interrupt(crew: Crew, seconds: float) -> float:
    """Signals to the worker processes, some forty a second to each: their handler raises in the middle of requests."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for pid in crew.pids:
            os.kill(pid, LIMIT)
        time.sleep(random.uniform(0, 0.05))
    return time.monotonic()


def kill_worker(crew: Crew, seconds: float) -> float:
    """SIGKILL to one worker process, in the middle of a save. The engine knows nothing of it."""
    began = time.monotonic()
    crew.kill_one()
    return began
