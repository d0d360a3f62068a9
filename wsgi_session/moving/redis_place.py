"""Records of another library in Redis or Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from wsgi_session.errors import ConfigError
from wsgi_session.moving.places import Found, Place, outage
from wsgi_session.moving.reader import NotAdopted
from wsgi_session.stores.redis.failures import FAILURES
from wsgi_session.stores.redis.urls import CONNECT_TIMEOUT, TIMEOUT
from wsgi_session.stores.urls.parts import without_secrets


class RedisPlace(Place):
    """Keys of one Redis database. ``server``: a ``redis://`` URL, or a client without ``decode_responses``."""

    def __init__(self, server: Any) -> None:
        if isinstance(server, str):
            self.name = without_secrets(server)
            # A visitor waits for the answer. Pools of redis-py survive a fork.
            server = Redis.from_url(server, socket_connect_timeout=CONNECT_TIMEOUT, socket_timeout=TIMEOUT)
        else:
            self.name = "Redis"
        if not callable(getattr(server, "pttl", None)):
            raise ConfigError(
                f"The old store is of type {type(server).__name__}: give a redis:// URL or a Redis client."
            )
        pool = getattr(server, "connection_pool", None)
        if pool is not None and pool.connection_kwargs.get("decode_responses"):
            raise ConfigError(
                "The Redis client has decode_responses=True: sessions are bytes. Give a client without it."
            )
        self._client = server

    def get(self, key: str, now: float) -> Found | None:
        try:
            data = self._client.get(key)
            life = -2 if data is None else self._client.pttl(key)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise NotAdopted("corrupt", "the key is not a string") from None
            raise outage(self.name, error) from None
        except FAILURES as error:
            raise outage(self.name, error) from None
        if data is None or life == -2:
            return None
        return Found(bytes(data), None if life < 0 else now + life / 1000)

    def delete(self, key: str) -> None:
        try:
            self._client.delete(key)
        except FAILURES as error:
            raise outage(self.name, error) from None

    def keys(self, prefix: str) -> Iterator[str]:
        # The characters that have a meaning in a pattern.
        pattern = "".join(f"\\{sign}" if sign in r"*?[]^\-" else sign for sign in prefix) + "*"
        try:
            for key in self._client.scan_iter(match=pattern, count=500):
                yield key.decode(errors="surrogateescape")
        except FAILURES as error:
            raise outage(self.name, error) from None
