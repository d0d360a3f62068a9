"""SQLStore: the contract over every engine."""

from __future__ import annotations

from itertools import count

import pytest

from tests.servers.shared import postgres
from wsgi_session.stores import Store
from wsgi_session.stores.sql import SQLStore
from wsgi_session.testing.conformance import StoreConformance

numbers = count(1)


class OnServer(StoreConformance):
    """A table for each test, on one server for them all."""

    url = ""

    def make_store(self) -> SQLStore:
        self.table = f"sessions_{next(numbers)}"
        return SQLStore.from_url(f"{self.url}?table={self.table}")

    def reopen(self, store: Store) -> SQLStore:
        return SQLStore.from_url(f"{self.url}?table={self.table}")


class TestPostgreSQL(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = postgres().url
