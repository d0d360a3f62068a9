"""What a delete promises: gone at once, with or without a version, and a tombstone left where it is."""

from __future__ import annotations

from wsgi_session.testing.harness import OWNER, StoreHarness, equal, new_key, new_version


class DeletePromises(StoreHarness):
    """A part of ``StoreConformance``."""

    def test_delete_removes_now_and_says_whether_something_was_there(self) -> None:
        key, beside = new_key(), new_key()
        self.created(key, owner=OWNER)
        neighbour = self.created(beside, owner=OWNER)
        equal(self.store.delete(key), True, "delete of a live record")
        self.finds(key, None, "load after delete")
        equal(self.store.delete(key), False, "delete once more")
        equal(self.store.delete(new_key()), False, "delete of an unknown key")
        self.finds(beside, neighbour, "load of another record of the same owner")

    def test_delete_leaves_a_tombstone_where_it_is_and_says_so(self) -> None:
        key = new_key()
        tombstone = self.created(key, b"", handle="", namespace="")
        equal(self.store.delete(key), False, "delete of a tombstone")
        self.finds(key, tombstone, "load of the tombstone after delete")

    def test_delete_of_a_version_removes_no_other_and_says_so(self) -> None:
        key = new_key()
        record = self.created(key, owner=OWNER)
        equal(self.store.delete(key, new_version()), False, "delete of another version")
        self.finds(key, record, "load after the delete of another version")
        changed = self.changed(record)
        self.store.replace(key, changed, record.version, self.clock())
        equal(self.another_handle().delete(key, record.version), False, "delete of the version before a replace")
        self.finds(key, changed, "load after the delete of the version before")
        equal(self.store.delete(key, changed.version), True, "delete of the version that is there")
        self.finds(key, None, "load after the delete of the version that is there")
        equal(self.store.delete(key, changed.version), False, "delete of that version once more")
        equal(self.store.delete(new_key(), record.version), False, "delete of a version under an unknown key")

    def test_delete_of_a_version_removes_a_tombstone_too(self) -> None:
        key = new_key()
        tombstone = self.created(key, b"", handle="", namespace="")
        equal(self.store.delete(key, new_version()), False, "delete of a version that a tombstone has not")
        self.finds(key, tombstone, "load of the tombstone after that")
        equal(self.store.delete(key, tombstone.version), True, "delete of a tombstone's version")
        self.finds(key, None, "load after the delete of a tombstone's version")

    def test_delete_removes_a_dead_record_with_and_without_its_version(self) -> None:
        plain, by_version = new_key(), new_key()
        for key in (plain, by_version):
            record = self.created(key, owner=OWNER, expires=self.clock() + 5)
        self.clock.advance(5)
        equal(self.store.delete(plain), True, "delete of a dead record")
        equal(self.store.delete(by_version, record.version), True, "delete of a dead record's version")

    def test_a_key_can_be_created_again_after_its_delete(self) -> None:
        key = new_key()
        self.created(key, owner=OWNER)
        self.store.delete(key)
        record = self.created(key, b"again")
        self.finds(key, record, "load after create, delete, create")
