"""The sessions that a request's foreign cookies name, and the request's credential."""

from __future__ import annotations

from typing import Protocol

from wsgi_session.backends.base import Credential, Loaded
from wsgi_session.backends.settings import Settings
from wsgi_session.moving.reader import Reader
from wsgi_session.stores.contract import Outcome, Record, Store

#: Where the environ has the foreign sessions of the request.
ENVIRON_KEY = "wsgi_session.foreign"


class Named(list[tuple[Reader, str]]):
    """The foreign sessions that a request names: reader and id."""

    #: Whether this request has ended them, so that their cookies must be removed, even in the first phase.
    ended = False

    def __repr__(self) -> str:
        return f"<{len(self)} foreign sessions>"


class ForeignCredential(Credential):
    """The credential of a request that has a foreign cookie, too. A logout ends the foreign sessions as well."""

    __slots__ = ("named",)

    def __init__(self, before: Credential | None, *, current: bool, named: Named) -> None:
        token, key = (b"", b"") if before is None else (before.token, before.key)
        super().__init__(token, current, key)
        self.others = getattr(before, "others", [])
        self.named = named


class Sessions(Protocol):
    """The part of a backend that an adoption needs."""

    store: Store
    settings: Settings

    def look_up(self, credential: Credential, now: float) -> Loaded:
        """See ``Backend.look_up``."""

    def derived_credential(self, seed: bytes) -> Credential:
        """Return the credential whose token is derived from 32 secret bytes."""

    def replace(self, credential: Credential, record: Record, version: bytes, now: float) -> Outcome:
        """See ``Backend.replace``."""

    def delete(self, credential: Credential, record: Record, now: float) -> None:
        """See ``Backend.delete``."""

    def end(self, credential: Credential, now: float) -> Record | None:
        """See ``Backend.end``."""
