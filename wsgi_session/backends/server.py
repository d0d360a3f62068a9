"""State kept in a store: from the cookie to the record, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wsgi_session.backends.base import Credential, Loaded
from wsgi_session.backends.revocation import MAX_LOOKS, end_sessions, follow
from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import CorruptData, split
from wsgi_session.cookies import tokens
from wsgi_session.cookies.cookie import SchemeCookies
from wsgi_session.errors import KeyExists, StoreUnavailable
from wsgi_session.stores.contract import (
    LAST_TIME,
    SWEEP_GRACE,
    SWEEP_LIMIT,
    ListsOwners,
    Outcome,
    Record,
    Store,
    Sweeps,
)

#: Well-signed cookies of our name that are looked up; a browser sends more only if somebody planted them.
MAX_LOADS = 3
#: Tokens drawn before giving up: one in use is a chance of 2**-128, several a broken random generator.
MAX_DRAWS = 5
# Of several cookies that all open nothing, the one that says most decides. Writing over "rotated" would cost a login.
_RANK = {"unknown": 1, "rotated": 2}


class StoreBackend:
    """The sessions of one middleware, in a store."""

    compares = True
    change_needs_cookie = False
    sweep_missed = False

    def __init__(self, store: Store, keyring: tokens.Tokens, cookies: SchemeCookies, settings: Settings) -> None:
        self.store = store
        self._tokens = keyring
        self._cookies = cookies
        self.settings = settings

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the first live session among the request's cookies; badly signed ones cost no store call."""
        if not environ.get("HTTP_COOKIE"):
            return "new", None, None, {}
        credentials, cookies = self._credentials(environ)
        if cookies > 1:
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
        self.tell_tampered(map(tokens.looks_signed, self._cookies.of(environ).read(environ["HTTP_COOKIE"])), cookies)
        return "tampered", None, None, {}

    def tell_tampered(self, look_signed: Iterable[bool], cookies: int = 1) -> None:
        """Tell of cookies that none of our secrets signed; ``look_signed`` says of each whether it has our form."""
        self.settings.events("tampered", cookies=cookies)
        self._cookies.warn_of_foreign(look_signed)

    def open_text(self, text: str | None) -> Credential | None:
        """Return the credential in a cookie's value, ``None`` if it was not signed with one of our secrets."""
        opened = None if text is None else self._tokens.open(text)
        if opened is None:
            return None
        token, current = opened
        return Credential(token, current, tokens.key_of(token))

    def text_of(self, credential: Credential) -> str:
        """Return the cookie's value for ``credential``."""
        return self._tokens.sign(credential.token)

    def look_up(self, credential: Credential, now: float) -> Loaded:
        """Return what the store has for ``credential``, judged by the current settings."""
        record = self.store.load(credential.key, now)
        if record is None:
            return "unknown", credential, None, {}
        # All at once: each by its name takes as long as all of them.
        data, _, handle, created, touched, expires, _, _, idle, _ = record
        if not handle:
            return "rotated", credential, None, {}
        try:
            # As has_sound_times() does, without the call: every request comes here.
            if not 0.0 <= created + touched + expires < LAST_TIME or (idle is not None and not 0.0 < idle < LAST_TIME):
                raise CorruptData
            if now >= expires or now >= self.settings.lifetime.end(touched, created, idle):
                return "unknown", credential, None, {}
            return "live", credential, record, split(data)
        except (CorruptData, TypeError):  # A text in the place of a time: SQLite keeps one in any column.
            self.settings.events("corrupt", handle=handle)
            return "unknown", credential, None, {}

    def draw(self) -> Credential:
        """Return a credential that nobody has yet."""
        token = tokens.draw_token()
        return Credential(token, True, tokens.key_of(token))

    def create(self, credential: Credential, record: Record, now: float) -> Credential:
        """Store a new session; return its credential, another than the one given if that was taken (tower-sessions)."""
        for _ in range(MAX_DRAWS):
            try:
                try:
                    self.store.create(credential.key, record, now)
                except StoreUnavailable as error:
                    if not error.answer_lost:
                        raise
                    # The store knows this write again by its version.
                    self.store.create(credential.key, record, now)
            except KeyExists:
                credential = self.draw()
            else:
                return credential
        raise _no_free_token()

    def replace(self, credential: Credential, record: Record, version: bytes, now: float) -> Outcome:
        """Compare-and-set; see ``Store.replace``."""
        try:
            return self.store.replace(credential.key, record, version, now)
        except StoreUnavailable as error:
            return _once_more(error, lambda: self.store.replace(credential.key, record, version, now))

    def rotate(
        self, old: Credential, new: Credential, record: Record, version: bytes, now: float
    ) -> tuple[Outcome, Credential]:
        """Move a session to a new token; return the credential it has now."""
        for _ in range(MAX_DRAWS):
            try:
                outcome = self._rotate(old, new, record, version, now)
            except KeyExists:
                new = self.draw()
                continue
            return outcome, new
        raise _no_free_token()

    def touch(self, credential: Credential, touched: float, expires: float, now: float) -> bool:
        """Note activity; see ``Store.touch``."""
        return self.store.touch(credential.key, touched, expires, now)

    def delete(self, credential: Credential, record: Record, now: float) -> None:
        """End a session, also if it has been rotated since; one that nobody owns, while its tombstone says where to."""
        self._delete(credential.key, record, now)

    def end(self, credential: Credential, now: float) -> Record | None:
        """End the session that ``credential`` leads to, also through rotations without a login; return its record."""
        moved = follow(self.store, credential.key, None, now)
        if moved is None:
            self.store.await_replicas()
            return None
        key, record = moved
        self._delete(key, record, now)
        return record

    def _delete(self, key: bytes, record: Record, now: float) -> None:
        for _ in range(MAX_LOOKS):  # pragma: no branch - it would take a thousand rotations during one logout
            if self.store.delete(key):
                return
            # It was not there any more: ended by another request, or moved to another token, under the same handle.
            # By this machine's clock it may be over, and go on by another's.
            moved = follow(self.store, key, record.handle, now - SWEEP_GRACE)
            if moved is None:
                break
            key, _ = moved
        if record.owner is not None and isinstance(self.store, ListsOwners):
            # The tombstone is gone as well, if this request is a very slow one.
            end_sessions(self.store, record.owner, now, lambda other: other.handle == record.handle)
        else:
            self.store.await_replicas()

    def forget(self, credential: Credential) -> None:
        """Delete the record of a token that opened nothing, if the store still has it: dead, or unreadable."""
        self.store.delete(credential.key)

    @property
    def sweep_due(self) -> bool:
        """Whether the store would like to be swept after this answer."""
        return self.store.sweep_due

    def sweep(self, now: float) -> None:
        """Sweep a little. Best effort: nobody waits for it, and the next one sweeps what this one leaves."""
        self.store.sweep_due = self.sweep_missed = False
        if isinstance(self.store, Sweeps):
            try:
                self.store.sweep(SWEEP_LIMIT, now)
            except StoreUnavailable as error:
                self.settings.events("unavailable", error=str(error))

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        """Return the Set-Cookie values; ``max_age`` in seconds, ``None``: until the browser closes."""
        return [self._cookies.of(environ).write(self._tokens.sign(credential.token), max_age)]

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove the request's cookie, none if it sent none."""
        cookie = self._cookies.of(environ)
        return [cookie.remove()] if cookie.read(environ.get("HTTP_COOKIE", "")) else []

    def _credentials(self, environ: Mapping[str, Any]) -> tuple[list[Credential], int]:
        """Return who bears the first few well-signed cookies of our name, and how many of the name there are.

        In a frame of its own, so that none which waits for the store has a token in it: error reporters show locals.
        """
        credentials: list[Credential] = []
        values = self._cookies.of(environ).read(environ["HTTP_COOKIE"])
        for value in values:
            opened = self._tokens.open(value)
            if opened is not None:
                token, current = opened
                credentials.append(Credential(token, current, tokens.key_of(token)))
                if len(credentials) == MAX_LOADS:
                    break
        return credentials, len(values)

    def _rotate(self, old: Credential, new: Credential, record: Record, version: bytes, now: float) -> Outcome:
        try:
            return self.store.rotate(old.key, new.key, record, version, now)
        except StoreUnavailable as error:
            return _once_more(error, lambda: self.store.rotate(old.key, new.key, record, version, now))


def _once_more(error: StoreUnavailable, write: Callable[[], Outcome]) -> Outcome:
    """Repeat a write whose answer was lost: the store knows it again by its version (and answers SAVED)."""
    if not error.answer_lost:
        raise error
    outcome = write()
    if outcome is not Outcome.SAVED:
        # Applied and then overwritten, or never applied: nobody can tell, so nobody may be told it was saved.
        raise error
    return outcome


def _no_free_token() -> StoreUnavailable:
    return StoreUnavailable(f"{MAX_DRAWS} tokens drawn, all in use: the random generator of this machine is broken.")
