"""Flask-Session's settings: its application keeps its store, and how long its cookie lives.

============================== ========================================================================================
``SESSION_TYPE``               the store
============================== ========================================================================================
``redis``                      that of ``SESSION_REDIS`` (default: ``redis://localhost:6379/0``), under
                               ``SESSION_KEY_PREFIX``
``sqlalchemy``                 the database of ``SESSION_SQLALCHEMY`` and ``SESSION_SQLALCHEMY_BIND_KEY``, in a table of
                               this package; for SQLite, a file of its own beside the application's
``filesystem``, ``cachelib``   ``SESSION_FILE_DIR`` (default: ``flask_session``), with ``wsgi_session/sessions.db``
anything else                  ``ConfigError``, which says what to write
============================== ========================================================================================

``SESSION_PERMANENT`` (default: True) is ``cookie_persistent``. Flask-Session's other settings have no meaning here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask

from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Store
from wsgi_session.stores.sqlite.store import SQLiteStore
from wsgi_session.stores.urls.opening import open_store

_ADVICE = 'Set app.config["WSGI_SESSION_STORE"] to "sqlite:///sessions.db", "redis://HOST:6379/0" or "postgresql://HOST/NAME".'


def uses_flask_session(config: Mapping[str, Any]) -> bool:
    """Return whether the application has named a store for Flask-Session."""
    return (config.get("SESSION_TYPE") or "null").lower() != "null"


def store_of_flask_session(app: Flask) -> Store:
    """Return a new store in the place that Flask-Session's settings name; the caller must close it.

    Raises ``ConfigError`` if there is no such store here.
    """
    kind = str(app.config["SESSION_TYPE"]).lower()
    if kind == "redis":
        return _redis(app.config)
    if kind == "sqlalchemy":
        return _sqlalchemy(app)
    if kind == "filesystem" or (kind == "cachelib" and app.config.get("SESSION_CACHELIB") is None):
        return _file(app.config)
    raise ConfigError(f"SESSION_TYPE={kind!r}: such a store does not exist here. {_ADVICE}")


def _redis(config: Mapping[str, Any]) -> Store:
    prefix = config.get("SESSION_KEY_PREFIX", "session:")
    client = config.get("SESSION_REDIS")
    if client is None:
        return open_store(f"redis://localhost:6379/0?prefix={quote(prefix, safe='')}")
    if isinstance(client, str):
        return open_store(client)
    from wsgi_session.stores.redis import RedisStore

    return RedisStore(client, prefix=prefix)


def _sqlalchemy(app: Flask) -> Store:
    extension = app.config.get("SESSION_SQLALCHEMY")
    if extension is None:
        raise ConfigError(f'SESSION_TYPE="sqlalchemy" without SESSION_SQLALCHEMY names no database. {_ADVICE}')
    try:
        with app.app_context():
            engine = extension.engines[app.config.get("SESSION_SQLALCHEMY_BIND_KEY")]
    except (KeyError, RuntimeError) as error:
        raise ConfigError(
            "SESSION_SQLALCHEMY knows no database of this application yet. Call its init_app(app) before "
            f"FlaskSessions(app), or leave it out. {_ADVICE}"
        ) from error
    if engine.dialect.name != "sqlite":
        from wsgi_session.stores.sql import SQLStore

        return SQLStore(engine)
    database = engine.url.database
    if database in (None, "", ":memory:"):
        raise ConfigError(f"SESSION_SQLALCHEMY is a database in memory, which ends with the process. {_ADVICE}")
    # A file of its own: a view that has not committed yet locks the application's file when the session is saved.
    return SQLiteStore(f"{Path(database).with_suffix('')}-sessions.db")


def _file(config: Mapping[str, Any]) -> Store:
    # A folder of its own: cachelib deletes files beside its own that it does not know.
    folder = Path(config.get("SESSION_FILE_DIR") or "flask_session").absolute() / "wsgi_session"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return SQLiteStore(str(folder / "sessions.db"))
