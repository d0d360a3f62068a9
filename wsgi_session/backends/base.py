"""The interface of the two backends: ``StoreBackend`` keeps sessions in a store, ``CookieBackend`` in the cookie.

The rest of the package asks a backend what it can do, never which of the two it is.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import Packed
from wsgi_session.stores.contract import Outcome, OwnedSession, Record, Store

if TYPE_CHECKING:
    from wsgi_session.backends.binding import Binding

#: The challenge of a 401 for requests with a cookie. No browser knows this scheme, so none opens a dialog.
COOKIE_CHALLENGE = 'Cookie realm="login"'
#: See ``Session.state``.
State = Literal["new", "live", "unknown", "rotated", "tampered", "unavailable", "destroyed"]


class Credential:
    """The proof that a request sends in its cookie: the token of one session, and what is derived from it."""

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
        #: The record to seal into the next cookie; ``None`` with a store.
        self.record = record


# The result of loading a request's session: its state (new, live, unknown, rotated, tampered), the credential, the
# record, and the record's packed values. A plain tuple, because every request creates one, and unpacks it once.
Loaded = tuple[State, Credential | None, Record | None, Packed]


class Transactions(Protocol):
    """Begins and ends the transactions of one middleware."""

    def begin(self, environ: Mapping[str, Any], data: bytes, max_age: float, now: float) -> tuple[str, list[str]]:
        """Keep ``data`` for ``max_age`` seconds; return the state and the Set-Cookie values."""

    def end(self, environ: Mapping[str, Any], state: object, now: float) -> tuple[bytes | None, list[str]]:
        """Return the data of the transaction with this state, and the Set-Cookie values; ``None`` if there is none."""


class Backend(Protocol):
    """The sessions of one middleware."""

    settings: Settings
    store: Store
    #: What binds sessions to devices; ``None`` without the option.
    binding: Binding | None
    #: Whether a write is a compare-and-set, which merging and ``atomic`` need.
    compares: bool
    #: Whether the request's credential is one that browsers send by themselves: a cookie.
    browser_sends: bool
    #: The environ's name of the request header that contains the credential.
    credential_key: str
    #: The response header that contains a new credential.
    answer_header: str
    #: The challenge of a 401 (RFC 9110, 11.6.1).
    challenge: str
    #: Whether each change has to be sent to the browser in a cookie.
    change_needs_cookie: bool
    #: Whether a sweep was skipped because the server never closed a response's body.
    sweep_missed: bool

    @property
    def transactions(self) -> Transactions:
        """The data that is kept during a login at another site, apart from the session."""

    @property
    def by_header(self) -> Backend | None:
        """The backend for the requests that send the token in a header, if there are requests of both kinds."""

    @property
    def sweep_due(self) -> bool:
        """Whether :meth:`sweep` should be called after this response."""

    def sweep(self, now: float) -> None:
        """Remove a limited number of expired records."""

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the first live session among the request's cookies."""

    def look_up(self, credential: Credential, now: float) -> Loaded:
        """Load the session of ``credential``, and apply the current timeouts to it."""

    def new_credential(self) -> Credential:
        """Return a new, unused credential."""

    def create(self, credential: Credential, record: Record, now: float) -> Credential:
        """Store a new session; return its credential, which is another one if the given one was already in use."""

    def replace(self, credential: Credential, record: Record, version: bytes, now: float) -> Outcome:
        """Compare-and-set; see ``Store.replace``."""

    def rotate(
        self, old: Credential, new: Credential, record: Record, version: bytes, now: float
    ) -> tuple[Outcome, Credential]:
        """Move a session to a new credential; return the outcome and the session's credential. See ``Store.rotate``."""

    def touch(self, credential: Credential, touched: float, expires: float, now: float) -> bool:
        """Record activity; return False if the session has ended. See ``Store.touch``."""

    def delete(self, credential: Credential, record: Record, now: float) -> None:
        """End a session immediately."""

    def end(self, credential: Credential, now: float) -> Record | None:
        """End the session of ``credential``, also if it was rotated without a login; return its record, or ``None``."""

    def logins_of(self, owner: bytes, now: float) -> list[OwnedSession]:
        """Return the owner's live sessions, in any order; an empty list if they cannot be listed."""

    def end_logins(self, owner: bytes, handles: Container[str], now: float) -> int:
        """End the owner's sessions with these handles; return how many were ended."""

    def revoke_foreign(self, owner: bytes | None, now: float, *, anonymous: bool = False) -> None:
        """Keep foreign sessions that began before ``now`` from being adopted, if the middleware adopts any.

        ``owner``: only those of the user with this key; ``None``: those of all users, and with ``anonymous`` those of
        all visitors.
        """

    def forget(self, credential: Credential) -> None:
        """Delete what is stored for a credential that was not accepted: an expired, unreadable or bound record."""

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        """Return the values of ``answer_header``. ``max_age`` is in seconds; ``None``: until the browser closes."""

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove the request's session cookies; an empty list if it sent none."""
