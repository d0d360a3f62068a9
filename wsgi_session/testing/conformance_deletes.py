"""The promises of a delete: it removes a record at once, with or without its version, and keeps a tombstone."""

from __future__ import annotations

from wsgi_session.testing.harness import OWNER, StoreHarness, assert_equal, new_key, new_version


class DeletePromises(StoreHarness):
    """A part of ``StoreConformance``."""

    def test_delete_removes_the_record_at_once_and_returns_whether_there_was_one(self) -> None:
        key, other_key = new_key(), new_key()
        self.create_record(key, owner=OWNER)
        other = self.create_record(other_key, owner=OWNER)
        assert_equal(self.store.delete(key), True, "delete of a live record")
        self.assert_stored(key, None, "load after delete")
        assert_equal(self.store.delete(key), False, "second delete")
        assert_equal(self.store.delete(new_key()), False, "delete of an unknown key")
        self.assert_stored(other_key, other, "load of another record of the same owner")

    def test_delete_keeps_a_tombstone_and_returns_false(self) -> None:
        key = new_key()
        tombstone = self.create_record(key, b"", handle="", namespace="")
        assert_equal(self.store.delete(key), False, "delete of a tombstone")
        self.assert_stored(key, tombstone, "load of the tombstone after delete")

    def test_delete_of_a_version_keeps_any_other_version_and_returns_false(self) -> None:
        key = new_key()
        record = self.create_record(key, owner=OWNER)
        assert_equal(self.store.delete(key, new_version()), False, "delete of another version")
        self.assert_stored(key, record, "load after the delete of another version")
        changed = self.change_record(record)
        self.store.replace(key, changed, record.version, self.clock())
        assert_equal(self.another_store().delete(key, record.version), False, "delete of the replaced version")
        self.assert_stored(key, changed, "load after the delete of the replaced version")
        assert_equal(self.store.delete(key, changed.version), True, "delete of the stored version")
        self.assert_stored(key, None, "load after the delete of the stored version")
        assert_equal(self.store.delete(key, changed.version), False, "second delete of that version")
        assert_equal(self.store.delete(new_key(), record.version), False, "delete of a version under an unknown key")

    def test_delete_of_a_version_removes_a_tombstone_too(self) -> None:
        key = new_key()
        tombstone = self.create_record(key, b"", handle="", namespace="")
        assert_equal(self.store.delete(key, new_version()), False, "delete of another version than the tombstone's")
        self.assert_stored(key, tombstone, "load of the tombstone after the delete of another version")
        assert_equal(self.store.delete(key, tombstone.version), True, "delete of a tombstone's version")
        self.assert_stored(key, None, "load after the delete of a tombstone's version")

    def test_delete_removes_a_dead_record_with_and_without_its_version(self) -> None:
        plain, by_version = new_key(), new_key()
        for key in (plain, by_version):
            record = self.create_record(key, owner=OWNER, expires=self.clock() + 5)
        self.clock.advance(5)
        assert_equal(self.store.delete(plain), True, "delete of a dead record")
        assert_equal(self.store.delete(by_version, record.version), True, "delete of a dead record's version")

    def test_a_key_can_be_created_again_after_its_delete(self) -> None:
        key = new_key()
        self.create_record(key, owner=OWNER)
        self.store.delete(key)
        record = self.create_record(key, b"again")
        self.assert_stored(key, record, "load after create, delete, create")
