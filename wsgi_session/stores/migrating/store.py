"""Two stores as one, while a site changes from one to the other without logging anybody out (moves: moving.py)."""

from __future__ import annotations

from collections.abc import Iterator

from wsgi_session.errors import ConfigError, KeyExists
from wsgi_session.stores.contract import (
    Counts,
    ListsOwners,
    Outcome,
    OwnedSession,
    Record,
    Scans,
    Store,
    Sweeps,
    owned_session,
)
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.migrating.moving import is_marked, is_placeholder, locate, move, without_mark
from wsgi_session.stores.unsupported import unsupported

PHASES = ("prepare", "move")
# A time at which every record is alive. delete() needs it, because it removes dead records too, and has no `now`.
_ALWAYS = 0.0


class MigratingStore(Store):
    """Serve sessions from ``new`` and ``old``, and move each session from ``old`` to ``new`` when it is used.

    ::

        store = MigratingStore(open_store("redis://localhost"), open_store("sqlite:///sessions.db"))

    A deployment replaces processes one by one, so a change of stores takes three deployments. Processes of each phase
    can run together with those of the phase before and of the phase after:

    1. ``phase="prepare"``: sessions are found in both stores; new ones are stored in ``old``, and none is moved.
       Processes that use ``old`` alone may still run at the same time.
    2. ``phase="move"`` (the default): new sessions are stored in ``new``, and sessions that are used move there. When
       all processes have reached this phase, ``python -m wsgi_session copy OLD NEW`` moves the rest.
    3. ``new`` alone, two minutes after the copy has ended.

    A move may stop at any step; see ``moving.py``. Closing this store closes both.

    Raises ``ConfigError`` for ``cookie://``, for the same store twice, for another ``MigratingStore``, and for an
    unknown phase.
    """

    def __init__(self, new: Store, old: Store, phase: str = "move") -> None:
        if phase not in PHASES:
            raise ConfigError(f"phase={phase!r}: give 'prepare' (moves nothing yet) or 'move'.")
        if new is old:
            raise ConfigError("new and old are the same store. Give the store to move to, then the one to move from.")
        for store in (new, old):
            if isinstance(store, CookieStore):
                raise ConfigError("cookie:// keeps sessions in the browsers, so they cannot be moved to or from it.")
            if isinstance(store, MigratingStore):
                raise ConfigError("Neither store may be a MigratingStore. Finish that change of stores first.")
        #: The store that sessions move to, and the one that they move from.
        self.stores = (new, old)
        self._new = new
        self._old = old
        # The store for new sessions, in which most requests find theirs, and the other one.
        self._first, self._second = (new, old) if phase == "move" else (old, new)
        self._locate = move if phase == "move" else locate
        if isinstance(new, ListsOwners) and isinstance(old, ListsOwners):
            # Set only here, so that a login or logout does not ask for the list where one of the two has none.
            self.of_owner = self._of_owner
        self.multiprocess = new.multiprocess and old.multiprocess
        self.system = self._first.system

    @property
    def sweep_due(self) -> bool:
        return self._new.sweep_due or self._old.sweep_due

    @sweep_due.setter
    def sweep_due(self, due: bool) -> None:
        self._new.sweep_due = self._old.sweep_due = due

    def load(self, key: bytes, now: float) -> Record | None:
        record = self._first.load(key, now)
        return record if _is_plain(record) else self._find(key, now)[1]

    def create(self, key: bytes, record: Record, now: float) -> None:
        existing = None if self._second.load(key, now) is None else self._find(key, now)[1]
        if existing is None:
            self._first.create(key, record, now)
        elif existing.version != record.version:
            raise KeyExists("A live session already exists under this key: generate another token.")

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = self._first.replace(key, record, version, now)
        # Two attempts, because a session moves at most once, and the second attempt finds it where it has moved to.
        for _ in range(2):
            if outcome is Outcome.SAVED:
                break
            store, found = self._find(key, now)
            if found is None or not found.handle:
                return Outcome.GONE
            if found.version != version:
                return Outcome.SAVED if found.version == record.version else Outcome.CONFLICT
            outcome = store.replace(key, record, version, now)
        return outcome

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        _, existing = self._find(new, now)
        if existing is not None and existing.version == record.version:
            self.await_replicas()
            return Outcome.SAVED
        outcome = Outcome.CONFLICT
        for _ in range(2):
            store, found = self._find(old, now)
            if found is None or not found.handle:
                return Outcome.GONE
            if found.version != version:
                return Outcome.CONFLICT
            if existing is not None:
                raise KeyExists("A live session already exists under the new key: generate another token.")
            outcome = store.rotate(old, new, record, version, now)
            if outcome is Outcome.SAVED:
                break
        return outcome

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        store = self._first
        for _ in range(3):
            # The touched record may have been a placeholder or marked. Then the touch does not count.
            if store.touch(key, touched, expires, now) and _is_plain(store.load(key, now)):
                return True
            store, found = self._find(key, now)
            if found is None or not found.handle:
                return False
        return False

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        # Delete from the old store first: from then on no move can fill the session in. (If the session is being moved,
        # two deletes may both return True: one for the marked record, the other one for the filled record.)
        ended = self._delete_old(key, version)
        if ended is None:
            return False
        while True:
            found = self._new.load(key, _ALWAYS)
            if found is None:
                if not ended:
                    self._new.await_replicas()
                return ended
            if not is_placeholder(found):
                return self._new.delete(key, version)
            if self._new.delete(key, found.version):
                return ended

    def ping(self) -> None:
        self._new.ping()
        self._old.ping()

    def await_replicas(self) -> None:
        self._new.await_replicas()
        self._old.await_replicas()

    def close(self) -> None:
        self._new.close()
        self._old.close()

    def _of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions from both stores; a session that is in both is yielded once."""
        listed: set[bytes] = set()
        # The old store is read first, so that a session that moves between the two reads is found by the second.
        for store in (self._old, self._new):
            assert isinstance(store, ListsOwners)
            for session in store.of_owner(owner, now):
                if session.key in listed or is_placeholder(session):
                    continue
                if is_marked(session) and _is_plain(self._new.load(session.key, now)):
                    continue  # It has been filled in: the record in the new store is the session.
                listed.add(session.key)
                yield _unmarked_entry(session, store, now)

    def count(self, now: float, namespace: str | None = None) -> int:
        """Return the sum of the two stores' counts; a session that is being moved may be counted twice."""
        total = 0
        for store in (self._old, self._new):
            if not isinstance(store, Counts):
                raise unsupported(store, "count")
            total += store.count(now, namespace)
        return total

    def sweep(self, limit: int, now: float) -> int:
        """Sweep each of the two stores that does not expire records itself; remove at most ``limit`` records in all."""
        swept = 0
        for store in (self._old, self._new):
            if isinstance(store, Sweeps):
                swept += store.sweep(limit - swept, now)
        return swept

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield the sessions of the old store, then those of the new one; one that moves meanwhile may appear twice."""
        if not isinstance(self._old, Scans):
            raise unsupported(self._old, "scan")
        if not isinstance(self._new, Scans):
            raise unsupported(self._new, "scan")
        for key, record in self._old.scan(now):
            if not is_marked(record):
                yield key, record
            elif not _is_plain(self._new.load(key, now)):
                yield key, without_mark(record)
        for key, record in self._new.scan(now):
            if not is_placeholder(record):
                yield key, record

    def _find(self, key: bytes, now: float) -> tuple[Store, Record | None]:
        """Return the store that has the session, and the session (or a tombstone, or ``None``)."""
        return self._locate(key, self._old, self._new, now)

    def _delete_old(self, key: bytes, version: bytes | None) -> bool | None:
        """Delete from the old store; return whether the session was there, or ``None`` if it must not be deleted."""
        if version is None:
            return self._old.delete(key)
        while True:
            found = self._old.load(key, _ALWAYS)
            if found is None:
                return self._old.delete(key, version)  # This finds nothing, but waits for the replicas.
            session = without_mark(found) if is_marked(found) else found
            if session.version == version:
                if self._old.delete(key, found.version):
                    return True
            elif not is_marked(found) or not _is_plain(self._new.load(key, _ALWAYS)):
                return None
            elif self._old.delete(key, found.version):
                # The session had been filled in already: the record in the new store is the session.
                return False


def _is_plain(record: Record | None) -> bool:
    """Return whether ``record`` is a session or a tombstone, not ``None`` and not a part of a move."""
    return record is not None and not is_placeholder(record) and not is_marked(record)


def _unmarked_entry(session: OwnedSession, store: Store, now: float) -> OwnedSession:
    """Return the entry of a session of ``store`` with its real version, which a marked record has in its data."""
    record = store.load(session.key, now) if is_marked(session) else None
    if record is None or not is_marked(record):
        return session
    return owned_session(session.key, without_mark(record))
