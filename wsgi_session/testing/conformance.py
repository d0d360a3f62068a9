"""The suite that holds every store to its contract, bundled or yours.

Inherit :class:`StoreConformance` in a test module, say how an empty store is made, and run pytest::

    class TestMyStore(StoreConformance):
        def make_store(self):
            return MyStore("mydb://localhost/test-" + uuid4().hex)

        def reopen(self, store):                # optional: another handle to the same data
            return MyStore(store.url)

Each test says one promise of ``wsgi_session.stores`` in its name, and what it saw instead when it fails. Nothing
sleeps: time is ``self.clock``. pytest itself is not needed to import this; a fixture of yours may set attributes that
``make_store`` uses, as the store is made when a test first asks for it. A store that sweeps, lists, counts or scans
nothing says so with ``sweeps``, ``lists_owners``, ``counts``, ``scans`` = ``False``, and is not asked to.
"""

from __future__ import annotations

import math

from wsgi_session.errors import KeyExists, StoreUnavailable
from wsgi_session.stores.contract import ListsOwners, Outcome, Scans, Sweeps, has_sound_times
from wsgi_session.testing.conformance_admin import AdminPromises
from wsgi_session.testing.conformance_deletes import DeletePromises
from wsgi_session.testing.conformance_races import RacePromises
from wsgi_session.testing.conformance_rotation import RotationPromises
from wsgi_session.testing.harness import OWNER, equal, new_key, new_version, refuses


class StoreConformance(RotationPromises, DeletePromises, AdminPromises, RacePromises):
    """Every promise of the store contract, as tests; those of one record by itself stand here."""

    def test_an_empty_store_answers_and_has_nothing(self) -> None:
        self.store.ping()
        self.finds(new_key(), None, "load of a key that was never created")

    def test_what_was_created_comes_back_field_by_field_in_its_type(self) -> None:
        now = self.clock()
        for fields in (
            {"owner": OWNER, "persistent": False, "idle": 900.5},
            {"owner": None, "persistent": True, "idle": None},
            {"handle": "h\u00e4ndle \u2603", "namespace": "__Host-sid"},
            {"created": now - 0.000001, "touched": now + 0.123456, "expires": now + 1.000001},
        ):
            key = new_key()
            record = self.created(key, **fields)
            self.finds(key, record, f"load after create with {fields}")
            loaded = self.store.load(key, now)
            equal([type(value) for value in loaded or ()], [type(value) for value in record], "types of the fields")

    def test_data_of_any_bytes_and_any_size_comes_back_unchanged(self) -> None:
        for data in (b"", b"\0", b"\0\0tail", bytes(range(256)), b"\xff" * 3, b"'\";%\\\n", bytes(range(256)) * 4096):
            key = new_key()
            record = self.created(key, data)
            self.finds(key, record, f"load of {len(data):,} bytes of data after create")
            longer = self.changed(record, data + b"\0")
            equal(self.store.replace(key, longer, record.version, self.clock()), Outcome.SAVED, "replace")
            self.finds(key, longer, f"load of {len(data) + 1:,} bytes of data after replace")

    def test_versions_are_compared_as_bytes(self) -> None:
        for version, other in ((bytes(16), bytes(15) + b"\1"), (b"a" * 16, b"A" * 16), (b"x" * 15 + b" ", b"x" * 16)):
            key = new_key()
            record = self.created(key, version=version)
            seen = self.store.replace(key, self.changed(record), other, self.clock())
            equal(seen, Outcome.CONFLICT, f"replace of version {version!r}, given {other!r}")
            self.finds(key, record, "load after a replace with the wrong version")

    def test_keys_are_compared_as_bytes(self) -> None:
        keys = [bytes(range(start, start + 32)) for start in range(0, 256, 32)]
        keys += [bytes(32), bytes(31) + b"\1", b"\1" + bytes(31), b"\xff" * 32]
        keys += [b"a" * 32, b"A" * 32, b"a" * 31 + b" ", b"a" * 31 + b"\0", b"a" * 31 + b"\n", b"%_'\"\\{}" * 4]
        records = {key: self.created(key, b"of " + key) for key in keys}
        for key, record in records.items():
            self.finds(key, record, f"load of key {key!r}")
        for key in keys:
            equal(self.store.delete(key), True, f"delete of key {key!r}")
            self.finds(key, None, f"load of key {key!r} after its delete")

    def test_a_record_is_alive_before_expires_and_dead_from_then_on(self) -> None:
        key = new_key()
        record = self.created(key, expires=self.clock() + 10.5)
        self.clock.advance(10.25)
        self.finds(key, record, "load a quarter of a second before expires")
        self.clock.advance(0.25)
        self.finds(key, None, "load at the moment of expires")
        self.clock.advance(1e6)
        self.finds(key, None, "load long after expires")

    def test_the_store_goes_by_the_time_that_it_is_given(self) -> None:
        key = new_key()
        record = self.created(key, expires=self.clock() + 10)
        equal(self.store.load(key, self.clock() + 10), None, "load with a now at which the record is dead")
        equal(self.store.load(key, self.clock() + 9), record, "load with an earlier now, afterwards")

    def test_create_never_overwrites_a_live_record(self) -> None:
        key = new_key()
        record = self.created(key, b"first", owner=OWNER)
        other = self.record(b"second")
        refuses(KeyExists, lambda: self.store.create(key, other, self.clock()), "create over a live record")
        self.finds(key, record, "load after the refused create")

    def test_create_whose_answer_was_lost_is_done_once(self) -> None:
        key = new_key()
        record = self.created(key, b"first", owner=OWNER)
        again = record._replace(data=b"must not be written", expires=record.expires + 99)
        self.another_handle().create(key, again, self.clock())
        self.finds(key, record, "load after the same create came again")
        changed = self.changed(record)
        self.store.replace(key, changed, record.version, self.clock())
        refuses(KeyExists, lambda: self.store.create(key, record, self.clock()), "the same create, after a replace")
        self.finds(key, changed, "load after that")

    def test_a_record_with_corrupt_times_makes_no_method_raise(self) -> None:
        now = self.clock()
        damages: tuple[dict[str, object], ...] = (
            {"created": math.nan}, {"touched": math.inf}, {"created": -math.inf}, {"expires": math.inf},
            {"idle": math.nan}, {"idle": math.inf}, {"touched": 1e300},
        )  # fmt: skip
        for damage in damages:
            key, record = new_key(), self.record(owner=OWNER)._replace(**damage)  # type: ignore[arg-type]
            try:
                self.store.create(key, record, now)
            except (StoreUnavailable, KeyExists):
                continue  # This engine keeps no such number.
            self.store.load(key, now)
            self.store.touch(key, now + 1, now + 9, now)
            if isinstance(self.store, Scans):
                unsound = [found for found, each in self.store.scan(now) if not has_sound_times(each)]
                equal(unsound, [], f"corrupt records that a scan yields, with {damage}")
            if isinstance(self.store, Sweeps):
                self.store.sweep(9, now)
            if isinstance(self.store, ListsOwners):
                list(self.store.of_owner(OWNER, now))
            self.store.replace(key, self.changed(record), record.version, now)
            self.store.rotate(key, new_key(), self.changed(record), record.version, now)
            self.store.delete(key)

    def test_create_takes_the_place_of_a_dead_record_with_all_of_its_own_fields(self) -> None:
        key = new_key()
        self.created(key, b"dead", owner=OWNER, persistent=False, idle=5.0, expires=self.clock() + 5)
        self.clock.advance(5)
        record = self.created(key, b"alive", handle="another", namespace="other")
        self.finds(key, record, "load after create over a dead record")

    def test_replace_saves_over_the_version_that_was_loaded(self) -> None:
        key, beside = new_key(), new_key()
        record = self.created(key)
        neighbour = self.created(beside, version=record.version)
        changed = self.changed(record, touched=record.touched + 1.5, expires=record.expires + 1.5)
        equal(self.store.replace(key, changed, record.version, self.clock()), Outcome.SAVED, "replace")
        self.finds(key, changed, "load after replace")
        self.finds(beside, neighbour, "load of another key of the same version")

    def test_replace_answers_conflict_to_another_version_and_writes_nothing(self) -> None:
        key = new_key()
        record = self.created(key)
        first, second = self.changed(record, b"first"), self.changed(record, b"second")
        equal(self.store.replace(key, first, record.version, self.clock()), Outcome.SAVED, "the first replace")
        seen = self.another_handle().replace(key, second, record.version, self.clock())
        equal(seen, Outcome.CONFLICT, "the second replace of the same version")
        self.finds(key, first, "load after the conflict")

    def test_replace_of_what_is_deleted_expired_or_unknown_is_gone_and_creates_nothing(self) -> None:
        deleted, expired, unknown = new_key(), new_key(), new_key()
        record = self.created(deleted)
        self.store.delete(deleted)
        self.store.create(expired, record._replace(expires=self.clock() + 1), self.clock())
        self.clock.advance(1)
        for key, why in ((deleted, "deleted"), (expired, "expired"), (unknown, "unknown")):
            late = self.changed(record)
            equal(self.store.replace(key, late, record.version, self.clock()), Outcome.GONE, f"replace, {why}")
            self.finds(key, None, f"load after replace, {why}")

    def test_replace_whose_answer_was_lost_is_saved_once(self) -> None:
        key = new_key()
        record = self.created(key)
        changed = self.changed(record)
        self.store.replace(key, changed, record.version, self.clock())
        again = changed._replace(data=b"must not be written", expires=changed.expires + 99)
        equal(self.store.replace(key, again, record.version, self.clock()), Outcome.SAVED, "the same write again")
        self.finds(key, changed, "load after the same write came again")
        newer = self.changed(changed, b"newer")
        self.store.replace(key, newer, changed.version, self.clock())
        seen = self.store.replace(key, changed, record.version, self.clock())
        equal(seen, Outcome.CONFLICT, "the same write again, when another has come after it")
        self.finds(key, newer, "load after that")

    def test_replace_of_a_dead_record_is_gone_even_to_the_writer_of_its_version(self) -> None:
        key = new_key()
        record = self.created(key, expires=self.clock() + 5)
        changed = self.changed(record)
        self.store.replace(key, changed, record.version, self.clock())
        self.clock.advance(5)
        revival = changed._replace(expires=self.clock() + 99)
        equal(self.store.replace(key, revival, record.version, self.clock()), Outcome.GONE, "the same write, too late")
        self.finds(key, None, "load after that")

    def test_replace_leaves_what_only_create_and_rotate_set(self) -> None:
        key = new_key()
        record = self.created(key, owner=OWNER, persistent=False, idle=60.5)
        for moved in (0.0, 5.5):  # a store may go different ways for a write with a touch and one without
            foreign = self.record(b"new", handle="x", created=1.5, owner=None, namespace="y")
            foreign = foreign._replace(touched=record.touched + moved, expires=record.expires + moved)
            equal(self.store.replace(key, foreign, record.version, self.clock()), Outcome.SAVED, "replace")
            record = record._replace(
                data=b"new", version=foreign.version, touched=foreign.touched, expires=foreign.expires
            )
            self.finds(key, record, "load after replace with another owner, handle, created, namespace ...")

    def test_replace_moves_neither_time_back(self) -> None:
        key = new_key()
        record = self.created(key)
        for touched, expires in ((-5.5, -5.5), (+5.5, -5.5), (-5.5, +5.5)):
            write = self.changed(record, touched=record.touched + touched, expires=record.expires + expires)
            equal(self.store.replace(key, write, record.version, self.clock()), Outcome.SAVED, "replace")
            record = write._replace(
                touched=max(record.touched, write.touched), expires=max(record.expires, write.expires)
            )
            self.finds(key, record, f"load after replace with touched {touched:+}, expires {expires:+}")

    def test_replace_keeps_a_touch_that_came_between(self) -> None:
        key = new_key()
        record = self.created(key)
        self.store.touch(key, record.touched + 9, record.expires + 9, self.clock())
        changed = self.changed(record)
        equal(self.store.replace(key, changed, record.version, self.clock()), Outcome.SAVED, "replace after a touch")
        kept = changed._replace(touched=record.touched + 9, expires=record.expires + 9)
        self.finds(key, kept, "load after touch and replace")

    def test_touch_moves_both_times_on_and_nothing_else(self) -> None:
        key = new_key()
        record = self.created(key, owner=OWNER, idle=60.5)
        later = record._replace(touched=record.touched + 10.25, expires=record.expires + 20.75)
        equal(self.store.touch(key, later.touched, later.expires, self.clock()), True, "touch of a live record")
        self.finds(key, later, "load after touch")
        self.clock.advance(record.expires - self.clock() + 0.5)
        self.finds(key, later, "load after the time at which it would have died without the touch")

    def test_touch_moves_neither_time_back(self) -> None:
        key = new_key()
        record = self.created(key)
        for touched, expires in ((-5.5, -5.5), (+5.5, -5.5), (-5.5, +5.5)):
            seen = self.store.touch(key, record.touched + touched, record.expires + expires, self.clock())
            equal(seen, True, "touch of a live record")
            record = record._replace(touched=record.touched + max(touched, 0), expires=record.expires + max(expires, 0))
            self.finds(key, record, f"load after touch with touched {touched:+}, expires {expires:+}")

    def test_touch_of_what_is_deleted_expired_or_unknown_is_false_and_creates_nothing(self) -> None:
        deleted, expired, unknown = new_key(), new_key(), new_key()
        self.created(deleted)
        self.store.delete(deleted)
        self.created(expired, expires=self.clock() + 1)
        self.clock.advance(1)
        for key, why in ((deleted, "deleted"), (expired, "expired"), (unknown, "unknown")):
            seen = self.store.touch(key, self.clock(), self.clock() + 99, self.clock())
            equal(seen, False, f"touch, {why}")
            self.finds(key, None, f"load after touch, {why}")

    def test_touch_leaves_a_tombstone_alone(self) -> None:
        key = new_key()
        tombstone = self.created(key, b"", handle="", namespace="")
        seen = self.store.touch(key, tombstone.touched + 9, tombstone.expires + 9, self.clock())
        equal(seen, False, "touch of a tombstone")
        self.finds(key, tombstone, "load of the tombstone after touch")

    def test_what_one_handle_writes_another_sees_at_once(self) -> None:
        key, other = new_key(), self.another_handle()
        record = self.created(key)
        equal(other.load(key, self.clock()), record, "load through another handle")
        changed = self.changed(record)
        equal(other.replace(key, changed, record.version, self.clock()), Outcome.SAVED, "replace through it")
        equal(self.store.load(key, self.clock()), changed, "load through the first handle")
        equal(other.delete(key), True, "delete through the other")
        equal(self.store.load(key, self.clock()), None, "load through the first handle")
        refuses_nothing = self.changed(changed, version=new_version())
        equal(self.store.replace(key, refuses_nothing, changed.version, self.clock()), Outcome.GONE, "a late replace")

    def test_close_may_be_called_twice_and_the_store_closes_itself_as_a_context_manager(self) -> None:
        with self.store as entered:
            equal(entered is self.store, True, "the context manager gives the store itself")
        self.store.close()
