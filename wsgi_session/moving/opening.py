"""Open the place where another library keeps its records, given a URL, a path, a client or an engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from wsgi_session.config.secrets import hide
from wsgi_session.errors import ConfigError
from wsgi_session.moving.file_place import FilePlace
from wsgi_session.moving.places import Place

_REDIS = ("redis://", "rediss://", "unix://")


def open_place(
    store: Any,
    folder_type: Callable[[str], FilePlace],
    table: str,
    columns: tuple[str, str, str | None],
    expires_at: Callable[[Any], float | None],
    schema: str | None = None,
) -> Place:
    """Return the place for a URL, a path, a Redis client or a SQLAlchemy engine. Nothing is connected yet.

    ``columns``: the names of key, data and expiry. Raises ``ConfigError`` for anything else, and if the package that
    the place needs is not installed.
    """
    store = hide(store)
    if isinstance(store, os.PathLike):
        return folder_type(os.fspath(store))
    if isinstance(store, str):
        if store.startswith("file://"):
            return folder_type(unquote(store.removeprefix("file://")))
        if "://" not in store:
            raise ConfigError(
                "The old store is neither a URL nor a Path. Give a redis:// URL, a SQLAlchemy URL, or the folder of "
                "its files as file:///path or as a Path."
            )
        if store.startswith(_REDIS):
            return redis_place(store)
        return _sql_place(store, table, columns, expires_at, schema)
    if type(store).__module__.partition(".")[0] == "sqlalchemy":
        return _sql_place(store, table, columns, expires_at, schema)
    return redis_place(store)


def redis_place(server: Any) -> Place:
    """Return the place for a Redis URL or client. Raises ``ConfigError`` if redis-py is not installed."""
    try:
        from wsgi_session.moving.redis_place import RedisPlace
    except ImportError as error:
        raise ConfigError("Reading old sessions in Redis needs redis-py: pip install 'wsgi-session[redis]'.") from error
    return RedisPlace(server)


def _sql_place(database: Any, table: str, columns: Any, expires_at: Any, schema: str | None) -> Place:
    try:
        from wsgi_session.moving.sql_place import SQLPlace
    except ImportError as error:
        raise ConfigError(
            "Reading old sessions in a database needs SQLAlchemy: pip install 'wsgi-session[sql]'."
        ) from error
    key, data, expiry = columns
    return SQLPlace(database, table, key, data, expiry, expires_at, schema)
