"""What the operations that a store may offer promise: of_owner, count, scan, sweep."""

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
from wsgi_session.testing.harness import OTHER_OWNER, OWNER, StoreHarness, equal, new_key


class AdminPromises(StoreHarness):
    """A part of ``StoreConformance``. Set to ``False`` what your store does not offer."""

    sweeps = True
    lists_owners = True
    counts = True
    scans = True

    def test_the_store_offers_what_this_suite_was_told(self) -> None:
        seen = {
            protocol.__name__: isinstance(self.store, protocol) for protocol in (Sweeps, ListsOwners, Counts, Scans)
        }
        told = {"Sweeps": self.sweeps, "ListsOwners": self.lists_owners, "Counts": self.counts, "Scans": self.scans}
        equal(seen, told, "protocols that the store has the methods of")

    def _lists(self, owner: bytes, wanted: list[bytes], what: str) -> None:
        """Fail unless exactly these keys are listed, in any order, each with what its record says."""
        if not isinstance(self.store, ListsOwners):
            return
        seen = list(self.store.of_owner(owner, self.clock()))
        equal(sorted(session.key for session in seen), sorted(wanted), what)
        for session in seen:
            record = self.store.load(session.key, self.clock())
            equal(session, record and owned_session(session.key, record), f"{what}: what is said of one")

    def _counts(self, wanted: dict[str | None, int], what: str) -> None:
        if not isinstance(self.store, Counts):
            return
        seen = {namespace: self.store.count(self.clock(), namespace) for namespace in wanted}
        equal(seen, wanted, f"count by namespace, {what}")

    def test_an_owner_is_found_by_sessions_of_his_own_only(self) -> None:
        now = self.clock()
        keys = [new_key() for _ in range(4)]
        for key, age in zip(keys, (2.25, 9.5, 0.5, 9.75), strict=True):
            self.created(key, owner=OWNER, created=now - age, idle=60.5)
        self.created(new_key(), owner=OTHER_OWNER)
        self.created(new_key())
        self._lists(OWNER, keys, "the sessions of an owner")
        self._lists(bytes(32), [], "the sessions of an owner who has none")

    def test_what_is_dead_deleted_or_rotated_away_is_not_listed(self) -> None:
        now = self.clock()
        dead, deleted, rotated, fresh, anonymous = (new_key() for _ in range(5))
        self.created(dead, owner=OWNER, expires=now + 5)
        self.created(deleted, owner=OWNER)
        record = self.created(rotated, owner=OWNER)
        visitor = self.created(anonymous)
        self.store.delete(deleted)
        self.store.rotate(rotated, fresh, self.changed(record), record.version, now)
        self.clock.advance(5)
        self._lists(OWNER, [fresh], "the sessions of an owner, of whom one is alive")
        logged_in = new_key()
        login = self.changed(visitor, owner=OTHER_OWNER)
        self.store.rotate(anonymous, logged_in, login, visitor.version, self.clock())
        self._lists(OTHER_OWNER, [logged_in], "the sessions of an owner who has just logged in")
        back = self.changed(login, owner=None)
        self.store.rotate(logged_in, new_key(), back, login.version, self.clock())
        self._lists(OTHER_OWNER, [], "the sessions of an owner whose session is his no more")

    def test_an_owner_of_many_sessions_is_listed_whole_and_ended_in_batches(self) -> None:
        if not isinstance(self.store, ListsOwners):
            return
        other = new_key()
        self.created(other, owner=OTHER_OWNER)
        keys = [new_key() for _ in range(2 * OWNED_PAGE + 50)]
        for place, key in enumerate(keys):
            # Some end at one moment, some at moments of their own.
            self.created(key, owner=OWNER, expires=self.clock() + 3600 + (place if place % 2 else 0))
        self._lists(OWNER, keys, "the sessions of an owner who has many")
        ended = 0
        batch: list[bytes] = []
        for session in self.store.of_owner(OWNER, self.clock()):
            batch.append(session.key)
            if len(batch) == DELETE_BATCH:
                ended += self.store.delete_many(batch)
                batch.clear()
        ended += self.store.delete_many(batch) if batch else 0
        equal(ended, len(keys), "sessions that were listed and deleted")
        self._lists(OWNER, [], "the sessions of an owner when all have been ended")
        self._lists(OTHER_OWNER, [other], "the sessions of another owner")

    def test_delete_many_is_delete_for_each_key(self) -> None:
        alive, dead, rotated, new = (new_key() for _ in range(4))
        self.created(alive, owner=OWNER)
        self.created(dead, expires=self.clock() + 5)
        self.clock.advance(5)
        record = self.created(rotated)
        write = self.changed(record)
        self.store.rotate(rotated, new, write, record.version, self.clock())
        equal(self.store.delete_many([alive, dead, rotated, new_key()]), 2, "records deleted: a live and a dead one")
        self.finds(alive, None, "load of what was deleted")
        self.finds(rotated, tombstone_of(new, write, self.clock()), "load of a tombstone after delete_many")
        equal(self.store.delete_many([alive]), 0, "records deleted the second time")

    def test_a_listed_session_is_still_listed_after_replace_and_touch(self) -> None:
        key = new_key()
        record = self.created(key, owner=OWNER)
        self.store.replace(key, self.changed(record, owner=None), record.version, self.clock())
        self.store.touch(key, record.touched + 10_000, record.expires + 10_000, self.clock())
        self.clock.advance(record.expires - self.clock() + 1)
        self._lists(OWNER, [key], "the session of an owner after replace and touch")

    def test_only_live_sessions_are_counted_each_in_its_namespace(self) -> None:
        now = self.clock()
        self._counts({None: 0, "sid": 0}, "in an empty store")
        first, second = new_key(), new_key()
        record = self.created(first)
        self.created(second, owner=OWNER)
        self.created(new_key(), namespace="other")
        self.created(new_key(), expires=now + 5)
        self.created(new_key(), b"", handle="", namespace="")
        self._counts({None: 4, "sid": 3, "other": 1, "none": 0}, "a tombstone not among them")
        self.clock.advance(5)
        self._counts({None: 3, "sid": 2, "other": 1}, "after one has died")
        self.store.rotate(first, new_key(), self.changed(record), record.version, self.clock())
        self._counts({None: 3, "sid": 2, "other": 1}, "after a rotation")
        self.store.delete(second)
        self._counts({None: 2, "sid": 1, "other": 1}, "after a delete")

    def test_a_scan_yields_every_live_session_once_and_no_tombstone(self) -> None:
        if not isinstance(self.store, Scans):
            return
        equal(list(self.store.scan(self.clock())), [], "scan of an empty store")
        records = {}
        for number in range(1200):  # more than a store is likely to take at once
            key = new_key()
            records[key] = self.created(key, b"%d" % number, owner=OWNER if number % 2 else None)
        self.created(new_key(), b"", handle="", namespace="")
        self.created(new_key(), expires=self.clock() + 5)
        self.clock.advance(5)
        seen = list(self.store.scan(self.clock()))
        equal(len(seen), len(records), "sessions that a scan yields")
        equal(dict(seen) == records, True, "whether a scan yields each session as it is")

    def test_a_scan_that_deletes_what_it_is_given_skips_none(self) -> None:
        if not isinstance(self.store, Scans):
            return
        for _ in range(1200):
            self.created(new_key())
        deleted = [self.store.delete(key) for key, _ in self.store.scan(self.clock())]
        equal(sum(deleted), 1200, "sessions that were scanned and deleted")

    def test_a_sweep_takes_only_what_has_been_dead_for_over_an_hour(self) -> None:
        if not isinstance(self.store, Sweeps):
            return
        now = self.clock()
        horizon = now - SWEEP_GRACE
        for expires in (horizon - 1e6, horizon - 0.5):
            self.store.create(new_key(), self.record(owner=OWNER, expires=expires), horizon - 2e6)
        just_dead = new_key()
        self.store.create(just_dead, self.record(expires=horizon), horizon - 2e6)
        alive, dying = new_key(), new_key()
        record, dying_record = self.created(alive), self.created(dying, expires=now + 1)
        equal(self.store.sweep(100, now), 2, "records swept")
        equal(self.store.load(just_dead, horizon - 1) is None, False, "dead for exactly an hour, and gone")
        self.finds(alive, record, "load of a live record after a sweep")
        self.finds(dying, dying_record, "load of one that lives for a second")
        equal(self.store.sweep(100, now), 0, "records swept the second time")

    def test_a_sweep_takes_at_most_as_many_as_it_was_told(self) -> None:
        if not isinstance(self.store, Sweeps):
            return
        now = self.clock()
        for _ in range(12):
            self.store.create(new_key(), self.record(expires=now), now - 1)
        self.clock.advance(SWEEP_GRACE + 1)
        swept = [self.store.sweep(limit, self.clock()) for limit in (0, 5, 5, 5, 5)]
        equal(swept, [0, 5, 5, 2, 0], "records swept, of 12, with the limits 0, 5, 5, 5, 5")

    def test_a_record_that_was_renewed_is_not_swept(self) -> None:
        if not isinstance(self.store, Sweeps):
            return
        now = self.clock()
        replaced, touched = new_key(), new_key()
        record = self.created(replaced, expires=now + 1)
        self.created(touched, expires=now + 1)
        late = now + 10 * SWEEP_GRACE
        outcome = self.store.replace(replaced, self.changed(record, expires=late), record.version, now)
        equal(outcome, Outcome.SAVED, "replace")
        equal(self.store.touch(touched, now, late, now), True, "touch")
        self.clock.advance(5 * SWEEP_GRACE)
        equal(self.store.sweep(100, self.clock()), 0, "records swept")
        for key in (replaced, touched):
            equal(self.store.load(key, self.clock()) is None, False, "a renewed record, and gone")
