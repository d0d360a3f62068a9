"""The server starts anew, as after an update, while visitors are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from itertools import count
from pathlib import Path
from threading import Event, Thread

from tests.support.servers.process import wait_until
from tests.system.servers.client import Client
from tests.system.servers.launchers import Launcher

TABS = 3
#: Answers to wait for, before and after.
ENOUGH = 20


class Load:
    """One visitor's tabs, each of which writes one key after the other."""

    def __init__(self, visitor: Client) -> None:
        self._visitor = visitor
        self._over = Event()
        #: Keys whose request was answered, in the order of the answers.
        self.acknowledged: list[str] = []
        #: The process that answered each of them.
        self.pids: list[int] = []
        #: Keys whose request got no answer: it is unknown whether they were saved.
        self.cut: list[str] = []
        #: Answers that should not occur.
        self.wrong: list[object] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [Thread(target=self._run, args=(tab,)) for tab in range(TABS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _run(self, tab: int) -> None:
        for number in count():
            if self._over.is_set():
                return
            key = f"{tab}.{number}"
            client = Client(self._visitor.port, dict(self._visitor.jar))
            try:
                answer = client.request("GET", "/put", {key: "kept"}, headers={"Connection": "close"})
            except (OSError, HTTPException):
                answer = None
            finally:
                client.close()
            # To http.client, an answer that is cut off within the headers is one without a body.
            if answer is None or not answer.body:
                self.cut.append(key)
                continue
            if answer.status != 200 or answer.seen["data"].get("user") != {"id": "ann"} or answer.cookies:
                self.wrong.append(answer)
                continue
            self.acknowledged.append(key)
            self.pids.append(answer.seen["pid"])


def test_a_restart_under_load_logs_nobody_out_and_loses_nothing(server: Launcher, visitor: Client) -> None:
    visitor.get("/login", **{"as": "ann"})
    visitor.connection.close()
    load = Load(visitor)
    with load.running():
        wait_until(lambda: len(load.pids) >= ENOUGH, "the load is running")
        before = set(load.pids)
        server.restart()
        wait_until(lambda: not any(map(alive, before)), "the old processes are gone")
        again = len(load.pids)
        wait_until(lambda: len(load.pids) >= again + ENOUGH or load.wrong, "the new processes answer")
    assert load.wrong == []
    # Each tab may have had an answer of an old process in its hands, and have noted it later than all others.
    assert len([pid for pid in load.pids[again:] if pid in before]) <= TABS
    data = visitor.get("/get").seen["data"]
    lost = [key for key in load.acknowledged if data.get(key) != "kept"]
    assert (lost, data["user"]) == ([], {"id": "ann"})
    if server.restarts_gracefully:
        assert load.cut == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
