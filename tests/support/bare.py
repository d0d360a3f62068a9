"""A store with only the methods of the contract."""

from __future__ import annotations

from wsgi_session.stores import Outcome, Record, Store


class Bare(Store):
    """Always empty, and without any optional operation."""

    closed = False

    def load(self, key: bytes, now: float) -> Record | None:
        return None

    def create(self, key: bytes, record: Record, now: float) -> None:
        return None

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return Outcome.GONE

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return Outcome.GONE

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return False

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return False

    def ping(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True
