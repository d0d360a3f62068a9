"""Sessions in this process: for development, tests, and a site that one process serves."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
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
from wsgi_session.stores.memory.owners import Owners

# One lock for all memory stores, taken by each of their operations, and by fork: a child never inherits it taken, nor a
# store in the middle of a change. A load takes it too, because it moves the session to the end of the order of use:
# without the GIL, two threads that change an OrderedDict at once would corrupt it.
_lock = threading.Lock()


def _after_fork() -> None:
    # uWSGI's --py-call-osafterfork says when it has forked, and not when it is about to.
    with suppress(RuntimeError):
        _lock.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has none
    os.register_at_fork(before=_lock.acquire, after_in_parent=_after_fork, after_in_child=_after_fork)


class MemoryStore(Store):
    """Keep sessions in a bounded dictionary; they end with the process.

    When ``max_sessions`` are kept, a new one takes the place of the oldest session of the user who has the most, or of
    the least recently used one where every user has one. All anonymous visitors together count as one user, which
    loses its least recently used session and keeps a tenth of the places.

    Tombstones take nobody's place: a tenth as many are kept beside the sessions, and the oldest go first.
    ``sweep=False``: dead sessions stay until they are displaced, or until somebody calls :meth:`sweep`.
    """

    multiprocess = False

    def __init__(self, max_sessions: int = 100_000, sweep: bool = True) -> None:
        if type(max_sessions) is not int or max_sessions < 1:
            raise ConfigError(f"max_sessions={max_sessions!r}: give a whole number of sessions, 1 or more")
        self._max_sessions = max_sessions
        self._sweeps = sweep
        # Up to so many anonymous sessions are never displaced by others. At most one tombstone more is kept.
        self._reserved = max_sessions // 10
        # Each in the order of use, the least recent first.
        self._anonymous: OrderedDict[bytes, Record] = OrderedDict()
        self._owned: OrderedDict[bytes, Record] = OrderedDict()
        self._tombstones: OrderedDict[bytes, Record] = OrderedDict()
        self._owners = Owners()
        # True in a change to the owned sessions, and after one in which a signal handler has raised.
        self._changing = False
        self._creates = 0

    def load(self, key: bytes, now: float) -> Record | None:
        with _lock:
            kept = self._owned
            record = kept.get(key)
            if record is None:
                kept = self._anonymous
                record = kept.get(key)
                if record is None:
                    kept = self._tombstones
                    record = kept.get(key)
                    if record is None:
                        return None
            if now >= record.expires:
                return None
            kept.move_to_end(key)
            return record

    def create(self, key: bytes, record: Record, now: float) -> None:
        with _lock:
            if key in self._anonymous or key in self._owned or key in self._tombstones:
                stored = self._live(key, now)
                if stored is not None:
                    if stored.version == record.version:
                        return
                    raise KeyExists("a live session is already under this key: draw another token")
                self._remove(key)
            if not record.handle:
                self._put_tombstone(key, record)
                return
            kept = self._make_room()
            self._put(key, record)
            self._creates += 1
            # A sweep looks at every record: so its cost per create is the same, however many are kept.
            if self._sweeps and self._creates >= SWEEP_EVERY and self._creates >= kept >> 2:
                self._creates = 0
                self.sweep_due = True

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        with _lock:
            kept = self._owned
            stored = kept.get(key)
            if stored is None:
                kept = self._anonymous
                stored = kept.get(key)
            if stored is None:
                kept = self._tombstones
                stored = kept.get(key)
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
            kept[key] = make_record(
                (record.data, record.version, handle, created, touched, expires, owner, persistent, idle, namespace)
            )
            kept.move_to_end(key)
            return Outcome.SAVED

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        with _lock:
            there = self._live(new, now)
            if there is not None and there.version == record.version:
                return Outcome.SAVED
            stored = self._live(old, now)
            if stored is None or not stored.handle:
                return Outcome.GONE
            if stored.version != version:
                return Outcome.CONFLICT
            if there is not None:
                raise KeyExists("a live session is already under the new key: draw another token")
            self._remove(new)
            # In this order: where a signal handler raises in between, the session is not lost.
            self._put(new, record)
            self._put_tombstone(old, tombstone_of(new, record, now))
            self._remove_session(old)
            return Outcome.SAVED

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        with _lock:
            stored = self._live(key, now)
            if stored is None or not stored.handle:
                return False
            kept = self._anonymous if stored.owner is None else self._owned
            kept[key] = stored._replace(touched=max(stored.touched, touched), expires=max(stored.expires, expires))
            kept.move_to_end(key)
            return True

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        with _lock:
            stored = self._owned.get(key) or self._anonymous.get(key) or self._tombstones.get(key)
            found = stored is not None and (stored.handle != "" if version is None else stored.version == version)
            if found:
                self._remove(key)
        return found

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions: see ``wsgi_session.stores.ListsOwners``."""
        known: set[bytes] = set()
        waiting: list[bytes] = []
        while True:
            with _lock:
                if self._changing:
                    self._mend()
                if not waiting:
                    # What has been filed since we looked: a rotation files the new key.
                    waiting = self._owners.filed_since(owner, known)
                page = waiting[-OWNED_PAGE:]
                del waiting[-OWNED_PAGE:]
                known.update(page)
                records = list(map(self._owned.get, page))
            if not page:
                return
            for key, record in zip(page, records, strict=True):
                if record is not None and not now >= record.expires:
                    yield owned_session(key, record)

    def count(self, now: float, namespace: str | None = None) -> int:
        with _lock:  # dict.values: OrderedDict's own, which keep to the order, take half as long again.
            records = chain(dict.values(self._owned), dict.values(self._anonymous))
            return sum(1 for one in records if now < one.expires and namespace in (None, one.namespace))

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of every session that was alive when the scan began."""
        with _lock:
            kept = [*dict.items(self._anonymous), *dict.items(self._owned)]
        return ((key, record) for key, record in kept if now < record.expires and has_sound_times(record))

    def sweep(self, limit: int, now: float) -> int:
        self.sweep_due = False
        with _lock:
            dead = self._sweep(max(limit, 0), now - SWEEP_GRACE)
        return len(dead)

    def ping(self) -> None:
        """Return: memory answers."""

    def close(self) -> None:
        """Forget every session."""
        with _lock:
            self._anonymous.clear()
            self._owned.clear()
            self._tombstones.clear()
            self._owners.clear()

    def __repr__(self) -> str:
        # Error reporters show what a constructor was in the middle of.
        return f"MemoryStore(max_sessions={getattr(self, '_max_sessions', 'half made')})"

    # Those below are called with the lock held, and have the loops: Python 3.12 may not end a `with` around one.

    def _sweep(self, limit: int, horizon: float) -> list[bytes]:
        kept = chain(dict.items(self._anonymous), dict.items(self._owned), dict.items(self._tombstones))
        dead = [key for key, record in kept if record.expires < horizon][:limit]
        for key in dead:
            self._remove(key)
        return dead

    def _begin_change(self) -> None:
        if self._changing:
            self._mend()
        self._changing = True

    def _mend(self) -> None:
        """File all owned sessions anew."""
        self._owners.clear()
        for key, record in self._owned.items():
            assert record.owner is not None
            self._owners.file(key, record.owner)
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
        self._owners.file(key, record.owner)
        self._changing = False

    def _put_tombstone(self, key: bytes, record: Record) -> None:
        self._tombstones[key] = record
        if len(self._tombstones) > self._reserved + 1:
            self._tombstones.popitem(last=False)

    def _make_room(self) -> int:
        while (kept := len(self._owned) + len(self._anonymous)) >= self._max_sessions:
            self._displace()
        return kept

    def _displace(self) -> None:
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
        self._owners.unfile(key, record.owner)
        self._changing = False

    def _remove(self, key: bytes) -> bool:
        return self._remove_session(key) or self._tombstones.pop(key, None) is not None

    def _remove_session(self, key: bytes) -> bool:
        if self._anonymous.pop(key, None) is not None:
            return True
        if key not in self._owned:
            return False
        self._begin_change()
        self._owners.unfile(key, self._owned.pop(key).owner)
        self._changing = False
        return True
