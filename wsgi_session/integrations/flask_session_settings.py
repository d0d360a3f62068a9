"""Flask-Session's settings, so that its applications keep their kind of store and the lifetime of the cookie.

============================== ========================================================================================
``SESSION_TYPE``               the store
============================== ========================================================================================
``redis``                      that of ``SESSION_REDIS`` (default: ``redis://localhost:6379/0``), under
                               ``SESSION_KEY_PREFIX``
``sqlalchemy``                 the database of ``SESSION_SQLALCHEMY`` and ``SESSION_SQLALCHEMY_BIND_KEY``, in a table of
                               this package; for SQLite, a file of its own beside the application's
``filesystem``                 ``wsgi_session/sessions.db`` in ``SESSION_FILE_DIR`` (default: ``flask_session``)
``cachelib``                   the same in the folder of ``SESSION_CACHELIB``, a ``FileSystemCache``
anything else                  ``ConfigError``, which says what to write
============================== ========================================================================================

``SESSION_PERMANENT`` (default: True) is ``cookie_persistent``. Flask-Session's other settings have no meaning here. Its
command ``flask session_cleanup`` removes expired sessions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask

from wsgi_session.admin import Sessions
from wsgi_session.errors import ConfigError, Unsupported
from wsgi_session.stores.contract import SWEEP_LIMIT, Store
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
    if kind == "filesystem":
        return _file(app.config.get("SESSION_FILE_DIR"))
    if kind == "cachelib":
        cache = app.config.get("SESSION_CACHELIB")
        # A FileSystemCache has its folder in a private attribute; other caches have no folder.
        folder = getattr(cache, "_path", None)
        if cache is None or isinstance(folder, str):
            return _file(folder)
    raise ConfigError(f"SESSION_TYPE={kind!r}: this package has no such store. {_ADVICE}")


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


def _file(given: str | None) -> Store:
    # A folder of its own: cachelib would take the first bytes of another file for its expiry, and delete it.
    folder = Path(given or "flask_session").absolute() / "wsgi_session"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return SQLiteStore(str(folder / "sessions.db"))


def add_cleanup_command(app: Flask, sessions: Sessions) -> None:
    """Add the command ``flask session_cleanup``, which cron jobs of Flask-Session's applications call."""

    @app.cli.command("session_cleanup")
    def session_cleanup() -> None:
        """Remove expired sessions from the store, if it does not do so itself."""
        with suppress(Unsupported):
            while sessions.sweep(SWEEP_LIMIT):
                pass
