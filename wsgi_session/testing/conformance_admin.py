"""The promises of the optional operations of a store: ``of_owner``, ``count``, ``scan``, ``sweep``."""

from __future__ import annotations

from wsgi_session.stores.contract import (
    DELETE_BATCH,
    OWNED_PAGE,
    SWEEP_GRACE,
    Counts,
    ListsOwners,
    Outcome,
    Scans,
    Sweeps,
    owned_session,
    tombstone_of,
)
from wsgi_session.testing.harness import OTHER_OWNER, OWNER, StoreHarness, assert_equal, new_key


class AdminPromises(StoreHarness):
    """A part of ``StoreConformance``. Set an attribute to ``False`` if your store does not support the operation."""

    sweeps = True
    lists_owners = True
    counts = True
    scans = True

    def test_the_store_implements_the_declared_protocols(self) -> None:
        protocols = (Sweeps, ListsOwners, Counts, Scans)
        implemented = {protocol.__name__: isinstance(self.store, protocol) for protocol in protocols}
        declared = {"Sweeps": self.sweeps, "ListsOwners": self.lists_owners, "Counts": self.counts, "Scans": self.scans}
        assert_equal(implemented, declared, "protocols whose method the store has")

    def _assert_listed(self, owner: bytes, expected: list[bytes], label: str) -> None:
        """Fail unless exactly these keys are listed, in any order, each with the fields of its record."""
        if not isinstance(self.store, ListsOwners):
            return
        listed = list(self.store.of_owner(owner, self.clock()))
        assert_equal(sorted(session.key for session in listed), sorted(expected), label)
        for session in listed:
            record = self.store.load(session.key, self.clock())
            assert_equal(session, record and owned_session(session.key, record), f"{label}: the fields of one")

    def _assert_counts(self, expected: dict[str | None, int], label: str) -> None:
        if not isinstance(self.store, Counts):
            return
        actual = {namespace: self.store.count(self.clock(), namespace) for namespace in expected}
        assert_equal(actual, expected, f"count by namespace, {label}")

    def test_of_owner_lists_only_that_owners_sessions(self) -> None:
        now = self.clock()
        keys = [new_key() for _ in range(4)]
        for key, age in zip(keys, (2.25, 9.5, 0.5, 9.75), strict=True):
            self.create_record(key, owner=OWNER, created=now - age, idle=60.5)
        self.create_record(new_key(), owner=OTHER_OWNER)
        self.create_record(new_key())
        self._assert_listed(OWNER, keys, "the sessions of an owner")
        self._assert_listed(bytes(32), [], "the sessions of an owner who has none")

    def test_dead_deleted_and_rotated_keys_are_not_listed(self) -> None:
        now = self.clock()
        dead, deleted, rotated, fresh, anonymous = (new_key() for _ in range(5))
        self.create_record(dead, owner=OWNER, expires=now + 5)
        self.create_record(deleted, owner=OWNER)
        record = self.create_record(rotated, owner=OWNER)
        visitor = self.create_record(anonymous)
        self.store.delete(deleted)
        self.store.rotate(rotated, fresh, self.change_record(record), record.version, now)
        self.clock.advance(5)
        self._assert_listed(OWNER, [fresh], "the sessions of an owner with one live session")
        logged_in = new_key()
        login = self.change_record(visitor, owner=OTHER_OWNER)
        self.store.rotate(anonymous, logged_in, login, visitor.version, self.clock())
        self._assert_listed(OTHER_OWNER, [logged_in], "the sessions of an owner who has just logged in")
        anonymous_again = self.change_record(login, owner=None)
        self.store.rotate(logged_in, new_key(), anonymous_again, login.version, self.clock())
        self._assert_listed(OTHER_OWNER, [], "the sessions of an owner whose only session became anonymous")

    def test_all_of_an_owners_many_sessions_are_listed_and_can_be_deleted_in_batches(self) -> None:
        if not isinstance(self.store, ListsOwners):
            return
        other = new_key()
        self.create_record(other, owner=OTHER_OWNER)
        keys = [new_key() for _ in range(2 * OWNED_PAGE + 50)]
        for place, key in enumerate(keys):
            # Half of them expire at the same time, half at different times.
            self.create_record(key, owner=OWNER, expires=self.clock() + 3600 + (place if place % 2 else 0))
        self._assert_listed(OWNER, keys, "the sessions of an owner with many sessions")
        ended = 0
        batch: list[bytes] = []
        for session in self.store.of_owner(OWNER, self.clock()):
            batch.append(session.key)
            if len(batch) == DELETE_BATCH:
                ended += self.store.delete_many(batch)
                batch.clear()
        ended += self.store.delete_many(batch) if batch else 0
        assert_equal(ended, len(keys), "sessions that were listed and deleted")
        self._assert_listed(OWNER, [], "the sessions of an owner after all were deleted")
        self._assert_listed(OTHER_OWNER, [other], "the sessions of another owner")

    def test_delete_many_deletes_each_key_as_delete_does(self) -> None:
        alive, dead, rotated, new = (new_key() for _ in range(4))
        self.create_record(alive, owner=OWNER)
        self.create_record(dead, expires=self.clock() + 5)
        self.clock.advance(5)
        record = self.create_record(rotated)
        write = self.change_record(record)
        self.store.rotate(rotated, new, write, record.version, self.clock())
        deleted = self.store.delete_many([alive, dead, rotated, new_key()])
        assert_equal(deleted, 2, "records deleted: a live and a dead one")
        self.assert_stored(alive, None, "load of a deleted key")
        self.assert_stored(rotated, tombstone_of(new, write, self.clock()), "load of a tombstone after delete_many")
        assert_equal(self.store.delete_many([alive]), 0, "records deleted the second time")

    def test_a_listed_session_is_still_listed_after_replace_and_touch(self) -> None:
        key = new_key()
        record = self.create_record(key, owner=OWNER)
        self.store.replace(key, self.change_record(record, owner=None), record.version, self.clock())
        self.store.touch(key, record.touched + 10_000, record.expires + 10_000, self.clock())
        self.clock.advance(record.expires - self.clock() + 1)
        self._assert_listed(OWNER, [key], "the session of an owner after replace and touch")

    def test_only_live_sessions_are_counted_each_in_its_namespace(self) -> None:
        now = self.clock()
        self._assert_counts({None: 0, "sid": 0}, "in an empty store")
        first, second = new_key(), new_key()
        record = self.create_record(first)
        self.create_record(second, owner=OWNER)
        self.create_record(new_key(), namespace="other")
        self.create_record(new_key(), expires=now + 5)
        self.create_record(new_key(), b"", handle="", namespace="")
        self._assert_counts({None: 4, "sid": 3, "other": 1, "none": 0}, "without the tombstone")
        self.clock.advance(5)
        self._assert_counts({None: 3, "sid": 2, "other": 1}, "after one has expired")
        self.store.rotate(first, new_key(), self.change_record(record), record.version, self.clock())
        self._assert_counts({None: 3, "sid": 2, "other": 1}, "after a rotation")
        self.store.delete(second)
        self._assert_counts({None: 2, "sid": 1, "other": 1}, "after a delete")

    def test_a_scan_yields_every_live_session_once_and_no_tombstone(self) -> None:
        if not isinstance(self.store, Scans):
            return
        assert_equal(list(self.store.scan(self.clock())), [], "scan of an empty store")
        records = {}
        for number in range(1200):  # More than a store is likely to read together.
            key = new_key()
            records[key] = self.create_record(key, b"%d" % number, owner=OWNER if number % 2 else None)
        self.create_record(new_key(), b"", handle="", namespace="")
        self.create_record(new_key(), expires=self.clock() + 5)
        self.clock.advance(5)
        scanned = list(self.store.scan(self.clock()))
        assert_equal(len(scanned), len(records), "sessions that a scan yields")
        assert_equal(dict(scanned) == records, True, "whether a scan yields each session unchanged")

    def test_deleting_the_yielded_sessions_does_not_make_a_scan_skip_others(self) -> None:
        if not isinstance(self.store, Scans):
            return
        for _ in range(1200):
            self.create_record(new_key())
        deleted = [self.store.delete(key) for key, _ in self.store.scan(self.clock())]
        assert_equal(sum(deleted), 1200, "sessions that were scanned and deleted")

    def test_a_sweep_removes_only_records_that_have_been_dead_for_over_an_hour(self) -> None:
        if not isinstance(self.store, Sweeps):
            return
        now = self.clock()
        horizon = now - SWEEP_GRACE
        for expires in (horizon - 1e6, horizon - 0.5):
            self.store.create(new_key(), self.record(owner=OWNER, expires=expires), horizon - 2e6)
        just_dead = new_key()
        self.store.create(just_dead, self.record(expires=horizon), horizon - 2e6)
        alive, dying = new_key(), new_key()
        record, dying_record = self.create_record(alive), self.create_record(dying, expires=now + 1)
        assert_equal(self.store.sweep(100, now), 2, "records swept")
        missing = self.store.load(just_dead, horizon - 1) is None
        assert_equal(missing, False, "whether a record that has been dead for exactly an hour is missing")
        self.assert_stored(alive, record, "load of a live record after a sweep")
        self.assert_stored(dying, dying_record, "load of a record that lives for one more second")
        assert_equal(self.store.sweep(100, now), 0, "records swept the second time")

    def test_a_sweep_removes_at_most_limit_records(self) -> None:
        if not isinstance(self.store, Sweeps):
            return
        now = self.clock()
        for _ in range(12):
            self.store.create(new_key(), self.record(expires=now), now - 1)
        self.clock.advance(SWEEP_GRACE + 1)
        swept = [self.store.sweep(limit, self.clock()) for limit in (0, 5, 5, 5, 5)]
        assert_equal(swept, [0, 5, 5, 2, 0], "records swept, of 12, with the limits 0, 5, 5, 5, 5")

    def test_a_record_that_was_renewed_is_not_swept(self) -> None:
        if not isinstance(self.store, Sweeps):
            return
        now = self.clock()
        replaced, touched = new_key(), new_key()
        record = self.create_record(replaced, expires=now + 1)
        self.create_record(touched, expires=now + 1)
        late = now + 10 * SWEEP_GRACE
        outcome = self.store.replace(replaced, self.change_record(record, expires=late), record.version, now)
        assert_equal(outcome, Outcome.SAVED, "replace")
        assert_equal(self.store.touch(touched, now, late, now), True, "touch")
        self.clock.advance(5 * SWEEP_GRACE)
        assert_equal(self.store.sweep(100, self.clock()), 0, "records swept")
        for key in (replaced, touched):
            assert_equal(self.store.load(key, self.clock()) is None, False, "whether a renewed record is missing")
