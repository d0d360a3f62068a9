"""Where another library keeps its records: the same three calls for Redis, a database table and a folder of files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, NamedTuple

from wsgi_session.errors import StoreUnavailable


class Found(NamedTuple):
    """A record, as it is stored."""

    data: bytes
    #: When it expires, in seconds since the epoch; ``None``: the engine does not know, or never.
    expires: float | None = None
    #: When it was last written; ``None``: unknown.
    changed: float | None = None


class Place(ABC):
    """One kind of storage. Every method raises ``StoreUnavailable`` if it does not answer."""

    @abstractmethod
    def get(self, key: str, now: float) -> Found | None:
        """Return the record under ``key``; ``None`` if there is none, or if it has expired."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the record under ``key``, if there is one."""

    @abstractmethod
    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with ``prefix``. Raises ``Unsupported`` if the place cannot list them."""


def seconds_of_date(date: Any) -> float:
    """Return the seconds since the epoch of a date in a database, which is UTC unless it says otherwise.

    SQLite has dates as text. Anything else is 0: it counts as expired.
    """
    try:
        moment = datetime.fromisoformat(date) if isinstance(date, str) else date
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, AttributeError):
        return 0.0


def outage(name: str, error: BaseException) -> StoreUnavailable:
    """Return the error for an old store that does not answer.

    It shows only the kind of the cause: the text may contain a password, or the id of a session.
    """
    return StoreUnavailable(f"The old session store ({name}) does not answer: {type(error).__name__}.")
