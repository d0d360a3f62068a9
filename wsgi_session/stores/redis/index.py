"""The owner index of a Redis cluster, where it lies on another node than the sessions that it lists.

An entry comes before its record and goes after it, so that no record is ever unlisted. What is left over when a process
dies in between is an entry without a record. It goes with a later write, when the session would have ended.
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
from wsgi_session.stores.redis.records import pack, pack_time, pack_times, pack_versions, unpack
from wsgi_session.stores.redis.scripts import (
    AGAIN,
    CONFLICT,
    CREATE,
    DELETE,
    DONE,
    ENLIST,
    EXISTS,
    GONE,
    LISTED,
    MOVE,
    OWNER,
)

#: Looks at an owner who rotates all the time, before what was found is the answer.
MANY_LOOKS = 8
#: Records whose heads are asked for at once: the client is busy for 1 ms with them, in which other threads wait.
HEADS_AT_ONCE = 50
#: Bytes of a record that hold more than its head, whatever its handle and namespace.
HEAD = 1024


class Index:
    """Which sessions an owner has. ``call`` sends a command and ``run`` a script, as ``RedisStore`` does.

    ``deadline``: when the operation that a step is part of has to be done; see ``Node``.
    """

    def __init__(self, cluster: Cluster, prefix: bytes, call: Callable[..., Any], run: Callable[..., Any]) -> None:
        self._cluster = cluster
        self._prefix = prefix
        self._call = call
        self._run = run

    def enter(self, owner: bytes, key: bytes, now: float, expires: float, deadline: float) -> None:
        """List ``key`` for at least as long as a record that dies at ``expires``: before there is one."""
        dead = self._run(ENLIST, self._prefix + OWNER + owner, key, pack_times(now, expires), deadline=deadline)
        if dead:
            self._forget_dead(owner, dead, now, deadline)

    def extend(self, owner: bytes, key: bytes, now: float, expires: float, deadline: float) -> None:
        """The same when a record has been renewed. Best effort: the list lives for twice as long as its sessions."""
        with suppress(StoreUnavailable):
            self.enter(owner, key, now, expires, deadline)

    def strike(self, owner: bytes, *keys: bytes, deadline: float) -> None:
        """Take ``keys`` off the list when their records are gone. Best effort: what stays goes when it is dead."""
        name = self._prefix + OWNER + owner
        with suppress(StoreUnavailable):
            self._call(name, b"ZREM", name, *keys, writes=True, deadline=deadline)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        """Rotate in two steps: the new record first, then the old one, if it is still what it was, into a tombstone.

        The tombstone has the new record's version. So this very call, when it is made again because its answer was
        lost, knows whether it came to its end the first time (SAVED), or somebody has ended the session (GONE).
        """
        before, after = self._prefix + old, self._prefix + new
        deadline = self._cluster.deadline()
        if record.owner is not None:
            self.enter(record.owner, new, now, record.expires, deadline)
        created = self._run(CREATE, after, pack(record), pack_time(now), b"", deadline=deadline)
        if created == EXISTS:
            raise KeyExists("a live session is already under the new key: draw another token")
        try:
            versions = pack_versions(version, record.version, now)
            tombstone = pack(tombstone_of(new, record, now))
            result = self._run(MOVE, before, versions, tombstone, b"", deadline=deadline)
            if result == AGAIN and created == DONE:
                # Both steps had been taken before, and since then somebody has ended the session.
                result = GONE
            if result in (GONE, CONFLICT):
                self._run(DELETE, after, record.version, b"", deadline=deadline)
        except StoreUnavailable as error:
            error.answer_lost = True  # There are two records now. The same call, made again, brings it to an end.
            raise
        if result in (GONE, CONFLICT):
            if record.owner is not None:
                self.strike(record.owner, new, deadline=deadline)
            return Outcome.GONE if result == GONE else Outcome.CONFLICT
        if isinstance(result, bytes):
            self.strike(result, old, deadline=deadline)
        return Outcome.SAVED

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the sessions of an owner, one that is being rotated at this moment included.

        An entry whose record is not there may be one that has just moved, to an entry that was not there yet, or whose
        record was not: so we look again, until twice nothing new has come. (Listed, not created: the record of an entry
        that the first look knew is there by the second. Moved on since: its new entry is there by the third.)
        """
        found: set[bytes] = set()
        known: set[bytes] = set()
        quiet = looks = 0
        while True:
            news = missing = False
            for keys in self._pages(owner):
                news = news or not known.issuperset(keys)
                known.update(keys)
                wanted = [key for key in keys if key not in found]
                for first in range(0, len(wanted), HEADS_AT_ONCE):
                    heads = self._heads(owner, wanted[first : first + HEADS_AT_ONCE], self._cluster.deadline())
                    found.update(heads)
                    for key, record in heads.items():
                        if not now >= record.expires:
                            yield owned_session(key, record)
                missing = missing or not found.issuperset(keys)
            quiet = 0 if news else quiet + 1
            looks += 1
            if not missing or quiet == 2 or (found and looks > MANY_LOOKS):
                return

    def _pages(self, owner: bytes) -> Iterator[list[bytes]]:
        """Yield the keys that an owner's index lists, ``OWNED_PAGE`` at a time, the first to end first."""
        name = self._prefix + OWNER + owner
        last = b"-inf"
        while True:
            entries = self._run(LISTED, name, last, b"%d" % OWNED_PAGE, writes=False)
            yield entries[::2]
            if len(entries) < 2 * OWNED_PAGE or entries[-1] == last:
                return
            last = entries[-1]

    def _heads(self, owner: bytes, keys: Sequence[bytes], deadline: float) -> dict[bytes, Record]:
        """Return the owner's records among ``keys``, without their data."""
        names = [self._prefix + key for key in keys]
        read = [(b"GETRANGE", name, b"0", b"%d" % (HEAD - 1)) for name in names]
        heads: dict[bytes, Record] = {}
        answers = self._cluster.several(names, read, deadline=deadline)
        for key, name, command, answer in zip(keys, names, read, answers, strict=True):
            if isinstance(answer, ResponseError):  # Redirected, most likely.
                answer = self._call(name, *command, deadline=deadline)
            record = unpack(answer) if answer else None
            if record is not None and record.owner == owner:
                heads[key] = record
        return heads

    def _forget_dead(self, owner: bytes, keys: Sequence[bytes], now: float, deadline: float) -> None:
        """Take those of ``keys`` off an owner's list that have no record. Best effort.

        The entry of one that has lives on: it was not told of a renewal.
        """
        name = self._prefix + OWNER + owner
        with suppress(StoreUnavailable):
            alive = self._heads(owner, keys, deadline)
            gone = [key for key in keys if key not in alive]
            if gone:
                self._call(name, b"ZREM", name, *gone, writes=True, deadline=deadline)
            for key, record in alive.items():
                self._run(ENLIST, name, key, pack_times(now, record.expires), deadline=deadline)
