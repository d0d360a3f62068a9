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

#: Takes the workers and the length of the outage in seconds. Returns the time, in seconds of ``time.monotonic()``, at
#: which a plain client was answered again.
Harm = Callable[[Crew, float], float]


AnyServer = TypeVar("AnyServer", bound=Server)


class Scene(NamedTuple):
    """The store's URL, and the harm that will be done to its engine."""

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
        server.pause()  # So that it starts no more children before all are killed.
        server.kill()
        time.sleep(seconds / 2)
        server.start()
        return time.monotonic()

    return harm


def restart(server: Server, seen_by: Server | None = None) -> Harm:
    """Stop and start the server as an administrator does. ``seen_by``: a proxy between the server and its clients."""

    def harm(crew: Crew, seconds: float) -> float:
        server.stop()
        server.start()
        if seen_by is not None:
            wait_until(seen_by.answers, f"{seen_by.name} answers")
        return time.monotonic()

    return harm


def hang(server: Server) -> Harm:
    """SIGSTOP: connections stay open and the kernel still accepts new ones, but no request is answered."""

    def harm(crew: Crew, seconds: float) -> float:
        server.pause()
        time.sleep(seconds)
        server.resume()
        wait_until(server.answers, f"{server.name} answers")
        return time.monotonic()

    return harm


def cut(proxy: Proxy) -> Harm:
    """Cut connections before a request has arrived, before its answer has, or in the middle of an answer."""

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
        wait_until(lambda: proxy.pending == 0, "the last connection is cut")
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
