"""Sessions in Redis or Valkey, shared by any number of machines. A load and a save take one round trip each."""

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
from wsgi_session.stores.redis.index import HEAD, Index
from wsgi_session.stores.redis.node import Node
from wsgi_session.stores.redis.records import (
    pack,
    pack_change,
    pack_time,
    pack_touch,
    pack_versions,
    unpack,
    unpack_entry,
)
from wsgi_session.stores.redis.scripts import (
    CREATE,
    DELETE,
    DELETE_MANY,
    EXISTS,
    GONE,
    LIST_SESSIONS,
    OWNER,
    REPLACE,
    ROTATE,
    TOUCH,
    Script,
)

KEY_SIZE = 32
# Characters that have a special meaning in a Redis pattern.
_GLOB = re.compile(rb"[*?\[\]\\^-]")
_OUTCOMES = (Outcome.GONE, Outcome.SAVED, Outcome.CONFLICT)


class RedisStore(Store):
    """Keep sessions in the server or cluster of ``client``.

    ``client``: a ``redis.Redis`` (also one from Sentinel), a ``redis.RedisCluster``, or a function that returns a
    ``RedisCluster``. The function is called on first use, because constructing a ``RedisCluster`` contacts the cluster.
    ``prefix``: the beginning of all key names. ``pool``: the maximum number of connections of each process to each
    node. They belong to the store, and use the client's settings (address, login, TLS, timeouts). ``wait``: how many
    replicas must acknowledge a write before it succeeds (Redis WAIT). ``timeout``: seconds that one operation may take,
    including the wait for a connection and every attempt; ``None`` for the client's ``socket_timeout``.

    Nothing is sent before the first call. The server expires each record, by its own clock, soon after its
    ``expires``. Raises ``ConfigError`` for an invalid argument.
    """

    system = "redis"

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
            raise ConfigError("prefix='': give at least one character, so that the store knows its own keys.")
        if type(pool) is not int or pool < 1:
            raise ConfigError(f"pool={pool!r}: give a whole number of connections, 1 or more.")
        if type(wait) is not int or wait < 0:
            raise ConfigError(f"wait={wait!r}: give a whole number of replicas, 0 for none.")
        if timeout is not None and not 0 < timeout <= 3600:
            raise ConfigError(f"timeout={timeout!r}: give a number of seconds, more than 0 and at most 3600.")
        self._prefix = prefix.encode()
        # Tells a script whether a WAIT follows it.
        self._waits = b"1" if wait else b""
        self._warned = False
        self._client: Node | Cluster
        if isinstance(client, Redis):
            self._client = Node(client.connection_pool, pool, wait, timeout)
            self._index = None
            # Scripts that receive this prefix maintain the owner index themselves.
            self._index_prefix = self._prefix
        elif isinstance(client, RedisCluster) or callable(client):
            self._client = Cluster(client, pool, wait, timeout)
            self._index = Index(self._client, self._prefix, self._waits, self._send, self._run_script)
            self._index_prefix = b""
        else:
            raise ConfigError(f"client={client!r}: give a redis.Redis or a redis.RedisCluster (not those of asyncio).")

    def load(self, key: bytes, now: float) -> Record | None:
        name = self._prefix + key
        value = self._send(name, b"GET", name)
        record = None if value is None else unpack(value)
        return None if record is None or now >= record.expires else record

    def create(self, key: bytes, record: Record, now: float) -> None:
        deadline = self._client.deadline()
        if self._index is not None and record.owner is not None:
            self._index.add(record.owner, key, now, record.expires, deadline)
        arguments = pack(record), pack_time(now), self._index_prefix
        if self._run_script(CREATE, self._prefix + key, *arguments, deadline=deadline) == EXISTS:
            raise KeyExists("A live session already exists under this key: generate another token.")

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        change = pack_change(version, record.version, now, record.touched, record.expires)
        arguments, deadline = (change, record.data, self._index_prefix), self._client.deadline()
        # Not repeatable: the second CONFLICT could mean "not applied", or "applied, and another write followed".
        result = self._run_script(REPLACE, self._prefix + key, *arguments, repeatable=False, deadline=deadline)
        if self._index is not None and isinstance(result, bytes):
            self._index.renew(result, key, now, record.expires, deadline)
            return Outcome.SAVED
        return _OUTCOMES[result]

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        if self._index is not None:
            return self._index.rotate(old, new, record, version, now)
        versions = pack_versions(version, record.version, now)
        arguments = (versions, pack(record), pack(tombstone_of(new, record, now)), self._index_prefix)
        result = self._run_script(ROTATE, self._prefix + old, self._prefix + new, *arguments, keys=b"2")
        if result == EXISTS:
            raise KeyExists("A live session already exists under the new key: generate another token.")
        return _OUTCOMES[result]

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        arguments, deadline = (pack_touch(touched, expires, now), self._index_prefix), self._client.deadline()
        result = self._run_script(TOUCH, self._prefix + key, *arguments, deadline=deadline)
        if self._index is not None and isinstance(result, bytes):
            self._index.renew(result, key, now, expires, deadline)
        return bool(result != GONE)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        arguments, deadline = (version or b"", self._waits, self._index_prefix), self._client.deadline()
        result = self._run_script(DELETE, self._prefix + key, *arguments, deadline=deadline)
        if self._index is not None and isinstance(result, bytes):
            owner, ends = unpack_entry(result)
            self._index.remove(owner, key, ends, deadline=deadline)
        return bool(result != GONE)

    def delete_many(self, keys: Sequence[bytes]) -> int:
        names = [self._prefix + key for key in keys]
        if self._index is None:
            return int(self._run_script(DELETE_MANY, *names, self._waits, self._index_prefix, keys=b"%d" % len(names)))
        arguments = b"", self._waits, b""
        commands = [(b"EVALSHA", DELETE.sha, b"1", name, *arguments) for name in names]
        owned: defaultdict[bytes, list[bytes]] = defaultdict(list)
        deleted = 0
        deadline = self._client.deadline()
        results = self._client.call_many(names, commands, writes=True, deadline=deadline)
        for key, name, result in zip(keys, names, results, strict=True):
            if isinstance(result, ResponseError):  # The node does not know the script yet, or the key is on another.
                result = self._run_script(DELETE, name, *arguments, deadline=deadline)
            if isinstance(result, bytes):
                owner, ends = unpack_entry(result)
                owned[owner] += key, ends
            deleted += result != GONE
        for owner, ended in owned.items():
            self._index.remove(owner, *ended, deadline=deadline)
        return deleted

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions; see ``wsgi_session.stores.ListsOwners``."""
        if self._index is not None:
            yield from self._index.of_owner(owner, now)
            return
        name = self._prefix + OWNER + owner
        begin, before = b"%.17g" % now, frozenset[bytes]()
        while True:
            page = (self._prefix, begin, b"%d" % OWNED_PAGE)
            entries, last, *found = self._run_script(LIST_SESSIONS, name, *page, writes=False)
            for key, head in zip(found[::2], found[1::2], strict=True):
                record = unpack(head)
                # "not >=", so that a corrupt record whose end is NaN is listed, and can be ended.
                if key not in before and record is not None and not now >= record.expires:
                    yield owned_session(key, record)
            if entries < OWNED_PAGE or last == begin:
                return
            # If several sessions end at the same time, the last ones of this page are the first ones of the next.
            begin, before = last, frozenset(found[::2])

    def count(self, now: float, namespace: str | None = None) -> int:
        """Count the sessions by the head of each record, because Redis keeps no number of them; see ``Counts``."""
        heads = self._scan(now, b"GETRANGE", b"0", b"%d" % (HEAD - 1))
        return sum(1 for _, record in heads if namespace in (None, record.namespace))

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield all sessions of the server, or of each primary of a cluster; see ``wsgi_session.stores.Scans``."""
        return self._scan(now, b"GET")

    def _scan(self, now: float, command: bytes, *arguments: bytes) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of each live session, as ``command`` reads it."""
        seen: set[bytes] = set()
        length = len(self._prefix) + KEY_SIZE  # The name of an owner index is longer.
        for batch in self._client.scan(_GLOB.sub(rb"\\\g<0>", self._prefix) + b"*"):
            names = [name for name in batch if len(name) == length and name not in seen]
            seen.update(names)
            read = [(command, name, *arguments) for name in names]
            for name, value in zip(names, self._client.call_many(names, read), strict=True):
                if isinstance(value, ResponseError):  # The key has moved to another node, or is not a string.
                    with suppress(ResponseError):
                        value = self._client.call(name, command, name, *arguments)
                record = unpack(value) if isinstance(value, bytes) and value else None
                if record is not None and record.handle and now < record.expires and has_sound_times(record):
                    yield name[len(self._prefix) :], record

    def ping(self) -> None:
        """Return if every primary answers and accepts writes. Warns once if a primary may evict live sessions."""
        deadline = self._client.deadline()
        self._write_everywhere(deadline)
        for policy in self._client.eviction_policies(deadline):
            if policy != "noeviction" and not self._warned:
                self._warned = True
                logger.warning(
                    "Redis may evict live sessions, and the index that revoking them needs, when its memory is full: "
                    "maxmemory-policy is %s. Set it to noeviction.",
                    policy,
                )

    def await_replicas(self) -> None:
        """Return when ``wait`` replicas have every earlier write; see ``Store.await_replicas``."""
        if self._waits:
            self._write_everywhere(self._client.deadline())

    def close(self) -> None:
        self._client.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_client"):  # Error reporters show the store while its constructor is still running.
            return "RedisStore(half made)"
        return f"RedisStore({self._client!r}, prefix={self._prefix.decode()!r})"

    def _write_everywhere(self, deadline: float) -> None:
        for name in self._client.names(self._prefix + b"ping", deadline):
            self._send(name, b"SET", name, b"", b"PX", b"1", writes=True, deadline=deadline)

    def _run_script(
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
            deadline = self._client.deadline()
        command = keys, name, *arguments
        try:
            return self._client.call(
                name, b"EVALSHA", script.sha, *command, writes=writes, repeatable=repeatable, deadline=deadline
            )
        except NoScriptError:
            # The server was restarted, has flushed its scripts, or is a new primary. EVAL makes it cache the script.
            return self._send(
                name, b"EVAL", script.source, *command, writes=writes, repeatable=repeatable, deadline=deadline
            )
        except ResponseError as error:
            raise self._store_error(error) from error

    def _send(
        self,
        name: bytes,
        *command: bytes,
        writes: bool = False,
        repeatable: bool = True,
        deadline: float | None = None,
    ) -> Any:
        try:
            return self._client.call(name, *command, writes=writes, repeatable=repeatable, deadline=deadline)
        except ResponseError as error:
            raise self._store_error(error) from error

    def _store_error(self, error: ResponseError) -> StoreUnavailable:
        if isinstance(error, AskError) or str(error).startswith("MOVED "):
            return StoreUnavailable(f"Redis at {self._client!r} is part of a cluster: use redis+cluster:// ({error}).")
        return StoreUnavailable(f"Redis at {self._client!r} rejected the command: {error}")
