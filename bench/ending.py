"""How much other visitors are delayed while an account with very many sessions is listed and ended.

    python -m bench.ending                       # 100,000 sessions over memory, SQLite, Redis and PostgreSQL: minutes
    python -m bench.ending --sessions 10000 sqlite redis

Four visitors read and write their sessions all the time, each with a request every 10 ms, in the process that ends the
account's sessions. ``own`` is the time of the slowest of 100 of their requests when no session is ended; ``listed`` and
``ended`` are those times while the account's sessions are listed and ended.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.support.servers.shared import mariadb, postgres, valkey, valkey_cluster
from wsgi_session import SessionMiddleware
from wsgi_session.cookies.tokens import owner_key
from wsgi_session.stores import Record, Store, open_store

VISITORS = 4
THINK = 0.01
QUIET = 5.0
OWNER = "id:ann"


def url_of(name: str, folder: str) -> str:
    urls: dict[str, Callable[[], str]] = {
        "memory": lambda: "memory://?max_sessions=1000000",
        "sqlite": lambda: f"sqlite:///{folder}/sessions.db",
        "redis": valkey,
        "redis-cluster": valkey_cluster,
        "postgresql": lambda: f"{postgres()}?timeout=20",
        "mariadb": lambda: f"{mariadb()}?timeout=20",
    }
    return urls[name]()


def fill(store: Store, sessions: int) -> None:
    now = time.time()
    owner = owner_key("sid", OWNER)

    def create(number: int) -> None:
        record = Record(bytes(500), os.urandom(16), f"h{number}", now, now, now + 86_400, owner, True, None, "sid")
        store.create(os.urandom(32), record, now)

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(create, range(sessions), chunksize=1000):
            pass


class Visitors:
    """Visitors who read and write, each in a thread."""

    def __init__(self, middleware: SessionMiddleware) -> None:
        self._middleware = middleware
        self._times: list[float] = []
        self._over = threading.Event()

    @contextmanager
    def busy(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._visit) for _ in range(VISITORS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def p99(self) -> float:
        """Return the 99th percentile of the times since the last call, in milliseconds."""
        taken, self._times = sorted(self._times), []
        return 1000 * taken[int(len(taken) * 0.99)] if taken else 0.0

    def _visit(self) -> None:
        cookie = ""
        while not self._over.is_set():
            started = time.perf_counter()
            cookie = request(self._middleware, cookie) or cookie
            self._times.append(time.perf_counter() - started)
            time.sleep(THINK)


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    session = environ["session"]
    session["visits"] = session.get("visits", 0) + 1
    start_response("200 OK", [])
    return [b""]


def request(middleware: SessionMiddleware, cookie: str) -> str:
    """Make one request; return the cookie it was given."""
    given: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        assert status == "200 OK", status
        given.extend(value.partition(";")[0] for name, value in headers if name == "Set-Cookie")

    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "wsgi.url_scheme": "http",
        "HTTP_COOKIE": cookie,
        "wsgi.multiprocess": False,
    }
    body: Any = middleware(environ, start_response)
    b"".join(body)
    getattr(body, "close", lambda: None)()
    return given[0] if given else ""


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(name: str, sessions: int) -> None:
    with tempfile.TemporaryDirectory() as folder, open_store(url_of(name, folder)) as store:
        fill(store, sessions)
        middleware = SessionMiddleware(application, secret=os.urandom(32).hex(), store=store)
        visitors = Visitors(middleware)
        with visitors.busy():
            time.sleep(1)
            visitors.p99()
            time.sleep(QUIET)
            own = visitors.p99()
            before, started = memory(), time.perf_counter()
            listed = len(middleware.sessions.of(OWNER))
            listing, during_listing = time.perf_counter() - started, visitors.p99()
            started = time.perf_counter()
            ended = middleware.sessions.revoke_all(OWNER)
            ending, during_ending = time.perf_counter() - started, visitors.p99()
        assert listed == ended == sessions, (listed, ended)
        print(
            f"{name:14} own p99 {own:6.2f} ms | listed in {listing:5.1f} s, p99 {during_listing:6.2f} ms | "
            f"ended in {ending:6.1f} s, p99 {during_ending:6.2f} ms ({during_ending / own:.1f} times) | "
            f"memory +{memory() - before} MB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("stores", nargs="*", default=["memory", "sqlite", "redis", "postgresql"])
    arguments = parser.parse_args()
    for name in arguments.stores:
        measure(name, arguments.sessions)


if __name__ == "__main__":
    main()
