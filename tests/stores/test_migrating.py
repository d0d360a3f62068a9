"""MigratingStore: the contract over two stores, and moves that other calls interleave or that stop at any step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bare import Bare
from tests.support.records import NOW, OWNER, make_record
from tests.support.site import ANN, Site, log_in, log_out
from tests.support.stores import CountingStore
from wsgi_session import Session
from wsgi_session.backends.revocation import end_sessions
from wsgi_session.errors import ConfigError, StoreUnavailable, Unsupported
from wsgi_session.stores import (
    ListsOwners,
    MemoryStore,
    MigratingStore,
    Outcome,
    Record,
    SQLiteStore,
    Store,
    owned_session,
)
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.migrating import moving
from wsgi_session.stores.migrating.moving import PLACEHOLDER_LIFE, move, move_all
from wsgi_session.testing import FakeClock, StoreConformance

KEY = b"k" * 32


def placeholder(stored: Record, number: bytes = b"12345678") -> Record:
    """Return the record in the new store after the first step of a move."""
    expires = min(stored.expires, NOW + PLACEHOLDER_LIFE)
    return stored._replace(data=b"", version=b"\0holder\0" + number, expires=expires)


def marked(stored: Record, number: bytes = b"12345678") -> Record:
    """Return the record in the old store after the second step of a move."""
    return stored._replace(data=stored.version + stored.data, version=b"\0moved\0\0" + number)


class TestFromEmptyToEmpty(StoreConformance):
    def make_store(self) -> Store:
        return MigratingStore(MemoryStore(), MemoryStore())


class TestPreparedFromEmptyToEmpty(StoreConformance):
    def make_store(self) -> Store:
        return MigratingStore(MemoryStore(), MemoryStore(), "prepare")


class TestPhasesBesideEachOther(StoreConformance):
    """Half of the threads and store objects are in the other phase."""

    # Keys are random, so two processes of different phases never create the same one.
    test_of_concurrent_creates_of_one_key_exactly_one_succeeds = None  # type: ignore[assignment]

    def make_store(self) -> Store:
        self.new, self.old = MemoryStore(), MemoryStore()
        return MigratingStore(self.new, self.old)

    def reopen(self, store: Store) -> Store:
        return MigratingStore(self.new, self.old, "prepare")


class FromFileToMemory(StoreConformance):
    """Each record is created as ``put`` does it, for example in the middle of a move; every promise holds for it."""

    phase: str

    @pytest.fixture(autouse=True)
    def _folder(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            self.folder = Path(folder)
            yield

    def put(self, new: Store, old: Store, key: bytes, record: Record, now: float) -> None:
        raise NotImplementedError

    def make_store(self) -> Store:
        new, old, put = MemoryStore(), SQLiteStore(self.folder / "old.db"), self.put

        class Born(MigratingStore):
            def create(self, key: bytes, record: Record, now: float) -> None:
                if new.load(key, now) is not None or not record.handle:
                    super().create(key, record, now)
                else:
                    put(new, old, key, record, now)

        return Born(new, old, self.phase)


class TestFromFileToMemory(FromFileToMemory):
    phase = "move"

    def put(self, new: Store, old: Store, key: bytes, record: Record, now: float) -> None:
        old.create(key, record, now)


class TestMovedBeforePrepare(FromFileToMemory):
    phase = "prepare"

    def put(self, new: Store, old: Store, key: bytes, record: Record, now: float) -> None:
        new.create(key, record, now)


class StoppedAfterOneStep(FromFileToMemory):
    """A session has two records here, so it may be counted and swept twice."""

    test_a_sweep_removes_only_records_that_have_been_dead_for_over_an_hour = None  # type: ignore[assignment]
    test_a_sweep_removes_at_most_limit_records = None  # type: ignore[assignment]
    test_a_record_that_was_renewed_is_not_swept = None  # type: ignore[assignment]
    test_a_tombstone_is_neither_counted_nor_scanned_and_is_swept = None  # type: ignore[assignment]
    test_of_concurrent_creates_of_one_key_exactly_one_succeeds = None  # type: ignore[assignment]

    def put(self, new: Store, old: Store, key: bytes, record: Record, now: float) -> None:
        new.create(key, placeholder(record), now)
        old.create(key, record, now)

    def _assert_counts(self, wanted: dict[str | None, int], what: str) -> None:
        """Check nothing."""


class TestStoppedAfterOneStepPrepare(StoppedAfterOneStep):
    phase = "prepare"


class TestStoppedAfterOneStepMove(StoppedAfterOneStep):
    phase = "move"


class StoppedAfterTwoSteps(StoppedAfterOneStep):
    def put(self, new: Store, old: Store, key: bytes, record: Record, now: float) -> None:
        new.create(key, placeholder(record), now)
        old.create(key, marked(record), now)


class TestStoppedAfterTwoStepsPrepare(StoppedAfterTwoSteps):
    phase = "prepare"


class TestStoppedAfterTwoStepsMove(StoppedAfterTwoSteps):
    phase = "move"


class StoppedAfterThreeSteps(StoppedAfterOneStep):
    def put(self, new: Store, old: Store, key: bytes, record: Record, now: float) -> None:
        new.create(key, record, now)
        old.create(key, marked(record), now)


class TestStoppedAfterThreeStepsPrepare(StoppedAfterThreeSteps):
    phase = "prepare"


class TestStoppedAfterThreeStepsMove(StoppedAfterThreeSteps):
    phase = "move"


@pytest.fixture
def old() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def new() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def both(new: MemoryStore, old: MemoryStore) -> MigratingStore:
    return MigratingStore(new, old)


class Interrupted(MemoryStore):
    """Runs a function of ``before`` once, before the next call of a method, like another request in between."""

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
    stored = make_record()
    old.create(KEY, stored, NOW)
    assert both.load(KEY, NOW) == stored
    assert new.load(KEY, NOW) == stored
    assert old.load(KEY, NOW) is None
    assert both.load(KEY, NOW) == stored


@pytest.mark.parametrize("moment", ["create", "delete"])
def test_a_logout_in_the_middle_of_a_move_stays_a_logout(moment: str) -> None:
    new, old = Interrupted(), Interrupted()
    both = MigratingStore(new, old)
    old.create(KEY, make_record(), NOW)
    (new if moment == "create" else old).before[moment] = lambda: MigratingStore(new, old).delete(KEY)
    assert both.load(KEY, NOW) is None, f"logged out before the {moment} of the move"
    assert list(both.of_owner(OWNER, NOW)) == []
    assert (new.count(NOW), old.count(NOW)) == (0, 0)


def test_two_processes_that_move_one_session_both_find_it() -> None:
    new, old = Interrupted(), Interrupted()
    stored = make_record()
    old.create(KEY, stored, NOW)
    new.before["create"] = lambda: MigratingStore(new, old).load(KEY, NOW)
    assert MigratingStore(new, old).load(KEY, NOW) == stored
    assert MigratingStore(new, old).load(KEY, NOW) == stored
    assert (new.count(NOW), old.count(NOW)) == (1, 0)


def test_a_session_that_another_process_moves_between_two_looks_is_found() -> None:
    new, old = Interrupted(), Interrupted()
    stored = make_record()
    old.create(KEY, stored, NOW)
    old.before["load"] = lambda: MigratingStore(new, old).load(KEY, NOW)
    assert MigratingStore(new, old).load(KEY, NOW) == stored


def test_a_write_whose_answer_was_lost_is_known_again(both: MigratingStore, old: MemoryStore) -> None:
    stored = make_record()
    old.create(KEY, stored, NOW)
    assert both.replace(KEY, stored, b"another version!", NOW) is Outcome.SAVED
    assert both.replace(KEY, make_record(), b"another version!", NOW) is Outcome.CONFLICT


def test_a_write_reaches_what_has_not_moved_yet(both: MigratingStore, old: MemoryStore) -> None:
    stored = make_record()
    old.create(KEY, stored, NOW)
    changed = stored._replace(data=b"changed", version=b"2" * 16)
    assert both.replace(KEY, changed, stored.version, NOW) is Outcome.SAVED
    assert both.load(KEY, NOW) == changed
    assert old.load(KEY, NOW) is None


def test_a_touch_reaches_what_has_not_moved_yet(both: MigratingStore, old: MemoryStore) -> None:
    old.create(KEY, make_record(), NOW)
    assert both.touch(KEY, NOW + 5, NOW + 5000, NOW)
    loaded = both.load(KEY, NOW)
    assert loaded is not None
    assert (loaded.touched, loaded.expires) == (NOW + 5, NOW + 5000)


def test_a_tombstone_of_the_old_store_is_seen_and_left_there(both: MigratingStore, old: MemoryStore) -> None:
    tombstone = make_record(handle="", owner=None)
    old.create(KEY, tombstone, NOW)
    assert both.load(KEY, NOW) == tombstone
    assert old.load(KEY, NOW) == tombstone


def test_a_session_in_both_is_listed_once_as_the_new_one_has_it(
    both: MigratingStore, new: MemoryStore, old: MemoryStore
) -> None:
    old.create(KEY, make_record(data=b"old"), NOW)
    new.create(KEY, make_record(data=b"new"), NOW)
    old.create(b"2" * 32, make_record(created=NOW - 5), NOW)
    assert sorted(session.key for session in both.of_owner(OWNER, NOW)) == sorted([b"2" * 32, KEY])


def test_a_session_that_has_moved_is_listed_and_ended_as_it_is_now_whatever_a_dead_mover_left(
    both: MigratingStore, new: MemoryStore, old: MemoryStore
) -> None:
    stored = make_record(expires=NOW + 100)
    state_after(3, new, old, stored)
    assert both.touch(KEY, NOW + 90, NOW + 1000, NOW + 90)
    assert [session.expires for session in both.of_owner(OWNER, NOW + 95)] == [NOW + 1000]
    # By the old store's record, the session would have expired long ago.
    assert end_sessions(both, OWNER, NOW + 500, lambda session: True) == 1
    assert both.load(KEY, NOW + 500) is None


def test_both_are_counted_and_swept_and_gone_through(both: MigratingStore, new: MemoryStore, old: MemoryStore) -> None:
    for number, store in enumerate((old, old, new)):
        store.create(b"%032d" % number, make_record(), NOW)
        store.create(b"dead%028d" % number, make_record(expires=NOW - 7200), NOW - 9000)
    assert both.count(NOW, "sid") == 3
    assert [key for key, _ in both.scan(NOW)] == [b"%032d" % number for number in range(3)]
    old.sweep_due = True
    assert both.sweep_due
    assert both.sweep(2, NOW) == 2
    assert both.sweep(100, NOW) == 1
    both.sweep_due = False
    assert not old.sweep_due


def test_what_one_of_the_two_does_not_offer_is_not_offered() -> None:
    both = MigratingStore(Bare(), MemoryStore())
    assert not isinstance(both, ListsOwners)
    with pytest.raises(Unsupported, match=r"count\(\)"):
        both.count(NOW)
    assert MigratingStore(MemoryStore(), Bare()).sweep(10, NOW) == 0
    for each in (both, MigratingStore(MemoryStore(), Bare())):
        with pytest.raises(Unsupported, match=r"Bare does not support scan\(\)"):
            list(each.scan(NOW))


@pytest.mark.parametrize("swap", [False, True])
def test_logins_and_logouts_work_if_one_of_the_two_cannot_list_the_sessions_of_a_user(swap: bool) -> None:
    # A CountingStore itself has only the methods of the contract.
    stores: list[Store] = [MemoryStore(), CountingStore(MemoryStore())]
    both = MigratingStore(*(reversed(stores) if swap else stores))
    site = Site(both, describe=lambda environ: "Firefox")
    browser = site.browser()
    browser.do(log_in(ANN))
    assert [data["new_device"] for data in site.happened("logged_in")] == [None]

    def log_out_in_two_tabs(session: Session) -> None:
        assert session["user"] == ANN
        browser.copy().do(log_out)
        log_out(session)

    assert browser.do(log_out_in_two_tabs).code == 200
    with pytest.raises(Unsupported, match="does not support of"):
        site.middleware.sessions.of(ANN)
    with pytest.raises(ConfigError, match="cannot list a user's sessions"):
        Site(both, max_sessions=3)


def test_closing_and_pinging_reach_both(tmp_path: Path) -> None:
    new, old = SQLiteStore(tmp_path / "new.db"), SQLiteStore(tmp_path / "old.db")
    with MigratingStore(new, old) as both:
        assert both.multiprocess
        both.ping()
    assert not MigratingStore(new, MemoryStore()).multiprocess


# Moves that stop, because a process died or is slow.


def state_after(steps: int, new: MemoryStore, old: MemoryStore, stored: Record) -> None:
    """Leave the two stores as a process that dies after ``steps`` steps of a move."""
    old.create(KEY, stored if steps < 2 else marked(stored), NOW)
    if steps:
        new.create(KEY, placeholder(stored) if steps < 3 else stored, NOW)


STEPS = pytest.mark.parametrize("steps", [0, 1, 2, 3])
PHASES = pytest.mark.parametrize("phase", ["prepare", "move"])


@STEPS
@PHASES
def test_a_process_that_dies_within_a_move_costs_no_session(
    new: MemoryStore, old: MemoryStore, steps: int, phase: str
) -> None:
    stored = make_record()
    state_after(steps, new, old, stored)
    both = MigratingStore(new, old, phase)
    assert list(both.of_owner(OWNER, NOW)) == [owned_session(KEY, stored)]
    assert list(both.scan(NOW)) == [(KEY, stored)]
    assert both.load(KEY, NOW) == stored
    home = new if phase == "move" or steps >= 2 else old
    assert home.load(KEY, NOW) == stored
    if home is new:
        assert old.load(KEY, NOW) is None or phase == "move"


@STEPS
@PHASES
def test_what_a_dead_mover_left_ends_with_the_session(
    new: MemoryStore, old: MemoryStore, steps: int, phase: str
) -> None:
    stored = make_record()
    state_after(steps, new, old, stored)
    both = MigratingStore(new, old, phase)
    assert both.delete(KEY)
    assert not both.delete(KEY)
    for each in ("prepare", "move"):
        assert MigratingStore(new, old, each).load(KEY, NOW) is None
        assert list(MigratingStore(new, old, each).of_owner(OWNER, NOW)) == []


@STEPS
@PHASES
@pytest.mark.parametrize("lived", [1.0, PLACEHOLDER_LIFE + 1])
def test_a_move_is_finished_however_late(
    new: MemoryStore, old: MemoryStore, steps: int, phase: str, lived: float
) -> None:
    stored = make_record(expires=NOW + 10 * PLACEHOLDER_LIFE)
    state_after(steps, new, old, stored)
    now = NOW + lived
    # By then the placeholder may have expired, or have been swept.
    new.sweep(10, now + 9_000)
    changed = stored._replace(data=b"changed", version=b"2" * 16)
    assert MigratingStore(new, old, phase).replace(KEY, changed, stored.version, now) is Outcome.SAVED
    assert MigratingStore(new, old).load(KEY, now) == changed
    assert move(KEY, old, new, now) == (new, changed)
    assert (new.count(now), old.count(now)) == (1, 0)


def test_a_rotation_takes_what_a_dead_mover_left_along(new: MemoryStore, old: MemoryStore) -> None:
    stored = make_record()
    state_after(3, new, old, stored)
    moved = stored._replace(version=b"2" * 16)
    assert MigratingStore(new, old).rotate(KEY, b"n" * 32, moved, stored.version, NOW) is Outcome.SAVED
    assert (old.count(NOW), new.count(NOW)) == (0, 1)
    assert list(MigratingStore(new, old).of_owner(OWNER, NOW)) == [owned_session(b"n" * 32, moved)]


def test_two_slow_movers_do_not_revive_what_moved_and_ended(
    both: MigratingStore, new: MemoryStore, old: MemoryStore
) -> None:
    stored = make_record()
    old.create(KEY, stored, NOW)
    moving._mark(KEY, stored, stored.version, old, new, NOW)
    # One process will fill the session in, another has loaded the unmarked record. Both are slow.
    seen = old.load(KEY, NOW)
    assert seen is not None
    assert both.load(KEY, NOW) == stored
    assert both.delete(KEY)
    moving._mark(KEY, stored, stored.version, old, new, NOW)
    moving._finish(KEY, seen, old, new, NOW)
    assert both.load(KEY, NOW) is None
    assert (new.count(NOW), old.count(NOW)) == (0, 0)


@PHASES
def test_a_placeholder_alone_is_no_session(new: MemoryStore, old: MemoryStore, phase: str) -> None:
    both = MigratingStore(new, old, phase)
    stored = make_record()
    write = stored._replace(version=b"2" * 16)
    calls: list[Callable[[], object]] = [
        lambda: both.load(KEY, NOW),
        lambda: both.replace(KEY, write, stored.version, NOW) is not Outcome.GONE,
        lambda: both.rotate(KEY, b"n" * 32, write, stored.version, NOW) is not Outcome.GONE,
        lambda: both.touch(KEY, NOW + 5, NOW + 5000, NOW),
        lambda: both.delete(KEY),
        lambda: both.delete(KEY, stored.version),
        lambda: list(both.of_owner(OWNER, NOW)),
        lambda: list(both.scan(NOW)),
    ]
    for call in calls:
        new.delete(KEY)
        new.create(KEY, placeholder(stored), NOW)
        assert not call()
        assert both.load(KEY, NOW) is None


def test_a_placeholder_is_not_taken_for_the_session_that_was_rotated_away(new: MemoryStore, old: MemoryStore) -> None:
    # A logout that counted the placeholder would not look for the session under its new key.
    stored = make_record()
    state_after(1, new, old, stored)
    MigratingStore(new, old, "prepare").rotate(KEY, b"n" * 32, make_record(), stored.version, NOW)
    new.delete(KEY)
    new.create(KEY, placeholder(stored), NOW)
    assert not MigratingStore(new, old).delete(KEY)
    assert new.load(KEY, NOW) is None


def test_a_session_that_is_filled_in_during_its_logout_ends(old: MemoryStore) -> None:
    class Filling(MemoryStore):
        def delete(self, key: bytes, version: bytes | None = None) -> bool:
            if version is not None:
                # The fill of a process that loaded the marked record before.
                self.replace(key, stored, version, NOW)
            return super().delete(key, version)

    stored, new = make_record(), Filling()
    state_after(2, new, old, stored)
    assert MigratingStore(new, old, "prepare").delete(KEY)
    assert new.count(NOW) == 0


@pytest.mark.parametrize("steps", [2, 3])
def test_delete_of_a_version_knows_the_version_of_a_session_that_is_on_its_way(
    new: MemoryStore, old: MemoryStore, steps: int
) -> None:
    stored = make_record()
    state_after(steps, new, old, stored)
    both = MigratingStore(new, old, "prepare")
    if steps == 3:
        changed = stored._replace(version=b"2" * 16)
        assert new.replace(KEY, changed, stored.version, NOW) is Outcome.SAVED
        stored = changed
    assert not both.delete(KEY, b"3" * 16)
    assert both.load(KEY, NOW) == stored
    assert both.delete(KEY, stored.version)
    assert both.load(KEY, NOW) is None


def test_delete_of_a_version_that_changes_meanwhile_deletes_nothing(new: MemoryStore) -> None:
    class Writing(MemoryStore):
        def delete(self, key: bytes, version: bytes | None = None) -> bool:
            self.replace(key, changed, stored.version, NOW)
            return super().delete(key, version)

    stored, old = make_record(), Writing()
    changed = stored._replace(version=b"2" * 16)
    old.create(KEY, stored, NOW)
    assert not MigratingStore(new, old, "prepare").delete(KEY, stored.version)
    assert old.load(KEY, NOW) == changed


def test_a_marked_record_that_is_cleared_meanwhile_does_not_stop_a_delete(new: MemoryStore) -> None:
    class Clearing(MemoryStore):
        def delete(self, key: bytes, version: bytes | None = None) -> bool:
            super().delete(key, version)
            return False

    stored, old = make_record(), Clearing()
    old.create(KEY, marked(make_record()), NOW)
    new.create(KEY, stored, NOW)
    assert MigratingStore(new, old).delete(KEY, stored.version)
    assert new.load(KEY, NOW) is None


@pytest.mark.parametrize("error", ["settle", "move"])
def test_a_session_that_others_keep_changing_is_an_outage_and_not_a_loss(new: MemoryStore, error: str) -> None:
    class Busy(MemoryStore):
        def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
            return Outcome.CONFLICT

        def delete(self, key: bytes, version: bytes | None = None) -> bool:
            return False

    old = Busy()
    state_after(3 if error == "settle" else 0, new, old, make_record())
    with pytest.raises(StoreUnavailable, match="Try again"):
        move(KEY, old, new, NOW)


def test_a_write_and_a_rotation_that_others_always_overtake_are_conflicts(old: MemoryStore) -> None:
    class Busy(MemoryStore):
        def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
            return Outcome.CONFLICT

        def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
            return Outcome.CONFLICT

    stored, new = make_record(), Busy()
    new.create(KEY, stored, NOW)
    both = MigratingStore(new, old)
    write = stored._replace(version=b"2" * 16)
    assert both.replace(KEY, write, stored.version, NOW) is Outcome.CONFLICT
    assert both.rotate(KEY, b"n" * 32, write, stored.version, NOW) is Outcome.CONFLICT


def test_a_touch_gives_up_on_a_session_that_never_stands_still(old: MemoryStore) -> None:
    class Forgetful(MemoryStore):
        def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
            return False

    new = Forgetful()
    new.create(KEY, make_record(), NOW)
    assert not MigratingStore(new, old).touch(KEY, NOW + 5, NOW + 5000, NOW)


def test_a_backup_of_the_old_store_does_not_bring_sessions_back_as_they_were(
    both: MigratingStore, new: MemoryStore, old: MemoryStore
) -> None:
    stored, restored = make_record(), make_record(data=b"restored")
    new.create(KEY, stored, NOW)
    old.create(KEY, restored, NOW)
    assert list(move_all(old, new, lambda: NOW)) == [True]
    assert both.load(KEY, NOW) == stored
    assert old.load(KEY, NOW) is None


def test_two_urls_of_one_store_cost_nobody_a_session(tmp_path: Path) -> None:
    (tmp_path / "also").symlink_to(tmp_path)
    with SQLiteStore(tmp_path / "a.db") as old, SQLiteStore(tmp_path / "also" / "a.db") as new:
        stored = make_record()
        old.create(KEY, stored, NOW)
        with pytest.raises(ConfigError, match="lead to the same store"):
            list(move_all(old, new, lambda: NOW))
        with pytest.raises(ConfigError, match="lead to the same store"):
            MigratingStore(new, old).rotate(KEY, b"2" * 32, make_record(), stored.version, NOW)
        assert list(old.scan(NOW)) == [(KEY, stored)]
        assert old.sweep(10, NOW + 10_000) == 1


@pytest.mark.parametrize("damage", [{"version": b"short"}, {"data": "text"}])
def test_a_corrupt_record_stays_where_it_is(
    both: MigratingStore, new: MemoryStore, old: MemoryStore, damage: dict[str, Any]
) -> None:
    corrupt = make_record(**damage)
    old.create(KEY, corrupt, NOW)
    assert both.load(KEY, NOW) == corrupt
    assert list(move_all(old, new, lambda: NOW)) == [False]
    assert (old.count(NOW), new.count(NOW)) == (1, 0)


# The command that moves the rest.


def test_copying_moves_every_live_session_and_can_be_taken_up_again(new: MemoryStore, old: MemoryStore) -> None:
    for number in range(10):
        old.create(b"%032d" % number, make_record(), NOW)
    old.create(b"dead" * 8, make_record(expires=NOW + 1), NOW)
    copying: Any = move_all(old, new, lambda: NOW + 2)
    assert [next(copying) for _ in range(4)] == [True] * 4
    copying.close()
    assert (old.count(NOW + 2), new.count(NOW + 2)) == (6, 4)
    assert list(move_all(old, new, lambda: NOW + 2)) == [True] * 6
    assert (old.count(NOW + 2), new.count(NOW + 2)) == (0, 10)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_copying_finishes_what_dead_movers_left(new: MemoryStore, old: MemoryStore, steps: int) -> None:
    stored = make_record()
    state_after(steps, new, old, stored)
    assert list(move_all(old, new, lambda: NOW)) == [True]
    assert list(new.scan(NOW)) == [(KEY, stored)]
    assert list(old.scan(NOW)) == []


def test_copying_for_longer_than_a_placeholder_lives_loses_nothing(new: MemoryStore, old: MemoryStore) -> None:
    clock = FakeClock()
    stored = make_record(expires=NOW + 10 * PLACEHOLDER_LIFE)
    for number in range(5):
        old.create(b"%032d" % number, stored, NOW)
    for moved in move_all(old, new, clock):
        assert moved
        clock.advance(PLACEHOLDER_LIFE)
    assert new.count(clock()) == 5


def test_copying_does_not_bring_back_what_is_logged_out_meanwhile(new: MemoryStore, old: MemoryStore) -> None:
    old.create(KEY, make_record(), NOW)
    old.create(b"2" * 32, make_record(), NOW)
    copying = move_all(old, new, lambda: NOW)
    assert next(copying)
    old.delete(b"2" * 32)
    assert list(copying) == [False]
    assert new.count(NOW) == 1


def test_copying_from_what_cannot_be_gone_through_says_so(new: MemoryStore) -> None:
    with pytest.raises(Unsupported, match="Bare does not support scan"):
        list(move_all(Bare(), new, lambda: NOW))


# What is refused.


@pytest.mark.parametrize("swap", [False, True])
def test_sessions_in_cookies_cannot_be_moved(swap: bool) -> None:
    stores: list[Store] = [CookieStore(), MemoryStore()]
    with pytest.raises(ConfigError, match="cannot be moved"):
        MigratingStore(*reversed(stores) if swap else stores)


def test_a_store_to_itself_a_move_of_a_move_and_an_unknown_phase_are_refused(
    both: MigratingStore, new: MemoryStore, old: MemoryStore
) -> None:
    with pytest.raises(ConfigError, match="the same store"):
        MigratingStore(new, new)
    with pytest.raises(ConfigError, match="Finish that change of stores first"):
        MigratingStore(MemoryStore(), both)
    with pytest.raises(ConfigError, match=r"'prepare' .* or 'move'"):
        MigratingStore(new, old, "read")


class Behind(MemoryStore):
    """A store whose replicas have received no write."""

    behind = False

    def await_replicas(self) -> None:
        if self.behind:
            raise StoreUnavailable("the replicas are behind")

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        found = super().delete(key, version)
        self.await_replicas()
        return found


@pytest.mark.parametrize("of_version", [False, True], ids=["delete", "delete of a version"])
@pytest.mark.parametrize("which", ["old", "new"])
def test_a_session_counts_as_ended_when_the_replicas_of_the_store_that_had_it_know_it(
    which: str, of_version: bool
) -> None:
    stores = {"old": Behind(), "new": Behind()}
    kept = make_record()
    version = kept.version if of_version else None
    stores[which].create(KEY, kept, NOW)
    with MigratingStore(stores["old"], stores["new"]) as store:
        stores[which].behind = True
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                store.delete(KEY, version)
        with pytest.raises(StoreUnavailable):
            end_sessions(store, OWNER, NOW, lambda session: True)
        stores[which].behind = False
        assert not store.delete(KEY, version)
        assert end_sessions(store, OWNER, NOW, lambda session: True) == 0


def test_a_rotation_that_finds_its_own_success_waits_for_the_replicas() -> None:
    stores = {"old": Behind(), "new": Behind()}
    kept, write, new = make_record(), make_record(), b"n" * 32
    with MigratingStore(stores["old"], stores["new"]) as store:
        store.create(KEY, kept, NOW)
        assert store.rotate(KEY, new, write, kept.version, NOW) is Outcome.SAVED
        stores["new"].behind = True
        with pytest.raises(StoreUnavailable):
            store.rotate(KEY, new, write, kept.version, NOW)
