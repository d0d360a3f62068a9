"""The store for Beaker's ``type``, ``url`` and ``data_dir``.

============================== =========================================================================================
``type``                       where the sessions are
============================== =========================================================================================
``memory``, or nothing         in this process
``file``, ``dbm``, or nothing  in ``sessions.db``, an SQLite file in ``data_dir``
and a ``data_dir``
``ext:redis``                  in the Redis or Valkey server of ``url``, a URL or a client
``ext:rediscluster``           in the cluster of ``urls``
``ext:database``               in the database of ``url`` or ``sa.url``, in a table of its own: ``wsgi_sessions``, or
                               ``wsgi_`` and the ``table_name``
``ext:sqla``                   the same, in the database of ``bind``
``cookie``                     in the cookie, encrypted
============================== =========================================================================================

The prefix ``ext:`` may be missing. Beaker's own files, tables and keys stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.integrations.beaker_given import STORE_OPTIONS, Given
from wsgi_session.stores.contract import Store

if TYPE_CHECKING:
    from wsgi_session.stores.sql import SQLStore

#: The file in ``data_dir``.
FILE = "sessions.db"
_TABLE = "wsgi_sessions"


def store_of(given: Given) -> str | Store:
    """Take the store's options out of ``given``; return the store's URL, or the store.

    An option ``store`` takes precedence. Raises ``ConfigError`` for a type that has no store here, and if an option of
    the store is missing or invalid.
    """
    options = {option: given.take(option) for option in STORE_OPTIONS} | given.take_prefixed("sa.")
    if "store" in given:
        store: str | Store = given.take("store")
        return store
    kind = kind_of(options["type"], options["data_dir"])
    if kind not in _PLACES:
        raise ConfigError(
            f"{given.name('type')}={options['type']!r} has no store: write one of {', '.join(sorted(_PLACES))}, or "
            "write session.store with a URL, such as redis://localhost:6379/0."
        )
    return _PLACES[kind](options)


def kind_of(given_type: object, folder: object) -> str:
    """Return the type without its prefix ``ext:``; the default is Beaker's."""
    if not given_type:
        return "file" if folder else "memory"
    return str(given_type).removeprefix("ext:")


def make_folder(folder: object) -> str:
    """Return the absolute path of ``data_dir``, which is created if it is missing. Raises ``ConfigError``."""
    if not isinstance(folder, str) or not folder:
        raise ConfigError("session.data_dir is missing: give the folder for the file with the sessions.")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"session.data_dir={folder!r} cannot be created ({error.strerror}).") from error
    return os.path.abspath(folder)


def _memory(options: dict[str, Any]) -> str | Store:
    return "memory://"


def _file(options: dict[str, Any]) -> str | Store:
    return "sqlite:///" + quote(os.path.join(make_folder(options["data_dir"]), FILE))


def _cookie(options: dict[str, Any]) -> str | Store:
    return "cookie://"


def _redis(options: dict[str, Any]) -> str | Store:
    client = options["url"]
    if isinstance(client, str):
        # Applications of beaker_extensions give only host and port.
        return client if "://" in client else HiddenText(f"redis://{client}")
    if client is None:
        raise ConfigError("session.url is missing: give the server's URL, such as redis://localhost:6379/0.")
    return _redis_store(client)


def _cluster(options: dict[str, Any]) -> str | Store:
    client = options["urls"] or options["url"]
    advice = "give the nodes, such as redis://node-1:7001,redis://node-2:7002"
    if client is None:
        raise ConfigError(f"session.urls is missing: {advice}.")
    if not isinstance(client, str):
        return _redis_store(client)
    nodes = [HiddenText(node.strip()) for node in client.split(",")]
    if any("@" in node or not node.startswith("redis://") for node in nodes):
        raise ConfigError(
            f"session.urls: {advice}. With a password or TLS, write session.store = "
            "redis+cluster://user:password@node-1:7001,node-2:7002 in place of type and urls."
        )
    return "redis+cluster://" + ",".join(node.removeprefix("redis://").rstrip("/") for node in nodes)


def _redis_store(client: Any) -> Store:
    from wsgi_session.stores.redis import RedisStore

    return RedisStore(client)


def _database(options: dict[str, Any]) -> str | Store:
    settings = {name: value for name, value in {**options, **(options["sa_opts"] or {})}.items() if name[:3] == "sa."}
    url = options["url"] or settings.pop("sa.url", None)
    settings = {name: value for name, value in settings.items() if value is not None and name != "sa.url"}
    if not isinstance(url, str):
        raise ConfigError("session.url is missing: give the database's URL, such as postgresql://localhost/app.")
    sql_store = _import_sql_store()
    table = _table(options["table_name"], options["schema_name"])
    if not settings:
        return sql_store.from_url(HiddenText(f"{url}{'&' if '?' in url else '?'}table={table}"))
    from sqlalchemy import engine_from_config

    return sql_store(engine_from_config({**settings, "sa.url": HiddenText(url)}, "sa."), table=table)


def _sqla(options: dict[str, Any]) -> str | Store:
    if options["bind"] is None:
        raise ConfigError("session.bind is missing: give a SQLAlchemy Engine.")
    table = options["table"]
    name = _TABLE if table is None else _table(table.name, table.schema)
    return _import_sql_store()(options["bind"], table=name)


def _table(name: str | None, schema: str | None) -> str:
    """Return the name of a table of our own. Beaker's has other columns, so it cannot be used."""
    table = f"wsgi_{name}" if name else _TABLE
    return f"{schema}.{table}" if schema else table


def _import_sql_store() -> type[SQLStore]:
    try:
        from wsgi_session.stores.sql import SQLStore
    except ImportError as error:
        raise ConfigError(
            f"The store for databases cannot be imported ({error}). Run pip install 'wsgi-session[sql]'."
        ) from error
    return SQLStore


_PLACES: dict[str, Callable[[dict[str, Any]], str | Store]] = {
    "memory": _memory,
    "file": _file,
    "dbm": _file,
    "redis": _redis,
    "rediscluster": _cluster,
    "database": _database,
    "sqla": _sqla,
    "cookie": _cookie,
}
