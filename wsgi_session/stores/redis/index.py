"""The owner index in a Redis cluster, where it is usually on another node than the sessions that it lists.

An entry is added before its record and removed after it, so that every record is always listed. If a process dies in
between, an entry without a record is left. A later write for that owner removes it, after the session would have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ResponseError

from wsgi_session.errors import KeyExists, StoreUnavailable
from wsgi_session.stores.contract import (
    OWNED_PAGE,
    Outcome,
    OwnedSession,
    Record,
    owned_session,
    tombstone_of,
)
from wsgi_session.stores.redis.cluster import Cluster
from wsgi_session.stores.redis.lua import DEAD_AFTER
from wsgi_session.stores.redis.records import pack, pack_time, pack_times, pack_versions, unpack, unpack_entry
from wsgi_session.stores.redis.scripts import (
    ADD_ENTRY,
    ALREADY_DONE,
    CONFLICT,
    CREATE,
    DELETE,
    DONE,
    EXISTS,
    GONE,
    LEAVE_TOMBSTONE,
    LIST_KEYS,
    OWNER,
    REMOVE_ENTRIES,
)

#: How many times an owner's index is read while rotations keep changing it, before the listing ends.
MAX_READS = 8
#: How many records' heads are requested together: the client needs 1 ms for these, in which other threads wait.
HEADS_AT_ONCE = 50
#: Bytes from the beginning of a record that always contain its head, whatever its handle and namespace.
HEAD = 1024


class Index:
    """The keys of each owner's sessions. ``send`` and ``run_script`` are the methods of ``RedisStore``.

    ``waits``: an argument of the script ``DELETE``, not empty if a WAIT follows each write.

    The methods take the ``deadline`` of the operation that they are a part of; see ``Node``.
    """

    def __init__(
        self, cluster: Cluster, prefix: bytes, waits: bytes, send: Callable[..., Any], run_script: Callable[..., Any]
    ) -> None:
        self._cluster = cluster
        self._prefix = prefix
        self._waits = waits
        self._send = send
        self._run_script = run_script

    def add(self, owner: bytes, key: bytes, now: float, expires: float, deadline: float) -> None:
        """Add ``key``, before its record is created, for at least as long as the record lives."""
        self._add(owner, key, now, expires, b"1", deadline)

    def renew(self, owner: bytes, key: bytes, now: float, expires: float, deadline: float) -> None:
        """Renew the entry after its record was renewed. Best effort: the index lives twice as long as its sessions."""
        with suppress(StoreUnavailable):
            self._add(owner, key, now, expires, b"", deadline)

    def _add(self, owner: bytes, key: bytes, now: float, expires: float, new: bytes, deadline: float) -> None:
        name = self._prefix + OWNER + owner
        dead = self._run_script(ADD_ENTRY, name, key, pack_times(now, expires), new, deadline=deadline)
        if dead:
            self._remove_dead(owner, dead, now, deadline)

    def remove(self, owner: bytes, *keys_and_ends: bytes, deadline: float) -> None:
        """Remove keys after their records were deleted. Best effort: a later write removes the dead entries.

        ``keys_and_ends``: each key, followed by the packed time at which its session would have ended. If a new session
        was created under the key since, its entry stays.
        """
        with suppress(StoreUnavailable):
            self._run_script(REMOVE_ENTRIES, self._prefix + OWNER + owner, *keys_and_ends, deadline=deadline)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        """Rotate in two steps: create the new record; then, if the old one has ``version``, replace it by a tombstone.

        The tombstone has the new record's version. So a retry after a lost reply can tell whether the first attempt
        has completed (``SAVED``) or the session has ended since (``GONE``).
        """
        before, after = self._prefix + old, self._prefix + new
        deadline = self._cluster.deadline()
        if record.owner is not None:
            self.add(record.owner, new, now, record.expires, deadline)
        created = self._run_script(CREATE, after, pack(record), pack_time(now), b"", deadline=deadline)
        if created == EXISTS:
            raise KeyExists("A live session already exists under the new key: generate another token.")
        try:
            versions = pack_versions(version, record.version, now)
            tombstone = pack(tombstone_of(new, record, now))
            result = self._run_script(LEAVE_TOMBSTONE, before, versions, tombstone, b"", deadline=deadline)
            if result == ALREADY_DONE and created == DONE:
                # An earlier attempt completed both steps, and the session has been ended since.
                result = GONE
            if result in (GONE, CONFLICT):
                self._run_script(DELETE, after, record.version, self._waits, b"", deadline=deadline)
        except StoreUnavailable as error:
            error.answer_lost = True  # Both records may exist now. The same call, repeated, completes the rotation.
            raise
        if result in (GONE, CONFLICT):
            if record.owner is not None:
                self.remove(record.owner, new, pack_time(record.expires), deadline=deadline)
            return Outcome.GONE if result == GONE else Outcome.CONFLICT
        if isinstance(result, bytes):
            owner, ends = unpack_entry(result)
            self.remove(owner, old, ends, deadline=deadline)
        return Outcome.SAVED

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the sessions of an owner, including one that is being rotated at this moment.

        An entry without a record may belong to a session that is being rotated: when the index was read, its new entry
        or its new record may not have existed yet. So the index is read again until two reads in a row bring no new
        entry. (A record that was listed but not created yet exists by the second read. If the session has been rotated
        since, its new entry is in the index by the third.)
        """
        found: set[bytes] = set()
        known: set[bytes] = set()
        unchanged_reads = reads = 0
        while True:
            changed = missing = False
            for keys in self._pages(owner):
                changed = changed or not known.issuperset(keys)
                known.update(keys)
                unread = [key for key in keys if key not in found]
                for first in range(0, len(unread), HEADS_AT_ONCE):
                    heads = self._heads(owner, unread[first : first + HEADS_AT_ONCE], self._cluster.deadline())
                    found.update(heads)
                    for key, record in heads.items():
                        # "not >=", so that a corrupt record whose end is NaN is listed, and can be ended.
                        if not now >= record.expires:
                            yield owned_session(key, record)
                missing = missing or not found.issuperset(keys)
            unchanged_reads = 0 if changed else unchanged_reads + 1
            reads += 1
            if not missing or unchanged_reads == 2 or (found and reads > MAX_READS):
                return

    def _pages(self, owner: bytes) -> Iterator[list[bytes]]:
        """Yield the keys in an owner's index, ``OWNED_PAGE`` at a time, in the order in which the sessions end."""
        name = self._prefix + OWNER + owner
        last = b"-inf"
        while True:
            entries = self._run_script(LIST_KEYS, name, last, b"%d" % OWNED_PAGE, writes=False)
            yield entries[::2]
            if len(entries) < 2 * OWNED_PAGE or entries[-1] == last:
                return
            last = entries[-1]

    def _heads(self, owner: bytes, keys: Sequence[bytes], deadline: float) -> dict[bytes, Record]:
        """Return the owner's records among ``keys``, without their data."""
        names = [self._prefix + key for key in keys]
        read = [(b"GETRANGE", name, b"0", b"%d" % (HEAD - 1)) for name in names]
        heads: dict[bytes, Record] = {}
        answers = self._cluster.call_many(names, read, deadline=deadline)
        for key, name, command, answer in zip(keys, names, read, answers, strict=True):
            if isinstance(answer, ResponseError):  # Most likely a redirection; _send() follows it.
                answer = self._send(name, *command, deadline=deadline)
            record = unpack(answer) if answer else None
            if record is not None and record.owner == owner:
                heads[key] = record
        return heads

    def _remove_dead(self, owner: bytes, keys: Sequence[bytes], now: float, deadline: float) -> None:
        """Remove those of ``keys`` from an owner's index that have no record. Best effort.

        If a key has a record, an earlier renewal did not reach the index, and its entry is renewed.
        """
        name = self._prefix + OWNER + owner
        with suppress(StoreUnavailable):
            alive = self._heads(owner, keys, deadline)
            gone = [key for key in keys if key not in alive]
            if gone:
                # If a session was created under one of these keys meanwhile, its entry ends later, and so stays.
                dead = pack_time(now - DEAD_AFTER)
                self.remove(owner, *(part for key in gone for part in (key, dead)), deadline=deadline)
            for key, record in alive.items():
                self._run_script(ADD_ENTRY, name, key, pack_times(now, record.expires), b"", deadline=deadline)
