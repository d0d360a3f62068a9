"""RedisStore: the contract over one server, a cluster, and a primary that Sentinel names."""

from __future__ import annotations

from itertools import count

import pytest

from tests.support.servers.shared import valkey, valkey_cluster, valkey_sentinel
from wsgi_session.stores import Store
from wsgi_session.stores.redis.urls import open_url
from wsgi_session.testing.conformance import StoreConformance

numbers = count(1)


class OnServer(StoreConformance):
    """Each test has its own prefix; all of them share one server."""

    sweeps = False
    url = ""

    def make_store(self) -> Store:
        url = f"{self.url}?prefix=test-{next(numbers)}:"
        self.other = open_url(url)
        return open_url(url)

    def reopen(self, store: Store) -> Store:
        # Always the same second store, because each new one asks the cluster for its slots and commands.
        return self.other


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
