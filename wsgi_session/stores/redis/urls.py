"""Open a ``RedisStore`` for a URL: for one server, a cluster, or the primary that Sentinel names.

======================================================================= ================================================
``redis://user:password@host:6379/0``                                    one server, Redis or Valkey, database 0
``rediss://…``                                                           the same over TLS
``unix://user:password@/run/redis.sock?db=0``                            the same over a Unix socket
``redis+cluster://user:password@host:6379,host:6379``                    a cluster, and the nodes to ask first
``redis+sentinel://user:password@host:26379,host:26379/service/0``       the primary of ``service``
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
from redis.cluster import REDIS_ALLOWED_KEYS, ClusterNode, RedisCluster
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.redis import RedisStore
from wsgi_session.stores.redis.failures import FAILURES, without_passwords
from wsgi_session.stores.redis.map import SHARE
from wsgi_session.stores.urls.options import parse_count, parse_query_options, parse_seconds, parse_switch, parse_text
from wsgi_session.stores.urls.parts import Parts, read_addresses, special_character_error, split_url, without_secrets

#: Seconds. They are short, because a visitor waits, and a 503 loses nothing.
CONNECT_TIMEOUT, TIMEOUT = 0.5, 1.0

_PORT, _SENTINEL_PORT = 6379, 26379

_COMMON: dict[str, Callable[[str], Any]] = {
    "connect_timeout": parse_seconds,
    "timeout": parse_seconds,
    "prefix": parse_text,
    "wait": parse_count,
    "pool": parse_count,
}
_TLS: dict[str, Callable[[str], Any]] = {"ssl_ca_certs": str, "ssl_certfile": str, "ssl_keyfile": str}
# The default since redis-py 6. Before, it accepts the certificate of any server that the authority vouches for.
_CHECKED = {"ssl_check_hostname": True}
_LOGIN: dict[str, Callable[[str], Any]] = {"sentinel_username": str, "sentinel_password": HiddenText}


def _parse_database(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("the number of a database, such as 0")
    return int(text)


def open_url(url: str) -> RedisStore:
    """Return a store for a URL of one of the schemes above. Nothing is connected yet.

    Options: ``connect_timeout`` and ``timeout`` (seconds, by default 0.5 and 1), ``prefix`` (``session:``), ``pool``
    (connections of each process to each node, 64), ``wait`` (how many replicas must acknowledge a write before it
    succeeds, 0); with TLS ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``; ``tls=on`` for a cluster or Sentinel;
    ``sentinel_username`` and ``sentinel_password`` if the Sentinels have a login of their own. Raises ``ConfigError``
    for anything else.
    """
    # A traceback that shows local variables shows this text without the password.
    url = HiddenText(url)
    parts = split_url(url)
    if "@" in parts.path and parts.scheme != "unix":
        raise special_character_error(url)
    return _OPENERS[parts.scheme](url, parts)


def _open_server(url: str, parts: Parts) -> RedisStore:
    (host, port), *others = read_addresses(url, parts.hosts, _PORT)
    if others:
        raise ConfigError(
            f"{without_secrets(url)}: give one host. For several hosts write redis+cluster:// or redis+sentinel://."
        )
    tls = parts.scheme == "rediss"
    options = parse_query_options(url, _COMMON | _TLS if tls else _COMMON)
    database = _database_of(url, parts.path) or 0
    checks = _CHECKED if tls else {}
    settings = {"host": host, "port": port, "db": database, **checks, **_connection_settings(parts, options)}
    return _store_for(SSLConnection if tls else Connection, settings, options)


def _open_unix(url: str, parts: Parts) -> RedisStore:
    options = parse_query_options(url, {**_COMMON, "db": _parse_database})
    if parts.hosts or not parts.path.strip("/"):
        raise ConfigError(f"{without_secrets(url)}: give the path of the socket, such as unix:///run/redis.sock.")
    settings = {"path": unquote(parts.path), "db": options.pop("db", 0), **_connection_settings(parts, options)}
    return _store_for(UnixDomainSocketConnection, settings, options)


def _store_for(kind: type[Any], settings: dict[str, Any], options: dict[str, Any]) -> RedisStore:
    return RedisStore(Redis(connection_pool=ConnectionPool(connection_class=kind, **settings)), **options)


class SlotClient(RedisCluster):
    """redis-py's client, used only to find out which node has which slots."""

    def command(self) -> dict[str, Any]:  # type: ignore[override]
        """Return nothing. redis-py would ask the first primary in its constructor, and that one may be down."""
        return {}


def _open_cluster(url: str, parts: Parts) -> RedisStore:
    options = parse_query_options(url, _COMMON | _TLS | {"tls": parse_switch})
    if parts.path.strip("/") not in ("", "0"):
        raise ConfigError(f"{without_secrets(url)}: a cluster has only one database. Remove the path after the hosts.")
    addresses = read_addresses(url, parts.hosts, _PORT)
    tls = {"ssl": True, **_CHECKED} if options.pop("tls", False) else {}
    if tls and not _CHECKED.keys() <= set(REDIS_ALLOWED_KEYS):
        raise ConfigError(
            f"{without_secrets(url)}: tls=on for a cluster needs redis 6 or newer, because older versions do not check "
            "the host in the certificate. Upgrade redis: pip install 'redis>=6'."
        )
    settings = {**tls, **_connection_settings(parts, options)}

    timeout = settings["socket_timeout"]
    # The nodes are asked one after the other where the slots are, and the operation itself needs some time too.
    settings["socket_timeout"] *= SHARE

    def connect() -> RedisCluster:
        deadline = time.monotonic() + timeout
        # One node at a time, because redis-py would wait for every node that does not answer. The order is random, so
        # that a node that does not answer does not block the others each time.
        left = random.sample(addresses, len(addresses))
        while True:
            node = ClusterNode(*left.pop())  # type: ignore[no-untyped-call]
            try:
                # If no node serves some of the slots, only the sessions in those slots are unavailable.
                return SlotClient(startup_nodes=[node], require_full_coverage=False, **settings)
            except (*FAILURES, RedisClusterException) as error:
                if not left or time.monotonic() >= deadline:
                    raise without_passwords(error, [settings["password"]]) from None

    return RedisStore(connect, timeout=timeout, **options)


def _open_sentinel(url: str, parts: Parts) -> RedisStore:
    options = parse_query_options(url, _COMMON | _TLS | _LOGIN | {"tls": parse_switch})
    addresses = read_addresses(url, parts.hosts, _SENTINEL_PORT)
    service, _, database = parts.path[1:].partition("/")
    if not service:
        raise ConfigError(f"{without_secrets(url)}: name the service of the Sentinels, such as host:26379/mymaster.")
    login = {name: options.pop("sentinel_" + name, None) for name in ("username", "password")}
    tls = {"ssl": True, **_CHECKED} if options.pop("tls", False) else {}
    settings = {**tls, **_connection_settings(parts, options)}
    if database:
        settings["db"] = _database_of(url, database)
    # The Sentinels are asked one after the other, and all of them together may take as long as one operation.
    shares = {name: settings[name] / len(addresses) for name in ("socket_timeout", "socket_connect_timeout")}
    to_sentinels = {**settings, **shares, **login, "db": 0}
    sentinel = Sentinel(addresses, sentinel_kwargs=to_sentinels, **settings)  # type: ignore[no-untyped-call]
    return RedisStore(sentinel.master_for(unquote(service)), **options)  # type: ignore[no-untyped-call]


def _connection_settings(parts: Parts, options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of redis-py's connections, and remove them from ``options``."""
    username, _, password = (HiddenText(unquote(part)) or None for part in parts.login.partition(":"))
    settings = {name: options.pop(name) for name in _TLS if name in options}
    return settings | {
        "username": username,
        "password": password,
        "socket_connect_timeout": options.pop("connect_timeout", CONNECT_TIMEOUT),
        "socket_timeout": options.pop("timeout", TIMEOUT),
        # Only the store retries, because it knows which writes may be sent again.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _database_of(url: str, path: str) -> int | None:
    text = path.strip("/")
    try:
        return _parse_database(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{without_secrets(url)}: {str(text)!r} is not a database's number. Give {error}.") from None


_OPENERS: dict[str, Callable[[str, Parts], RedisStore]] = {
    "redis": _open_server,
    "rediss": _open_server,
    "unix": _open_unix,
    "redis+cluster": _open_cluster,
    "redis+sentinel": _open_sentinel,
}
