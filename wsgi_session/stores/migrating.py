"""From one store to another without logging anybody out: what is asked for moves, and what ended stays ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wsgi_session.errors import KeyExists, Unsupported
from wsgi_session.stores import Counts, ListsOwners, Outcome, Record, Scans, Store, Sweeps


class MigratingStore(Store):
    """Read ``new``, then ``old``, and move what is found there.

    ::

        store = MigratingStore(open_store("redis://localhost"), open_store("sqlite:///sessions.db"))

    A session moves in two steps: create in the new store, delete in the old one. If the delete finds nothing, the
    session was ended in between, and the copy is deleted again. A crash between the steps leaves it in both: the new
    one counts, and whatever ends a session ends it in both, the old one first. Every process has to use this store
    before the old one is let go of. Closing it closes both.
    """

    def __init__(self, new: Store, old: Store) -> None:
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
        if record is not None:
            return record
        record = self._old.load(key, now)
        if record is not None and not record.handle:
            # A tombstone is where it is for a minute.
            return record
        if record is not None and move(key, record, self._old, self._new, now):
            return record
        # Moved by another process while we looked; or nowhere.
        return self._new.load(key, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        if self._old.load(key, now) is not None:
            raise KeyExists("a live session is already under this key, in the old store: draw another token")
        self._new.create(key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = self._new.replace(key, record, version, now)
        if outcome is Outcome.GONE and self._fetch(key, now):
            return self._new.replace(key, record, version, now)
        return outcome

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self._fetch(old, now)
        # What a crash in mid-move left there would open the session by its old token.
        self._old.delete(old)
        return self._new.rotate(old, new, record, version, now)

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        if self._new.touch(key, touched, expires, now):
            return True
        return self._fetch(key, now) and self._new.touch(key, touched, expires, now)

    def delete(self, key: bytes) -> bool:
        # The old one first: whoever is moving it finds nothing to delete there, and takes its copy back.
        was_old = self._old.delete(key)
        return self._new.delete(key) or was_old

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

    def _fetch(self, key: bytes, now: float) -> bool:
        """Move what is under ``key`` in the old store; whether something was there to move."""
        record = self._old.load(key, now)
        return record is not None and bool(record.handle) and move(key, record, self._old, self._new, now)


def move(key: bytes, record: Record, old: Store, new: Store, now: float) -> bool:
    """Move ``record`` to ``new``; False if it was moved or ended by somebody else meanwhile."""
    try:
        new.create(key, record, now)
    except KeyExists:
        return False
    if old.delete(key):
        return True
    # Logged out between our look and now: it must not come back.
    new.delete(key)
    return False


def copy_all(old: Store, new: Store, now: float) -> Iterator[bool]:
    """Move every live session; yield for each whether it moved. Stopped half-way, the next call goes on from there."""
    if not isinstance(old, Scans):
        raise _unsupported(old, "scan")
    for key, record in old.scan(now):
        yield move(key, record, old, new, now)


def _unsupported(store: Store, operation: str) -> Unsupported:
    return Unsupported(f"{type(store).__name__} does not offer {operation}().", operation=operation)
