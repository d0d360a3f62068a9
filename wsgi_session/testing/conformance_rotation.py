"""What a rotation promises: the new key alive and a tombstone under the old one, or nothing has happened."""

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
from wsgi_session.testing.harness import OTHER_OWNER, OWNER, StoreHarness, equal, new_key, refuses


class RotationPromises(StoreHarness):
    """A part of ``StoreConformance``."""

    def test_rotate_kills_the_old_key_and_takes_every_field_of_the_record(self) -> None:
        old, new = new_key(), new_key()
        record = self.created(old, owner=OTHER_OWNER, persistent=False, idle=9.5)
        # Earlier times too: a login may shorten the life of a session.
        login = self.record(
            b"after", handle="another", created=record.created + 3, touched=record.touched - 5, owner=OWNER
        )._replace(expires=record.expires - 5, persistent=True, idle=60.25, namespace="other")
        equal(self.store.rotate(old, new, login, record.version, self.clock()), Outcome.SAVED, "rotate")
        self.finds(old, tombstone_of(new, login, self.clock()), "load of the old key")
        self.finds(new, login, "load of the new key")

    def test_a_tombstone_under_the_old_key_says_where_the_session_is_for_as_long_as_promised(self) -> None:
        old, new = new_key(), new_key()
        record = self.created(old, owner=OWNER)
        write = self.changed(record, expires=record.expires + 10 * TOMBSTONE_LIFE)
        equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.SAVED, "rotate")
        tombstone = tombstone_of(new, write, self.clock())
        equal((tombstone.handle, tombstone.owner, tombstone.data), ("", None, new), "what a tombstone is")
        equal(tombstone.expires, write.touched + TOMBSTONE_LIFE, "until when a tombstone lives")
        self.clock.advance(tombstone.expires - self.clock() - 0.5)
        self.finds(old, tombstone, "load of the old key, half a second before the tombstone is dead")
        self.clock.advance(0.5)
        self.finds(old, None, "load of the old key, when the tombstone is dead")
        self.finds(new, write, "load of the new key")

    def test_a_tombstone_is_neither_counted_nor_scanned_and_is_swept(self) -> None:
        old, new = new_key(), new_key()
        record = self.created(old)
        write = self.changed(record, expires=self.clock() + 9 * SWEEP_GRACE)
        equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.SAVED, "rotate")
        if isinstance(self.store, Counts):
            equal(self.store.count(self.clock()), 1, "sessions counted after a rotation")
        if isinstance(self.store, Scans):
            equal(list(self.store.scan(self.clock())), [(new, write)], "sessions scanned after a rotation")
        if isinstance(self.store, Sweeps):
            self.clock.advance(TOMBSTONE_LIFE + SWEEP_GRACE + 2)
            equal(self.store.sweep(9, self.clock()), 1, "records swept: the tombstone")
            self.finds(new, write, "load of the new key after the sweep")

    def test_a_tombstone_is_never_written_to_nor_rotated(self) -> None:
        old, new, other = new_key(), new_key(), new_key()
        record = self.created(old)
        write = self.changed(record)
        self.store.rotate(old, new, write, record.version, self.clock())
        late = self.changed(record, b"late")
        equal(self.store.replace(old, late, record.version, self.clock()), Outcome.GONE, "replace of a tombstone")
        for version in (record.version, write.version):
            seen = self.store.rotate(old, other, late, version, self.clock())
            equal(seen, Outcome.GONE, "rotate of a tombstone")
        self.finds(old, tombstone_of(new, write, self.clock()), "load of the old key")
        self.finds(new, write, "load of the new key")
        self.finds(other, None, "load of a third key")

    def test_rotate_of_another_version_is_a_conflict_and_does_nothing(self) -> None:
        old, new = new_key(), new_key()
        record = self.created(old)
        newer = self.changed(record)
        self.store.replace(old, newer, record.version, self.clock())
        late = self.changed(record, b"late")
        equal(self.store.rotate(old, new, late, record.version, self.clock()), Outcome.CONFLICT, "rotate")
        self.finds(old, newer, "load of the old key after the conflict")
        self.finds(new, None, "load of the new key after the conflict")

    def test_rotate_of_what_is_deleted_expired_or_unknown_is_gone_and_creates_nothing(self) -> None:
        deleted, expired, unknown = new_key(), new_key(), new_key()
        record = self.created(deleted)
        self.store.delete(deleted)
        self.store.create(expired, record._replace(expires=self.clock() + 1), self.clock())
        self.clock.advance(1)
        for old, why in ((deleted, "deleted"), (expired, "expired"), (unknown, "unknown")):
            new = new_key()
            seen = self.store.rotate(old, new, self.changed(record), record.version, self.clock())
            equal(seen, Outcome.GONE, f"rotate, {why}")
            self.finds(old, None, f"load of the old key, {why}")
            self.finds(new, None, f"load of the new key, {why}")

    def test_rotate_onto_a_live_record_is_refused_and_leaves_both_as_they_are(self) -> None:
        old, new = new_key(), new_key()
        record = self.created(old, b"old", owner=OWNER)
        there = self.created(new, b"there", owner=OTHER_OWNER)
        write = self.changed(record)
        refuses(
            KeyExists,
            lambda: self.store.rotate(old, new, write, record.version, self.clock()),
            "rotate onto a live record",
        )
        self.finds(old, record, "load of the old key after the refusal")
        self.finds(new, there, "load of the new key after the refusal")

    def test_rotate_onto_a_dead_record_takes_its_place(self) -> None:
        old, new = new_key(), new_key()
        self.created(new, b"dead", owner=OTHER_OWNER, expires=self.clock() + 5)
        record = self.created(old)
        self.clock.advance(5)
        write = self.changed(record, owner=OWNER)
        equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.SAVED, "rotate")
        self.finds(old, tombstone_of(new, write, self.clock()), "load of the old key")
        self.finds(new, write, "load of the new key")

    def test_rotate_whose_answer_was_lost_is_saved_once(self) -> None:
        old, new = new_key(), new_key()
        record = self.created(old)
        write = self.changed(record)
        self.store.rotate(old, new, write, record.version, self.clock())
        again = write._replace(data=b"must not be written")
        equal(self.store.rotate(old, new, again, record.version, self.clock()), Outcome.SAVED, "the same rotate again")
        self.finds(new, write, "load of the new key after the same rotate came again")
        self.finds(old, tombstone_of(new, write, self.clock()), "load of the old key after that")

    def test_rotate_whose_answer_was_lost_does_not_bring_back_what_was_deleted_since(self) -> None:
        old, new = new_key(), new_key()
        record = self.created(old)
        write = self.changed(record)
        self.store.rotate(old, new, write, record.version, self.clock())
        self.store.delete(new)
        equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.GONE, "the same rotate again")
        self.finds(old, tombstone_of(new, write, self.clock()), "load of the old key")
        self.finds(new, None, "load of the new key")

    def test_a_slow_write_to_the_old_key_does_not_reach_the_rotated_session(self) -> None:
        old, new = new_key(), new_key()
        record = self.created(old)
        write = self.changed(record)
        self.store.rotate(old, new, write, record.version, self.clock())
        slow = self.changed(record, b"slow")
        equal(self.store.replace(old, slow, record.version, self.clock()), Outcome.GONE, "replace of the old key")
        equal(self.store.touch(old, self.clock(), self.clock() + 99, self.clock()), False, "touch of the old key")
        equal(self.store.delete(old), False, "delete of the old key")
        self.finds(old, tombstone_of(new, write, self.clock()), "load of the old key")
        self.finds(new, write, "load of the new key")

    def test_a_rotated_session_can_be_saved_touched_and_rotated_again(self) -> None:
        keys = [new_key() for _ in range(4)]
        record = self.created(keys[0], owner=OWNER)
        for old, new in pairwise(keys):
            write = self.changed(record)
            equal(self.store.rotate(old, new, write, record.version, self.clock()), Outcome.SAVED, "rotate")
            record = self.changed(write, b"saved", touched=write.touched + 1, expires=write.expires + 1)
            equal(self.store.replace(new, record, write.version, self.clock()), Outcome.SAVED, "replace")
            self.finds(old, tombstone_of(new, write, self.clock()), "load of the old key")
            self.finds(new, record, "load of the new key")
