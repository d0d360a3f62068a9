"""Two stores as one, while a site goes from one to the other without logging anybody out. A move itself: moving.py."""

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
from wsgi_session.stores.migrating.moving import is_marked, is_placeholder, move, settle, without_mark
from wsgi_session.stores.refusals import unsupported

PHASES = ("prepare", "move")
# A time at which every record is alive: delete() removes dead ones too, and is not told the time.
_ALWAYS = 0.0


class MigratingStore(Store):
    """Serve sessions from ``new`` and ``old``, and move those that are asked for from ``old`` to ``new``.

    ::

        store = MigratingStore(open_store("redis://localhost"), open_store("sqlite:///sessions.db"))

    Processes are replaced one by one, so a change of stores takes three deployments. Each phase understands the one
    before it and the one after it:

    1. ``phase="prepare"`` everywhere: sessions are found in both stores; new ones go to ``old``, and nothing moves.
       Beside it, processes that know ``old`` alone may still run.
    2. ``phase="move"`` (the default) everywhere: new sessions go to ``new``, and what is asked for moves there. Then
       ``python -m wsgi_session copy OLD NEW`` moves the rest.
    3. ``new`` alone, two minutes after the copy has ended.

    A session moves in steps that may stop anywhere: see ``moving.py``. Closing this store closes both.

    Raises ``ConfigError`` for ``cookie://``, for the same store twice, for another ``MigratingStore``, and for an
    unknown phase.
    """

    def __init__(self, new: Store, old: Store, phase: str = "move") -> None:
        if phase not in PHASES:
            raise ConfigError(f"phase={phase!r}: give 'prepare' (moves nothing yet) or 'move'.")
        if new is old:
            raise ConfigError("new and old are one store: give the store to move to, then the one to move from.")
        for store in (new, old):
            if isinstance(store, CookieStore):
                raise ConfigError("cookie:// keeps sessions in the browsers, so they cannot be moved to or from it.")
            if isinstance(store, MigratingStore):
                raise ConfigError("A MigratingStore cannot be moved to or from: finish that change of stores first.")
        #: The store that sessions move to, and the one that they come from.
        self.stores = (new, old)
        self._new = new
        self._old = old
        # Where new sessions go, and where most are found.
        self._home, self._other = (new, old) if phase == "move" else (old, new)
        self._look = move if phase == "move" else settle
        self.multiprocess = new.multiprocess and old.multiprocess

    @property
    def sweep_due(self) -> bool:
        return self._new.sweep_due or self._old.sweep_due

    @sweep_due.setter
    def sweep_due(self, due: bool) -> None:
        self._new.sweep_due = self._old.sweep_due = due

    def load(self, key: bytes, now: float) -> Record | None:
        record = self._home.load(key, now)
        return record if _is_plain(record) else self._find(key, now)[1]

    def create(self, key: bytes, record: Record, now: float) -> None:
        taken = None if self._other.load(key, now) is None else self._find(key, now)[1]
        if taken is None:
            self._home.create(key, record, now)
        elif taken.version != record.version:
            raise KeyExists("a live session is already under this key: draw another token")

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome = self._home.replace(key, record, version, now)
        # Twice: a session moves once at most, and the second look finds it where it has moved to.
        for _ in range(2):
            if outcome is Outcome.SAVED:
                break
            store, there = self._find(key, now)
            if there is None or not there.handle:
                return Outcome.GONE
            if there.version != version:
                return Outcome.SAVED if there.version == record.version else Outcome.CONFLICT
            outcome = store.replace(key, record, version, now)
        return outcome

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        _, taken = self._find(new, now)
        if taken is not None and taken.version == record.version:
            return Outcome.SAVED
        outcome = Outcome.CONFLICT
        for _ in range(2):
            store, there = self._find(old, now)
            if there is None or not there.handle:
                return Outcome.GONE
            if there.version != version:
                return Outcome.CONFLICT
            if taken is not None:
                raise KeyExists("a live session is already under the new key: draw another token")
            outcome = store.rotate(old, new, record, version, now)
            if outcome is Outcome.SAVED:
                break
        return outcome

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        store = self._home
        for _ in range(3):
            # What was touched may have been a placeholder, or marked by then: then this was no session's activity.
            if store.touch(key, touched, expires, now) and _is_plain(store.load(key, now)):
                return True
            store, there = self._find(key, now)
            if there is None or not there.handle:
                return False
        return False

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        # The old store first: from then on no move can fill the session in. (Two deletes of a session that is on its
        # way may both answer True: one for the marked record, the other one for what was filled in.)
        ended = self._delete_old(key, version)
        if ended is None:
            return False
        while True:
            there = self._new.load(key, _ALWAYS)
            if there is None:
                return ended
            if not is_placeholder(there):
                return self._new.delete(key, version)
            if self._new.delete(key, there.version):
                return ended

    def ping(self) -> None:
        self._new.ping()
        self._old.ping()

    def close(self) -> None:
        self._new.close()
        self._old.close()

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions from both stores; one that is in both is listed once."""
        stores = []
        for store in (self._old, self._new):
            if not isinstance(store, ListsOwners):
                raise unsupported(store, "of_owner")
            stores.append(store)
        listed: set[bytes] = set()
        # In this order: a session that moves between the two looks is found in the second.
        for store in stores:
            for session in store.of_owner(owner, now):
                if session.key in listed or is_placeholder(session):
                    continue
                if is_marked(session) and _is_plain(self._new.load(session.key, now)):
                    continue  # It has moved: what counts is in the new store.
                listed.add(session.key)
                yield _listed(session, store, now)

    def count(self, now: float, namespace: str | None = None) -> int:
        """Return the sum of the two stores' counts; a session that is being moved may be counted twice."""
        total = 0
        for store in (self._old, self._new):
            if not isinstance(store, Counts):
                raise unsupported(store, "count")
            total += store.count(now, namespace)
        return total

    def sweep(self, limit: int, now: float) -> int:
        """Sweep each of the two stores that does not expire records by itself, ``limit`` records in all."""
        swept = 0
        for store in (self._old, self._new):
            if isinstance(store, Sweeps):
                swept += store.sweep(limit - swept, now)
        return swept

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield the sessions of the old store, then those of the new one; one that moves meanwhile may come twice."""
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
        return self._look(key, self._old, self._new, now)

    def _delete_old(self, key: bytes, version: bytes | None) -> bool | None:
        """Delete from the old store: whether the session was there. ``None``: it is there, and must not be deleted."""
        if version is None:
            return self._old.delete(key)
        while True:
            there = self._old.load(key, _ALWAYS)
            if there is None:
                return False
            session = without_mark(there) if is_marked(there) else there
            if session.version == version:
                if self._old.delete(key, there.version):
                    return True
            elif not is_marked(there) or not _is_plain(self._new.load(key, _ALWAYS)):
                return None
            elif self._old.delete(key, there.version):
                # The move was over but for this: what counts is in the new store.
                return False


def _is_plain(record: Record | None) -> bool:
    """Whether ``record`` is a session or a tombstone: there, and no part of a move."""
    return record is not None and not is_placeholder(record) and not is_marked(record)


def _listed(session: OwnedSession, store: Store, now: float) -> OwnedSession:
    """Return what is said of a session of ``store``. Of one that is on its way, the version is among the data."""
    record = store.load(session.key, now) if is_marked(session) else None
    if record is None or not is_marked(record):
        return session
    return owned_session(session.key, without_mark(record))
