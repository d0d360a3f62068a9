"""The store backend: finds the record that belongs to a cookie, and writes it back."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wsgi_session.backends.base import COOKIE_CHALLENGE, Backend, Credential, Loaded, Transactions
from wsgi_session.backends.revocation import end_session, end_sessions, follow_tombstones
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import CorruptData, split
from wsgi_session.cookies import tokens
from wsgi_session.cookies.cookie import MAX_CREDENTIALS, SchemeCookies
from wsgi_session.errors import KeyExists, StoreUnavailable
from wsgi_session.stores.contract import (
    LAST_TIME,
    SWEEP_GRACE,
    SWEEP_LIMIT,
    ListsOwners,
    Outcome,
    OwnedSession,
    Record,
    Store,
    Sweeps,
    has_sound_times,
)

if TYPE_CHECKING:
    from wsgi_session.backends.binding import Binding

#: The maximum number of tokens to try. The chance that a new token is already in use is 2**-128: if several are, the
#: random generator is broken.
MAX_TOKENS = 5
# If no cookie leads to a live session, the state with the highest rank counts. A session that was just rotated ranks
# first, because replacing its cookie would log the visitor out.
_RANK = {"unknown": 1, "rotated": 2}


class StoreBackend:
    """The sessions of one middleware, in a store."""

    compares = True
    change_needs_cookie = False
    browser_sends = True
    credential_key = "HTTP_COOKIE"
    answer_header = "Set-Cookie"
    challenge = COOKIE_CHALLENGE
    by_header: Backend | None = None
    sweep_missed = False
    #: The adoption of another library's sessions, if the middleware has the option.
    adoption: Any = None
    #: What binds sessions to devices, if the middleware has the option.
    binding: Binding | None = None

    def __init__(
        self,
        store: Store,
        signer: tokens.TokenSigner,
        cookies: SchemeCookies,
        transactions: Transactions,
        settings: Settings,
    ) -> None:
        self.store = store
        self.transactions = transactions
        self._signer = signer
        self._cookies = cookies
        self.settings = settings

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the first live session among the request's cookies. A bad signature costs no store call."""
        if not environ.get("HTTP_COOKIE"):
            return "new", None, None, {}
        credentials, cookies = self._credentials(environ)
        if cookies == 1 and credentials:
            return self.look_up(credentials[0], now)
        del credentials[MAX_CREDENTIALS:]
        for credential in credentials:
            credential.others = [other for other in credentials if other is not credential]
        best: Loaded | None = None
        for credential in credentials:
            found = self.look_up(credential, now)
            if found[0] == "live":
                return found
            if best is None or _RANK[found[0]] > _RANK[best[0]]:
                best = found
        if best is not None:
            return best
        if not cookies:
            return "new", None, None, {}
        look_signed = map(tokens.looks_signed, self._cookies.of(environ).read(environ["HTTP_COOKIE"]))
        self.report_tampered(look_signed, cookies)
        return "tampered", None, None, {}

    def report_tampered(self, look_signed: Iterable[bool], cookies: int = 1) -> None:
        """Report cookies that none of our secrets signed; ``look_signed`` says of each whether it looks signed."""
        self.settings.events("tampered", cookies=cookies)
        self._cookies.warn_of_foreign(look_signed)

    def look_up(self, credential: Credential, now: float) -> Loaded:
        """Load the session of ``credential``, and apply the current timeouts to it."""
        # The timeouts are applied here. An hour in the past, the store also returns a session that has expired since.
        record = self.store.load(credential.key, now - SWEEP_GRACE)
        if record is None:
            return "unknown", credential, None, {}
        # Unpacked, because reading one field by its name takes as long as unpacking all of them.
        data, _, handle, created, touched, expires, owner, _, idle, _ = record
        try:
            if not handle:
                return ("rotated" if now < expires else "unknown"), credential, None, {}
            # The check of has_sound_times(), inlined because every request runs it.
            if not 0.0 <= created + touched + expires < LAST_TIME or (idle is not None and not 0.0 < idle < LAST_TIME):
                raise CorruptData
            lifetime = self.settings.lifetime
            if owner is None and idle != lifetime.anonymous:
                # It was stored under another anonymous_timeout; the current one counts.
                idle = lifetime.anonymous
                record = record._replace(idle=idle)
            if now >= expires or now >= lifetime.end(touched, created, idle):
                self._report_expired(record)
                return "unknown", credential, None, {}
            return "live", credential, record, split(data)
        except (CorruptData, TypeError):  # TypeError if a time is a text: SQLite stores any type in any column.
            self.settings.events("corrupt", handle=handle)
            return "unknown", credential, None, {}

    def _report_expired(self, record: Record) -> None:
        reason = self.settings.lifetime.reason(record)
        self.settings.events("expired", handle=record.handle, owner=stored_owner(record), reason=reason)

    def new_credential(self) -> Credential:
        """Return a new, unused credential."""
        token = tokens.new_token()
        return Credential(token, True, tokens.store_key(token))

    def derived_credential(self, seed: bytes) -> Credential:
        """Return the credential whose token is made of 32 secret bytes, for a session that is adopted."""
        return token_credential(seed)

    def create(self, credential: Credential, record: Record, now: float) -> Credential:
        """Store a new session; return its credential, which is another one if the given one was already in use."""
        for _ in range(MAX_TOKENS):
            try:
                try:
                    self.store.create(credential.key, record, now)
                except StoreUnavailable as error:
                    if not error.answer_lost:
                        raise
                    self.settings.events("retried", operation="create", error=str(error))
                    # If the first write was applied, the store recognises its version, and this one succeeds too.
                    self.store.create(credential.key, record, now)
            except KeyExists:
                credential = self.new_credential()
            else:
                return credential
        raise _no_free_token_error()

    def replace(self, credential: Credential, record: Record, version: bytes, now: float) -> Outcome:
        """Compare-and-set; see ``Store.replace``."""
        try:
            return self.store.replace(credential.key, record, version, now)
        except StoreUnavailable as error:
            return self._retry("replace", error, lambda: self.store.replace(credential.key, record, version, now))

    def rotate(
        self, old: Credential, new: Credential, record: Record, version: bytes, now: float
    ) -> tuple[Outcome, Credential]:
        """Move a session to a new token; return the outcome and the session's credential. See ``Store.rotate``."""
        for _ in range(MAX_TOKENS):
            try:
                outcome = self._rotate(old, new, record, version, now)
            except KeyExists:
                new = self.new_credential()
                continue
            return outcome, new
        raise _no_free_token_error()

    def touch(self, credential: Credential, touched: float, expires: float, now: float) -> bool:
        """Record activity; return False if the session has ended. See ``Store.touch``."""
        return self.store.touch(credential.key, touched, expires, now)

    def delete(self, credential: Credential, record: Record, now: float) -> None:
        """End a session, also if it was rotated meanwhile (without an owner, only as long as its tombstone exists)."""
        end_session(self.store, credential.key, record, now)

    def end(self, credential: Credential, now: float) -> Record | None:
        """End the session of ``credential``, also if it was rotated without a login; return its record, or ``None``."""
        moved = follow_tombstones(self.store, credential.key, None, now)
        if moved is None:
            self.store.await_replicas()
            return None
        key, record = moved
        end_session(self.store, key, record, now)
        return record

    def logins_of(self, owner: bytes, now: float) -> list[OwnedSession]:
        """Return the owner's live sessions, in any order; an empty list if the store cannot list them."""
        if not isinstance(self.store, ListsOwners):
            return []
        end_of = self.settings.lifetime.end_of
        listed = self.store.of_owner(owner, now)
        return [login for login in listed if login.handle and has_sound_times(login) and now < end_of(login)]

    def end_logins(self, owner: bytes, handles: Container[str], now: float) -> int:
        """End the owner's sessions with these handles; return how many were ended."""
        return end_sessions(self.store, owner, now, lambda login: login.handle in handles)

    def revoke_foreign(self, owner: bytes | None, now: float, *, anonymous: bool = False) -> None:
        """Do nothing: only a backend with the option ``adopt`` adopts sessions of another library."""

    def forget(self, credential: Credential) -> None:
        """Delete the record of a credential that was not accepted, also if another request has just rotated it."""
        if not self.store.delete(credential.key):
            # That request may have accepted it: before it expired, or with the second cookie of a bound session.
            now = self.settings.clock()
            moved = follow_tombstones(self.store, credential.key, None, now)
            if moved is not None:
                end_session(self.store, *moved, now)

    @property
    def sweep_due(self) -> bool:
        """Whether :meth:`sweep` should be called after this response."""
        return self.store.sweep_due

    def sweep(self, now: float) -> None:
        """Remove a limited number of expired records. A failure is only reported; the next sweep removes the rest."""
        self.store.sweep_due = self.sweep_missed = False
        if isinstance(self.store, Sweeps):
            try:
                self.store.sweep(SWEEP_LIMIT, now)
            except StoreUnavailable as error:
                self.settings.events("unavailable", error=str(error))

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        """Return the Set-Cookie values. ``max_age`` is in seconds; ``None`` means until the browser closes."""
        return [self._cookies.of(environ).write(self._signer.sign(credential.token), max_age)]

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove the request's session cookie; an empty list if it sent none."""
        cookie = self._cookies.of(environ)
        return [cookie.remove()] if cookie.read(environ.get("HTTP_COOKIE", "")) else []

    def _credentials(self, environ: Mapping[str, Any]) -> tuple[list[Credential], int]:
        """Return the credentials of the validly signed cookies, and the number of all cookies of our name.

        A separate method, so that no frame that waits for the store has a token in a local variable, which error
        reporters show.
        """
        credentials: list[Credential] = []
        values = self._cookies.of(environ).read(environ["HTTP_COOKIE"])
        for value in values:
            verified = self._signer.verify(value)
            if verified is not None:
                token, current = verified
                credentials.append(Credential(token, current, tokens.store_key(token)))
        return credentials, len(values)

    def _rotate(self, old: Credential, new: Credential, record: Record, version: bytes, now: float) -> Outcome:
        try:
            return self.store.rotate(old.key, new.key, record, version, now)
        except StoreUnavailable as error:
            return self._retry("rotate", error, lambda: self.store.rotate(old.key, new.key, record, version, now))

    def _retry(self, operation: str, error: StoreUnavailable, write: Callable[[], Outcome]) -> Outcome:
        """Repeat a write whose answer was lost. If it was applied, the store knows its version and returns SAVED."""
        if not error.answer_lost:
            raise error
        self.settings.events("retried", operation=operation, error=str(error))
        outcome = write()
        if outcome is not Outcome.SAVED:
            # The write was applied and then overwritten, or never applied. This is not known, so do not report success.
            raise error
        return outcome


def token_credential(seed: bytes) -> Credential:
    """Return the credential whose token is made of 32 secret bytes. It counts as signed by an older secret."""
    credential = Credential(tokens.token_of(seed), False)
    credential.key = tokens.store_key(credential.token)
    return credential


def _no_free_token_error() -> StoreUnavailable:
    return StoreUnavailable(
        f"{MAX_TOKENS} new tokens were all already in use: the random generator of this machine is broken."
    )
