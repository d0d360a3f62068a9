"""The promises of a rotation: the record is under the new key and a tombstone under the old one, or nothing changes."""

from __future__ import annotations

from itertools import pairwise

from wsgi_session.errors import KeyExists
from wsgi_session.stores.contract import (
    SWEEP_GRACE,
    TOMBSTONE_LIFE,
    Counts,
    Outcome,
    Scans,
    Sweeps,
    tombstone_of,
)
from wsgi_session.testing.harness import OTHER_OWNER, OWNER, StoreHarness, assert_equal, assert_raises, new_key


class RotationPromises(StoreHarness):
    """A part of ``StoreConformance``."""

    def test_rotate_ends_the_old_key_and_writes_every_field_of_the_record(self) -> None:
        old, new = new_key(), new_key()
        record = self.create_record(old, owner=OTHER_OWNER, persistent=False, idle=9.5)
        # The times are earlier, because a login may shorten the life of a session.
        login = self.record(
            b"after", handle="another", created=record.created + 3, touched=record.touched - 5, owner=OWNER
        )._replace(expires=record.expires - 5, persistent=True, idle=60.25, namespace="other")
        assert_equal(self.store.rotate(old, new, login, record.version, self.clock()), Outcome.SAVED, "rotate")
        self.assert_stored(old, tombstone_of(new, login, self.clock()), "load of the old key")
        self.assert_stored(new, login, "load of the new key")

    def test_a_tombstone_under_the_old_key_has_the_new_key_for_as_long_as_promised(self) -> None:
        old, new = new_key(), new_key()
        record = self.create_record(old, owner=OWNER)
        write = self.change_record(record, expires=record.expires + 10 * TOMBSTONE_LIFE)
        assert_equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.SAVED, "rotate")
        tombstone = tombstone_of(new, write, self.clock())
        assert_equal((tombstone.handle, tombstone.owner, tombstone.data), ("", None, new), "fields of a tombstone")
        assert_equal(tombstone.expires, write.touched + TOMBSTONE_LIFE, "expires of a tombstone")
        self.clock.advance(tombstone.expires - self.clock() - 0.5)
        self.assert_stored(old, tombstone, "load of the old key, half a second before the tombstone is dead")
        self.clock.advance(0.5)
        self.assert_stored(old, None, "load of the old key, when the tombstone is dead")
        self.assert_stored(new, write, "load of the new key")

    def test_a_tombstone_is_neither_counted_nor_scanned_and_is_swept(self) -> None:
        old, new = new_key(), new_key()
        record = self.create_record(old)
        write = self.change_record(record, expires=self.clock() + 9 * SWEEP_GRACE)
        assert_equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.SAVED, "rotate")
        if isinstance(self.store, Counts):
            assert_equal(self.store.count(self.clock()), 1, "sessions counted after a rotation")
        if isinstance(self.store, Scans):
            assert_equal(list(self.store.scan(self.clock())), [(new, write)], "sessions scanned after a rotation")
        if isinstance(self.store, Sweeps):
            self.clock.advance(TOMBSTONE_LIFE + SWEEP_GRACE + 2)
            assert_equal(self.store.sweep(9, self.clock()), 1, "records swept: the tombstone")
            self.assert_stored(new, write, "load of the new key after the sweep")

    def test_a_tombstone_is_never_replaced_or_rotated(self) -> None:
        old, new, other = new_key(), new_key(), new_key()
        record = self.create_record(old)
        write = self.change_record(record)
        self.store.rotate(old, new, write, record.version, self.clock())
        late = self.change_record(record, b"late")
        outcome = self.store.replace(old, late, record.version, self.clock())
        assert_equal(outcome, Outcome.GONE, "replace of a tombstone")
        for version in (record.version, write.version):
            outcome = self.store.rotate(old, other, late, version, self.clock())
            assert_equal(outcome, Outcome.GONE, "rotate of a tombstone")
        self.assert_stored(old, tombstone_of(new, write, self.clock()), "load of the old key")
        self.assert_stored(new, write, "load of the new key")
        self.assert_stored(other, None, "load of a third key")

    def test_rotate_of_another_version_is_a_conflict_and_does_nothing(self) -> None:
        old, new = new_key(), new_key()
        record = self.create_record(old)
        newer = self.change_record(record)
        self.store.replace(old, newer, record.version, self.clock())
        late = self.change_record(record, b"late")
        assert_equal(self.store.rotate(old, new, late, record.version, self.clock()), Outcome.CONFLICT, "rotate")
        self.assert_stored(old, newer, "load of the old key after the conflict")
        self.assert_stored(new, None, "load of the new key after the conflict")

    def test_rotate_of_a_deleted_expired_or_unknown_key_is_gone_and_creates_nothing(self) -> None:
        deleted, expired, unknown = new_key(), new_key(), new_key()
        record = self.create_record(deleted)
        self.store.delete(deleted)
        self.store.create(expired, record._replace(expires=self.clock() + 1), self.clock())
        self.clock.advance(1)
        for old, why in ((deleted, "deleted"), (expired, "expired"), (unknown, "unknown")):
            new = new_key()
            outcome = self.store.rotate(old, new, self.change_record(record), record.version, self.clock())
            assert_equal(outcome, Outcome.GONE, f"rotate, {why}")
            self.assert_stored(old, None, f"load of the old key, {why}")
            self.assert_stored(new, None, f"load of the new key, {why}")

    def test_rotate_onto_a_live_record_raises_and_changes_neither(self) -> None:
        old, new = new_key(), new_key()
        record = self.create_record(old, b"old", owner=OWNER)
        other = self.create_record(new, b"other", owner=OTHER_OWNER)
        write = self.change_record(record)
        assert_raises(
            KeyExists,
            lambda: self.store.rotate(old, new, write, record.version, self.clock()),
            "rotate onto a live record",
        )
        self.assert_stored(old, record, "load of the old key after the failed rotate")
        self.assert_stored(new, other, "load of the new key after the failed rotate")

    def test_rotate_onto_a_dead_record_replaces_it(self) -> None:
        old, new = new_key(), new_key()
        self.create_record(new, b"dead", owner=OTHER_OWNER, expires=self.clock() + 5)
        record = self.create_record(old)
        self.clock.advance(5)
        write = self.change_record(record, owner=OWNER)
        assert_equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.SAVED, "rotate")
        self.assert_stored(old, tombstone_of(new, write, self.clock()), "load of the old key")
        self.assert_stored(new, write, "load of the new key")

    def test_rotate_whose_answer_was_lost_is_saved_once(self) -> None:
        old, new = new_key(), new_key()
        record = self.create_record(old)
        write = self.change_record(record)
        self.store.rotate(old, new, write, record.version, self.clock())
        repeated = write._replace(data=b"must not be written")
        outcome = self.store.rotate(old, new, repeated, record.version, self.clock())
        assert_equal(outcome, Outcome.SAVED, "repeated rotate")
        self.assert_stored(new, write, "load of the new key after the repeated rotate")
        self.assert_stored(old, tombstone_of(new, write, self.clock()), "load of the old key after it")

    def test_rotate_whose_answer_was_lost_does_not_bring_back_a_session_deleted_since(self) -> None:
        old, new = new_key(), new_key()
        record = self.create_record(old)
        write = self.change_record(record)
        self.store.rotate(old, new, write, record.version, self.clock())
        self.store.delete(new)
        outcome = self.store.rotate(old, new, write, record.version, self.clock())
        assert_equal(outcome, Outcome.GONE, "repeated rotate after a delete")
        self.assert_stored(old, tombstone_of(new, write, self.clock()), "load of the old key")
        self.assert_stored(new, None, "load of the new key")

    def test_a_slow_write_to_the_old_key_does_not_reach_the_rotated_session(self) -> None:
        old, new = new_key(), new_key()
        record = self.create_record(old)
        write = self.change_record(record)
        self.store.rotate(old, new, write, record.version, self.clock())
        slow = self.change_record(record, b"slow")
        outcome = self.store.replace(old, slow, record.version, self.clock())
        assert_equal(outcome, Outcome.GONE, "replace of the old key")
        touch = self.store.touch(old, self.clock(), self.clock() + 99, self.clock())
        assert_equal(touch, False, "touch of the old key")
        assert_equal(self.store.delete(old), False, "delete of the old key")
        self.assert_stored(old, tombstone_of(new, write, self.clock()), "load of the old key")
        self.assert_stored(new, write, "load of the new key")

    def test_a_rotated_session_can_be_saved_touched_and_rotated_again(self) -> None:
        keys = [new_key() for _ in range(4)]
        record = self.create_record(keys[0], owner=OWNER)
        for old, new in pairwise(keys):
            write = self.change_record(record)
            assert_equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.SAVED, "rotate")
            record = self.change_record(write, b"saved", touched=write.touched + 1, expires=write.expires + 1)
            assert_equal(self.store.replace(new, record, write.version, self.clock()), Outcome.SAVED, "replace")
            self.assert_stored(old, tombstone_of(new, write, self.clock()), "load of the old key")
            self.assert_stored(new, record, "load of the new key")
