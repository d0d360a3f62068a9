"""Sessions in Redis or Valkey: many machines, one round trip a load and one a save."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import AskError, NoScriptError, ResponseError

from wsgi_session.errors import ConfigError, KeyExists, StoreUnavailable
from wsgi_session.events import logger
from wsgi_session.stores.contract import (
    OWNED_PAGE,
    Outcome,
    OwnedSession,
    Record,
    Store,
    has_sound_times,
    owned_session,
    tombstone_of,
)
from wsgi_session.stores.redis.cluster import Cluster
from wsgi_session.stores.redis.index import Index
from wsgi_session.stores.redis.node import Node
from wsgi_session.stores.redis.records import pack, pack_change, pack_time, pack_touch, pack_versions, unpack
from wsgi_session.stores.redis.scripts import (
    CREATE,
    DELETE,
    DELETE_MANY,
    EXISTS,
    GONE,
    OWNED,
    OWNER,
    REPLACE,
    ROTATE,
    TOUCH,
    Script,
)

KEY_SIZE = 32
# What means something in a pattern.
_GLOB = re.compile(rb"[*?\[\]\\^-]")
_OUTCOMES = (Outcome.GONE, Outcome.SAVED, Outcome.CONFLICT)


class RedisStore(Store):
    """Keep sessions where ``client`` leads: a ``redis.Redis`` (Sentinel's too), a ``redis.RedisCluster``, or a function
    that makes the latter when it is first needed, as making one asks the cluster.

    ``prefix``: what the names of all keys begin with. ``pool``: how many connections each process opens at most, to
    each node; they are the store's own, made with the client's settings (address, login, TLS, time-outs).
    ``wait``: how many replicas must have a write before it counts (Redis WAIT). ``timeout``: seconds that one operation
    may take, with the wait for a connection and with every attempt; ``None`` for the client's ``socket_timeout``.

    Nothing is sent before the first call. Each record expires by the server's clock soon after it is dead by ours.
    """

    def __init__(
        self,
        client: Redis | RedisCluster | Callable[[], RedisCluster],
        *,
        prefix: str = "session:",
        pool: int = 64,
        wait: int = 0,
        timeout: float | None = None,
    ) -> None:
        if not prefix:
            raise ConfigError("prefix='': give at least one character, which tells the store's keys from others")
        if type(pool) is not int or pool < 1:
            raise ConfigError(f"pool={pool!r}: give a whole number of connections, 1 or more")
        if type(wait) is not int or wait < 0:
            raise ConfigError(f"wait={wait!r}: give a whole number of replicas, 0 for none")
        if timeout is not None and not 0 < timeout <= 3600:
            raise ConfigError(f"timeout={timeout!r}: give seconds, more than 0 and at most 3600")
        self._prefix = prefix.encode()
        self._warned = False
        self._link: Node | Cluster
        if isinstance(client, Redis):
            self._link = Node(client.connection_pool, pool, wait, timeout)
            self._index = None
            # Scripts keep the owner index themselves if they are told where it is.
            self._inside = self._prefix
        elif isinstance(client, RedisCluster) or callable(client):
            self._link = Cluster(client, pool, wait, timeout)
            self._index = Index(self._link, self._prefix, self._call, self._run)
            self._inside = b""
        else:
            raise ConfigError(f"client={client!r}: give a redis.Redis or a redis.RedisCluster (not those of asyncio)")

    def load(self, key: bytes, now: float) -> Record | None:
        name = self._prefix + key
        value = self._call(name, b"GET", name)
        record = None if value is None else unpack(value)
        return None if record is None or now >= record.expires else record

    def create(self, key: bytes, record: Record, now: float) -> None:
        deadline = self._link.deadline()
        if self._index is not None and record.owner is not None:
            self._index.enter(record.owner, key, now, record.expires, deadline)
        arguments = pack(record), pack_time(now), self._inside
        if self._run(CREATE, self._prefix + key, *arguments, deadline=deadline) == EXISTS:
            raise KeyExists("a live session is already under this key: draw another token")

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        change = pack_change(version, record.version, now, record.touched, record.expires)
        arguments, deadline = (change, record.data, self._inside), self._link.deadline()
        # Not repeatable: CONFLICT would then mean "not applied", or "applied, and somebody wrote after it".
        result = self._run(REPLACE, self._prefix + key, *arguments, repeatable=False, deadline=deadline)
        if self._index is not None and isinstance(result, bytes):
            self._index.extend(result, key, now, record.expires, deadline)
            return Outcome.SAVED
        return _OUTCOMES[result]

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        if self._index is not None:
            return self._index.rotate(old, new, record, version, now)
        versions = pack_versions(version, record.version, now)
        arguments = (versions, pack(record), pack(tombstone_of(new, record, now)), self._inside)
        result = self._run(ROTATE, self._prefix + old, self._prefix + new, *arguments, keys=b"2")
        if result == EXISTS:
            raise KeyExists("a live session is already under the new key: draw another token")
        return _OUTCOMES[result]

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        arguments, deadline = (pack_touch(touched, expires, now), self._inside), self._link.deadline()
        result = self._run(TOUCH, self._prefix + key, *arguments, deadline=deadline)
        if self._index is not None and isinstance(result, bytes):
            self._index.extend(result, key, now, expires, deadline)
        return bool(result != GONE)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        deadline = self._link.deadline()
        result = self._run(DELETE, self._prefix + key, version or b"", self._inside, deadline=deadline)
        if self._index is not None and isinstance(result, bytes):
            self._index.strike(result, key, deadline=deadline)
        return bool(result != GONE)

    def delete_many(self, keys: Sequence[bytes]) -> int:
        names = [self._prefix + key for key in keys]
        if self._index is None:
            return int(self._run(DELETE_MANY, *names, self._inside, keys=b"%d" % len(names)))
        commands = [(b"EVALSHA", DELETE.sha, b"1", name, b"", b"") for name in names]
        owned: defaultdict[bytes, list[bytes]] = defaultdict(list)
        deleted = 0
        deadline = self._link.deadline()
        results = self._link.several(names, commands, writes=True, deadline=deadline)
        for key, name, result in zip(keys, names, results, strict=True):
            if isinstance(result, ResponseError):  # The node has yet to learn the script, or the key is elsewhere.
                result = self._run(DELETE, name, b"", b"", deadline=deadline)
            if isinstance(result, bytes):
                owned[result].append(key)
            deleted += result != GONE
        for owner, ended in owned.items():
            self._index.strike(owner, *ended, deadline=deadline)
        return deleted

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions: see ``wsgi_session.stores.ListsOwners``."""
        if self._index is not None:
            yield from self._index.of_owner(owner, now)
            return
        name = self._prefix + OWNER + owner
        begin, before = b"%.17g" % now, frozenset[bytes]()
        while True:
            page = (self._prefix, begin, b"%d" % OWNED_PAGE)
            looked_at, last, *found = self._run(OWNED, name, *page, writes=False)
            for key, head in zip(found[::2], found[1::2], strict=True):
                record = unpack(head)
                if key not in before and record is not None and not now >= record.expires:
                    yield owned_session(key, record)
            if looked_at < OWNED_PAGE or last == begin:
                return
            # Where several end at once, the last of this page are the first of the next.
            begin, before = last, frozenset(found[::2])

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Go through all keys of the server, or of each primary: see ``wsgi_session.stores.Scans``."""
        seen: set[bytes] = set()
        length = len(self._prefix) + KEY_SIZE  # An index has a longer name.
        for batch in self._link.scan(_GLOB.sub(rb"\\\g<0>", self._prefix) + b"*"):
            names = [name for name in batch if len(name) == length and name not in seen]
            seen.update(names)
            read = [(b"GET", name) for name in names]
            for name, value in zip(names, self._link.several(names, read), strict=True):
                if isinstance(value, ResponseError):  # The key is elsewhere by now, or not a string.
                    with suppress(ResponseError):
                        value = self._link.call(name, b"GET", name)
                record = unpack(value) if isinstance(value, bytes) else None
                if record is not None and record.handle and now < record.expires and has_sound_times(record):
                    yield name[len(self._prefix) :], record

    def ping(self) -> None:
        """Return if every primary answers and can be written to. Warns, once, where it may evict live sessions."""
        name = self._prefix + b"ping"
        deadline = self._link.deadline()
        self._call(name, b"SET", name, b"", b"PX", b"1", writes=True, deadline=deadline)
        for policy in self._link.eviction(deadline):
            if policy != "noeviction" and not self._warned:
                self._warned = True
                logger.warning(
                    "Redis may evict live sessions, and the index that revoking them needs, when its memory is full: "
                    "maxmemory-policy is %s; set it to noeviction",
                    policy,
                )

    def close(self) -> None:
        self._link.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_link"):  # Error reporters show what a constructor was in the middle of.
            return "RedisStore(half made)"
        return f"RedisStore({self._link!r}, prefix={self._prefix.decode()!r})"

    def _run(
        self,
        script: Script,
        name: bytes,
        *arguments: bytes,
        keys: bytes = b"1",
        writes: bool = True,
        repeatable: bool = True,
        deadline: float | None = None,
    ) -> Any:
        if deadline is None:
            deadline = self._link.deadline()
        command = keys, name, *arguments
        try:
            return self._link.call(
                name, b"EVALSHA", script.sha, *command, writes=writes, repeatable=repeatable, deadline=deadline
            )
        except NoScriptError:
            # The server was restarted, flushed its scripts, or is a new primary. With EVAL it learns this one.
            return self._call(
                name, b"EVAL", script.source, *command, writes=writes, repeatable=repeatable, deadline=deadline
            )
        except ResponseError as error:
            raise self._refused(error) from error

    def _call(
        self,
        name: bytes,
        *command: bytes,
        writes: bool = False,
        repeatable: bool = True,
        deadline: float | None = None,
    ) -> Any:
        try:
            return self._link.call(name, *command, writes=writes, repeatable=repeatable, deadline=deadline)
        except ResponseError as error:
            raise self._refused(error) from error

    def _refused(self, error: ResponseError) -> StoreUnavailable:
        if isinstance(error, AskError) or str(error).startswith("MOVED "):
            return StoreUnavailable(f"Redis at {self._link!r} is part of a cluster: write redis+cluster:// ({error})")
        return StoreUnavailable(f"Redis at {self._link!r} refused: {error}")
