"""Real threads and real processes on one session: rules 4, 5 and 7 in any order.

``test_lost_updates.py`` and ``test_endings.py`` construct the important interleavings one by one. Here they are
left to the scheduler, many times over.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests.support.site import ANN, SECRET, Browser, MakeSite, Site
from tests.support.stores import KINDS, PROCESSES, SERVER, Kind
from wsgi_session import Session, SessionGone, SessionMiddleware, login
from wsgi_session.request.login import log_in as log_in_to
from wsgi_session.session import work_of
from wsgi_session.stores import Store
from wsgi_session.testing import plant, read

pytestmark = pytest.mark.needs(SERVER)

Work = Callable[[Session], object]


@pytest.fixture
def visitor(browser: Browser) -> Browser:
    """A browser that has an anonymous session."""
    browser.do(lambda session: session.update(start=0))
    return browser


def at_once(*works: Callable[[], object]) -> None:
    """Run each of ``works`` in a thread, all at the same moment; raise what one of them raises."""
    barrier = Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait(timeout=60)
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(run, work) for work in works]:
            future.result()


def test_no_key_is_lost_when_eight_threads_each_write_their_own(visitor: Browser) -> None:
    def writer(worker: int) -> Callable[[], None]:
        browser = visitor.copy()

        def write() -> None:
            for turn in range(60):
                answer = browser.do(lambda session: session.update({f"worker {worker} turn {turn}": turn}))  # noqa: B023
                assert answer.code == 200, answer

        return write

    at_once(*(writer(worker) for worker in range(8)))
    kept = visitor.do(lambda session: set(session)).result
    wanted = {f"worker {worker} turn {turn}" for worker in range(8) for turn in range(60)}
    assert not wanted - kept, f"lost: {sorted(wanted - kept)}"


def test_atomic_counts_exactly_in_sixteen_threads(visitor: Browser) -> None:
    def counter() -> Callable[[], None]:
        browser = visitor.copy()

        def increment(data: dict[str, Any]) -> int:
            data["hits"] = data.get("hits", 0) + 1
            return int(data["hits"])

        def count() -> None:
            for _ in range(25):
                assert browser.do(lambda session: session.atomic(increment)).code == 200

        return count

    at_once(*(counter() for _ in range(16)))
    assert visitor.do(lambda session: session["hits"]).result == 16 * 25


def test_a_code_that_works_once_works_for_one_of_eight(visitor: Browser) -> None:
    for _ in range(20):
        visitor.do(lambda session: session.update(code="8412"))
        taken: list[object] = []

        def take(browser: Browser, taken: list[object] = taken) -> Callable[[], None]:
            return lambda: taken.append(
                browser.do(lambda session: session.atomic(lambda data: data.pop("code", None))).result
            )

        at_once(*(take(visitor.copy()) for _ in range(8)))
        assert sorted(map(str, taken)) == ["8412"] + ["None"] * 7


def reading(session: Session) -> None:
    dict(session)


def writing(session: Session) -> None:
    session["late"] = session.get("late", 0) + 1


def counting(session: Session) -> None:
    with contextlib.suppress(SessionGone):
        session.atomic(lambda data: data.update(late=True))


def test_requests_in_flight_during_a_login_get_no_session_of_their_own(site: Site) -> None:
    for _ in range(12):
        browser = site.browser()
        browser.do(lambda session: session.update(start=0))
        done: list[bool] = []
        seen: set[tuple[str, int]] = set()

        def log_in(browser: Browser = browser, done: list[bool] = done) -> None:
            try:
                browser.do(lambda session: log_in_to(work_of(session), ANN, remember=None, idle=None))
            finally:
                done.append(True)

        def follow(
            one: Browser, work: Work, done: list[bool] = done, seen: set[tuple[str, int]] = seen
        ) -> Callable[[], None]:
            def visit() -> None:
                after = False
                while not after:
                    after = bool(done)
                    answer = one.do(lambda session: (session.state, work(session)))
                    seen.add((answer.result[0], len(answer.cookies)))

            return visit

        at_once(log_in, *(follow(browser.copy(), work) for work in (reading, reading, writing)))
        assert seen <= {("live", 0), ("rotated", 0)}, f"state and number of cookies: {seen}"
        assert browser.do(lambda session: session.owner).result == "id:1"


def log_in_as(user: dict[str, Any], session: Session) -> None:
    log_in_to(work_of(session), user, remember=None, idle=None)


#: Functions that end a user's session, and how many sessions the user has then.
ENDINGS: dict[str, tuple[Callable[[Site, Browser, dict[str, Any]], object], int]] = {
    "logout": (lambda site, browser, user: browser.do(lambda session: session.destroy()), 0),
    "revoke": (lambda site, browser, user: site.middleware.sessions.revoke_all(user), 0),
    "rotate": (lambda site, browser, user: browser.do(lambda session: session.rotate()), 1),
    "login": (lambda site, browser, user: browser.do(partial(log_in_as, user)), 1),
}


@pytest.mark.parametrize("work", [reading, writing, counting])
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_session_comes_back_from_a_race_with_its_end(make_site: MakeSite, ending: str, work: Work) -> None:
    # Here every read touches the session, which is the third way to write it.
    site = make_site(touch_interval=1e-9)
    end, sessions = ENDINGS[ending]
    for turn in range(15):
        browser = site.browser()
        user = {**ANN, "id": f"{ending} {turn}"}
        browser.do(lambda session: log_in_to(work_of(session), user, remember=None, idle=None))  # noqa: B023
        site.clock.advance(0.01)
        old = browser.copy()
        slow = [old.copy() for _ in range(3)]
        at_once(partial(end, site, browser, user), *(partial(one.do, work) for one in slow))
        after = old.copy().do(lambda session: (session.state, dict(session)))
        assert after.result[0] in ("unknown", "rotated"), f"{ending} against {work.__name__}: {after.result}"
        for one in slow:
            # A write after the end started a new session, as any write with an old cookie does.
            seen = one.copy().do(lambda session: session.get("user")).result
            assert seen is None or one.jar == browser.jar, f"{ending} against {work.__name__}: {seen} in {one.jar}"
        left = [info.handle for info in site.middleware.sessions.of(user)]
        assert len(left) == sessions, f"{ending}: {left}"


def test_no_visitor_gets_the_session_of_another_in_a_crowd(site: Site) -> None:
    def visitor(number: int) -> Callable[[], None]:
        browser = site.browser()

        def visit() -> None:
            for turn in range(15):
                browser.do(lambda session: session.update(me=number))
                if turn % 5 == 0:
                    browser.do(lambda session: log_in_to(work_of(session), {"id": number}, remember=None, idle=None))
                if turn % 7 == 6:
                    browser.do(lambda session: session.destroy())
                    assert browser.do(lambda session: dict(session)).result == {}
                    continue
                seen = browser.do(lambda session: (session["me"], session.get("user"))).result
                assert seen[0] == number, f"visitor {number} saw {seen}"
                assert seen[1] in (None, {"id": number}), f"visitor {number} saw {seen}"

        return visit

    at_once(*(visitor(number) for number in range(24)))


# Processes, over every store that several can see.


def _visit(middleware: SessionMiddleware, cookie: str, work: Callable[[dict[str, Any]], None]) -> str:
    """Make one request; return its status."""
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        statuses.append(status)
        return lambda data: None

    environ = {"wsgi.url_scheme": "http", "REQUEST_METHOD": "GET", "HTTP_COOKIE": cookie, "test.work": work}
    for _ in middleware(environ, start_response):
        pass
    return statuses[0]


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["test.work"](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


def _kind(name: str) -> Kind:
    # By name, because a function that opens a store cannot be pickled.
    return next(kind for kind in KINDS if kind.name == name)


def _work_in_process(kind: str, folder: Path, cookie: str, worker: int, turns: int) -> None:
    with _kind(kind).open(folder) as store:
        _work(SessionMiddleware(application, secret=SECRET, store=store), cookie, worker, turns)


def _work(middleware: SessionMiddleware, cookie: str, worker: int, turns: int) -> None:
    def work(turn: int, environ: dict[str, Any]) -> None:
        session = environ["session"]
        session[f"worker {worker} turn {turn}"] = turn
        if turn % 5 == 0:
            session.atomic(lambda data: data.update(hits=data.get("hits", 0) + 1))

    for turn in range(turns):
        status = _visit(middleware, cookie, partial(work, turn))
        assert status == "200 OK", status


def _run_processes(target: Callable[..., None], arguments: list[tuple[Any, ...]], method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    processes = [context.Process(target=target, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def _check(middleware: SessionMiddleware, cookie: str, workers: int, turns: int) -> None:
    found = read(middleware, cookie)
    lost = {f"worker {w} turn {t}" for w in range(workers) for t in range(turns)} - set(found)
    assert not lost, f"lost: {sorted(lost)}"
    assert found["hits"] == workers * len(range(0, turns, 5))


@pytest.mark.needs(PROCESSES)
def test_nothing_is_lost_among_processes(kind: Kind, store: Store, tmp_path: Path) -> None:
    middleware = SessionMiddleware(application, secret=SECRET, store=store)
    cookie = plant(middleware, {"start": True})
    _run_processes(_work_in_process, [(kind.name, tmp_path, cookie, worker, 40) for worker in range(4)], "spawn")
    _check(middleware, cookie, 4, 40)


@pytest.mark.needs(PROCESSES)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_nothing_is_lost_among_processes_forked_from_one_middleware(store: Store) -> None:
    middleware = SessionMiddleware(application, secret=SECRET, store=store)
    # Connections are open during the fork: no child may use them.
    cookie = plant(middleware, {"start": True})
    _run_processes(_work, [(middleware, cookie, worker, 40) for worker in range(4)], "fork")
    _work(middleware, cookie, 4, 10)
    found = read(middleware, cookie)
    assert len([key for key in found if key.startswith("worker")]) == 4 * 40 + 10
    assert found["hits"] == 4 * 8 + 2


def _write_on(kind: str, folder: Path, cookie: str, turns: int) -> None:
    with _kind(kind).open(folder) as store:
        middleware = SessionMiddleware(application, secret=SECRET, store=store)
        for _ in range(turns):
            _visit(middleware, cookie, lambda environ: environ["session"].update(slow=time.time()))


@pytest.mark.needs(PROCESSES)
def test_a_logout_in_one_process_holds_against_writers_in_others(kind: Kind, store: Store, tmp_path: Path) -> None:
    middleware = SessionMiddleware(application, secret=SECRET, store=store)
    cookie = plant(middleware, {"user": ANN})
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_on, args=(kind.name, tmp_path, cookie, 200)) for _ in range(2)]
    for writer in writers:
        writer.start()
    while "slow" not in read(middleware, cookie):
        assert any(writer.is_alive() for writer in writers)
    assert _visit(middleware, cookie, lambda environ: environ["session"].destroy()) == "200 OK"
    assert read(middleware, cookie) == {}
    for writer in writers:
        writer.join(timeout=120)
        assert writer.exitcode == 0
    assert read(middleware, cookie) == {}, "a writer brought the session back"
    assert middleware.sessions.of(ANN) == []


def test_two_logins_at_once_from_one_token_both_get_a_session_of_their_own(site: Site, visitor: Browser) -> None:
    for turn in range(20):
        browser = visitor.copy()
        first, second = browser.copy(), browser.copy()
        at_once(
            lambda: first.do(lambda session: login({"session": session}, {"id": 2 * turn}), REQUEST_METHOD="POST"),  # noqa: B023
            lambda: second.do(lambda session: login({"session": session}, {"id": 2 * turn + 1}), REQUEST_METHOD="POST"),  # noqa: B023
        )
        assert first.do(lambda session: session["user"]).result == {"id": 2 * turn}
        assert second.do(lambda session: session["user"]).result == {"id": 2 * turn + 1}
        visitor = site.browser()
        visitor.do(lambda session: session.update(start=0))
