"""One worker process: ``python -m tests.faults.worker URL SHARED NUMBER THREADS``, until its standard input ends.

Each of its threads is a worker that makes one request after another. It writes its own keys to the session that all
workers share and increments a counter there, writes and reads a session of its own, and takes guests through arrival,
login and logout.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.faults.ledger import Pen
from tests.faults.visitor import Answer, Page, enter, make_site, visit
from wsgi_session import Session, SessionMiddleware, logout

#: Seconds between two requests of a worker, on average: a steady load that two cores carry easily.
PAUSE = 0.02
#: Signal by which a request is interrupted, as by a time limit of a task queue.
LIMIT = signal.SIGUSR1
#: The label of the session that all workers write to.
SHARED = "all"


class SoftTimeLimit(Exception):
    """Like celery's: raised by the signal handler, wherever the main thread is at that moment."""


class Worker:
    """Makes requests as one visitor at a time, until ``stopped`` is set."""

    def __init__(self, site: SessionMiddleware, shared: str, number: int, pen: Pen, stopped: threading.Event) -> None:
        self._site = site
        self._shared = shared
        self._number = number
        self._pen = pen
        self._stopped = stopped
        self._serial = 0
        self._own = f"own-{number}"
        self._own_cookie: str | None = None
        self._guest = ""
        self._guest_cookie: str | None = None
        self._next: Callable[[], None] = self._arrive
        #: Guests and tokens that are dead: a login or a logout that ended them was acknowledged.
        self._dead: list[tuple[str, str]] = []
        self._asking = False

    def interrupt(self, number: int, frame: object) -> None:
        """Handle ``LIMIT``: end the request that is under way, if one is."""
        if self._asking:
            self._asking = False
            raise SoftTimeLimit

    def run(self) -> None:
        chores = [self._write, self._count, self._write_own, self._look, self._lead_guest, self._haunt]
        while not self._stopped.is_set():
            if self._own_cookie is None:
                self._enter_own()
            else:
                random.choices(chores, (4, 4, 3, 3, 6, 1))[0]()
            self._stopped.wait(random.uniform(0, 2 * PAUSE))

    # In the shared session.

    def _write(self) -> None:
        key = f"{self._number}-{self._draw()}"
        self._ask("write", SHARED, self._shared, lambda session: _put(session, key, True), key)

    def _count(self) -> None:
        def increment(data: dict[str, Any]) -> int:
            data["count"] = data.get("count", 0) + 1
            return int(data["count"])

        self._ask("count", SHARED, self._shared, lambda session: {"count": session.atomic(increment)})

    # In the worker's own session.

    def _enter_own(self) -> None:
        answer = self._ask("login", self._own, None, lambda session: _login(session, self._own))
        self._own_cookie = answer.cookie

    def _write_own(self) -> None:
        number = self._draw()
        self._ask("own", self._own, self._own_cookie, lambda session: _put(session, "n", number), number)

    def _look(self) -> None:
        self._ask("look", self._own, self._own_cookie, lambda session: {"n": session.get("n")})

    # Guests: each step is repeated until it is acknowledged, as people reload a page.

    def _lead_guest(self) -> None:
        self._next()

    def _arrive(self) -> None:
        self._guest = f"guest-{self._number}-{self._draw()}"
        guest = self._guest
        answer = self._ask("arrive", guest, None, lambda session: _fill_cart(session, guest))
        if answer.status == 200:
            self._guest_cookie, self._next = answer.cookie, self._login

    def _login(self) -> None:
        before, guest = self._guest_cookie, self._guest
        answer = self._ask("login", guest, before, lambda session: _login(session, guest))
        if answer.status == 200:
            assert before is not None
            self._dead.append((guest, before))
            self._guest_cookie, self._next = answer.cookie, self._visit

    def _visit(self) -> None:
        self._ask("look", self._guest, self._guest_cookie, lambda session: {})
        # Some guests stay: their sessions must exist at the end.
        self._next = random.choice([self._leave, self._sign_out_everywhere, self._arrive])

    def _leave(self) -> None:
        self._end("logout", lambda session: _logout(session))

    def _sign_out_everywhere(self) -> None:
        user = f"id:{self._guest}"
        self._end("revoke", lambda session: {"ended": self._site.sessions.revoke_all(user)})

    def _end(self, op: str, page: Page) -> None:
        cookie = self._guest_cookie
        assert cookie is not None
        if self._ask(op, self._guest, cookie, page).status == 200:
            self._dead.append((self._guest, cookie))
            self._next = self._arrive

    def _haunt(self) -> None:
        """Make a request with a dead token."""
        if self._dead:
            guest, cookie = random.choice(self._dead)
            self._ask("look", guest, cookie, lambda session: {})

    def _draw(self) -> int:
        self._serial += 1
        return self._serial

    def _ask(self, op: str, whose: str, cookie: str | None, page: Page, value: Any = None) -> Answer:
        self._pen.asks(op, whose, cookie, value, time.monotonic())
        try:
            self._asking = True
            answer = visit(self._site, cookie, page)
            self._asking = False
        except SoftTimeLimit:
            # As after a 503, it is unknown whether the request was carried out.
            answer = Answer(503, {}, cookie)
        except Exception as error:
            self._asking = False
            # A server would answer 500. None of these should occur; the table names them.
            answer = Answer(500, {"error": repr(error)[:1000]}, cookie)
        self._pen.got(time.monotonic(), answer.status, answer.cookie, answer.saw)
        return answer


def _put(session: Session, key: str, value: Any) -> dict[str, Any]:
    session[key] = value
    return {}


def _fill_cart(session: Session, guest: str) -> dict[str, Any]:
    session.update(whose=guest, cart=guest)
    return {}


def _login(session: Session, whose: str) -> dict[str, Any]:
    enter(session, whose)
    return {}


def _logout(session: Session) -> dict[str, Any]:
    logout({"session": session})
    return {}


def _end_all(failure: threading.ExceptHookArgs) -> None:
    """End the process: a worker that fails is a mistake in this test, and must not pass for an idle one."""
    sys.__excepthook__(failure.exc_type, failure.exc_value or SystemExit(), failure.exc_traceback)
    os._exit(1)


def main() -> None:
    url, shared, first, threads = sys.argv[1:]
    # The ledger says as well when the store was unavailable.
    logging.getLogger("wsgi_session").setLevel(logging.CRITICAL)
    threading.excepthook = _end_all
    stopped = threading.Event()
    with make_site(url) as site:
        main, *others = (
            Worker(site, shared, number, Pen(sys.stdout.fileno(), number), stopped)
            for number in range(int(first), int(first) + int(threads))
        )
        workers = [threading.Thread(target=worker.run) for worker in others]
        for worker in workers:
            worker.start()
        threading.Thread(target=_wait_for_end, args=(stopped,), daemon=True).start()
        # Signal handlers run in this thread.
        signal.signal(LIMIT, main.interrupt)
        main.run()
        for worker in workers:
            worker.join()


def _wait_for_end(stopped: threading.Event) -> None:
    """Stop all workers when the parent process closes this one's standard input, or dies."""
    sys.stdin.read()
    stopped.set()


if __name__ == "__main__":
    main()
