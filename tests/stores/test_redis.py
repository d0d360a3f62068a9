"""RedisStore: the contract over one server, a cluster, and what Sentinel names."""

from __future__ import annotations

from itertools import count

import pytest

from tests.servers.shared import valkey, valkey_cluster, valkey_sentinel
from wsgi_session.stores import Store
from wsgi_session.stores.redis_urls import open_url
from wsgi_session.testing.conformance import StoreConformance

numbers = count(1)


class OnServer(StoreConformance):
    """A prefix for each test, on one server for them all."""

    counts = False
    sweeps = False
    url = ""

    def make_store(self) -> Store:
        self.prefix = f"test-{next(numbers)}:"
        return self.reopen(None)

    def reopen(self, store: Store | None) -> Store:
        return open_url(f"{self.url}?prefix={self.prefix}")


class TestServer(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = valkey()


class TestCluster(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = valkey_cluster()


class TestSentinel(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = valkey_sentinel()
