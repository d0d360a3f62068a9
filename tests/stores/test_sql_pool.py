"""SQLStore's pool: its size, its waiting operations, the share of one session, and interruptions at any step."""

from __future__ import annotations

import errno
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import interruptions
from tests.support.frozen import LIBRARIES, MOMENTS, frozen
from tests.support.records import NOW, make_record
from tests.support.servers.process import wait_until
from wsgi_session.stores.sql import SQLStore
from wsgi_session.stores.sql import pool as sql_pool
from wsgi_session.stores.sql.pool import Busy, Pool, Slot

ANN, BOB = b"a" * 32, b"b" * 32
#: Seconds: longer than any of these waits takes unless it hangs.
LONG = 30.0


def soon() -> float:
    """Return the present as a deadline."""
    return time.monotonic()


def late() -> float:
    return time.monotonic() + LONG


def take_all(pool: Pool, number: int) -> list[Slot]:
    return [pool.acquire(None, soon()) for _ in range(number)]


def test_there_are_no_more_slots_than_the_size_says() -> None:
    pool = Pool(3)
    slots = take_all(pool, 3)
    with pytest.raises(Busy):
        pool.acquire(None, soon())
    pool.discard(slots.pop())
    pool.release(slots.pop())
    again = take_all(pool, 2)
    with pytest.raises(Busy):
        pool.acquire(None, soon())
    assert len({id(slot) for slot in (*slots, *again)}) == 3


def test_a_slot_that_was_dropped_is_free_again() -> None:
    pool = Pool(2)
    for _ in range(5):
        take_all(pool, 2)
    assert len(take_all(pool, 2)) == 2


def in_line(pool: Pool, number: int) -> None:
    wait_until(lambda: len(pool._waiters) == number, f"{number} stand in line")


def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    pool = Pool(1)
    (slot,) = take_all(pool, 1)
    served: list[int] = []

    def wait(number: int) -> None:
        got = pool.acquire(None, late())
        served.append(number)
        pool.release(got)

    with ThreadPoolExecutor(5) as threads:
        waiting = []
        for number in range(5):
            waiting.append(threads.submit(wait, number))
            in_line(pool, number + 1)
        with pytest.raises(Busy):  # A later operation does not overtake them.
            pool.acquire(None, soon())
        pool.release(slot)
        for future in waiting:
            future.result(LONG)
    assert served == list(range(5))


def test_operations_on_one_session_leave_half_of_the_pool_to_the_others() -> None:
    pool = Pool(4)
    anns = [pool.acquire(ANN, soon()) for _ in range(2)]
    with pytest.raises(Busy):
        pool.acquire(ANN, soon())
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.acquire, ANN, late())
        in_line(pool, 1)
        bobs = [pool.acquire(key, late()) for key in (BOB, None)]
        assert not waiting.done()
        pool.release(bobs.pop())
        pool.release(anns.pop())
        assert waiting.result(LONG).key == ANN


def test_with_one_connection_everybody_takes_turns() -> None:
    pool = Pool(1)
    for key in (ANN, BOB, None, ANN):
        pool.release(pool.acquire(key, soon()))


def test_what_was_given_up_stays_taken_until_the_server_has_ended_it() -> None:
    pool = Pool(2)
    ended = False
    slot = pool.acquire(ANN, soon())
    slot.has_ended = lambda: ended
    pool.give_up(slot)
    del slot
    with pytest.raises(Busy):  # in the share of this session
        pool.acquire(ANN, soon())
    other = pool.acquire(BOB, soon())
    with pytest.raises(Busy):
        pool.acquire(BOB, soon())
    assert len(pool.given_up()) == 1
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.acquire, ANN, late())
        in_line(pool, 1)
        ended = True
        waiting.result(LONG)  # although no slot was returned
    assert pool.given_up() == []
    pool.release(other)


def test_a_pool_that_is_emptied_closes_what_is_idle_now_and_the_rest_when_it_comes_back() -> None:
    pool = Pool(2)
    closed: list[str] = []
    idle, busy = take_all(pool, 2)
    idle.connection, busy.connection = _Connection(closed, "idle"), _Connection(closed, "busy")
    pool.release(idle)
    pool.empty()
    assert closed == ["idle"]
    pool.release(busy)
    assert closed == ["idle", "busy"]
    assert all(slot.connection is None for slot in take_all(pool, 2))


def test_a_slot_that_a_fork_inherited_leaves_the_connection_to_its_parent() -> None:
    closed: list[str] = []
    (slot,) = take_all(Pool(1), 1)
    slot.connection = _Connection(closed, "the parent's")
    slot.pid += 1  # as in a forked child
    del slot
    assert closed == []


class _Connection:
    def __init__(self, closed: list[str], name: str) -> None:
        self._closed = closed
        self._name = name

    def close(self) -> None:
        self._closed.append(self._name)


# Interruptions.


#: The files whose code is interrupted.
FILES = ("/stores/sql/pool.py", "/stores/sql/connections.py", "/stores/sql/database.py", "/stores/sql/store.py")


def interrupted(number: int, call: Callable[[], object]) -> bool:
    return interruptions.interrupted(FILES, number, call, Busy)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    with SQLStore.from_url(f"sqlite+pysqlite:///{tmp_path / 'sessions.db'}?pool=2") as store:
        yield store


def taken(store: SQLStore) -> int:
    gc.collect(1)  # The traceback of an exception is in a reference cycle.
    pool = store._database._connections.pool
    return sum(reference() is not None for reference in pool._slots) - len(pool._idle)


# From Python 3.13 on, sqlite3 warns of a connection that was opened in an interrupted call.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("idle", [True, False], ids=["idle connection", "no connection"])
def test_an_interruption_at_any_moment_of_a_call_costs_no_slot(store: SQLStore, idle: bool) -> None:
    stored = make_record()
    store.create(ANN, stored, NOW)
    interruptions = 0
    while True:
        if not idle:
            store.close()
        if not interrupted(interruptions, lambda: store.load(ANN, NOW)):
            break
        interruptions += 1
        assert taken(store) == 0, f"interruption {interruptions}"
        assert not store._database._connections.pool._lock.locked()
    assert interruptions > 20
    assert store.load(ANN, NOW) == stored


def test_an_interruption_at_any_moment_of_a_wait_leaves_the_line_as_it_was() -> None:
    pool = Pool(1)
    (slot,) = take_all(pool, 1)
    number = 0
    while interrupted(number, lambda: pool.acquire(None, soon())):
        number += 1
        gc.collect(1)
    assert number > 10
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.acquire, None, late())
        wait_until(lambda: pool._waiters, "it stands in line")
        pool.release(slot)
        assert waiting.result(LONG) is slot


@pytest.mark.parametrize("back", [Pool.release, Pool.discard])
def test_a_slot_given_back_at_any_moment_of_an_interruption_is_there_for_those_who_wait(
    back: Callable[[Pool, Slot], None],
) -> None:
    number = 0
    came = True
    while came:
        pool = Pool(1)
        slots = take_all(pool, 1)
        done = threading.Event()

        def wait(pool: Pool = pool, done: threading.Event = done) -> None:
            pool.acquire(None, late())
            done.set()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        in_line(pool, 1)
        came = interrupted(number, lambda: back(pool, slots.pop()))  # noqa: B023
        assert done.wait(LONG), f"interruption {number}"
        thread.join()
        number += 1
    assert number > 3


@pytest.mark.parametrize("library", LIBRARIES)
def test_nobody_waits_for_ever_where_a_test_lets_time_stand_still(library: str) -> None:
    pool = Pool(1)
    slot = pool.acquire(None, soon())
    with frozen(library, MOMENTS[0]):
        with pytest.raises(Busy):
            pool.acquire(None, time.monotonic() + 0.1)
        begin = time.perf_counter_ns()
        pool.freeze()
        pool.thaw()
    pool.discard(slot)
    assert time.perf_counter_ns() - begin < LONG * 1e9


def test_a_fork_whose_end_was_interrupted_stops_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a signal handler raises in a fork hook, Python reports it and does not run the rest of the hook."""
    pool = Pool(1)
    pool.thaw()  # The hook before the fork was interrupted.
    pool.release(pool.acquire(None, soon()))
    monkeypatch.setattr(sql_pool, "FORK_TIMEOUT", 0.2)
    pool.freeze()
    pool.release(pool.acquire(None, late()))


class Closing:
    def __init__(self, error: type[Exception] | Exception) -> None:
        self.error = error

    def close(self) -> None:
        raise self.error


@pytest.mark.parametrize("limit", [interruptions.SoftTimeLimit, TimeoutError])
def test_what_a_signal_handler_raises_while_a_connection_is_closed_is_not_swallowed(limit: type[Exception]) -> None:
    """It may be a time limit, which the caller must receive."""
    pool = Pool(3, (LookupError,))
    driver, system, handler = take_all(pool, 3)
    driver.connection, handler.connection = Closing(LookupError), Closing(limit)
    system.connection = Closing(OSError(errno.ETIMEDOUT, "the peer has not answered"))
    pool.discard(driver)
    pool.discard(system)
    with pytest.raises(limit):
        pool.discard(handler)
    handler.connection = None


def test_what_hangs_takes_no_slot_but_no_more_than_the_size_of_the_pool_is_left_behind() -> None:
    """If the server hangs, another one may have taken over. But it may also be alive and still run the statements."""
    pool = Pool(2)
    ended: list[Slot] = []
    for _ in range(2):
        for slot in take_all(pool, 2):
            slot.has_ended = lambda slot=slot: slot in ended  # type: ignore[misc]
            slot.hangs = lambda: True
            pool.give_up(slot)
    with pytest.raises(Busy):
        pool.acquire(None, soon())
    ended += pool._abandoned[:1]
    (kept,) = take_all(pool, 1)
    with pytest.raises(Busy):
        pool.acquire(None, soon())
    pool.release(kept)
