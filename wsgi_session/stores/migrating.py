"""From one store to another without logging anybody out: what is asked for moves, and what ended stays ended."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from wsgi_session.errors import ConfigError, KeyExists, Unsupported
from wsgi_session.stores import Counts, ListsOwners, Outcome, Record, Scans, Store, Sweeps
from wsgi_session.stores.cookie import CookieStore

#: How often, and after how many seconds each, somebody looks whether a move that another one began is over.
SETTLE_TRIES = 200
SETTLE_SECONDS = 0.005
# How the version of a provisional copy begins. (Of a random one: once in 2**64.)
_MOVING = b"\0moving\0"


class MigratingStore(Store):
    """Read ``new``, then ``old``, and move what is found there.

    ::

        store = MigratingStore(open_store("redis://localhost"), open_store("sqlite:///sessions.db"))

    A session moves in three steps: a provisional copy in the new store, the delete in the old one, the copy made good.
    The delete is what decides: who finds nothing to delete was overtaken by a logout (or by another mover), and takes
    the copy back. Nobody is shown a provisional copy, so none can be written to, or rotated into a life of its own. A
    process that dies between the last two steps costs that one visitor the session; nothing logged out ever comes back.

    Every process has to use this store before the old one is let go of. Closing it closes both.
    """

    def __init__(self, new: Store, old: Store) -> None:
        for store in (new, old):
            if isinstance(store, CookieStore):
                raise ConfigError("cookie:// keeps sessions in the browsers: nothing can be moved from or to there.")
        self._new = new
        self._old = old
        self.multiprocess = new.multiprocess and old.multiprocess

    @property
    def sweep_due(self) -> bool:
        return self._new.sweep_due or self._old.sweep_due

    @sweep_due.setter
    def sweep_due(self, due: bool) -> None:
        self._new.sweep_due = self._old.sweep_due = due

    def load(self, key: bytes, now: float) -> Record | None:
        record = self._new.load(key, now)
        if record is None:
            record = self._old.load(key, now)
            if record is not None and (not record.handle or move(key, record, self._old, self._new, now)):
                # A tombstone stays where it is: for a minute.
                return record
            # Moved by another process while we looked, or being moved; or nowhere.
            record = self._new.load(key, now)
        if record is None or not record.version.startswith(_MOVING):
            return record
        return self._settled(key, record, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._refuse_if_old(key, now)
        self._new.create(key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = self._new.replace(key, record, version, now)
        if outcome is Outcome.SAVED:
            return outcome
        # It may not have moved yet, or be moving.
        loaded = self.load(key, now)
        if loaded is None or not loaded.handle:
            return Outcome.GONE
        if loaded.version == version:
            return self._new.replace(key, record, version, now)
        return Outcome.SAVED if loaded.version == record.version else Outcome.CONFLICT

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self.load(old, now)
        self._refuse_if_old(new, now)
        return self._new.rotate(old, new, record, version, now)

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        if self._new.touch(key, touched, expires, now):
            return True
        return self.load(key, now) is not None and self._new.touch(key, touched, expires, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        # The old one first: whoever is moving it finds nothing to delete there, and takes the copy back.
        was_old = self._old.delete(key, version)
        return self._new.delete(key, version) or was_old

    def ping(self) -> None:
        self._new.ping()
        self._old.ping()

    def close(self) -> None:
        self._new.close()
        self._old.close()

    def of_owner(self, owner: bytes, now: float) -> Sequence[tuple[bytes, Record]]:
        """Return the owner's sessions in both; of one that is in both, the new one's."""
        found: dict[bytes, Record] = {}
        for store in (self._old, self._new):
            if not isinstance(store, ListsOwners):
                raise _unsupported(store, "of_owner")
            found.update(store.of_owner(owner, now))
        return sorted(found.items(), key=lambda pair: pair[1].created)

    def count(self, now: float, namespace: str | None = None) -> int:
        """Return how many sessions both have."""
        total = 0
        for store in (self._old, self._new):
            if not isinstance(store, Counts):
                raise _unsupported(store, "count")
            total += store.count(now, namespace)
        return total

    def sweep(self, limit: int, now: float) -> int:
        """Remove what is long dead in those of the two that do not lose it by themselves."""
        return sum(store.sweep(limit, now) for store in (self._old, self._new) if isinstance(store, Sweeps))

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield the sessions of the old one, then those of the new one."""
        for store in (self._old, self._new):
            if not isinstance(store, Scans):
                raise _unsupported(store, "scan")
            yield from store.scan(now)

    def _refuse_if_old(self, key: bytes, now: float) -> None:
        if self._old.load(key, now) is not None:
            raise KeyExists("a live session is already under this key, in the old store: draw another token")

    def _settled(self, key: bytes, record: Record, now: float) -> Record | None:
        """Wait until a move is over, or finish it if its mover is dead: return the record, ``None`` if it ended."""
        for _ in range(SETTLE_TRIES):
            time.sleep(SETTLE_SECONDS)
            seen = self._new.load(key, now)
            if seen is None or not seen.version.startswith(_MOVING):
                return seen
            # The copy that is there now: the first one's mover may have taken it back, and another begun.
            record = seen
        # Not before: of two that finish one move, the slower would take the copy back under the faster.
        original = self._old.load(key, now)
        if original is not None and self._old.delete(key):
            return original if _make_good(key, original, record.version, self._new, now) else None
        # Overtaken by a logout or not, nobody can tell any more: what may have ended has ended.
        _take_back(key, record.version, self._new)
        return None


def move(key: bytes, record: Record, old: Store, new: Store, now: float) -> bool:
    """Move ``record`` to ``new``; False if it was moved or ended by somebody else meanwhile."""
    moving = _MOVING + os.urandom(8)
    try:
        new.create(key, record._replace(version=moving), now)
    except KeyExists:
        return False
    if old.delete(key):
        return _make_good(key, record, moving, new, now)
    _take_back(key, moving, new)
    return False


def _make_good(key: bytes, record: Record, moving: bytes, new: Store, now: float) -> bool:
    return new.replace(key, record, moving, now) is Outcome.SAVED


def _take_back(key: bytes, moving: bytes, new: Store) -> None:
    """Delete a provisional copy, and nothing but that: another process may have made it good by now."""
    new.delete(key, moving)


def copy_all(old: Store, new: Store, now: float) -> Iterator[bool]:
    """Move every live session; yield for each whether it moved. Stopped half-way, the next call goes on from there."""
    if not isinstance(old, Scans):
        raise _unsupported(old, "scan")
    for key, record in old.scan(now):
        yield move(key, record, old, new, now)


def _unsupported(store: Store, operation: str) -> Unsupported:
    return Unsupported(f"{type(store).__name__} does not offer {operation}().", operation=operation)
