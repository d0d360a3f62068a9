"""From a URL to a ``RedisStore``: one server, a cluster, or the primary that Sentinel names.

======================================================================= ================================================
``redis://user:password@host:6379/0``                                    one server, Redis or Valkey, database 0
``rediss://…``                                                           the same over TLS
``unix://user:password@/run/redis.sock?db=0``                            the same over a socket file
``redis+cluster://user:password@host:6379,host:6379``                    a cluster, and some of its nodes to ask first
``redis+sentinel://user:password@host:26379,host:26379/service/0``       what the Sentinels call ``service``
======================================================================= ================================================
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.redis.cluster import SHARE
from wsgi_session.stores.redis.failures import FAILURES, without_passwords
from wsgi_session.stores.redis.store import RedisStore
from wsgi_session.stores.urls.options import count, query_options, seconds, switch, text
from wsgi_session.stores.urls.parts import Parts, read_addresses, special_character_error, split_url, without_secrets

#: Seconds: short, as a visitor waits, and nothing is lost by a 503.
CONNECT_TIMEOUT, TIMEOUT = 0.5, 1.0

_PORT, _SENTINEL_PORT = 6379, 26379

_COMMON: dict[str, Callable[[str], Any]] = {
    "connect_timeout": seconds, "timeout": seconds, "prefix": text, "wait": count, "pool": count,
}  # fmt: skip
_TLS: dict[str, Callable[[str], Any]] = {"ssl_ca_certs": str, "ssl_certfile": str, "ssl_keyfile": str}
_LOGIN: dict[str, Callable[[str], Any]] = {"sentinel_username": str, "sentinel_password": HiddenText}


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("the number of a database, 0 for the first")
    return int(text)


def open_url(url: str) -> RedisStore:
    """Return a store for a URL of one of the schemes above. Nothing is connected yet.

    Options: ``connect_timeout`` and ``timeout`` (seconds: 0.5 and 1), ``prefix`` (``session:``), ``pool`` (connections
    of each process to each node: 64), ``wait`` (replicas that must have a write before it counts); with TLS
    ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``; ``tls=on`` for a cluster or Sentinel; ``sentinel_username``
    and ``sentinel_password`` where the Sentinels have their own. Raises ``ConfigError`` for anything else.
    """
    # From here on no traceback with local variables shows the password.
    url = HiddenText(url)
    parts = split_url(url)
    if "@" in parts.path and parts.scheme != "unix":
        raise special_character_error(url)
    return _OPENERS[parts.scheme](url, parts)


def _server(url: str, parts: Parts) -> RedisStore:
    (host, port), *others = read_addresses(url, parts.hosts, _PORT)
    if others:
        raise ConfigError(f"{without_secrets(url)}: give one host; several: redis+cluster:// or redis+sentinel://")
    tls = parts.scheme == "rediss"
    options = query_options(url, _COMMON | _TLS if tls else _COMMON)
    database = _path(url, parts, "a database's number", _database) or 0
    settings = {"host": host, "port": port, "db": database, **_connection(parts, options)}
    return _single(SSLConnection if tls else Connection, settings, options)


def _unix(url: str, parts: Parts) -> RedisStore:
    options = query_options(url, {**_COMMON, "db": _database})
    if parts.hosts or not parts.path.strip("/"):
        raise ConfigError(f"{without_secrets(url)}: write unix:///run/redis.sock for that socket file")
    settings = {"path": unquote(parts.path), "db": options.pop("db", 0), **_connection(parts, options)}
    return _single(UnixDomainSocketConnection, settings, options)


def _single(kind: type[Any], settings: dict[str, Any], options: dict[str, Any]) -> RedisStore:
    return RedisStore(Redis(connection_pool=ConnectionPool(connection_class=kind, **settings)), **options)


class Cluster(RedisCluster):
    """redis-py's client, which finds out where the slots are, and sends nothing else for us."""

    def command(self) -> dict[str, Any]:  # type: ignore[override]
        """Return nothing, where redis-py would ask the first primary in its constructor: that one may be down."""
        return {}


def _cluster(url: str, parts: Parts) -> RedisStore:
    options = query_options(url, _COMMON | _TLS | {"tls": switch})
    if parts.path.strip("/") not in ("", "0"):
        raise ConfigError(f"{without_secrets(url)}: a cluster has one database: leave out what follows the hosts")
    addresses = read_addresses(url, parts.hosts, _PORT)
    settings = {"ssl": options.pop("tls", False), **_connection(parts, options)}

    timeout = settings["socket_timeout"]
    # Nodes are asked where the slots are one after the other, and some time is left for the operation itself.
    settings["socket_timeout"] *= SHARE

    def connect() -> RedisCluster:
        deadline = time.monotonic() + timeout
        # One at a time, as redis-py would ask all that hang. In another order each time: one that hangs does not keep
        # us from the others for ever.
        left = random.sample(addresses, len(addresses))
        while True:
            node = ClusterNode(*left.pop())  # type: ignore[no-untyped-call]
            try:
                # Slots that nobody serves are an outage of the sessions in them, not of all.
                return Cluster(startup_nodes=[node], require_full_coverage=False, **settings)
            except (*FAILURES, RedisClusterException) as error:
                if not left or time.monotonic() >= deadline:
                    raise without_passwords(error, [settings["password"]]) from None

    return RedisStore(connect, timeout=timeout, **options)


def _sentinel(url: str, parts: Parts) -> RedisStore:
    options = query_options(url, _COMMON | _TLS | _LOGIN | {"tls": switch})
    addresses = read_addresses(url, parts.hosts, _SENTINEL_PORT)
    service, _, database = parts.path[1:].partition("/")
    if not service:
        raise ConfigError(f"{without_secrets(url)}: name the service that Sentinel watches: host:26379/mymaster")
    login = {name: options.pop("sentinel_" + name, None) for name in ("username", "password")}
    tls = {"ssl": True} if options.pop("tls", False) else {}
    settings = {**tls, **_connection(parts, options)}
    if database:
        settings["db"] = _path(url, parts._replace(path=HiddenText("/" + database)), "a database's number", _database)
    # They are asked one after the other: all of them together may take what one operation may.
    shares = {name: settings[name] / len(addresses) for name in ("socket_timeout", "socket_connect_timeout")}
    to_sentinels = {**settings, **shares, **login, "db": 0}
    sentinel = Sentinel(addresses, sentinel_kwargs=to_sentinels, **settings)  # type: ignore[no-untyped-call]
    return RedisStore(sentinel.master_for(unquote(service)), **options)  # type: ignore[no-untyped-call]


def _connection(parts: Parts, options: dict[str, Any]) -> dict[str, Any]:
    """Return what redis-py's connections are made with; take those of the options that are meant for them."""
    username, _, password = (HiddenText(unquote(part)) or None for part in parts.login.partition(":"))
    settings = {name: options.pop(name) for name in _TLS if name in options}
    return settings | {
        "username": username,
        "password": password,
        "socket_connect_timeout": options.pop("connect_timeout", CONNECT_TIMEOUT),
        "socket_timeout": options.pop("timeout", TIMEOUT),
        # Ours is the only one: it knows which writes may be sent again.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _path(url: str, parts: Parts, what: str, read: Callable[[str], int]) -> int | None:
    text = parts.path.strip("/")
    try:
        return read(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{without_secrets(url)}: {str(text)!r} is not {what}: give {error}") from None


_OPENERS: dict[str, Callable[[str, Parts], RedisStore]] = {
    "redis": _server,
    "rediss": _server,
    "unix": _unix,
    "redis+cluster": _cluster,
    "redis+sentinel": _sentinel,
}
