"""MigratingStore: the contract over two stores at once, and what a move may not do whatever comes in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsgi_session.errors import ConfigError, Unsupported
from wsgi_session.stores import MemoryStore, MigratingStore, Outcome, Record, SQLiteStore, Store, migrating
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.moving import move_all
from wsgi_session.testing import FakeClock, StoreConformance

NOW = FakeClock.START
KEY = b"k" * 32
OWNER = b"o" * 32


def record(handle: str = "handle", owner: bytes | None = OWNER, **fields: object) -> Record:
    return Record(b"data", os.urandom(16), handle, NOW, NOW, NOW + 1000, owner, True, None, "sid")._replace(**fields)


def provisional(stored: Record) -> Record:
    """What a process that died after the first step of a move left in the new store."""
    return stored._replace(version=b"\0moving\0" + os.urandom(8))


class Bare(Store):
    """What the contract asks for, and nothing beyond it: a store that is empty for ever."""

    def load(self, key: bytes, now: float) -> None:
        return None

    def create(self, key: bytes, record: Record, now: float) -> None:
        return None

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return Outcome.GONE

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return Outcome.GONE

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return False

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return False

    def ping(self) -> None:
        return None

    def close(self) -> None:
        return None


class TestFromEmptyToEmpty(StoreConformance):
    def make_store(self) -> Store:
        return MigratingStore(MemoryStore(), MemoryStore())


class TestFromFileToMemory(StoreConformance):
    """Every record begins in the old store: each promise holds for what still has to move."""

    @pytest.fixture(autouse=True)
    def _folder(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            self.folder = Path(folder)
            yield

    def make_store(self) -> Store:
        old = SQLiteStore(self.folder / "old.db")

        class BornOld(MigratingStore):
            def create(self, key: bytes, record: Record, now: float) -> None:
                if self._new.load(key, now) is not None:
                    super().create(key, record, now)
                old.create(key, record, now)

        return BornOld(MemoryStore(), old)


@pytest.fixture
def old() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def new() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def both(new: MemoryStore, old: MemoryStore) -> MigratingStore:
    return MigratingStore(new, old)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a mover that is dead."""
    monkeypatch.setattr(migrating, "SETTLE_TRIES", 2)
    monkeypatch.setattr(migrating, "SETTLE_SECONDS", 0)


class Interrupted(MemoryStore):
    """Runs ``before`` once, ahead of the next call of a method: what another request does in between."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Callable[[], object]] = {}

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._step_in("create")
        super().create(key, record, now)

    def load(self, key: bytes, now: float) -> Record | None:
        self._step_in("load")
        return super().load(key, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        self._step_in("delete")
        return super().delete(key, version)

    def _step_in(self, name: str) -> None:
        if name in self.before:
            self.before.pop(name)()


def test_a_session_moves_when_it_is_read(both: MigratingStore, new: MemoryStore, old: MemoryStore) -> None:
    stored = record()
    old.create(KEY, stored, NOW)
    assert both.load(KEY, NOW) == stored
    assert new.load(KEY, NOW) == stored
    assert old.load(KEY, NOW) is None
    assert both.load(KEY, NOW) == stored


@pytest.mark.parametrize("moment", ["create", "delete"])
def test_a_logout_in_the_middle_of_a_move_stays_a_logout(moment: str) -> None:
    new, old = Interrupted(), Interrupted()
    both = MigratingStore(new, old)
    old.create(KEY, record(), NOW)
    (new if moment == "create" else old).before[moment] = lambda: MigratingStore(new, old).delete(KEY)
    assert both.load(KEY, NOW) is None, f"logged out before the {moment} of the move"
    assert list(both.of_owner(OWNER, NOW)) == []
    assert (new.count(NOW), old.count(NOW)) == (0, 0)


def test_two_processes_that_move_one_session_both_find_it() -> None:
    new, old = Interrupted(), Interrupted()
    stored = record()
    old.create(KEY, stored, NOW)
    new.before["create"] = lambda: MigratingStore(new, old).load(KEY, NOW)
    assert MigratingStore(new, old).load(KEY, NOW) == stored
    assert MigratingStore(new, old).load(KEY, NOW) == stored
    assert (new.count(NOW), old.count(NOW)) == (1, 0)


def test_a_session_that_another_process_moves_between_two_looks_is_found() -> None:
    new, old = Interrupted(), Interrupted()
    stored = record()
    old.create(KEY, stored, NOW)
    old.before["load"] = lambda: MigratingStore(new, old).load(KEY, NOW)
    assert MigratingStore(new, old).load(KEY, NOW) == stored


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("end", ["delete", "rotate"])
def test_what_a_crash_left_in_both_ends_in_both(
    both: MigratingStore, new: MemoryStore, old: MemoryStore, end: str
) -> None:
    stored = record()
    old.create(KEY, stored, NOW)
    new.create(KEY, provisional(stored), NOW)
    if end == "delete":
        assert both.delete(KEY)
    else:
        moved = stored._replace(version=b"2" * 16)
        assert both.rotate(KEY, b"n" * 32, moved, stored.version, NOW) is Outcome.SAVED
    found = both.load(KEY, NOW)
    assert found is None or not found.handle, f"the old token opens what was left after {end}"
    assert [session.key for session in both.of_owner(OWNER, NOW)] == ([] if end == "delete" else [b"n" * 32])


@pytest.mark.usefixtures("impatient")
def test_what_a_crash_left_provisional_is_finished_by_the_next_look(
    both: MigratingStore, new: MemoryStore, old: MemoryStore
) -> None:
    stored = record()
    old.create(KEY, stored, NOW)
    new.create(KEY, provisional(stored), NOW)
    assert both.load(KEY, NOW) == stored
    assert new.load(KEY, NOW) == stored
    assert old.load(KEY, NOW) is None


def test_a_provisional_copy_whose_original_is_gone_opens_nothing(
    both: MigratingStore, new: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its mover died between the last two steps; or a logout overtook it, and it died before it took the copy back.
    monkeypatch.setattr(migrating, "SETTLE_TRIES", 3)
    monkeypatch.setattr(migrating, "SETTLE_SECONDS", 0)
    new.create(KEY, provisional(record()), NOW)
    assert both.load(KEY, NOW) is None
    assert new.load(KEY, NOW) is None


@pytest.mark.usefixtures("impatient")
def test_a_logout_while_a_crashed_move_is_finished_stays_a_logout() -> None:
    new, old = Interrupted(), Interrupted()
    both = MigratingStore(new, old)
    stored = record()
    old.create(KEY, stored, NOW)
    new.create(KEY, provisional(stored), NOW)
    old.before["delete"] = lambda: MigratingStore(new, old).delete(KEY)
    assert both.load(KEY, NOW) is None
    assert (new.count(NOW), old.count(NOW)) == (0, 0)


def test_who_looks_while_another_moves_waits_for_the_end_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = MemoryStore(), MemoryStore()
    stored = record()
    copy = provisional(stored)
    new.create(KEY, copy, NOW)
    # The other one's last step comes while we wait.
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        assert new.replace(KEY, stored, copy.version, NOW) is Outcome.SAVED

    monkeypatch.setattr(migrating.time, "sleep", wait)
    assert MigratingStore(new, old).load(KEY, NOW) == stored
    assert waits == [migrating.SETTLE_SECONDS]


@pytest.mark.usefixtures("impatient")
def test_a_logout_overtakes_a_delete_and_the_finish_of_a_move(new: MemoryStore) -> None:
    class Ending(MemoryStore):
        def delete(self, key: bytes, version: bytes | None = None) -> bool:
            was = super().delete(key, version)
            new.delete(key)
            return was

    old = Ending()
    old.create(KEY, record(), NOW)
    assert MigratingStore(new, old).load(KEY, NOW) is None
    old.create(KEY, record(), NOW)
    new.create(KEY, provisional(record()), NOW)
    assert MigratingStore(new, old).load(KEY, NOW) is None


def test_a_provisional_copy_can_be_neither_written_to_nor_rotated(new: MemoryStore) -> None:
    stored = record()
    new.create(KEY, provisional(stored), NOW)
    write = stored._replace(version=b"2" * 16)
    assert new.replace(KEY, write, stored.version, NOW) is Outcome.CONFLICT
    assert new.rotate(KEY, b"n" * 32, write, stored.version, NOW) is Outcome.CONFLICT


def test_a_write_whose_answer_was_lost_is_known_again(both: MigratingStore, old: MemoryStore) -> None:
    stored = record()
    old.create(KEY, stored, NOW)
    assert both.replace(KEY, stored, b"another version!", NOW) is Outcome.SAVED
    assert both.replace(KEY, record(), b"another version!", NOW) is Outcome.CONFLICT


def test_a_write_reaches_what_has_not_moved_yet(both: MigratingStore, old: MemoryStore) -> None:
    stored = record()
    old.create(KEY, stored, NOW)
    changed = stored._replace(data=b"changed", version=b"2" * 16)
    assert both.replace(KEY, changed, stored.version, NOW) is Outcome.SAVED
    assert both.load(KEY, NOW) == changed
    assert old.load(KEY, NOW) is None


def test_a_touch_reaches_what_has_not_moved_yet(both: MigratingStore, old: MemoryStore) -> None:
    old.create(KEY, record(), NOW)
    assert both.touch(KEY, NOW + 5, NOW + 5000, NOW)
    loaded = both.load(KEY, NOW)
    assert loaded is not None
    assert (loaded.touched, loaded.expires) == (NOW + 5, NOW + 5000)


def test_a_tombstone_of_the_old_store_is_seen_and_left_there(both: MigratingStore, old: MemoryStore) -> None:
    tombstone = record(handle="", owner=None)
    old.create(KEY, tombstone, NOW)
    assert both.load(KEY, NOW) == tombstone
    assert old.load(KEY, NOW) == tombstone


def test_a_session_in_both_is_listed_once_as_the_new_one_has_it(
    both: MigratingStore, new: MemoryStore, old: MemoryStore
) -> None:
    old.create(KEY, record(data=b"old"), NOW)
    new.create(KEY, record(data=b"new"), NOW)
    old.create(b"2" * 32, record(created=NOW - 5), NOW)
    assert sorted(session.key for session in both.of_owner(OWNER, NOW)) == sorted([b"2" * 32, KEY])


def test_both_are_counted_and_swept_and_gone_through(both: MigratingStore, new: MemoryStore, old: MemoryStore) -> None:
    for number, store in enumerate((old, old, new)):
        store.create(b"%032d" % number, record(), NOW)
        store.create(b"dead%028d" % number, record(expires=NOW - 7200), NOW - 9000)
    assert both.count(NOW, "sid") == 3
    assert [key for key, _ in both.scan(NOW)] == [b"%032d" % number for number in range(3)]
    old.sweep_due = True
    assert both.sweep_due
    assert both.sweep(100, NOW) == 3
    both.sweep_due = False
    assert not old.sweep_due


def test_what_one_of_the_two_does_not_offer_is_not_offered() -> None:
    both = MigratingStore(Bare(), MemoryStore())
    with pytest.raises(Unsupported, match=r"Bare does not offer of_owner\(\)"):
        list(both.of_owner(OWNER, NOW))
    with pytest.raises(Unsupported, match=r"count\(\)"):
        both.count(NOW)
    with pytest.raises(Unsupported, match=r"scan\(\)"):
        list(both.scan(NOW))


def test_copying_moves_every_live_session_and_can_be_taken_up_again(new: MemoryStore, old: MemoryStore) -> None:
    for number in range(10):
        old.create(b"%032d" % number, record(), NOW)
    old.create(b"dead" * 8, record(expires=NOW + 1), NOW)
    copying = copy_all(old, new, NOW + 2)
    assert [next(copying) for _ in range(4)] == [True] * 4
    copying.close()
    assert (old.count(NOW + 2), new.count(NOW + 2)) == (6, 4)
    assert list(copy_all(old, new, NOW + 2)) == [True] * 6
    assert (old.count(NOW + 2), new.count(NOW + 2)) == (0, 10)


def test_copying_does_not_bring_back_what_is_logged_out_meanwhile(new: MemoryStore, old: MemoryStore) -> None:
    old.create(KEY, record(), NOW)
    old.create(b"2" * 32, record(), NOW)
    copying = copy_all(old, new, NOW)
    assert next(copying)
    old.delete(b"2" * 32)
    assert list(copying) == [False]
    assert new.count(NOW) == 1


def test_copying_from_what_cannot_be_gone_through_says_so(new: MemoryStore) -> None:
    with pytest.raises(Unsupported, match="Bare does not offer scan"):
        list(copy_all(Bare(), new, NOW))


@pytest.mark.parametrize("swap", [False, True])
def test_sessions_in_cookies_cannot_be_moved(swap: bool) -> None:
    stores: list[Store] = [CookieStore(), MemoryStore()]
    with pytest.raises(ConfigError, match="nothing can be moved"):
        MigratingStore(*stores[:: -1 if swap else 1])


def test_closing_and_pinging_reach_both(tmp_path: Path) -> None:
    new, old = SQLiteStore(tmp_path / "new.db"), SQLiteStore(tmp_path / "old.db")
    with MigratingStore(new, old) as both:
        assert both.multiprocess
        both.ping()
    assert not MigratingStore(new, MemoryStore()).multiprocess


def test_a_dead_mover_is_followed_up_by_the_copy_that_is_there_now(
    new: MemoryStore, old: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = record()
    first, second = provisional(stored), provisional(stored)
    old.create(KEY, stored, NOW)
    new.create(KEY, first, NOW)

    def wait(seconds: float) -> None:
        # The first mover takes its copy back; another begins, and dies.
        if new.delete(KEY):
            new.create(KEY, second, NOW)

    monkeypatch.setattr(migrating.time, "sleep", wait)
    assert MigratingStore(new, old).load(KEY, NOW) == stored
    assert new.load(KEY, NOW) == stored
