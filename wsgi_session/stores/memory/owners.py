"""The owner index of ``MemoryStore``: the keys of each owner's sessions, and the owners with the most sessions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import takewhile

from wsgi_session.stores.contract import Record


class Owners:
    """The keys of each owner, in the order in which they were added. Each change takes constant time.

    The store calls each method with its lock held.
    """

    def __init__(self) -> None:
        #: Changes with each ``rebuild``, which puts the keys into another order.
        self.generation = 1
        #: The largest number of sessions that any owner has; 1 if no owner has a session.
        self.most = 1
        # If an owner has one session, its key is stored without a dictionary around it, which saves 500 bytes.
        self._keys_by_owner: dict[bytes, bytes | OrderedDict[bytes, None]] = {}
        # The owners with two or more sessions, by their number of sessions. Has no empty entries.
        self._owners_by_count: dict[int, dict[bytes, None]] = {}

    def add(self, key: bytes, owner: bytes) -> None:
        """Add the session under ``key`` to those of ``owner``. It must not be in the index already."""
        keys = self._keys_by_owner.setdefault(owner, key)
        if keys is key:
            return
        if isinstance(keys, bytes):
            keys = self._keys_by_owner[owner] = OrderedDict(((keys, None), (key, None)))
        else:
            self._remove_from_count(owner, len(keys))
            keys[key] = None
        self._add_to_count(owner, len(keys))

    def remove(self, key: bytes, owner: bytes | None) -> None:
        """Remove the session under ``key``, which must be in the index for ``owner``."""
        assert owner is not None
        keys = self._keys_by_owner[owner]
        if isinstance(keys, bytes):
            del self._keys_by_owner[owner]
            return
        self._remove_from_count(owner, len(keys))
        del keys[key]
        if len(keys) > 1:
            self._add_to_count(owner, len(keys))
        else:
            (self._keys_by_owner[owner],) = keys
        if self.most not in self._owners_by_count:
            self.most = len(keys)

    def oldest_of_most(self) -> bytes:
        """Return the oldest key of an owner who has the most sessions; ``most`` must be 2 or more."""
        owners = self._owners_by_count[self.most]
        # popitem() and insert again, because an iterator would step over every deleted entry.
        owner, _ = owners.popitem()
        owners[owner] = None
        keys = self._keys_by_owner[owner]
        assert not isinstance(keys, bytes)
        return next(iter(keys))

    def added_since(self, owner: bytes, known: set[bytes], generation: int) -> list[bytes]:
        """Return the keys that were added for ``owner`` after all the ``known`` ones.

        ``generation``: its value when the known keys were read. If it has changed since, this reads all keys.
        """
        keys = self._keys_by_owner.get(owner)
        if keys is None:
            return []
        if isinstance(keys, bytes):
            return [] if keys in known else [keys]
        if not known:
            return list(keys)
        if generation != self.generation:
            return [key for key in keys if key not in known]
        return list(takewhile(lambda key: key not in known, reversed(keys)))

    def rebuild(self, records: Mapping[bytes, Record]) -> None:
        """Build the index again from ``records``, in their order."""
        self.clear()
        self.generation += 1
        for key, record in records.items():
            assert record.owner is not None
            self.add(key, record.owner)

    def clear(self) -> None:
        """Remove every session."""
        self.most = 1
        self._keys_by_owner.clear()
        self._owners_by_count.clear()

    def _add_to_count(self, owner: bytes, count: int) -> None:
        self._owners_by_count.setdefault(count, {})[owner] = None
        if count > self.most:
            self.most = count

    def _remove_from_count(self, owner: bytes, count: int) -> None:
        owners = self._owners_by_count[count]
        del owners[owner]
        if not owners:
            del self._owners_by_count[count]
