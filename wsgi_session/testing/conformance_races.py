"""The promises of a store under concurrent writes: no update is lost, no session comes back, one writer wins."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from wsgi_session.errors import KeyExists
from wsgi_session.stores.contract import ListsOwners, Outcome, Record, Store, tombstone_of
from wsgi_session.testing.harness import OWNER, StoreHarness, assert_equal, new_key, run_concurrently

THREADS = 6
#: How often a race between two calls is run. One run reveals a fault only if the threads meet at certain steps.
ROUNDS = 40
#: How often a session is rotated while its owner's sessions are revoked.
ROTATIONS = 200


class RacePromises(StoreHarness):
    """A part of ``StoreConformance``. Half of the threads use another store object, as another process would."""

    def _store_of_each_thread(self) -> list[Store]:
        other = self.another_store()
        return [other if number % 2 else self.store for number in range(THREADS)]

    def test_concurrent_saves_lose_no_update(self) -> None:
        key, additions = new_key(), 12
        self.create_record(key, b"")

        def writer(store: Store, letter: bytes) -> Callable[[], None]:
            def write() -> None:
                for _ in range(additions):
                    # Each conflict means that another addition succeeded, and their number is limited.
                    if not any(add(store, letter) for _ in range(THREADS * additions)):
                        raise AssertionError(f"replace returned CONFLICT {THREADS * additions} times to one writer")

            return write

        def add(store: Store, letter: bytes) -> bool:
            stored = store.load(key, self.clock())
            if stored is None:
                raise AssertionError("the record is missing, and no thread has deleted it")
            write = self.change_record(stored, stored.data + letter)
            return store.replace(key, write, stored.version, self.clock()) is Outcome.SAVED

        stores = self._store_of_each_thread()
        run_concurrently([writer(store, b"%d" % number) for number, store in enumerate(stores)])
        stored = self.store.load(key, self.clock())
        counts = {number: stored.data.count(b"%d" % number) if stored else None for number in range(THREADS)}
        assert_equal(counts, dict.fromkeys(range(THREADS), additions), "additions stored, by thread")

    def test_of_concurrent_creates_of_one_key_exactly_one_succeeds(self) -> None:
        stores = self._store_of_each_thread()
        for _ in range(ROUNDS // 2):
            key = new_key()
            records = [self.record(b"%d" % number) for number in range(THREADS)]

            def creator(store: Store, record: Record, key: bytes = key) -> Callable[[], bool]:
                def create() -> bool:
                    try:
                        store.create(key, record, self.clock())
                    except KeyExists:
                        return False
                    return True

                return create

            created = run_concurrently([creator(*pair) for pair in zip(stores, records, strict=True)])
            assert_equal(sum(created), 1, "creates of one key that succeeded")
            self.assert_stored(key, records[created.index(True)], "load of the record of the create that succeeded")

    def test_of_concurrent_rotations_of_one_session_exactly_one_succeeds(self) -> None:
        stores = self._store_of_each_thread()
        for _ in range(ROUNDS // 2):
            old, news = new_key(), [new_key() for _ in range(THREADS)]
            record = self.create_record(old)
            writes = [self.change_record(record, b"%d" % number) for number in range(THREADS)]

            def rotation(
                store: Store, new: bytes, write: Record, old: bytes = old, record: Record = record
            ) -> Callable[[], Outcome]:
                return lambda: store.rotate(old, new, write, record.version, self.clock())

            outcomes = run_concurrently([rotation(*each) for each in zip(stores, news, writes, strict=True)])
            assert_equal(outcomes.count(Outcome.SAVED), 1, f"rotations of one session that succeeded, of {outcomes}")
            winner = outcomes.index(Outcome.SAVED)
            tombstone = tombstone_of(news[winner], writes[winner], self.clock())
            self.assert_stored(old, tombstone, "load of the old key")
            for number, new in enumerate(news):
                expected = writes[number] if number == winner else None
                self.assert_stored(new, expected, f"load of new key {number} of {outcomes}")

    def test_of_a_concurrent_rotation_and_delete_exactly_one_succeeds(self) -> None:
        other = self.another_store()
        for _ in range(ROUNDS):
            old, new = new_key(), new_key()
            record = self.create_record(old)
            write = self.change_record(record)

            def rotate(old: bytes = old, new: bytes = new, record: Record = record, write: Record = write) -> object:
                return other.rotate(old, new, write, record.version, self.clock())

            def delete(old: bytes = old) -> object:
                return self.store.delete(old)

            outcome, deleted = run_concurrently([rotate, delete])
            expected = (Outcome.GONE, True) if deleted else (Outcome.SAVED, False)
            assert_equal((outcome, deleted), expected, "results of rotate and delete")
            tombstone = None if deleted else tombstone_of(new, write, self.clock())
            self.assert_stored(old, tombstone, f"load of the old key, after {outcome}")
            self.assert_stored(new, None if deleted else write, f"load of the new key, after {outcome}")

    def test_a_load_during_a_rotation_finds_the_session_or_its_new_key(self) -> None:
        stores = self._store_of_each_thread()
        for _ in range(ROUNDS // 8):
            keys = [new_key() for _ in range(ROTATIONS // 8)]
            self.create_record(keys[0])
            done: list[bool] = []

            def rotate(keys: list[bytes] = keys, done: list[bool] = done) -> list[bytes]:
                try:
                    for old, new in pairwise(keys):
                        loaded = self.store.load(old, self.clock())
                        if loaded is None:
                            raise AssertionError("the session is missing, and no thread has deleted it")
                        write = self.change_record(loaded)
                        outcome = self.store.rotate(old, new, write, loaded.version, self.clock())
                        assert_equal(outcome, Outcome.SAVED, "rotate")
                finally:
                    done.append(True)
                return []

            def reader(store: Store, keys: list[bytes] = keys, done: list[bool] = done) -> Callable[[], list[bytes]]:
                def follow() -> list[bytes]:
                    lost, key = [], keys[0]
                    while not done:
                        found = store.load(key, self.clock())
                        if found is None:
                            lost.append(key)
                        elif not found.handle:
                            key = found.data
                    return lost

                return follow

            lost = run_concurrently([rotate, *map(reader, stores[1:])])
            assert_equal(sum(map(len, lost)), 0, "loads that found nothing, during rotations of one session")

    def test_a_delete_is_final_whatever_is_written_concurrently(self) -> None:
        other = self.another_store()
        for _ in range(ROUNDS // 2):
            key = new_key()
            record = self.create_record(key, owner=OWNER)
            write = self.change_record(record, expires=record.expires + 9)

            def replace(key: bytes = key, record: Record = record, write: Record = write) -> object:
                return other.replace(key, write, record.version, self.clock())

            def touch(key: bytes = key, record: Record = record) -> object:
                return other.touch(key, record.touched + 9, record.expires + 9, self.clock())

            def delete(key: bytes = key) -> object:
                return self.store.delete(key)

            outcome, touched, deleted = run_concurrently([replace, touch, delete])
            assert_equal(deleted, True, "delete of a live record")
            self.assert_stored(key, None, f"load after delete, during replace ({outcome}) and touch ({touched})")

    def test_of_a_concurrent_save_and_delete_of_the_loaded_version_exactly_one_succeeds(self) -> None:
        other = self.another_store()
        for _ in range(ROUNDS // 2):
            key = new_key()
            record = self.create_record(key, owner=OWNER)
            write = self.change_record(record)

            def replace(key: bytes = key, record: Record = record, write: Record = write) -> object:
                return other.replace(key, write, record.version, self.clock())

            def delete(key: bytes = key, record: Record = record) -> object:
                return self.store.delete(key, record.version)

            outcome, deleted = run_concurrently([replace, delete])
            expected = (Outcome.GONE, True) if deleted else (Outcome.SAVED, False)
            assert_equal((outcome, deleted), expected, "results of replace, and of delete of the loaded version")
            self.assert_stored(key, None if deleted else write, f"load after {outcome}")

    def test_a_concurrent_touch_and_save_are_both_kept(self) -> None:
        other = self.another_store()
        for _ in range(ROUNDS):
            key = new_key()
            record = self.create_record(key)
            write = self.change_record(record)
            touched = record._replace(touched=record.touched + 9.5, expires=record.expires + 9.5)

            def replace(key: bytes = key, record: Record = record, write: Record = write) -> object:
                return other.replace(key, write, record.version, self.clock())

            def touch(key: bytes = key, touched: Record = touched) -> object:
                return self.store.touch(key, touched.touched, touched.expires, self.clock())

            assert_equal(run_concurrently([replace, touch]), [Outcome.SAVED, True], "results of replace and touch")
            kept = write._replace(touched=touched.touched, expires=touched.expires)
            self.assert_stored(key, kept, "load after replace and touch")

    def test_a_repeated_revocation_also_ends_sessions_that_are_being_rotated(self) -> None:
        store, other = self.store, self.another_store()
        if not isinstance(store, ListsOwners):
            return
        for _ in range(ROUNDS // 8):
            starts = {new_key(): self.record(owner=OWNER) for _ in range(THREADS - 1)}
            for key, record in starts.items():
                store.create(key, record, self.clock())

            def rotator(key: bytes, record: Record) -> Callable[[], bytes]:
                def rotate_until_gone() -> bytes:
                    old, loaded = key, record
                    for _ in range(ROTATIONS):
                        new, write = new_key(), self.change_record(loaded)
                        if other.rotate(old, new, write, loaded.version, self.clock()) is not Outcome.SAVED:
                            break
                        old, loaded = new, write
                    return old

                return rotate_until_gone

            def revoke_listed() -> bool:
                listed = list(store.of_owner(OWNER, self.clock()))
                for session in listed:
                    store.delete(session.key)
                return not listed

            def revoke() -> bytes:
                # A session that no longer exists when it is deleted was rotated meanwhile, a limited number of times.
                any(revoke_listed() for _ in range(THREADS * ROTATIONS))
                return b""

            last_keys = run_concurrently([*(rotator(*each) for each in starts.items()), revoke])[:-1]
            left = [session.key for session in store.of_owner(OWNER, self.clock())]
            assert_equal(left, [], "sessions of the owner that are left after the revocation")
            for key in last_keys:
                found = store.load(key, self.clock())
                ended = found is None or not found.handle
                assert_equal(ended, True, "whether the last key of a session has no session after the revocation")
