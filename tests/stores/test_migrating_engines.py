"""MigratingStore between real servers: rotations and races, with processes of both phases at once."""

from __future__ import annotations

from itertools import count

import pytest

from tests.support.servers.shared import mariadb, postgres, valkey, valkey_cluster
from wsgi_session.stores import MigratingStore, Store, open_store
from wsgi_session.testing.conformance_races import RacePromises
from wsgi_session.testing.conformance_rotation import RotationPromises

numbers = count(1)


class BetweenServers(RotationPromises, RacePromises):
    """Half of the threads and store objects are in the other phase."""

    # Keys are random, so two processes of different phases never create the same one.
    test_of_concurrent_creates_of_one_key_exactly_one_succeeds = None  # type: ignore[assignment]
    # Redis neither counts nor sweeps.
    test_a_tombstone_is_neither_counted_nor_scanned_and_is_swept = None  # type: ignore[assignment]
    old = new = ""

    def make_store(self) -> Store:
        number = next(numbers)
        self.urls = [
            f"{url}?timeout=20&" + (f"prefix=test-moving-{number}:" if "redis" in url else f"table=moving_{number}")
            for url in (self.new, self.old)
        ]
        return self._open("move")

    def reopen(self, store: Store) -> Store:
        return self._open("prepare")

    def _open(self, phase: str) -> Store:
        new, old = map(open_store, self.urls)
        return MigratingStore(new, old, phase)


class TestFromPostgreSQLToRedis(BetweenServers):
    @pytest.fixture(autouse=True)
    def _servers(self) -> None:
        self.old, self.new = postgres(), valkey()


class TestFromRedisClusterToMariaDB(BetweenServers):
    @pytest.fixture(autouse=True)
    def _servers(self) -> None:
        self.old, self.new = valkey_cluster(), mariadb()
