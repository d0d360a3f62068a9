"""MemoryStore: the contract, the limit, and which sessions are evicted first."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest

from tests.support.interruptions import SoftTimeLimit, interrupted
from tests.support.records import NOW, make_record
from wsgi_session.errors import ConfigError, KeyExists
from wsgi_session.stores import SWEEP_EVERY, SWEEP_GRACE, MemoryStore, Record
from wsgi_session.stores.memory import store as memory
from wsgi_session.testing.conformance import StoreConformance


def fill(store: MemoryStore, *keys: bytes, owner: bytes | None = None) -> None:
    for key in keys:
        store.create(key, make_record(owner=owner), NOW)


def names(prefix: bytes, number: int) -> list[bytes]:
    return [b"%s%d" % (prefix, one) for one in range(number)]


def alive(store: MemoryStore, *keys: bytes) -> list[bytes]:
    return [key for key in keys if store.load(key, NOW) is not None]


class TestMemoryStore(StoreConformance):
    def make_store(self) -> MemoryStore:
        return MemoryStore()


def test_it_is_for_one_process() -> None:
    assert MemoryStore().multiprocess is False


def test_the_least_recently_used_session_goes_first() -> None:
    store = MemoryStore(max_sessions=4)
    fill(store, b"a", b"b", b"c", b"d")
    store.load(b"a", NOW)
    stored = store.load(b"c", NOW)
    assert stored is not None
    store.touch(b"b", NOW + 1, NOW + 2000, NOW)
    fill(store, b"e")
    assert alive(store, *b"a b c d e".split()) == [b"a", b"b", b"c", b"e"]
    store.replace(b"a", make_record(owner=None), store.load(b"a", NOW).version, NOW)  # type: ignore[union-attr]
    fill(store, b"f")
    assert store.count(NOW) == 4
    assert alive(store, b"b") == [], "b was used before c, e and a"


def test_sessions_without_an_owner_go_before_those_with_one() -> None:
    store = MemoryStore(max_sessions=4)
    fill(store, b"owned1", owner=b"ann")
    fill(store, b"anonymous1")
    fill(store, b"owned2", owner=b"bob")
    fill(store, b"anonymous2", b"anonymous3")
    assert alive(store, b"owned1", b"owned2") == [b"owned1", b"owned2"]
    assert alive(store, b"anonymous1", b"anonymous2", b"anonymous3") == [b"anonymous2", b"anonymous3"]


@pytest.mark.parametrize("owner", [b"somebody", None])
def test_tombstones_displace_no_session_and_are_bounded_themselves(owner: bytes | None) -> None:
    store = MemoryStore(max_sessions=20)
    keys = names(b"key", 20)
    fill(store, *keys, owner=owner)
    for key in names(b"ended", 50):
        store.create(key, make_record(handle="", owner=None), NOW)
    assert alive(store, *keys) == keys
    assert alive(store, *names(b"ended", 50)) == names(b"ended", 50)[-3:]


@pytest.mark.parametrize("owner", [b"ann", None])
def test_rotating_without_end_in_a_full_store_displaces_nobody(owner: bytes | None) -> None:
    """Each rotation leaves a tombstone, which must not evict a session."""
    store = MemoryStore(max_sessions=20)
    carts = names(b"cart", 19)
    fill(store, b"0", owner=owner)
    fill(store, *carts)
    for number in range(100):
        stored = store.load(b"%d" % number, NOW)
        assert stored is not None
        store.rotate(b"%d" % number, b"%d" % (number + 1), make_record(owner=owner), stored.version, NOW)
        tombstone = store.load(b"%d" % number, NOW)
        assert tombstone is not None
        assert tombstone.handle == ""
    assert alive(store, *carts, b"100") == [*carts, b"100"]


def test_an_account_that_logs_in_without_end_displaces_its_own_oldest_sessions() -> None:
    store = MemoryStore(max_sessions=100)
    users, carts, mallorys = names(b"user", 20), names(b"cart", 5), names(b"mallory", 500)
    for user in users:
        fill(store, user, owner=b"id:" + user)
    fill(store, *carts)
    fill(store, *mallorys, owner=b"mallory")
    assert alive(store, *users, *carts) == [*users, *carts]
    assert alive(store, *mallorys) == mallorys[-75:]
    assert {session.key for session in store.of_owner(b"mallory", NOW)} == set(mallorys[-75:])


def test_a_new_visitor_displaces_the_account_with_the_most_sessions_and_no_other() -> None:
    store = MemoryStore(max_sessions=100)
    fill(store, *names(b"bob", 3), owner=b"bob")
    mallorys = names(b"mallory", 97)
    fill(store, *mallorys, owner=b"mallory")
    for number in range(30):
        fill(store, b"user%d" % number, owner=b"id:%d" % number)
        fill(store, b"form%d" % number)
    assert alive(store, *names(b"bob", 3)) == names(b"bob", 3)
    assert alive(store, *mallorys) == mallorys[60:]
    others = [*names(b"user", 30), *names(b"form", 30)]
    assert alive(store, *others) == others


def test_anonymous_visitors_keep_a_tenth_of_a_store_that_is_full_of_users() -> None:
    """A login form has an anonymous session: if there were no room for it, nobody could log in."""
    store = MemoryStore(max_sessions=100)
    users = names(b"user", 200)
    for user in users:
        fill(store, user, owner=b"id:" + user)
    fill(store, *names(b"form", 10))
    for user in users:
        fill(store, b"again " + user, owner=b"id again:" + user)
    assert alive(store, *names(b"form", 10)) == names(b"form", 10)


def test_a_flood_of_anonymous_visitors_leaves_nine_tenths_to_users() -> None:
    """If every user has one session, the least recently used ones are evicted."""
    store = MemoryStore(max_sessions=100)
    users = names(b"user", 100)
    for user in users:
        fill(store, user, owner=b"id:" + user)
    store.load(users[0], NOW)
    fill(store, *names(b"flood", 1000))
    assert alive(store, *users) == [users[0], *users[12:]]


def test_a_user_gets_into_a_store_that_is_full_of_anonymous_visitors() -> None:
    store = MemoryStore(max_sessions=10)
    fill(store, *names(b"flood", 100))
    fill(store, b"ann", owner=b"ann")
    fill(store, *names(b"more", 100))
    assert alive(store, b"ann") == [b"ann"]


@pytest.mark.parametrize("limit", [1, 2, 3, 9, 10, 25])
def test_a_store_of_any_size_keeps_its_bound_and_its_index_whatever_is_done(limit: int) -> None:
    chance, store = random.Random(limit), MemoryStore(max_sessions=limit)
    keys: list[bytes] = []
    for number in range(300):
        key, owner = b"%d" % number, chance.choice([None, b"ann", b"ann", b"bob", b"id:%d" % number])
        stored = store.load(chance.choice(keys), NOW) if keys else None
        old = next((old for old in keys if store.load(old, NOW) is stored), b"")
        if stored is not None and chance.random() < 0.3:
            store.rotate(old, key, make_record(owner=owner), stored.version, NOW)
        elif stored is not None and chance.random() < 0.2:
            store.delete(old)
        else:
            fill(store, key, owner=owner)
        keys.append(key)
        there = alive(store, *keys)
        owners = {key: owner for key in there if (owner := store.load(key, NOW).owner) is not None}  # type: ignore[union-attr]
        assert store.count(NOW) <= limit
        for name in {b"ann", b"bob", *owners.values()}:
            listed = [session.key for session in store.of_owner(name, NOW)]
            assert sorted(listed) == sorted(key for key in owners if owners[key] == name)
        most = max((list(owners.values()).count(name) for name in owners.values()), default=1)
        assert store._owners.most == most


@pytest.mark.parametrize("full_of", [b"mallory", None])
def test_making_room_takes_as_long_in_a_store_that_is_ten_times_larger(full_of: bytes | None) -> None:
    def executed(size: int) -> float:
        store = MemoryStore(max_sessions=size)
        fill(store, *names(b"first", size), owner=full_of)
        new = names(b"new", size)
        started = time.thread_time()
        fill(store, *new, owner=b"mallory")
        return (time.thread_time() - started) / size

    small = min(executed(2_000) for _ in range(3))
    large = min(executed(20_000) for _ in range(2))
    assert large < 3 * small, (small, large)


def test_a_login_makes_a_session_stay() -> None:
    store = MemoryStore(max_sessions=2)
    fill(store, b"visitor", b"other")
    stored = store.load(b"visitor", NOW)
    assert stored is not None
    store.rotate(b"visitor", b"member", make_record(owner=b"ann"), stored.version, NOW)
    fill(store, b"x", b"y", b"z")
    assert alive(store, b"member", b"other", b"x", b"y", b"z") == [b"member", b"z"]


@pytest.mark.parametrize("limit", [0, -1, 2.5, "100", None, True])
def test_a_bound_that_is_no_whole_number_of_sessions_is_refused(limit: object) -> None:
    with pytest.raises(ConfigError, match=r"max_sessions=.*1 or more"):
        MemoryStore(max_sessions=limit)  # type: ignore[arg-type]


def test_it_asks_for_a_sweep_after_so_many_creates_and_no_more_once_swept() -> None:
    store = MemoryStore()
    fill(store, *(os.urandom(32) for _ in range(SWEEP_EVERY - 1)))
    assert not store.sweep_due
    fill(store, b"one more")
    assert store.sweep_due
    store.sweep(1, NOW)
    assert not store.sweep_due


def test_a_fuller_store_asks_for_a_sweep_less_often_as_each_looks_at_every_session() -> None:
    store = MemoryStore()
    fill(store, *(os.urandom(32) for _ in range(SWEEP_EVERY * 8)))
    store.sweep(1, NOW)
    fill(store, *(os.urandom(32) for _ in range(SWEEP_EVERY)))
    assert not store.sweep_due


def test_with_sweep_off_it_asks_for_none_and_sweeps_when_told() -> None:
    store = MemoryStore(sweep=False)
    fill(store, *(os.urandom(32) for _ in range(SWEEP_EVERY * 2)))
    assert not store.sweep_due
    assert store.sweep(10_000, NOW + 1001 + SWEEP_GRACE) == SWEEP_EVERY * 2


def test_a_closed_store_keeps_nothing() -> None:
    store = MemoryStore()
    fill(store, b"a", owner=b"ann")
    store.close()
    assert store.load(b"a", NOW) is None
    assert list(store.of_owner(b"ann", NOW)) == []


def test_its_repr_says_the_bound_and_nothing_of_the_sessions() -> None:
    store = MemoryStore(max_sessions=5)
    fill(store, b"key")
    assert repr(store) == "MemoryStore(max_sessions=5)"


def test_loads_creates_evictions_and_sweeps_at_once_disturb_nobody() -> None:
    store = MemoryStore(max_sessions=50)
    errors: list[BaseException] = []
    barrier = threading.Barrier(4, timeout=60)

    def work(seed: int) -> None:
        barrier.wait()
        try:
            for number in range(400):
                key = b"%d" % ((number * 7 + seed) % 120)
                if store.load(key, NOW) is None:
                    fill_quietly(store, key, b"ann" if number % 3 else None)
                store.sweep(5, NOW + (2 * SWEEP_GRACE if number % 50 == 0 else 0))
                store.count(NOW)
                list(store.of_owner(b"ann", NOW))
        except BaseException as error:
            errors.append(error)

    def fill_quietly(store: MemoryStore, key: bytes, owner: bytes | None) -> None:
        store.delete(key)
        with contextlib.suppress(KeyExists):
            store.create(key, make_record(owner=owner), NOW)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.count(NOW) <= 50
    listed = {session.key for session in store.of_owner(b"ann", NOW)}
    assert listed == set(store._owned), "the index of owners and the sessions differ"


def test_a_child_can_use_the_store_that_it_inherited_whatever_a_thread_was_doing() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("platform: no fork")
    store = MemoryStore()
    fill(store, b"before", owner=b"ann")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            fill(store, os.urandom(32))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        statuses = []
        for _ in range(10):
            child = fork()
            if child == 0:
                signal.alarm(60)  # Ends a child that hangs; its status is then not 0.
                try:
                    fill(store, b"in the child")
                    os._exit(0 if alive(store, b"before", b"in the child") == [b"before", b"in the child"] else 1)
                finally:
                    os._exit(2)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    finally:
        stop.set()
        thread.join()
    assert statuses == [0] * 10


@pytest.mark.parametrize("owned", [False, True])
def test_a_session_of_500_bytes_takes_at_most_1300_bytes_of_memory(owned: bool) -> None:
    many = 20_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        store = MemoryStore()
        for _ in range(many):
            fresh = Record(
                os.urandom(500), os.urandom(16), os.urandom(11).hex(), NOW + 0.1, NOW + 0.2, NOW + 0.3, None, True, None
            )
            store.create(os.urandom(32), fresh._replace(owner=os.urandom(32) if owned else None), NOW)
        taken = (tracemalloc.get_traced_memory()[0] - before) / many
    finally:
        tracemalloc.stop()
    assert taken <= 1300, f"{taken:.0f} bytes a session"


def fork() -> int:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # for Python 3.12 and later
        return os.fork()


FILES = ("/stores/memory/store.py", "/stores/memory/owners.py")
ANN, BOB = b"a" * 32, b"b" * 32


@pytest.mark.parametrize("call", ["create", "rotate", "delete", "sweep"])
@pytest.mark.parametrize("sessions", [1, 3])
def test_a_signal_handler_that_raises_at_any_moment_of_a_change_leaves_a_store_that_works(
    call: str, sessions: int
) -> None:
    """For example celery's soft time limit, or the timeout of a gunicorn worker."""
    number = 0
    while True:
        store = MemoryStore(max_sessions=6)
        kept = {b"%d" % place: make_record(owner=ANN) for place in range(sessions)}
        kept |= {b"x": make_record(owner=BOB), b"y": make_record(owner=None), b"z": make_record(owner=BOB)}
        for key, stored in kept.items():
            store.create(key, stored, NOW)
        calls: dict[str, Callable[[], object]] = {
            "create": lambda: [store.create(b"new%d" % place, make_record(owner=ANN), NOW) for place in range(3)],  # noqa: B023
            "rotate": lambda: store.rotate(b"0", b"new", make_record(owner=ANN), kept[b"0"].version, NOW),  # noqa: B023
            "delete": lambda: store.delete(b"0"),  # noqa: B023
            "sweep": lambda: store.sweep(10, NOW + 10_000),  # noqa: B023
        }
        if not interrupted(FILES, number, calls[call]):
            break
        if call == "rotate":
            live = [store.load(key, NOW) for key in (b"0", b"new")]
            assert any(record is not None and record.handle for record in live), f"interruption {number}"
        if number % 2:  # The next call, whichever it is, finds the store as the interruption left it.
            check_owners(store, f"interruption {number}")
        for place in range(20):
            store.create(b"more%d" % place, make_record(owner=ANN if place % 2 else BOB), NOW)
        check_owners(store, f"interruption {number}, later")
        assert store.count(NOW) <= 6
        number += 1
    assert number > 5


def test_a_listing_misses_no_session_when_a_signal_interrupts_a_change_meanwhile() -> None:
    number = 0
    while True:
        store = MemoryStore()
        kept = {key: make_record(owner=BOB if key == b"x" else ANN) for key in (b"0", b"1", b"2", b"x")}
        for key, record in kept.items():
            store.create(key, record, NOW)
        listing = store.of_owner(ANN, NOW)
        listed = {next(listing).key}
        store.rotate(b"1", b"new", make_record(owner=ANN), kept[b"1"].version, NOW)
        # The session that was used last comes last in a rebuilt index.
        assert store.load(b"0", NOW) is not None
        came = interrupted(FILES, number, lambda: store.delete(b"x"))  # noqa: B023
        listed.update(session.key for session in listing)
        assert b"new" in listed, f"interruption {number}"
        if not came:
            break
        number += 1
    assert number > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
def test_a_fork_that_a_signal_interrupts_takes_the_lock_from_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes while the fork waits for an operation of another thread."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    locked, release = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def operate() -> None:
        try:
            with memory._lock:
                locked.set()
                release.wait(60)
        except RuntimeError as error:
            errors.append(error)

    came = 0

    def interrupt(number: int, frame: object) -> None:
        nonlocal came
        came += 1
        if came == 1:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            raise SoftTimeLimit
        release.set()

    thread = threading.Thread(target=operate)
    thread.start()
    assert locked.wait(60)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        child = fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        release.wait(60)
    finally:
        signal.signal(signal.SIGALRM, before)
        release.set()
        thread.join()
    assert errors == []
    assert came == 2


def check_owners(store: MemoryStore, when: str) -> None:
    """Compare the listing of each owner with the stored sessions."""
    there = [(key, record.owner) for key, record in store.scan(NOW) if record.owner is not None]
    listed = [(one.key, owner) for owner in (ANN, BOB) for one in store.of_owner(owner, NOW)]
    assert sorted(listed) == sorted(there), when
