"""The owner index of a Redis cluster, where it lies on another node than the sessions that it lists.

An entry comes before its record and goes after it, so that no record is ever unlisted. What is left over when a process
dies in between is an entry without a record, and goes when the owner's sessions are next listed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wsgi_session.errors import KeyExists, StoreUnavailable
from wsgi_session.stores import Outcome, Record, tombstone_of
from wsgi_session.stores.redis_cluster import Cluster
from wsgi_session.stores.redis_records import pack, pack_time, pack_times, pack_versions, unpack
from wsgi_session.stores.redis_scripts import (
    AGAIN,
    CONFLICT,
    CREATE,
    DELETE,
    DONE,
    ENLIST,
    EXISTS,
    GONE,
    HEAL,
    MOVE,
    OWNER,
    YOUNG,
)

#: Looks at an owner who rotates all the time, before what was found is the answer.
MANY_LOOKS = 8


class Index:
    """Which sessions an owner has. ``call`` sends a command and ``run`` a script, as ``RedisStore`` does."""

    def __init__(self, cluster: Cluster, prefix: bytes, call: Callable[..., Any], run: Callable[..., Any]) -> None:
        self._cluster = cluster
        self._prefix = prefix
        self._call = call
        self._run = run

    def enter(self, owner: bytes, key: bytes, now: float, expires: float) -> None:
        """List ``key`` for at least as long as a record that dies at ``expires``: before there is one."""
        self._run(ENLIST, self._prefix + OWNER + owner, key, pack_times(now, expires))

    def extend(self, owner: bytes, key: bytes, now: float, expires: float) -> None:
        """The same when a record has been renewed. Best effort: the list lives for twice as long as its sessions."""
        with suppress(StoreUnavailable):
            self.enter(owner, key, now, expires)

    def strike(self, owner: bytes, key: bytes) -> None:
        """Take ``key`` off the list when its record is gone. Best effort: what stays goes with the next look."""
        name = self._prefix + OWNER + owner
        with suppress(StoreUnavailable):
            self._call(name, b"ZREM", name, key, writes=True)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        """Rotate in two steps: the new record first, then the old one, if it is still what it was, into a tombstone.

        The tombstone has the new record's version. So this very call, when it is made again because its answer was
        lost, knows whether it came to its end the first time (SAVED), or somebody has ended the session (GONE).
        """
        before, after = self._prefix + old, self._prefix + new
        if record.owner is not None:
            self.enter(record.owner, new, now, record.expires)
        created = self._run(CREATE, after, pack(record), pack_time(now), b"")
        if created == EXISTS:
            raise KeyExists("a live session is already under the new key: draw another token")
        try:
            versions = pack_versions(version, record.version, now)
            result = self._run(MOVE, before, versions, pack(tombstone_of(new, record, now)), b"")
            if result == AGAIN and created == DONE:
                # Both steps had been taken before, and since then somebody has ended the session.
                result = GONE
            if result in (GONE, CONFLICT):
                self._run(DELETE, after, record.version, b"")
        except StoreUnavailable as error:
            error.answer_lost = True  # There are two records now. The same call, made again, brings it to an end.
            raise
        if result in (GONE, CONFLICT):
            if record.owner is not None:
                self.strike(record.owner, new)
            return Outcome.GONE if result == GONE else Outcome.CONFLICT
        if isinstance(result, bytes):
            self.strike(result, old)
        return Outcome.SAVED

    def of_owner(self, owner: bytes, now: float) -> dict[bytes, Record]:
        """Return the records of an owner's sessions, one that is being rotated at this moment included.

        An entry whose record is not there may be one that has just moved, to an entry that was not there yet, or whose
        record was not: so we look again, until twice nothing new has come. (Listed, not created: the record of an entry
        that the first look knew is there by the second. Moved on since: its new entry is there by the third.)
        """
        name = self._prefix + OWNER + owner
        found: dict[bytes, Record] = {}
        known: set[bytes] = set()
        quiet = looks = 0
        while True:
            listed = set(self._call(name, b"ZRANGE", name, b"0", b"-1"))
            missing = [key for key in listed if key not in found]
            quiet = quiet + 1 if listed <= known else 0
            looks += 1
            if not missing or quiet == 2 or (found and looks > MANY_LOOKS):
                break
            known |= listed
            for key, value in zip(missing, self._cluster.get([self._prefix + key for key in missing]), strict=True):
                record = None if value is None else unpack(value)
                if record is not None and record.owner == owner:
                    found[key] = record
        if missing:
            self._run(HEAL, name, pack_time(now - YOUNG), *missing)
        return found
