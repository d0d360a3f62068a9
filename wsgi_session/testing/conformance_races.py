"""What a store promises when many write at once: no update lost, nothing brought back, one winner."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from wsgi_session.errors import KeyExists
from wsgi_session.stores.contract import ListsOwners, Outcome, Record, Store, tombstone_of
from wsgi_session.testing.harness import OWNER, StoreHarness, at_once, equal, new_key

THREADS = 6
#: How often a race between two calls is run: each run has a few places where it can go wrong.
ROUNDS = 40
#: How often a session is rotated while somebody revokes it.
ROTATIONS = 200


class RacePromises(StoreHarness):
    """A part of ``StoreConformance``. Half of the threads work through another handle, as another process would."""

    def _handles(self) -> list[Store]:
        other = self.another_handle()
        return [other if place % 2 else self.store for place in range(THREADS)]

    def test_of_many_that_save_over_the_version_they_loaded_no_update_is_lost(self) -> None:
        key, additions = new_key(), 12
        self.created(key, b"")

        def writer(store: Store, letter: bytes) -> Callable[[], None]:
            def write() -> None:
                for _ in range(additions):
                    # A conflict is another's success, and there are only so many.
                    if not any(add(store, letter) for _ in range(THREADS * additions)):
                        raise AssertionError(f"replace answered conflict {THREADS * additions} times, to one writer")

            return write

        def add(store: Store, letter: bytes) -> bool:
            stored = store.load(key, self.clock())
            if stored is None:
                raise AssertionError("the record is gone, and nobody deleted it")
            write = self.changed(stored, stored.data + letter)
            return store.replace(key, write, stored.version, self.clock()) is Outcome.SAVED

        handles = self._handles()
        at_once([writer(store, b"%d" % place) for place, store in enumerate(handles)])
        stored = self.store.load(key, self.clock())
        seen = {place: stored.data.count(b"%d" % place) if stored else None for place in range(THREADS)}
        equal(seen, dict.fromkeys(range(THREADS), additions), "additions kept, by thread")

    def test_of_many_that_create_one_key_exactly_one_does(self) -> None:
        handles = self._handles()
        for _ in range(ROUNDS // 2):
            key = new_key()
            records = [self.record(b"%d" % place) for place in range(THREADS)]

            def creator(store: Store, record: Record, key: bytes = key) -> Callable[[], bool]:
                def create() -> bool:
                    try:
                        store.create(key, record, self.clock())
                    except KeyExists:
                        return False
                    return True

                return create

            created = at_once([creator(*pair) for pair in zip(handles, records, strict=True)])
            equal(sum(created), 1, "creates of one key that succeeded")
            self.finds(key, records[created.index(True)], "load of what the winner created")

    def test_of_many_that_rotate_one_session_exactly_one_does(self) -> None:
        handles = self._handles()
        for _ in range(ROUNDS // 2):
            old, news = new_key(), [new_key() for _ in range(THREADS)]
            record = self.created(old)
            writes = [self.changed(record, b"%d" % place) for place in range(THREADS)]

            def rotation(
                store: Store, new: bytes, write: Record, old: bytes = old, record: Record = record
            ) -> Callable[[], Outcome]:
                return lambda: store.rotate(old, new, write, record.version, self.clock())

            outcomes = at_once([rotation(*each) for each in zip(handles, news, writes, strict=True)])
            equal(outcomes.count(Outcome.SAVED), 1, f"rotations of one session that succeeded, of {outcomes}")
            winner = outcomes.index(Outcome.SAVED)
            left = tombstone_of(news[winner], writes[winner], self.clock())
            self.finds(old, left, "load of the old key")
            for place, new in enumerate(news):
                self.finds(new, writes[place] if place == winner else None, f"load of new key {place} of {outcomes}")

    def test_of_a_rotation_and_a_delete_one_comes_first_and_the_other_knows(self) -> None:
        other = self.another_handle()
        for _ in range(ROUNDS):
            old, new = new_key(), new_key()
            record = self.created(old)
            write = self.changed(record)

            def rotate(old: bytes = old, new: bytes = new, record: Record = record, write: Record = write) -> object:
                return other.rotate(old, new, write, record.version, self.clock())

            def delete(old: bytes = old) -> object:
                return self.store.delete(old)

            outcome, deleted = at_once([rotate, delete])
            wanted = (Outcome.GONE, True) if deleted else (Outcome.SAVED, False)
            equal((outcome, deleted), wanted, "outcome of rotate, answer of delete")
            left = None if deleted else tombstone_of(new, write, self.clock())
            self.finds(old, left, f"load of the old key, after {outcome}")
            self.finds(new, None if deleted else write, f"load of the new key, after {outcome}")

    def test_who_loads_during_a_rotation_finds_the_session_or_is_told_where_it_is(self) -> None:
        handles = self._handles()
        for _ in range(ROUNDS // 8):
            keys = [new_key() for _ in range(ROTATIONS // 8)]
            self.created(keys[0])
            done: list[bool] = []

            def rotate(keys: list[bytes] = keys, done: list[bool] = done) -> list[bytes]:
                try:
                    for old, new in pairwise(keys):
                        loaded = self.store.load(old, self.clock())
                        if loaded is None:
                            raise AssertionError("the session is gone, and nobody deleted it")
                        write = self.changed(loaded)
                        seen = self.store.rotate(old, new, write, loaded.version, self.clock())
                        equal(seen, Outcome.SAVED, "rotate")
                finally:
                    done.append(True)
                return []

            def reader(store: Store, keys: list[bytes] = keys, done: list[bool] = done) -> Callable[[], list[bytes]]:
                def follow() -> list[bytes]:
                    lost, key = [], keys[0]
                    while not done:
                        there = store.load(key, self.clock())
                        if there is None:
                            lost.append(key)
                        elif not there.handle:
                            key = there.data
                    return lost

                return follow

            lost = at_once([rotate, *map(reader, handles[1:])])
            equal(sum(map(len, lost)), 0, "loads that found nothing, during rotations of one session")

    def test_of_a_delete_and_any_write_nothing_comes_back(self) -> None:
        other = self.another_handle()
        for _ in range(ROUNDS // 2):
            key = new_key()
            record = self.created(key, owner=OWNER)
            write = self.changed(record, expires=record.expires + 9)

            def replace(key: bytes = key, record: Record = record, write: Record = write) -> object:
                return other.replace(key, write, record.version, self.clock())

            def touch(key: bytes = key, record: Record = record) -> object:
                return other.touch(key, record.touched + 9, record.expires + 9, self.clock())

            def delete(key: bytes = key) -> object:
                return self.store.delete(key)

            outcome, touched, deleted = at_once([replace, touch, delete])
            equal(deleted, True, "delete of a live record")
            self.finds(key, None, f"load after delete, beside replace ({outcome}) and touch ({touched})")

    def test_of_a_save_and_a_delete_of_the_version_before_one_succeeds(self) -> None:
        other = self.another_handle()
        for _ in range(ROUNDS // 2):
            key = new_key()
            record = self.created(key, owner=OWNER)
            write = self.changed(record)

            def replace(key: bytes = key, record: Record = record, write: Record = write) -> object:
                return other.replace(key, write, record.version, self.clock())

            def delete(key: bytes = key, record: Record = record) -> object:
                return self.store.delete(key, record.version)

            outcome, deleted = at_once([replace, delete])
            wanted = (Outcome.GONE, True) if deleted else (Outcome.SAVED, False)
            equal((outcome, deleted), wanted, "outcome of replace, answer of delete of the version before it")
            self.finds(key, None if deleted else write, f"load after {outcome}")

    def test_of_a_touch_and_a_save_both_are_kept(self) -> None:
        other = self.another_handle()
        for _ in range(ROUNDS):
            key = new_key()
            record = self.created(key)
            write = self.changed(record)
            touched = record._replace(touched=record.touched + 9.5, expires=record.expires + 9.5)

            def replace(key: bytes = key, record: Record = record, write: Record = write) -> object:
                return other.replace(key, write, record.version, self.clock())

            def touch(key: bytes = key, touched: Record = touched) -> object:
                return self.store.touch(key, touched.touched, touched.expires, self.clock())

            equal(at_once([replace, touch]), [Outcome.SAVED, True], "answers of replace and touch")
            kept = write._replace(touched=touched.touched, expires=touched.expires)
            self.finds(key, kept, "load after replace and touch")

    def test_a_revocation_that_looks_until_none_is_left_also_gets_those_being_rotated(self) -> None:
        store, other = self.store, self.another_handle()
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
                        new, write = new_key(), self.changed(loaded)
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
                # Whatever is not there any more when it is deleted was rotated since, and that ends.
                any(revoke_listed() for _ in range(THREADS * ROTATIONS))
                return b""

            last_keys = at_once([*(rotator(*each) for each in starts.items()), revoke])[:-1]
            left = [session.key for session in store.of_owner(OWNER, self.clock())]
            equal(left, [], "sessions of the owner that are left after the revocation")
            for key in last_keys:
                there = store.load(key, self.clock())
                equal(
                    there is None or not there.handle,
                    True,
                    "whether the last key of a rotated session opens nothing after the revocation",
                )
