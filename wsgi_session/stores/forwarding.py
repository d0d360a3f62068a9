"""The base of a store around another store."""

from __future__ import annotations

from collections.abc import Sequence

from wsgi_session.stores.contract import Counts, ListsOwners, Scans, Store, Sweeps


class ForwardingStore(Store):
    """Forward to ``inner`` the calls that handle no data. It offers the optional operations that ``inner`` offers."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.multiprocess = inner.multiprocess
        self.delete_pause = inner.delete_pause
        self.system = inner.system
        # Set only where the inner store has them, so that the checks for the protocols find what it offers.
        if isinstance(inner, Sweeps):
            self.sweep = inner.sweep
        if isinstance(inner, Counts):
            self.count = inner.count
        if isinstance(inner, ListsOwners):
            self.of_owner = inner.of_owner
        if isinstance(inner, Scans):
            self.scan = inner.scan

    @property
    def sweep_due(self) -> bool:
        return self.inner.sweep_due

    @sweep_due.setter
    def sweep_due(self, due: bool) -> None:
        self.inner.sweep_due = due

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return self.inner.touch(key, touched, expires, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return self.inner.delete(key, version)

    def delete_many(self, keys: Sequence[bytes]) -> int:
        return self.inner.delete_many(keys)

    def await_replicas(self) -> None:
        self.inner.await_replicas()

    def ping(self) -> None:
        self.inner.ping()

    def close(self) -> None:
        self.inner.close()
