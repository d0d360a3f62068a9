"""Where the state of sessions is kept: what ``StoreBackend`` (a store) and ``SealedBackend`` (the cookie) both offer.

Sessions and middleware don't know which one they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from wsgi_session.codec.packing import Packed
from wsgi_session.config.options import Settings
from wsgi_session.stores.contract import Outcome, Record


class Bearer:
    """What a visitor holds."""

    __slots__ = ("current", "key", "others", "record", "token")

    #: The others of the request, set where it brought several.
    others: list[Bearer]

    def __init__(self, token: bytes, current: bool, key: bytes = b"", record: Record | None = None) -> None:
        #: The secret that opens the session, or stands sealed in it. CSRF tokens are made from it.
        self.token = token
        #: Whether the newest secret signed or sealed it.
        self.current = current
        #: What a store files the session under.
        self.key = key
        #: What goes into the next seal.
        self.record = record


# What became of a request's cookies: the state (new, live, unknown, rotated, tampered), who bears the session, its
# record, and the record's packed values. A bare tuple: it is made once a request, and read once.
Loaded = tuple[str, Bearer | None, Record | None, Packed]


class Backend(Protocol):
    """The sessions of one middleware."""

    settings: Settings
    #: Whether the state is in the cookie: then every change needs one, and nothing can be compared with what is there.
    stateless: bool

    #: Whether a sweep was left to the end of an answer that has not come: it is not left to one again.
    sweep_missed: bool

    @property
    def sweep_due(self) -> bool:
        """Whether there is something to be done with :meth:`sweep` after this answer."""

    def sweep(self, now: float) -> None:
        """Remove a little of what is long dead."""

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the first live session among the request's cookies."""

    def look_up(self, bearer: Bearer, now: float) -> Loaded:
        """Return what is there for ``bearer`` by now, judged by the current settings."""

    def draw(self) -> Bearer:
        """Return a bearer that nobody has yet."""

    def create(self, bearer: Bearer, record: Record, now: float) -> Bearer:
        """Keep a new session; return its bearer, another than the one given if that was taken."""

    def replace(self, bearer: Bearer, record: Record, version: bytes, now: float) -> Outcome:
        """Compare-and-set; see ``Store.replace``."""

    def rotate(self, old: Bearer, new: Bearer, record: Record, version: bytes, now: float) -> tuple[Outcome, Bearer]:
        """Move a session to a new bearer; return the one it has now. See ``Store.rotate``."""

    def touch(self, bearer: Bearer, touched: float, expires: float, now: float) -> bool:
        """Note activity; see ``Store.touch``."""

    def delete(self, bearer: Bearer, record: Record, now: float) -> None:
        """End a session, now."""

    def end(self, bearer: Bearer, now: float) -> Record | None:
        """End the session that ``bearer`` opens, or opened before a rotation that was no login; return what ended."""

    def forget(self, bearer: Bearer) -> None:
        """Delete what is there for a bearer that opened nothing, dead as it may be."""

    def set_cookies(self, environ: Mapping[str, Any], bearer: Bearer, max_age: float | None) -> list[str]:
        """Return the Set-Cookie values for ``bearer``; ``max_age`` in seconds, ``None``: until the browser closes."""

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove what the request sent of ours, none if that is nothing."""
