"""Where the state of sessions is kept: what ``StoreBackend`` (a store) and ``CookieBackend`` (the cookie) both offer.

The rest of the package asks a backend what it is able to do, never which of the two it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import Packed
from wsgi_session.stores.contract import Outcome, Record

#: Why a session is as it is: see ``Session.state``.
State = Literal["new", "live", "unknown", "rotated", "tampered", "unavailable", "destroyed"]


class Credential:
    """What a cookie proves: the token of one session."""

    __slots__ = ("current", "key", "others", "record", "token")

    #: The other credentials of the request; set only if it brought several.
    others: list[Credential]

    def __init__(self, token: bytes, current: bool, key: bytes = b"", record: Record | None = None) -> None:
        #: The secret part. CSRF tokens are derived from it.
        self.token = token
        #: Whether the newest secret signed or sealed the cookie.
        self.current = current
        #: The store's key for the session.
        self.key = key
        #: What goes into the next sealed cookie.
        self.record = record


# What a request's cookies lead to: the state (new, live, unknown, rotated, tampered), the credential, the record, and
# the record's packed values. A bare tuple, because it is made once for a request and unpacked once.
Loaded = tuple[State, Credential | None, Record | None, Packed]


class Backend(Protocol):
    """The sessions of one middleware."""

    settings: Settings
    #: Whether a save can be compared with what other requests have stored: the condition for ``atomic`` and merging.
    compares: bool
    #: Whether each change has to be sent to the browser in a cookie.
    change_needs_cookie: bool
    #: Whether a sweep was left to the end of a response that never came to its end.
    sweep_missed: bool

    @property
    def sweep_due(self) -> bool:
        """Whether :meth:`sweep` has something to do after this response."""

    def sweep(self, now: float) -> None:
        """Remove a few of the records that expired long ago."""

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the first live session among the request's cookies."""

    def look_up(self, credential: Credential, now: float) -> Loaded:
        """Return what is stored for ``credential``, judged by the current settings."""

    def draw(self) -> Credential:
        """Return a new credential."""

    def create(self, credential: Credential, record: Record, now: float) -> Credential:
        """Store a new session; return its credential: a new one if the one given was already in use."""

    def replace(self, credential: Credential, record: Record, version: bytes, now: float) -> Outcome:
        """Compare and set; see ``Store.replace``."""

    def rotate(
        self, old: Credential, new: Credential, record: Record, version: bytes, now: float
    ) -> tuple[Outcome, Credential]:
        """Move a session to a new credential; return the one that it has now. See ``Store.rotate``."""

    def touch(self, credential: Credential, touched: float, expires: float, now: float) -> bool:
        """Record activity; see ``Store.touch``."""

    def delete(self, credential: Credential, record: Record, now: float) -> None:
        """End a session immediately."""

    def end(self, credential: Credential, now: float) -> Record | None:
        """End the session that ``credential`` leads to, also through rotations without a login; return its record."""

    def forget(self, credential: Credential) -> None:
        """Delete what is stored for a credential that was not accepted: an expired or unreadable record."""

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        """Return the Set-Cookie values; ``max_age`` in seconds, ``None``: until the browser closes."""

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove our cookies of the request; an empty list if it sent none."""
