"""A site some of whose processes are of one phase of a change of stores, and some of the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from wsgi_session.stores import MigratingStore, Outcome, OwnedSession, Record, Store


class Phases(Store):
    """Gives each call to the process of the next phase in turn: each may be the one that a request comes to."""

    def __init__(self, new: Store, old: Store) -> None:
        self._phases = [MigratingStore(new, old, phase) for phase in ("prepare", "move", "move", "prepare", "prepare")]
        self._calls = count()

    def load(self, key: bytes, now: float) -> Record | None:
        return self._next().load(key, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._next().create(key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._next().replace(key, record, version, now)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self._next().rotate(old, new, record, version, now)

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return self._next().touch(key, touched, expires, now)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return self._next().delete(key, version)

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        return self._next().of_owner(owner, now)

    def ping(self) -> None:
        self._next().ping()

    def close(self) -> None:
        """Whoever opened the two stores closes them."""

    def _next(self) -> MigratingStore:
        return self._phases[next(self._calls) % len(self._phases)]
