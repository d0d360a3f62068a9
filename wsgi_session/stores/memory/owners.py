"""The owners of ``MemoryStore``'s sessions: which keys each of them has, and who has the most."""

from __future__ import annotations

from collections import OrderedDict
from itertools import takewhile


class Owners:
    """The keys of each owner in the order in which they were filed. Every change takes the same time, however many.

    The store calls each method with its lock held.
    """

    def __init__(self) -> None:
        #: The number of sessions that the owner with the most has; 1 also where nobody has any.
        self.most = 1
        # An owner of one session has its key here, without a dictionary of their own, which takes 500 bytes less.
        self._keys_of: dict[bytes, bytes | OrderedDict[bytes, None]] = {}
        # The owners with two sessions or more, by that number. A number that no owner has is not a key.
        self._with: dict[int, dict[bytes, None]] = {}

    def file(self, key: bytes, owner: bytes) -> None:
        """Note that the session under ``key`` is ``owner``'s. It must not be filed already."""
        keys = self._keys_of.setdefault(owner, key)
        if keys is key:
            return
        if isinstance(keys, bytes):
            keys = self._keys_of[owner] = OrderedDict(((keys, None), (key, None)))
        else:
            self._leave(owner, len(keys))
            keys[key] = None
        self._join(owner, len(keys))

    def unfile(self, key: bytes, owner: bytes | None) -> None:
        """Forget the session under ``key``, which must be filed under ``owner``."""
        assert owner is not None
        keys = self._keys_of[owner]
        if isinstance(keys, bytes):
            del self._keys_of[owner]
            return
        self._leave(owner, len(keys))
        del keys[key]
        if len(keys) > 1:
            self._join(owner, len(keys))
        else:
            (self._keys_of[owner],) = keys
        if self.most not in self._with:
            self.most = len(keys)

    def oldest_of_most(self) -> bytes:
        """Return the key that was filed first under an owner with the most; ``most`` must be 2 or more."""
        owners = self._with[self.most]
        # Taken out and put back, because an iterator would pass over all that were deleted.
        owner, _ = owners.popitem()
        owners[owner] = None
        keys = self._keys_of[owner]
        assert not isinstance(keys, bytes)
        return next(iter(keys))

    def filed_since(self, owner: bytes, known: set[bytes]) -> list[bytes]:
        """Return the keys filed under ``owner`` after all those that are ``known``."""
        keys = self._keys_of.get(owner)
        if keys is None:
            return []
        if isinstance(keys, bytes):
            return [] if keys in known else [keys]
        return list(takewhile(lambda key: key not in known, reversed(keys))) if known else list(keys)

    def clear(self) -> None:
        """Forget every session."""
        self.most = 1
        self._keys_of.clear()
        self._with.clear()

    def _join(self, owner: bytes, sessions: int) -> None:
        self._with.setdefault(sessions, {})[owner] = None
        if sessions > self.most:
            self.most = sessions

    def _leave(self, owner: bytes, sessions: int) -> None:
        owners = self._with[sessions]
        del owners[owner]
        if not owners:
            del self._with[sessions]
