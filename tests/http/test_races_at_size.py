"""The races of ``test_races.py`` with thousands of writes per session, to find an error of one in a thousand."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import SECRET
from tests.support.stores import KINDS, PROCESSES, SERVER, Kind
from wsgi_session import SessionMiddleware
from wsgi_session.stores import Store
from wsgi_session.testing import plant, read

pytestmark = [pytest.mark.needs(SERVER), pytest.mark.long]

Work = Callable[[SessionMiddleware, str, int], None]

WRITERS, WRITES = 8, 500
COUNTERS, COUNTS = 16, 200


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["test.work"](environ["session"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


def visit(middleware: SessionMiddleware, cookie: str, work: Callable[[Any], object]) -> None:
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> Callable[[bytes], None]:
        statuses.append(status)
        return lambda data: None

    environ = {"wsgi.url_scheme": "http", "REQUEST_METHOD": "GET", "HTTP_COOKIE": cookie, "test.work": work}
    assert list(middleware(environ, start_response)) == [b"done"]
    assert statuses == ["200 OK"]


def write(middleware: SessionMiddleware, cookie: str, worker: int) -> None:
    """Count under the worker's own key, so that no later write hides a lost one."""
    key = f"worker {worker}"
    for _ in range(WRITES):
        visit(middleware, cookie, lambda session: session.update({key: session.get(key, 0) + 1}))


def count(middleware: SessionMiddleware, cookie: str, worker: int) -> None:
    def increment(data: dict[str, Any]) -> None:
        data["hits"] = data.get("hits", 0) + 1

    for _ in range(COUNTS):
        visit(middleware, cookie, lambda session: session.atomic(increment))


def in_threads(work: Work, workers: int, middleware: SessionMiddleware, cookie: str) -> None:
    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(work, middleware, cookie, worker) for worker in range(workers)]:
            future.result()


def _in_process(kind: str, folder: Path, work: Work, cookie: str, worker: int) -> None:
    with next(one for one in KINDS if one.name == kind).open(folder) as store:
        work(SessionMiddleware(application, secret=SECRET, store=store), cookie, worker)


def in_processes(kind: Kind, folder: Path, work: Work, workers: int, cookie: str) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = [(kind.name, folder, work, cookie, worker) for worker in range(workers)]
    processes = [context.Process(target=_in_process, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=600)
    assert [process.exitcode for process in processes] == [0] * workers


@pytest.fixture
def middleware(store: Store) -> SessionMiddleware:
    return SessionMiddleware(application, secret=SECRET, store=store)


def test_threads_lose_no_key(middleware: SessionMiddleware) -> None:
    cookie = plant(middleware, {})
    in_threads(write, WRITERS, middleware, cookie)
    assert read(middleware, cookie) == {f"worker {worker}": WRITES for worker in range(WRITERS)}


def test_threads_count_exactly(middleware: SessionMiddleware) -> None:
    cookie = plant(middleware, {})
    in_threads(count, COUNTERS, middleware, cookie)
    assert read(middleware, cookie) == {"hits": COUNTERS * COUNTS}


@pytest.mark.needs(PROCESSES)
def test_processes_lose_no_key(kind: Kind, middleware: SessionMiddleware, tmp_path: Path) -> None:
    cookie = plant(middleware, {})
    in_processes(kind, tmp_path, write, WRITERS, cookie)
    assert read(middleware, cookie) == {f"worker {worker}": WRITES for worker in range(WRITERS)}


@pytest.mark.needs(PROCESSES)
def test_processes_count_exactly(kind: Kind, middleware: SessionMiddleware, tmp_path: Path) -> None:
    cookie = plant(middleware, {})
    in_processes(kind, tmp_path, count, COUNTERS, cookie)
    assert read(middleware, cookie) == {"hits": COUNTERS * COUNTS}
