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
    """A table for each test, on one server for them all."""

    url = ""
    options = "&timeout=60"  # A busy machine is no failure.

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
    """Behind a pool in transaction mode: statements of one client go over different server connections."""

    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = pgbouncer()


class TestMariaDB(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = mariadb()


class TestSQLite(OnServer):
    """As one of all the others that SQLAlchemy knows."""

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        self.url = f"sqlite+pysqlite:///{path}"
