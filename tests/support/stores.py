"""The stores that every promise is held against, what each can do, and a wrapper that counts what is asked of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
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

#: Keeps records on the server: rules 4, 5 and 7 hold, sessions can be listed, revoked and counted.
SERVER = "server"
#: Is seen by several processes.
PROCESSES = "processes"
#: Has no expiry of its own: sweep() works.
SWEEPS = "sweeps"
#: Needs a server that the tests start.
ENGINE = "engine"


class Kind(NamedTuple):
    """One kind of store: how an empty one is opened, and what it promises beyond the rest."""

    name: str
    open: Callable[[Path], Store]
    flags: frozenset[str]


def _sql(url: str, folder: Path) -> Store:
    from wsgi_session.stores.sql import SQLStore

    # A table for each test, which other processes of that test find by its folder too.
    return SQLStore.from_url(f"{url}?table=test_{sha256(bytes(folder)).hexdigest()[:24]}&timeout=20")


def _redis(url: str, folder: Path) -> Store:
    from wsgi_session.stores.redis.urls import open_url

    return open_url(f"{url}?prefix={sha256(bytes(folder)).hexdigest()[:24]}:&timeout=20&connect_timeout=20")


#: To hold another store to every promise here, add a line. A test that says ``@pytest.mark.needs(SWEEPS)`` runs over
#: those with the flag only.
KINDS = [
    Kind("memory", lambda folder: MemoryStore(), frozenset({SERVER, SWEEPS})),
    Kind("sqlite", lambda folder: SQLiteStore(folder / "sessions.db"), frozenset({SERVER, SWEEPS, PROCESSES})),
    Kind("postgresql", lambda folder: _sql(postgres(), folder), frozenset({SERVER, SWEEPS, PROCESSES, ENGINE})),
    Kind("mariadb", lambda folder: _sql(mariadb(), folder), frozenset({SERVER, SWEEPS, PROCESSES, ENGINE})),
    Kind("redis", lambda folder: _redis(valkey(), folder), frozenset({SERVER, PROCESSES, ENGINE})),
    Kind("redis-cluster", lambda folder: _redis(valkey_cluster(), folder), frozenset({SERVER, PROCESSES, ENGINE})),
    Kind("redis-sentinel", lambda folder: _redis(valkey_sentinel(), folder), frozenset({SERVER, PROCESSES, ENGINE})),
    Kind("migrating", lambda folder: MigratingStore(MemoryStore(), MemoryStore()), frozenset({SERVER, SWEEPS})),
    Kind("cookie", lambda folder: CookieStore(), frozenset()),
]


class CountingStore(Store):
    """Passes everything on to another store, and notes each call; a test can step in before one, or make it fail."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.multiprocess = inner.multiprocess
        #: The names of the calls, in order. The browser adds ``"answer"`` where the response left the middleware.
        self.log: list[str] = []
        #: What to run, once, before the next call of a method.
        self.before: dict[str, Callable[[], object]] = {}
        #: Everything that was passed in and came back, for a search after what must not be there.
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

        ``applied``: after they have done their work. ``lost``: nobody can tell whether they have.
        """
        away = StoreUnavailable("the engine is away", retry_after=7, answer_lost=applied or lost)
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
    """Over a store that has no count of its own, so that a test can ask all the same."""

    def count(self, now: float, namespace: str | None = None) -> int:
        assert isinstance(self.inner, Scans)
        return sum(namespace in (None, record.namespace) for _, record in self.inner.scan(now))


class _Sweeps(CountingStore):
    def sweep(self, limit: int, now: float) -> int:
        return int(self._pass_on("sweep", limit, now))


def counting(inner: Store) -> CountingStore:
    """Return a ``CountingStore`` that offers what ``inner`` offers, and nothing that it does not, but for a count."""
    counts = _Counts if isinstance(inner, Counts) else _CountsByScan
    offers: list[tuple[type, Any]] = [(_Lists, ListsOwners), (counts, (Counts, Scans)), (_Sweeps, Sweeps)]
    bases = tuple(mixin for mixin, protocol in offers if isinstance(inner, protocol))
    return type("CountingStore", bases or (CountingStore,), {})(inner)
