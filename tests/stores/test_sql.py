"""SQLStore: the contract over every engine."""

from __future__ import annotations

import contextlib
import sqlite3
from itertools import count
from pathlib import Path

import pytest

from tests.support.servers.shared import mariadb, pgbouncer, postgres
from wsgi_session.stores import Store
from wsgi_session.stores.sql import SQLStore
from wsgi_session.testing.conformance import StoreConformance

numbers = count(1)


class OnServer(StoreConformance):
    """Each test has its own table; all of them share one server."""

    url = ""
    options = "&timeout=60"  # A slow machine must not make a test fail.

    def make_store(self) -> SQLStore:
        self.table = f"sessions_{next(numbers)}"
        return SQLStore.from_url(f"{self.url}?table={self.table}{self.options}")

    def reopen(self, store: Store) -> SQLStore:
        return SQLStore.from_url(f"{self.url}?table={self.table}{self.options}")


class TestPostgreSQL(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = postgres()


class TestPgBouncer(OnServer):
    """PgBouncer in transaction mode, which sends the statements of one client over different server connections."""

    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = pgbouncer()


class TestMariaDB(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = mariadb()


class TestSQLite(OnServer):
    """SQLite through SQLAlchemy, as an example of any other database."""

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        self.url = f"sqlite+pysqlite:///{path}"
