"""The suite that tests any store, bundled or yours, against the store contract.

Inherit :class:`StoreConformance` in a test module, write ``make_store``, and run pytest::

    class TestMyStore(StoreConformance):
        def make_store(self):
            return MyStore("mydb://localhost/test-" + uuid4().hex)

        def reopen(self, store):                # optional: another store object over the same data
            return MyStore(store.url)

The name of each test is one promise of ``wsgi_session.stores.contract``; if it fails, the message shows the actual and
the expected value. No test sleeps: the time is ``self.clock``. The module can be imported without pytest. The store is
created when a test first uses it, so a fixture of yours may set attributes that ``make_store`` uses. If your store does
not support ``sweep``, ``of_owner``, ``count`` or ``scan``, set ``sweeps``, ``lists_owners``, ``counts`` or ``scans`` to
``False``, and the suite does not test it.
"""

from __future__ import annotations

import math

from wsgi_session.errors import KeyExists, StoreUnavailable
from wsgi_session.stores.contract import ListsOwners, Outcome, Scans, Sweeps, has_sound_times
from wsgi_session.testing.conformance_admin import AdminPromises
from wsgi_session.testing.conformance_deletes import DeletePromises
from wsgi_session.testing.conformance_races import RacePromises
from wsgi_session.testing.conformance_rotation import RotationPromises
from wsgi_session.testing.harness import OWNER, assert_equal, assert_raises, new_key, new_version


class StoreConformance(RotationPromises, DeletePromises, AdminPromises, RacePromises):
    """Every promise of the store contract, as tests. The tests of single records are in this class."""

    def test_an_empty_store_answers_and_has_nothing(self) -> None:
        self.store.ping()
        self.assert_stored(new_key(), None, "load of a key that was never created")

    def test_every_field_comes_back_unchanged_with_its_type(self) -> None:
        now = self.clock()
        for fields in (
            {"owner": OWNER, "persistent": False, "idle": 900.5},
            {"owner": None, "persistent": True, "idle": None},
            {"handle": "h\u00e4ndle \u2603", "namespace": "__Host-sid"},
            {"created": now - 0.000001, "touched": now + 0.123456, "expires": now + 1.000001},
        ):
            key = new_key()
            record = self.create_record(key, **fields)
            self.assert_stored(key, record, f"load after create with {fields}")
            loaded = self.store.load(key, now)
            assert_equal(list(map(type, loaded or ())), list(map(type, record)), "types of the fields")

    def test_data_of_any_bytes_and_any_size_comes_back_unchanged(self) -> None:
        for data in (b"", b"\0", b"\0\0tail", bytes(range(256)), b"\xff" * 3, b"'\";%\\\n", bytes(range(256)) * 4096):
            key = new_key()
            record = self.create_record(key, data)
            self.assert_stored(key, record, f"load of {len(data):,} bytes of data after create")
            longer = self.change_record(record, data + b"\0")
            assert_equal(self.store.replace(key, longer, record.version, self.clock()), Outcome.SAVED, "replace")
            self.assert_stored(key, longer, f"load of {len(data) + 1:,} bytes of data after replace")

    def test_versions_are_compared_as_bytes(self) -> None:
        for version, other in ((bytes(16), bytes(15) + b"\1"), (b"a" * 16, b"A" * 16), (b"x" * 15 + b" ", b"x" * 16)):
            key = new_key()
            record = self.create_record(key, version=version)
            outcome = self.store.replace(key, self.change_record(record), other, self.clock())
            assert_equal(outcome, Outcome.CONFLICT, f"replace of version {version!r}, given {other!r}")
            self.assert_stored(key, record, "load after a replace with the wrong version")

    def test_keys_are_compared_as_bytes(self) -> None:
        keys = [bytes(range(start, start + 32)) for start in range(0, 256, 32)]
        keys += [bytes(32), bytes(31) + b"\1", b"\1" + bytes(31), b"\xff" * 32]
        keys += [b"a" * 32, b"A" * 32, b"a" * 31 + b" ", b"a" * 31 + b"\0", b"a" * 31 + b"\n", b"%_'\"\\{}" * 4]
        records = {key: self.create_record(key, b"of " + key) for key in keys}
        for key, record in records.items():
            self.assert_stored(key, record, f"load of key {key!r}")
        for key in keys:
            assert_equal(self.store.delete(key), True, f"delete of key {key!r}")
            self.assert_stored(key, None, f"load of key {key!r} after its delete")

    def test_a_record_is_alive_before_expires_and_dead_from_then_on(self) -> None:
        key = new_key()
        record = self.create_record(key, expires=self.clock() + 10.5)
        self.clock.advance(10.25)
        self.assert_stored(key, record, "load a quarter of a second before expires")
        self.clock.advance(0.25)
        self.assert_stored(key, None, "load at the moment of expires")
        self.clock.advance(1e6)
        self.assert_stored(key, None, "load long after expires")

    def test_the_store_uses_the_now_that_it_is_given(self) -> None:
        key = new_key()
        record = self.create_record(key, expires=self.clock() + 10)
        assert_equal(self.store.load(key, self.clock() + 10), None, "load with a now at which the record is dead")
        assert_equal(self.store.load(key, self.clock() + 9), record, "load with an earlier now, afterwards")

    def test_create_never_overwrites_a_live_record(self) -> None:
        key = new_key()
        record = self.create_record(key, b"first", owner=OWNER)
        other = self.record(b"second")
        assert_raises(KeyExists, lambda: self.store.create(key, other, self.clock()), "create over a live record")
        self.assert_stored(key, record, "load after the failed create")

    def test_create_whose_answer_was_lost_is_done_once(self) -> None:
        key = new_key()
        record = self.create_record(key, b"first", owner=OWNER)
        repeated = record._replace(data=b"must not be written", expires=record.expires + 99)
        self.another_store().create(key, repeated, self.clock())
        self.assert_stored(key, record, "load after the repeated create")
        changed = self.change_record(record)
        self.store.replace(key, changed, record.version, self.clock())
        assert_raises(KeyExists, lambda: self.store.create(key, record, self.clock()), "create after a replace")
        self.assert_stored(key, changed, "load after the create that was repeated after a replace")

    def test_a_record_with_corrupt_times_makes_no_method_raise(self) -> None:
        now = self.clock()
        damages: tuple[dict[str, object], ...] = (
            {"created": math.nan},
            {"touched": math.inf},
            {"created": -math.inf},
            {"expires": math.inf},
            {"idle": math.nan},
            {"idle": math.inf},
            {"touched": 1e300},
        )
        for damage in damages:
            key, record = new_key(), self.record(owner=OWNER)._replace(**damage)  # type: ignore[arg-type]
            try:
                self.store.create(key, record, now)
            except (StoreUnavailable, KeyExists):
                continue  # This engine cannot store such a number.
            self.store.load(key, now)
            self.store.touch(key, now + 1, now + 9, now)
            if isinstance(self.store, Scans):
                unsound = [found for found, each in self.store.scan(now) if not has_sound_times(each)]
                assert_equal(unsound, [], f"corrupt records that a scan yields, with {damage}")
            if isinstance(self.store, Sweeps):
                self.store.sweep(9, now)
            if isinstance(self.store, ListsOwners):
                list(self.store.of_owner(OWNER, now))
            self.store.replace(key, self.change_record(record), record.version, now)
            self.store.rotate(key, new_key(), self.change_record(record), record.version, now)
            self.store.delete(key)

    def test_create_replaces_a_dead_record_with_all_of_its_fields(self) -> None:
        key = new_key()
        self.create_record(key, b"dead", owner=OWNER, persistent=False, idle=5.0, expires=self.clock() + 5)
        self.clock.advance(5)
        record = self.create_record(key, b"alive", handle="another", namespace="other")
        self.assert_stored(key, record, "load after create over a dead record")

    def test_replace_writes_over_the_version_that_was_loaded(self) -> None:
        key, other_key = new_key(), new_key()
        record = self.create_record(key)
        other = self.create_record(other_key, version=record.version)
        changed = self.change_record(record, touched=record.touched + 1.5, expires=record.expires + 1.5)
        assert_equal(self.store.replace(key, changed, record.version, self.clock()), Outcome.SAVED, "replace")
        self.assert_stored(key, changed, "load after replace")
        self.assert_stored(other_key, other, "load of another record with the same version")

    def test_replace_of_another_version_is_a_conflict_and_writes_nothing(self) -> None:
        key = new_key()
        record = self.create_record(key)
        first, second = self.change_record(record, b"first"), self.change_record(record, b"second")
        assert_equal(self.store.replace(key, first, record.version, self.clock()), Outcome.SAVED, "the first replace")
        outcome = self.another_store().replace(key, second, record.version, self.clock())
        assert_equal(outcome, Outcome.CONFLICT, "the second replace of the same version")
        self.assert_stored(key, first, "load after the conflict")

    def test_replace_of_a_deleted_expired_or_unknown_key_is_gone_and_creates_nothing(self) -> None:
        deleted, expired, unknown = new_key(), new_key(), new_key()
        record = self.create_record(deleted)
        self.store.delete(deleted)
        self.store.create(expired, record._replace(expires=self.clock() + 1), self.clock())
        self.clock.advance(1)
        for key, why in ((deleted, "deleted"), (expired, "expired"), (unknown, "unknown")):
            late = self.change_record(record)
            assert_equal(self.store.replace(key, late, record.version, self.clock()), Outcome.GONE, f"replace, {why}")
            self.assert_stored(key, None, f"load after replace, {why}")

    def test_replace_whose_answer_was_lost_is_saved_once(self) -> None:
        key = new_key()
        record = self.create_record(key)
        changed = self.change_record(record)
        self.store.replace(key, changed, record.version, self.clock())
        repeated = changed._replace(data=b"must not be written", expires=changed.expires + 99)
        assert_equal(self.store.replace(key, repeated, record.version, self.clock()), Outcome.SAVED, "repeated replace")
        self.assert_stored(key, changed, "load after the repeated replace")
        newer = self.change_record(changed, b"newer")
        self.store.replace(key, newer, changed.version, self.clock())
        outcome = self.store.replace(key, changed, record.version, self.clock())
        assert_equal(outcome, Outcome.CONFLICT, "replace repeated after another write")
        self.assert_stored(key, newer, "load after the replace that was repeated after another write")

    def test_replace_of_a_dead_record_is_gone_even_to_the_writer_of_its_version(self) -> None:
        key = new_key()
        record = self.create_record(key, expires=self.clock() + 5)
        changed = self.change_record(record)
        self.store.replace(key, changed, record.version, self.clock())
        self.clock.advance(5)
        late = changed._replace(expires=self.clock() + 99)
        assert_equal(self.store.replace(key, late, record.version, self.clock()), Outcome.GONE, "late replace")
        self.assert_stored(key, None, "load after the late replace")

    def test_replace_keeps_the_fields_that_only_create_and_rotate_set(self) -> None:
        key = new_key()
        record = self.create_record(key, owner=OWNER, persistent=False, idle=60.5)
        for moved in (0.0, 5.5):  # A store may use different statements for a write with a touch and one without.
            write = self.record(b"new", handle="x", created=1.5, owner=None, namespace="y")
            write = write._replace(touched=record.touched + moved, expires=record.expires + moved)
            assert_equal(self.store.replace(key, write, record.version, self.clock()), Outcome.SAVED, "replace")
            record = record._replace(data=b"new", version=write.version, touched=write.touched, expires=write.expires)
            self.assert_stored(key, record, "load after replace with another owner, handle, created, namespace ...")

    def test_replace_moves_neither_time_back(self) -> None:
        key = new_key()
        record = self.create_record(key)
        for touched, expires in ((-5.5, -5.5), (+5.5, -5.5), (-5.5, +5.5)):
            write = self.change_record(record, touched=record.touched + touched, expires=record.expires + expires)
            assert_equal(self.store.replace(key, write, record.version, self.clock()), Outcome.SAVED, "replace")
            record = write._replace(
                touched=max(record.touched, write.touched), expires=max(record.expires, write.expires)
            )
            self.assert_stored(key, record, f"load after replace with touched {touched:+}, expires {expires:+}")

    def test_replace_keeps_a_touch_that_came_between(self) -> None:
        key = new_key()
        record = self.create_record(key)
        self.store.touch(key, record.touched + 9, record.expires + 9, self.clock())
        changed = self.change_record(record)
        outcome = self.store.replace(key, changed, record.version, self.clock())
        assert_equal(outcome, Outcome.SAVED, "replace after a touch")
        kept = changed._replace(touched=record.touched + 9, expires=record.expires + 9)
        self.assert_stored(key, kept, "load after touch and replace")

    def test_touch_moves_both_times_forward_and_changes_nothing_else(self) -> None:
        key = new_key()
        record = self.create_record(key, owner=OWNER, idle=60.5)
        later = record._replace(touched=record.touched + 10.25, expires=record.expires + 20.75)
        assert_equal(self.store.touch(key, later.touched, later.expires, self.clock()), True, "touch of a live record")
        self.assert_stored(key, later, "load after touch")
        self.clock.advance(record.expires - self.clock() + 0.5)
        self.assert_stored(key, later, "load after the time at which the record would have expired without the touch")

    def test_touch_moves_neither_time_back(self) -> None:
        key = new_key()
        record = self.create_record(key)
        for touched, expires in ((-5.5, -5.5), (+5.5, -5.5), (-5.5, +5.5)):
            touch = self.store.touch(key, record.touched + touched, record.expires + expires, self.clock())
            assert_equal(touch, True, "touch of a live record")
            record = record._replace(touched=record.touched + max(touched, 0), expires=record.expires + max(expires, 0))
            self.assert_stored(key, record, f"load after touch with touched {touched:+}, expires {expires:+}")

    def test_touch_of_a_deleted_expired_or_unknown_key_is_false_and_creates_nothing(self) -> None:
        deleted, expired, unknown = new_key(), new_key(), new_key()
        self.create_record(deleted)
        self.store.delete(deleted)
        self.create_record(expired, expires=self.clock() + 1)
        self.clock.advance(1)
        for key, why in ((deleted, "deleted"), (expired, "expired"), (unknown, "unknown")):
            touch = self.store.touch(key, self.clock(), self.clock() + 99, self.clock())
            assert_equal(touch, False, f"touch, {why}")
            self.assert_stored(key, None, f"load after touch, {why}")

    def test_touch_does_not_change_a_tombstone(self) -> None:
        key = new_key()
        tombstone = self.create_record(key, b"", handle="", namespace="")
        touch = self.store.touch(key, tombstone.touched + 9, tombstone.expires + 9, self.clock())
        assert_equal(touch, False, "touch of a tombstone")
        self.assert_stored(key, tombstone, "load of the tombstone after touch")

    def test_writes_of_one_store_object_are_visible_to_another_at_once(self) -> None:
        key, other = new_key(), self.another_store()
        record = self.create_record(key)
        assert_equal(other.load(key, self.clock()), record, "load through another store object")
        changed = self.change_record(record)
        assert_equal(other.replace(key, changed, record.version, self.clock()), Outcome.SAVED, "replace through it")
        assert_equal(self.store.load(key, self.clock()), changed, "load through the first store object")
        assert_equal(other.delete(key), True, "delete through the other")
        assert_equal(self.store.load(key, self.clock()), None, "load through the first store object")
        late = self.change_record(changed, version=new_version())
        assert_equal(self.store.replace(key, late, changed.version, self.clock()), Outcome.GONE, "late replace")

    def test_close_may_be_called_twice_and_the_context_manager_closes_the_store(self) -> None:
        with self.store as entered:
            assert_equal(entered is self.store, True, "whether the context manager returns the store itself")
        self.store.close()
