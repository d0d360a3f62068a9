"""The conformance suite detects a store that breaks a promise. Each store here breaks one, as real stores have."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice

import pytest

from wsgi_session.errors import KeyExists
from wsgi_session.stores import OWNED_PAGE, MemoryStore, Outcome, OwnedSession, Record, Store, tombstone_of
from wsgi_session.stores.memory import store as memory
from wsgi_session.testing import harness
from wsgi_session.testing.clock import FakeClock
from wsgi_session.testing.conformance import StoreConformance
from wsgi_session.testing.harness import assert_equal, assert_raises, run_concurrently


def failures(make: Callable[[], Store], **attributes: object) -> dict[str, Exception]:
    """Run the whole suite against a store, as pytest would; return what failed."""

    class Suite(StoreConformance):
        def make_store(self) -> Store:
            return make()

    failed: dict[str, Exception] = {}
    for name in sorted(name for name in dir(Suite) if name.startswith("test_")):
        suite = Suite()
        for attribute, value in attributes.items():
            setattr(suite, attribute, value)
        suite.setup_method()
        try:
            getattr(suite, name)()
        except Exception as error:
            failed[name] = error
        finally:
            suite.teardown_method()
    return failed


class UpsertingReplace(MemoryStore):
    """A write to a deleted record creates it (CVE-2025-46336)."""

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = super().replace(key, record, version, now)
        if outcome is Outcome.GONE:
            self.delete(key)
            self.create(key, record, now)
            return Outcome.SAVED
        return outcome


class BlindReplace(MemoryStore):
    """The last write replaces all others."""

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        stored = self.load(key, now)
        return super().replace(key, record, stored.version if stored else version, now)


class CheckThenSet(MemoryStore):
    """Compares the version in one step, and writes in a second one."""

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        stored = self.load(key, now)
        if stored is None:
            return Outcome.GONE
        if stored.version == record.version:
            return Outcome.SAVED
        if stored.version != version:
            return Outcome.CONFLICT
        pause()
        super().replace(key, record, getattr(self.load(key, now), "version", b""), now)
        return Outcome.SAVED


class ForgetfulReplace(MemoryStore):
    """Does not recognise its own repeated write."""

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        stored = self.load(key, now)
        if stored is not None and stored.version == record.version:
            return Outcome.CONFLICT
        return super().replace(key, record, version, now)


class EagerReplace(MemoryStore):
    """Also writes the owner and the other fields that only ``create`` and ``rotate`` set."""

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        stored = self.load(key, now)
        if stored is not None and stored.version == version:
            self.delete(key)
            self.create(key, record, now)
            return Outcome.SAVED
        return super().replace(key, record, version, now)


class BackwardReplace(MemoryStore):
    """Moves the times back if a slow request writes."""

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = super().replace(key, record, version, now)
        if outcome is Outcome.SAVED:
            force(self, key, touched=record.touched, expires=record.expires)
        return outcome


class ResurrectingTouch(MemoryStore):
    """A touch makes a dead record live again."""

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return super().touch(key, touched, expires, 0.0)


class CreatingTouch(MemoryStore):
    """A touch of an unknown key creates a record."""

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        if not super().touch(key, touched, expires, now):
            try:
                self.create(key, Record(b"", b"", "h", now, touched, expires), now)
            except KeyExists:
                return False
        return True


class BackwardTouch(MemoryStore):
    """Moves the times back if a slow request touches."""

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        done = super().touch(key, touched, expires, now)
        if done:
            force(self, key, touched=touched, expires=expires)
        return done


class VersionedTouch(MemoryStore):
    """A touch changes the version, so that each concurrent save is a conflict."""

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        done = super().touch(key, touched, expires, now)
        if done:
            force(self, key, version=os.urandom(16))
        return done


class TombstoneTouch(MemoryStore):
    """A touch extends the life of a tombstone."""

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        stored = self.load(key, now)
        if stored is not None and not stored.handle:
            force(self, key, touched=touched, expires=expires)
            return True
        return super().touch(key, touched, expires, now)


class TakeOver(MemoryStore):
    """``create`` overwrites a live session, as in tower-sessions 0.12.1."""

    def create(self, key: bytes, record: Record, now: float) -> None:
        self.delete(key)
        super().create(key, record, now)


class ForgetfulCreate(MemoryStore):
    """Does not recognise its own repeated ``create``, so that a lost reply gives the visitor a second session."""

    def create(self, key: bytes, record: Record, now: float) -> None:
        if self.load(key, now) is not None:
            raise KeyExists("there")
        super().create(key, record, now)


class Calculating(MemoryStore):
    """Assumes that every stored time is a finite number."""

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        stored = self.load(key, now)
        return super().touch(key, touched if stored is None else max(touched, int(stored.touched)), expires, now)


class LookThenCreate(MemoryStore):
    """Looks for a record in one step, and creates one in a second step."""

    def create(self, key: bytes, record: Record, now: float) -> None:
        if self.load(key, now) is not None:
            raise KeyExists("there")
        pause()
        self.delete(key)
        super().create(key, record, now)


class TimidCreate(MemoryStore):
    """``create`` never overwrites a dead record."""

    def create(self, key: bytes, record: Record, now: float) -> None:
        super().create(key, record, 0.0)


class TwoStepRotate(MemoryStore):
    """Creates the new record and deletes the old one, without comparing the version."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        there, stored = self.load(new, now), self.load(old, now)
        if there is not None and there.version == record.version:
            return Outcome.SAVED
        if stored is None:
            return Outcome.GONE
        if stored.version != version:
            return Outcome.CONFLICT
        pause()
        self.create(new, record, now)
        self.delete(old)
        self.create(old, tombstone_of(new, record, now), now)
        return Outcome.SAVED


class GoneThenTombstone(MemoryStore):
    """Writes the tombstone in a second step: a request in between finds nothing."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = super().rotate(old, new, record, version, now)
        if outcome is Outcome.SAVED and (left := self.load(old, now)) is not None:
            self.delete(old, left.version)
            pause()
            self.create(old, left, now)
        return outcome


class NoTombstone(MemoryStore):
    """Leaves nothing under the old key."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = super().rotate(old, new, record, version, now)
        if outcome is Outcome.SAVED and (left := self.load(old, now)) is not None:
            self.delete(old, left.version)
        return outcome


class ShortTombstone(MemoryStore):
    """Keeps a tombstone for one minute only, which is too short if clocks differ."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = super().rotate(old, new, record, version, now)
        if outcome is Outcome.SAVED:
            force(self, old, expires=now + 60)
        return outcome


class WritesTombstones(MemoryStore):
    """Replaces and rotates tombstones like other records."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        stored = self.load(old, now)
        if stored is not None and not stored.handle and stored.version == version:
            self.delete(old, version)
            self.create(new, record, now)
            return Outcome.SAVED
        return super().rotate(old, new, record, version, now)


class CopyingRotate(MemoryStore):
    """The old token stays valid, which allows session fixation."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        stored = self.load(old, now)
        outcome = super().rotate(old, new, record, version, now)
        if outcome is Outcome.SAVED and stored is not None:
            force(self, old, **stored._asdict())
        return outcome


class OverwritingRotate(MemoryStore):
    """Overwrites another live session under the new key."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        there, stored = self.load(new, now), self.load(old, now)
        if stored is not None and stored.version == version and there is not None:
            self.delete(new)
        return super().rotate(old, new, record, version, now)


class KeepingRotate(MemoryStore):
    """Keeps the owner that the session had before the login."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        stored = self.load(old, now)
        return super().rotate(old, new, record._replace(owner=stored.owner if stored else None), version, now)


class ForgetfulRotate(MemoryStore):
    """Does not recognise its own repeated rotation."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return Outcome.GONE if self.load(new, now) else super().rotate(old, new, record, version, now)


class LosingRotate(MemoryStore):
    """Deletes the old record before it knows whether the new key is free."""

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        there, stored = self.load(new, now), self.load(old, now)
        if there is not None and stored is not None and there.version != record.version:
            self.delete(old)
            raise KeyExists("there")
        return super().rotate(old, new, record, version, now)


class DeafDelete(MemoryStore):
    """``delete`` always returns True."""

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        super().delete(key, version)
        return True


class TombstoneDelete(MemoryStore):
    """``delete`` removes a tombstone, so that a logout during a rotation does not learn that the session has moved."""

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        stored = self.load(key, 0.0)
        if stored is not None and not stored.handle:
            force(self, key, handle="no tombstone")
        return super().delete(key, version)


class VersionlessDelete(MemoryStore):
    """``delete`` ignores the version."""

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return super().delete(key)


class LookThenDelete(MemoryStore):
    """Compares the version, and deletes in a second step."""

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        if version is None:
            return super().delete(key)
        stored = self.load(key, 0.0)
        if stored is None or stored.version != version:
            return False
        pause()
        with memory._lock:
            return self._remove(key)


class TextKeys(MemoryStore):
    """Compares keys without regard to case, as text columns of databases do."""

    def load(self, key: bytes, now: float) -> Record | None:
        return super().load(key.lower(), now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        super().create(key.lower(), record, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return super().delete(key.lower(), version)


class WholeSeconds(MemoryStore):
    """Keeps times as integers."""

    def create(self, key: bytes, record: Record, now: float) -> None:
        super().create(key, record._replace(touched=float(int(record.touched))), now)


class NumbersForBooleans(MemoryStore):
    """Returns 1 for True."""

    def load(self, key: bytes, now: float) -> Record | None:
        stored = super().load(key, now)
        return stored and stored._replace(persistent=int(stored.persistent))  # type: ignore[arg-type]


class StrippedData(MemoryStore):
    """Cuts data at the first NUL byte."""

    def create(self, key: bytes, record: Record, now: float) -> None:
        super().create(key, record._replace(data=record.data.partition(b"\0")[0]), now)


class UndyingLoad(MemoryStore):
    """A record is alive until it is swept."""

    def load(self, key: bytes, now: float) -> Record | None:
        return super().load(key, 0.0)


class OffByOne(MemoryStore):
    """A record is still alive at the moment of ``expires``."""

    def load(self, key: bytes, now: float) -> Record | None:
        return super().load(key, now - 1e-6)


class ListsTheDead(MemoryStore):
    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        return super().of_owner(owner, 0.0)


class ListsAtMostOne(MemoryStore):
    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        return islice(super().of_owner(owner, now), 1)


class ListsOnePage(MemoryStore):
    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        return islice(super().of_owner(owner, now), OWNED_PAGE)


class ListsByPosition(MemoryStore):
    """Reads pages by their offset, so that a delete makes it skip sessions."""

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        seen = 0
        while page := list(islice(super().of_owner(owner, now), seen, seen + 100)):
            seen += len(page)
            yield from page


class DeletesTombstonesToo(MemoryStore):
    def delete_many(self, keys: Sequence[bytes]) -> int:
        with memory._lock:
            return sum(self._remove(key) for key in keys)


class CountsEverybody(MemoryStore):
    def count(self, now: float, namespace: str | None = None) -> int:
        return super().count(now)


class CountsTheDead(MemoryStore):
    def count(self, now: float, namespace: str | None = None) -> int:
        return super().count(0.0, namespace)


class CountsTombstones(MemoryStore):
    def count(self, now: float, namespace: str | None = None) -> int:
        return super().count(now, namespace) + len(self._tombstones)


class ScansTombstones(MemoryStore):
    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        return iter([*self._anonymous.items(), *self._owned.items(), *self._tombstones.items()])


class ScansByPosition(MemoryStore):
    """Reads pages by their offset, so that a delete makes it skip sessions."""

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        seen = 0
        while page := list(super().scan(now))[seen : seen + 100]:
            seen += len(page)
            yield from page


class SweepsWithoutGrace(MemoryStore):
    def sweep(self, limit: int, now: float) -> int:
        return super().sweep(limit, now + 3601)


class SweepsWithoutLimit(MemoryStore):
    def sweep(self, limit: int, now: float) -> int:
        return super().sweep(1000, now)


class SweepsNothing(MemoryStore):
    def sweep(self, limit: int, now: float) -> int:
        return 0


def pause() -> None:
    """Let another thread run between two steps, as a round trip to a server does."""
    time.sleep(0.001)


def force(store: MemoryStore, key: bytes, **fields: object) -> None:
    kept = next(kept for kept in (store._owned, store._anonymous, store._tombstones) if key in kept)
    kept[key] = kept[key]._replace(**fields)  # type: ignore[arg-type]


BROKEN = {
    UpsertingReplace: "replace_of_a_deleted_expired_or_unknown",
    BlindReplace: "replace_of_another_version_is_a_conflict",
    CheckThenSet: "saves_lose_no_update",
    ForgetfulReplace: "replace_whose_answer_was_lost",
    EagerReplace: "replace_keeps_the_fields_that_only_create_and_rotate_set",
    BackwardReplace: "replace_moves_neither_time_back",
    ResurrectingTouch: "touch_of_a_deleted_expired_or_unknown",
    CreatingTouch: "touch_of_a_deleted_expired_or_unknown",
    BackwardTouch: "touch_moves_neither_time_back",
    VersionedTouch: "replace_keeps_a_touch_that_came_between",
    TombstoneTouch: "touch_does_not_change_a_tombstone",
    TakeOver: "create_never_overwrites_a_live_record",
    ForgetfulCreate: "create_whose_answer_was_lost_is_done_once",
    Calculating: "a_record_with_corrupt_times_makes_no_method_raise",
    LookThenCreate: "of_concurrent_creates_of_one_key_exactly_one_succeeds",
    TimidCreate: "create_replaces_a_dead_record",
    TwoStepRotate: "of_concurrent_rotations_of_one_session_exactly_one_succeeds",
    GoneThenTombstone: "a_load_during_a_rotation",
    NoTombstone: "a_tombstone_under_the_old_key_has_the_new_key",
    ShortTombstone: "a_tombstone_under_the_old_key_has_the_new_key",
    WritesTombstones: "a_tombstone_is_never_replaced_or_rotated",
    CopyingRotate: "rotate_ends_the_old_key",
    OverwritingRotate: "rotate_onto_a_live_record_raises",
    KeepingRotate: "rotate_ends_the_old_key_and_writes_every_field",
    ForgetfulRotate: "rotate_whose_answer_was_lost",
    LosingRotate: "rotate_onto_a_live_record_raises",
    DeafDelete: "delete_removes_the_record_at_once_and_returns_whether",
    TombstoneDelete: "delete_keeps_a_tombstone",
    VersionlessDelete: "delete_of_a_version_keeps_any_other",
    LookThenDelete: "of_a_concurrent_save_and_delete_of_the_loaded_version_exactly_one_succeeds",
    TextKeys: "keys_are_compared_as_bytes",
    WholeSeconds: "every_field_comes_back_unchanged",
    NumbersForBooleans: "every_field_comes_back_unchanged_with_its_type",
    StrippedData: "data_of_any_bytes",
    UndyingLoad: "a_record_is_alive_before_expires",
    OffByOne: "a_record_is_alive_before_expires_and_dead_from_then_on",
    ListsTheDead: "dead_deleted_and_rotated_keys_are_not_listed",
    ListsAtMostOne: "of_owner_lists_only",
    ListsOnePage: "all_of_an_owners_many_sessions_are_listed",
    ListsByPosition: "all_of_an_owners_many_sessions_are_listed_and_can_be_deleted_in_batches",
    DeletesTombstonesToo: "delete_many_deletes_each_key_as_delete_does",
    CountsEverybody: "only_live_sessions_are_counted_each_in_its_namespace",
    CountsTheDead: "only_live_sessions_are_counted",
    CountsTombstones: "only_live_sessions_are_counted",
    ScansTombstones: "a_scan_yields_every_live_session_once_and_no_tombstone",
    ScansByPosition: "deleting_the_yielded_sessions_does_not_make_a_scan_skip_others",
    SweepsWithoutGrace: "a_sweep_removes_only_records_that_have_been_dead_for_over_an_hour",
    SweepsWithoutLimit: "a_sweep_removes_at_most_limit",
    SweepsNothing: "a_sweep_removes_only",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_store_that_breaks_a_promise_fails_the_test_of_that_promise(broken: type[MemoryStore]) -> None:
    failed = failures(broken)
    assert any(BROKEN[broken] in name for name in failed), f"failed: {sorted(failed)}"


def test_a_correct_store_passes_all_of_it() -> None:
    assert failures(MemoryStore) == {}


class Minimal(Store):
    """The eight abstract methods only."""

    def __init__(self) -> None:
        self._inner = MemoryStore()

    def load(self, key: bytes, now: float) -> Record | None:
        return self._inner.load(key, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._inner.create(key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._inner.replace(key, record, version, now)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._inner.rotate(old, new, record, version, now)

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return self._inner.touch(key, touched, expires, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return self._inner.delete(key, version)

    def ping(self) -> None:
        self._inner.ping()

    def close(self) -> None:
        self._inner.close()


def test_a_store_that_offers_no_more_than_it_must_passes_when_it_says_so() -> None:
    assert failures(Minimal, sweeps=False, lists_owners=False, counts=False, scans=False) == {}
    assert list(failures(Minimal)) == ["test_the_store_implements_the_declared_protocols"]


def test_a_store_of_which_a_record_vanishes_is_caught_in_the_act() -> None:
    class Vanishing(MemoryStore):
        def load(self, key: bytes, now: float) -> Record | None:
            return None

    failed = failures(Vanishing)
    assert "no thread has deleted it" in str(failed["test_concurrent_saves_lose_no_update"])


def test_a_store_that_answers_conflict_to_everybody_is_not_asked_for_ever() -> None:
    class Stubborn(MemoryStore):
        def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
            return Outcome.CONFLICT

    failed = failures(Stubborn)
    assert "returned CONFLICT" in str(failed["test_concurrent_saves_lose_no_update"])


def test_a_suite_without_make_store_says_what_to_write() -> None:
    suite = StoreConformance()
    suite.setup_method()
    with pytest.raises(NotImplementedError, match="Write make_store"):
        _ = suite.store


def test_a_failure_says_what_was_seen_and_shortens_what_is_long() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_equal(bytes(5000), b"wanted", "load of the data")
    message = str(caught.value)
    assert message.startswith(r"load of the data: expected b'wanted', but got b'\x00\x00")
    assert message.endswith("(20,003 characters)")
    assert len(message) < 800


def test_what_should_have_been_refused_and_was_not_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="create: expected KeyExists, but the call returned 5"):
        assert_raises(KeyExists, lambda: 5, "create")


def test_an_exception_in_a_thread_is_the_failure_of_the_race() -> None:
    def fail() -> None:
        raise LookupError("in a thread")

    calls: Sequence[Callable[[], object]] = [fail, lambda: 1]
    interval = sys.getswitchinterval()
    with pytest.raises(LookupError, match="in a thread"):
        run_concurrently(calls)
    assert sys.getswitchinterval() == interval


def test_a_store_that_hangs_fails_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RACE_TIMEOUT", 0.05)
    release = threading.Event()
    try:
        with pytest.raises(AssertionError, match=r"threads that finished within 0\.05 s: expected 2, but got 1"):
            run_concurrently([release.wait, lambda: True])
    finally:
        release.set()


def test_the_suite_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import wsgi_session.testing.conformance"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_clock_moves_only_when_it_is_told() -> None:
    clock = FakeClock()
    assert clock() == clock() == FakeClock.START
    clock.advance(1.5)
    clock.advance(timedelta(hours=1))
    clock.advance(-0.5)
    assert clock() == FakeClock.START + 3601.0
    assert repr(clock) == f"FakeClock({FakeClock.START + 3601.0!r})"
    assert FakeClock(5)() == 5.0
