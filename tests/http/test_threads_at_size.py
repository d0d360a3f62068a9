"""Many threads at once on shared keys, over each store: the result must contain every acknowledged operation.

Without the GIL, these tests find steps that two threads must not make at the same time. CONTRIBUTING.md
says how to run these tests without it.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256

import pytest

from tests.support.records import NOW, make_record
from tests.support.stores import SERVER, SWEEPS
from wsgi_session.errors import KeyExists
from wsgi_session.stores import SWEEP_EVERY, Counts, ListsOwners, MemoryStore, Outcome, Record, Store

THREADS = 8
#: The number of operations of all threads together; the larger one runs with ``-m long``.
OPERATIONS = [4_000, pytest.param(100_000, marks=pytest.mark.long)]
OWNERS = [*(sha256(name).digest() for name in (b"ann", b"bob", b"eve")), None]
#: A session's data: the number of writes of each thread.
_COUNTS = struct.Struct(f">{THREADS}I")


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def in_threads(work: Callable[[int], None]) -> None:
    """Call ``work`` with 0, 1, 2 …, each in its own thread, all at the same moment."""
    barrier = threading.Barrier(THREADS, timeout=60)

    def begin(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(begin, number) for number in range(THREADS)]:
            future.result()


def new_key() -> bytes:
    return os.urandom(32)


def new_record(owner: bytes | None) -> Record:
    """Return the record of a new session of ``owner``, with its own handle and with every count at 0."""
    return make_record(bytes(_COUNTS.size), handle=os.urandom(8).hex(), owner=owner)


class Visitor:
    """A session whose key changes when it is rotated, and the acknowledged writes of each thread."""

    def __init__(self, store: Store, owner: bytes | None) -> None:
        self.store = store
        self.key = new_key()
        self.saves = [0] * THREADS
        store.create(self.key, new_record(owner), NOW)

    def write(self, thread: int, *, rotate: bool) -> None:
        """Add one write of this thread, unless another thread writes first."""
        key = self.key
        stored = self.store.load(key, NOW)
        assert stored is not None
        if not stored.handle:
            return  # Another thread has rotated it: this is a tombstone.
        counts = [*_COUNTS.unpack(stored.data)]
        counts[thread] += 1
        mine = stored._replace(data=_COUNTS.pack(*counts), version=os.urandom(16))
        if rotate:
            moved = new_key()
            outcome = self.store.rotate(key, moved, mine, stored.version, NOW)
            if outcome is Outcome.SAVED:
                self.key = moved
        else:
            outcome = self.store.replace(key, mine, stored.version, NOW)
        self.saves[thread] += outcome is Outcome.SAVED

    def now(self) -> Record:
        stored = self.store.load(self.key, NOW)
        assert stored is not None
        return stored


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("operations", OPERATIONS)
def test_every_acknowledged_write_of_many_threads_is_there(store: Store, operations: int) -> None:
    visitors = [Visitor(store, OWNERS[number % len(OWNERS)]) for number in range(32)]

    def work(thread: int) -> None:
        dice = random.Random(thread)
        for _ in range(operations // THREADS):
            visitor = dice.choice(visitors)
            chance = dice.random()
            if chance < 0.3:
                visitor.now()
            elif chance < 0.5:
                store.touch(visitor.key, NOW + 1, NOW + 1001, NOW)
            else:
                visitor.write(thread, rotate=chance > 0.9)

    in_threads(work)
    assert [list(_COUNTS.unpack(visitor.now().data)) for visitor in visitors] == [one.saves for one in visitors]
    assert all(visitor.now().handle for visitor in visitors)
    if isinstance(store, ListsOwners):
        for owner in filter(None, OWNERS):
            keys = {visitor.key for visitor in visitors if visitor.now().owner == owner}
            assert {session.key for session in store.of_owner(owner, NOW)} == keys
    if isinstance(store, Counts):
        assert store.count(NOW) == len(visitors)


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("operations", OPERATIONS)
def test_a_session_is_made_and_deleted_by_exactly_one_of_many_threads(store: Store, operations: int) -> None:
    keys = [new_key() for _ in range(16)]
    made, deleted = Counter[bytes](), Counter[bytes]()
    adding = threading.Lock()

    def work(thread: int) -> None:
        dice = random.Random(thread)
        mine_made, mine_deleted = Counter[bytes](), Counter[bytes]()
        for _ in range(operations // THREADS):
            key = dice.choice(keys)
            if dice.random() < 0.5:
                try:
                    store.create(key, new_record(OWNERS[keys.index(key) % len(OWNERS)]), NOW)
                except KeyExists:
                    continue
                mine_made[key] += 1
            elif store.delete(key):
                mine_deleted[key] += 1
        with adding:
            made.update(mine_made)
            deleted.update(mine_deleted)

    in_threads(work)
    alive = {key for key in keys if store.load(key, NOW) is not None}
    assert {key: made[key] - deleted[key] for key in keys} == {key: key in alive for key in keys}
    if isinstance(store, ListsOwners):
        listed = {session.key for owner in filter(None, OWNERS) for session in store.of_owner(owner, NOW)}
        assert listed == {key for key in alive if OWNERS[keys.index(key) % len(OWNERS)]}


@pytest.mark.parametrize("operations", OPERATIONS)
@pytest.mark.parametrize("owned", [False, True])
def test_a_full_memory_store_keeps_its_bound_and_its_order_under_many_threads(owned: bool, operations: int) -> None:
    store = MemoryStore(max_sessions=200)
    keys = [new_key() for _ in range(400)]
    owner_of = {key: os.urandom(32) if owned else None for key in keys}

    def work(thread: int) -> None:
        dice = random.Random(thread)
        for _ in range(operations // THREADS):
            key = dice.choice(keys)
            chance = dice.random()
            if chance < 0.6:
                store.load(key, NOW)
            elif chance < 0.7:
                store.touch(key, NOW + 1, NOW + 1001, NOW)
            elif chance < 0.75:
                store.delete(key)
            else:
                with suppress(KeyExists):
                    store.create(key, new_record(owner_of[key]), NOW)

    in_threads(work)
    while store.count(NOW) < 200:
        store.create(new_key(), new_record(os.urandom(32) if owned else None), NOW)
    check_order_of_use(store, [key for key, _ in store.scan(NOW)], owned=owned)


@pytest.mark.parametrize("operations", OPERATIONS)
@pytest.mark.parametrize("owned", [False, True])
def test_loads_in_many_threads_keep_the_order_of_use(owned: bool, operations: int) -> None:
    """Each load moves its session to the end of that order. Without a lock, Python 3.13t lost all entries."""
    store = MemoryStore(max_sessions=20)
    keys = [new_key() for _ in range(20)]
    for key in keys:
        store.create(key, new_record(os.urandom(32) if owned else None), NOW)

    def work(thread: int) -> None:
        mine = random.Random(thread).choices(keys, k=operations // THREADS)
        for key in mine:
            store.load(key, NOW)

    in_threads(work)
    check_order_of_use(store, keys, owned=owned)


def check_order_of_use(store: MemoryStore, keys: list[bytes], *, owned: bool) -> None:
    """Check that a full store has exactly ``keys``, and that new sessions evict the least recently used one."""
    assert {key for key, _ in store.scan(NOW)} == set(keys)
    for key in keys:
        assert store.load(key, NOW) is not None
    for number in range(len(keys)):
        store.create(new_key(), new_record(os.urandom(32) if owned else None), NOW)
        assert store.count(NOW) == len(keys)
        left = {key for key, _ in store.scan(NOW)}
        assert [key in left for key in keys] == [at > number for at in range(len(keys))]


@pytest.mark.needs(SWEEPS)
def test_every_create_of_many_threads_counts_for_the_next_sweep(store: Store) -> None:
    def create(thread: int) -> None:
        for _ in range(SWEEP_EVERY // THREADS):
            store.create(new_key(), new_record(None), NOW)

    for _ in range(4):
        in_threads(create)
        assert store.sweep_due
        store.sweep_due = False
