"""Every store with its abilities, for the tests that run over all stores, and a wrapper that counts calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.support.servers.shared import mariadb, postgres, valkey, valkey_cluster, valkey_sentinel
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import (
    Counts,
    ListsOwners,
    MemoryStore,
    MigratingStore,
    Outcome,
    OwnedSession,
    Record,
    Scans,
    SQLiteStore,
    Store,
    Sweeps,
)
from wsgi_session.stores.cookie import CookieStore

#: It keeps records on the server: rules 4, 5 and 7 hold, and sessions can be listed, revoked and counted.
SERVER = "server"
#: Several processes can see its data.
PROCESSES = "processes"
#: Its engine does not expire records, so it has sweep().
SWEEPS = "sweeps"
#: It needs a server that the tests start.
ENGINE = "engine"


class Kind(NamedTuple):
    """One kind of store: how to open an empty one, and its abilities."""

    name: str
    open: Callable[[Path], Store]
    flags: frozenset[str]
    #: The options of a middleware over this kind.
    options: Mapping[str, Any] = MappingProxyType({})


def _sql(url: str, folder: Path) -> Store:
    from wsgi_session.stores.sql import SQLStore

    # A table for each test. Its name is derived from the test's folder, so that other processes of the test find it.
    return SQLStore.from_url(f"{url}?table=test_{sha256(bytes(folder)).hexdigest()[:24]}&timeout=20")


def _redis(url: str, folder: Path) -> Store:
    from wsgi_session.stores.redis.urls import open_url

    return open_url(f"{url}?prefix={sha256(bytes(folder)).hexdigest()[:24]}:&timeout=20&connect_timeout=20")


#: To run these tests over another store, add a line. A test with ``@pytest.mark.needs(SWEEPS)`` runs only over
#: stores with that flag.
KINDS = [
    Kind("memory", lambda folder: MemoryStore(), frozenset({SERVER, SWEEPS})),
    Kind("sqlite", lambda folder: SQLiteStore(folder / "sessions.db"), frozenset({SERVER, SWEEPS, PROCESSES})),
    Kind("postgresql", lambda folder: _sql(postgres(), folder), frozenset({SERVER, SWEEPS, PROCESSES, ENGINE})),
    Kind("mariadb", lambda folder: _sql(mariadb(), folder), frozenset({SERVER, SWEEPS, PROCESSES, ENGINE})),
    Kind("redis", lambda folder: _redis(valkey(), folder), frozenset({SERVER, PROCESSES, ENGINE})),
    Kind("redis-cluster", lambda folder: _redis(valkey_cluster(), folder), frozenset({SERVER, PROCESSES, ENGINE})),
    Kind("redis-sentinel", lambda folder: _redis(valkey_sentinel(), folder), frozenset({SERVER, PROCESSES, ENGINE})),
    Kind("migrating", lambda folder: MigratingStore(MemoryStore(), MemoryStore()), frozenset({SERVER, SWEEPS})),
    # Over the option that encrypts, the rules are the same.
    Kind(
        "encrypted",
        lambda folder: SQLiteStore(folder / "sessions.db"),
        frozenset({SERVER, SWEEPS, PROCESSES}),
        MappingProxyType({"encrypt": True}),
    ),
    Kind("cookie", lambda folder: CookieStore(), frozenset()),
]


class CountingStore(Store):
    """Forwards to another store, and counts the calls. A test can run a function before a call, or make it fail."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.multiprocess = inner.multiprocess
        #: The names of the calls, in order. The client adds ``"answer"`` when the response leaves the middleware.
        self.log: list[str] = []
        #: Functions to run once, before the next call of a method.
        self.before: dict[str, Callable[[], object]] = {}
        #: All arguments and results, to be searched for secrets.
        self.seen: list[object] = []
        self._failing: dict[str, tuple[bool, int, Exception]] = {}

    @property
    def sweep_due(self) -> bool:
        return self.inner.sweep_due

    @sweep_due.setter
    def sweep_due(self, due: bool) -> None:
        self.inner.sweep_due = due

    def counts(self) -> dict[str, int]:
        """Return how often each method was called since the last :meth:`forget`."""
        return dict(Counter(name for name in self.log if name != "answer"))

    def forget(self) -> None:
        self.log.clear()

    def fail(
        self,
        *methods: str,
        applied: bool = False,
        lost: bool = False,
        times: int = 1_000_000,
        error: Exception | None = None,
    ) -> None:
        """Let ``methods`` raise ``StoreUnavailable``, or ``error``.

        ``applied``: they write before they raise. ``lost`` or ``applied``: the error has ``answer_lost=True``.
        """
        away = StoreUnavailable("the engine does not answer", retry_after=7, answer_lost=applied or lost)
        self._failing.update(dict.fromkeys(methods, (applied, times, error or away)))

    def recover(self) -> None:
        self._failing.clear()

    def load(self, key: bytes, now: float) -> Record | None:
        return self._pass_on("load", key, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._pass_on("create", key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._pass_on("replace", key, record, version, now)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._pass_on("rotate", old, new, record, version, now)

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return self._pass_on("touch", key, touched, expires, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return self._pass_on("delete", key, version)

    def await_replicas(self) -> None:
        self.inner.await_replicas()

    def ping(self) -> None:
        self._pass_on("ping")

    def close(self) -> None:
        self.inner.close()

    def _pass_on(self, name: str, *arguments: Any) -> Any:
        self.log.append(name)
        if name in self.before:
            self.before.pop(name)()
        if name in self._failing:
            applied, times, error = self._failing[name]
            self._failing[name] = (applied, times - 1, error)
            if times == 1:
                del self._failing[name]
            if applied:
                getattr(self.inner, name)(*arguments)
            raise error.with_traceback(None)
        result = getattr(self.inner, name)(*arguments)
        self.seen += [*arguments, result]
        return result


class _Lists(CountingStore):
    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        found: Iterator[OwnedSession] = self._pass_on("of_owner", owner, now)
        return found


class _Counts(CountingStore):
    def count(self, now: float, namespace: str | None = None) -> int:
        return int(self._pass_on("count", now, namespace))


class _CountsByScan(CountingStore):
    """Counts by a scan, for a store without ``count``."""

    def count(self, now: float, namespace: str | None = None) -> int:
        assert isinstance(self.inner, Scans)
        return sum(namespace in (None, record.namespace) for _, record in self.inner.scan(now))


class _Scans(CountingStore):
    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        found: Iterator[tuple[bytes, Record]] = self._pass_on("scan", now)
        return found


class _Sweeps(CountingStore):
    def sweep(self, limit: int, now: float) -> int:
        return int(self._pass_on("sweep", limit, now))


def counting(inner: Store) -> CountingStore:
    """Return a ``CountingStore`` with the optional operations of ``inner``, and always with ``count``."""
    counts = _Counts if isinstance(inner, Counts) else _CountsByScan
    offers: list[tuple[type, Any]] = [
        (_Lists, ListsOwners),
        (counts, (Counts, Scans)),
        (_Scans, Scans),
        (_Sweeps, Sweeps),
    ]
    bases = tuple(mixin for mixin, protocol in offers if isinstance(inner, protocol))
    return type("CountingStore", bases or (CountingStore,), {})(inner)
