"""Sessions in the memory of this process, for development, tests and sites with a single process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain

from wsgi_session.errors import ConfigError, KeyExists
from wsgi_session.stores.contract import (
    OWNED_PAGE,
    SWEEP_EVERY,
    SWEEP_GRACE,
    Outcome,
    OwnedSession,
    Record,
    Store,
    has_sound_times,
    make_record,
    owned_session,
    tombstone_of,
)
from wsgi_session.stores.forks import call_at_forks, release_all
from wsgi_session.stores.memory.owners import Owners

# One lock for all memory stores. A fork acquires it, so that no child inherits a store in the middle of a change. A
# load acquires it, because it moves the session to the end of the order of use: without the GIL, two threads that
# change an OrderedDict at the same time would corrupt it. The lock is reentrant, because then only the thread that
# holds it can release it, even if a fork was interrupted.
_lock = threading.RLock()
_SAVED = Outcome.SAVED  # Reading a member of an enum takes as long as two function calls.


def _after_fork_in_child() -> None:  # pragma: no cover - nothing is measured in a child
    global _lock
    # The old lock may be held by a thread that does not exist in this process.
    _lock = threading.RLock()


# Lambdas, because a child replaces `_lock`.
call_at_forks(lambda: _lock.acquire(), lambda: release_all(_lock), _after_fork_in_child)


class MemoryStore(Store):
    """Keep sessions in a bounded dictionary; they end with the process.

    When ``max_sessions`` are stored, a new one evicts the oldest session of the user who has the most, or the least
    recently used session if every user has one. All anonymous visitors together count as one user, whose least
    recently used session is evicted, but a tenth of ``max_sessions`` is reserved for them.

    Tombstones evict no session: up to a tenth of ``max_sessions`` of them are stored separately, and the oldest are
    evicted first. ``sweep=False``: dead sessions stay until they are evicted, or until you call :meth:`sweep`.
    Raises ``ConfigError`` if ``max_sessions`` is not a whole number of 1 or more.
    """

    multiprocess = False
    system = "memory"

    def __init__(self, max_sessions: int = 100_000, sweep: bool = True) -> None:
        if type(max_sessions) is not int or max_sessions < 1:
            raise ConfigError(f"max_sessions={max_sessions!r}: give a whole number of sessions, 1 or more.")
        self._max_sessions = max_sessions
        self._auto_sweep = sweep
        # This many anonymous sessions are not evicted for a user's session. The limit of tombstones is one higher.
        self._reserved = max_sessions // 10
        # Each is in the order of use, the least recently used first.
        self._anonymous: OrderedDict[bytes, Record] = OrderedDict()
        self._owned: OrderedDict[bytes, Record] = OrderedDict()
        self._tombstones: OrderedDict[bytes, Record] = OrderedDict()
        self._owners = Owners()
        # True during a change to the owned sessions, and afterwards if a signal handler has interrupted it.
        self._changing = False
        self._creates = 0

    def load(self, key: bytes, now: float) -> Record | None:
        with _lock:
            if key in self._anonymous:
                records = self._anonymous
            elif key in self._owned:
                records = self._owned
            elif key in self._tombstones:
                records = self._tombstones
            else:
                return None
            record = records[key]
            if now >= record.expires:
                return None
            records.move_to_end(key)
            return record

    def create(self, key: bytes, record: Record, now: float) -> None:
        with _lock:
            if key in self._anonymous or key in self._owned or key in self._tombstones:
                stored = self._live(key, now)
                if stored is not None:
                    if stored.version == record.version:
                        return
                    raise KeyExists("A live session already exists under this key: generate another token.")
                self._remove(key)
            if not record.handle:
                self._put_tombstone(key, record)
                return
            total = self._make_room()
            self._put(key, record)
            self._creates += 1
            # A sweep reads every record. Waiting for a quarter as many creates keeps its cost per create constant.
            if self._auto_sweep and self._creates >= SWEEP_EVERY and self._creates >= total >> 2:
                self._creates = 0
                self.sweep_due = True

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        with _lock:
            records = self._owned
            stored = records.get(key)
            if stored is None:
                records = self._anonymous
                stored = records.get(key)
            if stored is None:
                records = self._tombstones
                stored = records.get(key)
            if stored is None or now >= stored.expires:
                return Outcome.GONE
            if stored.version != version:
                if stored.version == record.version:
                    return Outcome.SAVED
                return Outcome.CONFLICT if stored.handle else Outcome.GONE
            _, _, handle, created, touched, expires, owner, persistent, idle, namespace = stored
            if record.touched > touched:
                touched = record.touched
            if record.expires > expires:
                expires = record.expires
            records[key] = make_record(
                (record.data, record.version, handle, created, touched, expires, owner, persistent, idle, namespace)
            )
            records.move_to_end(key)
            return _SAVED

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        with _lock:
            existing = self._live(new, now)
            if existing is not None and existing.version == record.version:
                return Outcome.SAVED
            stored = self._live(old, now)
            if stored is None or not stored.handle:
                return Outcome.GONE
            if stored.version != version:
                return Outcome.CONFLICT
            if existing is not None:
                raise KeyExists("A live session already exists under the new key: generate another token.")
            self._remove(new)
            # In this order the session is not lost if a signal handler raises in between.
            self._put(new, record)
            self._put_tombstone(old, tombstone_of(new, record, now))
            self._remove_session(old)
            return Outcome.SAVED

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        with _lock:
            stored = self._live(key, now)
            if stored is None or not stored.handle:
                return False
            records = self._anonymous if stored.owner is None else self._owned
            records[key] = stored._replace(touched=max(stored.touched, touched), expires=max(stored.expires, expires))
            records.move_to_end(key)
            return True

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        with _lock:
            stored = self._owned.get(key) or self._anonymous.get(key) or self._tombstones.get(key)
            found = stored is not None and (stored.handle != "" if version is None else stored.version == version)
            if found:
                self._remove(key)
        return found

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions, also a corrupt one whose end is NaN; see ``wsgi_session.stores.ListsOwners``."""
        known: set[bytes] = set()
        unread: list[bytes] = []
        generation = self._owners.generation
        while True:
            with _lock:
                if self._changing:
                    self._rebuild_owners()
                if not unread:
                    # Also read the keys that were added during the listing: a rotation adds a new key.
                    unread = self._owners.added_since(owner, known, generation)
                    generation = self._owners.generation
                page = unread[-OWNED_PAGE:]
                del unread[-OWNED_PAGE:]
                known.update(page)
                records = list(map(self._owned.get, page))
            if not page:
                return
            for key, record in zip(page, records, strict=True):
                if record is not None and not now >= record.expires:
                    yield owned_session(key, record)

    def count(self, now: float, namespace: str | None = None) -> int:
        with _lock:  # dict.values(), because OrderedDict.values() takes 1.5 times as long.
            records = chain(dict.values(self._owned), dict.values(self._anonymous))
            return sum(1 for record in records if now < record.expires and namespace in (None, record.namespace))

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of every session that was alive when the scan began."""
        with _lock:
            records = [*dict.items(self._anonymous), *dict.items(self._owned)]
        return ((key, record) for key, record in records if now < record.expires and has_sound_times(record))

    def sweep(self, limit: int, now: float) -> int:
        self.sweep_due = False
        with _lock:
            dead = self._sweep(max(limit, 0), now - SWEEP_GRACE)
        return len(dead)

    def ping(self) -> None:
        """Do nothing: memory is always available."""

    def close(self) -> None:
        """Remove every session."""
        with _lock:
            self._anonymous.clear()
            self._owned.clear()
            self._tombstones.clear()
            self._owners.clear()

    def __repr__(self) -> str:
        # Error reporters show the store while its constructor is still running.
        return f"MemoryStore(max_sessions={getattr(self, '_max_sessions', 'half made')})"

    # The methods below are called with the lock held. The loops are in them, because Python 3.12 may not leave a `with`
    # block properly if a signal handler raises in a loop directly inside it.

    def _sweep(self, limit: int, horizon: float) -> list[bytes]:
        records = chain(dict.items(self._anonymous), dict.items(self._owned), dict.items(self._tombstones))
        dead = [key for key, record in records if record.expires < horizon][:limit]
        for key in dead:
            self._remove(key)
        return dead

    def _begin_change(self) -> None:
        if self._changing:
            self._rebuild_owners()
        self._changing = True

    def _rebuild_owners(self) -> None:
        self._owners.rebuild(self._owned)
        self._changing = False

    def _live(self, key: bytes, now: float) -> Record | None:
        record = self._owned.get(key) or self._anonymous.get(key) or self._tombstones.get(key)
        return record if record is not None and now < record.expires else None

    def _put(self, key: bytes, record: Record) -> None:
        if record.owner is None:
            self._anonymous[key] = record
            return
        self._begin_change()
        self._owned[key] = record
        self._owners.add(key, record.owner)
        self._changing = False

    def _put_tombstone(self, key: bytes, record: Record) -> None:
        self._tombstones[key] = record
        if len(self._tombstones) > self._reserved + 1:
            self._tombstones.popitem(last=False)

    def _make_room(self) -> int:
        """Evict sessions until there is room for one; return the number of sessions left."""
        while (total := len(self._owned) + len(self._anonymous)) >= self._max_sessions:
            self._evict_one()
        return total

    def _evict_one(self) -> None:
        self._begin_change()
        anonymous, most = len(self._anonymous), self._owners.most
        if anonymous > self._reserved and anonymous >= most:
            self._anonymous.popitem(last=False)
            self._changing = False
            return
        if most > 1:
            key = self._owners.oldest_of_most()
            record = self._owned.pop(key)
        else:
            key, record = self._owned.popitem(last=False)
        self._owners.remove(key, record.owner)
        self._changing = False

    def _remove(self, key: bytes) -> bool:
        return self._remove_session(key) or self._tombstones.pop(key, None) is not None

    def _remove_session(self, key: bytes) -> bool:
        if self._anonymous.pop(key, None) is not None:
            return True
        if key not in self._owned:
            return False
        self._begin_change()
        self._owners.remove(key, self._owned.pop(key).owner)
        self._changing = False
        return True
