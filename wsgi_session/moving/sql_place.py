"""Records of another library in a table of a database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, NullPool, column, create_engine, delete, make_url, select, table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import quoted_name

from wsgi_session.errors import ConfigError
from wsgi_session.moving.places import Found, Place, outage
from wsgi_session.stores.urls.parts import without_secrets


class SQLPlace(Place):
    """Rows of one table. ``database``: a SQLAlchemy URL or engine.

    ``table``, ``key``, ``data`` and ``expiry`` are names; ``expiry`` is ``None`` if there is no such column.
    ``expires_at`` turns a value of that column into seconds since the epoch. Raises ``ConfigError`` for a wrong URL.
    """

    def __init__(
        self,
        database: Any,
        table_name: str,
        key: str,
        data: str,
        expiry: str | None,
        expires_at: Callable[[Any], float | None],
        schema: str | None = None,
    ) -> None:
        if isinstance(database, str):
            self.name = without_secrets(database)
            try:
                # Without a pool, no connection crosses a fork. Old sessions are read once each.
                database = create_engine(_existing_file(make_url(database)), poolclass=NullPool)
            except (SQLAlchemyError, ImportError) as error:
                raise ConfigError(f"{self.name}: {type(error).__name__}. Give a SQLAlchemy URL.") from None
        else:
            self.name = "database"
        if not isinstance(database, Engine):
            raise ConfigError(f"The old store is of type {type(database).__name__}: give a SQLAlchemy URL or Engine.")
        self._engine = database
        names = [name for name in (key, data, expiry) if name is not None]
        where = table(quoted_name(table_name, quote=None), *map(column, names), schema=schema)
        self._key = where.c[key]
        self._where = where
        self._select = select(*(where.c[name] for name in (data, expiry, key) if name is not None))
        self._expires_at = expires_at
        self._with_expiry = expiry is not None

    def get(self, key: str, now: float) -> Found | None:
        try:
            with self._engine.connect() as connection:
                row = connection.execute(self._select.where(self._key == str.__str__(key))).first()
        except (SQLAlchemyError, OSError) as error:
            raise outage(self.name, error) from None
        # MySQL compares without regard to case. Two ids must not open one session: it could be adopted twice.
        if row is None or row[-1] != key:
            return None
        data = row[0].encode() if isinstance(row[0], str) else bytes(row[0])
        expires = self._expires_at(row[1]) if self._with_expiry else None
        return None if expires is not None and expires <= now else Found(data, expires)

    def delete(self, key: str) -> None:
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(self._where).where(self._key == str.__str__(key)))
        except (SQLAlchemyError, OSError) as error:
            raise outage(self.name, error) from None

    def keys(self, prefix: str) -> Iterator[str]:
        last = ""
        while True:
            page = select(self._key).where(self._key > last).order_by(self._key).limit(500)
            try:
                with self._engine.connect() as connection:
                    found = list(connection.execute(page).scalars())
            except (SQLAlchemyError, OSError) as error:
                raise outage(self.name, error) from None
            if not found:
                return
            last = found[-1]
            yield from (key for key in found if key.startswith(prefix))


def _existing_file(url: URL) -> URL:
    """Make a SQLite path absolute, so that a later change of directory has no effect, and create no missing file."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:") or "uri" in url.query:
        return url
    path = quote(os.path.abspath(url.database))
    return url.set(database=f"file:{path}").update_query_dict({"mode": "rw", "uri": "true"})
