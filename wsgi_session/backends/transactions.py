"""Transactions: what a login at another site has to remember, apart from the session, until that site answers.

The data is a record of its own in the store, under the hash of a token in the cookie. Only there can it be taken
exactly once, even if two requests come with it at the same time: a signed or encrypted cookie can be sent again. With
``cookie://`` there is no store, so the cookie contains the data, encrypted: see ``sealed_transactions.py``.

The state is derived from the token. It goes to the other site and comes back with the answer. So a cookie that an
attacker has planted in the browser does not fit the answer, and a planted answer does not fit the cookie. The token has
no signature, because 256 random bits need none. Hash and state include the namespace, so that no other middleware, and
no session, accepts the token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from itsdangerous import base64_encode

from wsgi_session.backends.base import Credential
from wsgi_session.backends.settings import Settings
from wsgi_session.cookies import tokens
from wsgi_session.cookies.transaction import TransactionCookies
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.contract import Outcome, Record, Store, has_sound_times

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_PURPOSE = b"wsgi-session transaction "
# The beginning of the version of a taken transaction. It is needed if deleting the record fails.
_TAKEN = b"is taken"


class StoreTransactions:
    """Transactions in the store. A transaction is taken by a compare-and-set, and so only once."""

    def __init__(self, store: Store, cookies: TransactionCookies, settings: Settings) -> None:
        self._store = store
        self._cookies = cookies
        self._events = settings.events
        self._no_data = settings.join({})
        # No cookie's name contains a space, so no middleware takes these records for its sessions.
        self._namespace = "login " + settings.namespace
        self._purpose = _PURPOSE + settings.namespace.encode() + b" "

    def begin(self, environ: Mapping[str, Any], data: bytes, max_age: float, now: float) -> tuple[str, list[str]]:
        # In an object, because error reporters show the local variables of a frame that waits for the store.
        credential = self._new_credential()
        handle, version = tokens.new_handle_and_version()
        record = Record(data, version, handle, now, now, now + max_age, None, False, None, self._namespace)
        try:
            self._store.create(credential.key, record, now)
        except StoreUnavailable as error:
            self._check_lost("create", error)
            # If the first write was applied, the store recognises its version.
            self._store.create(credential.key, record, now)
        state = self._state(credential.token)
        return state, self._cookies.write(environ, state, credential.token.decode(), max_age)

    def end(self, environ: Mapping[str, Any], state: object, now: float) -> tuple[bytes | None, list[str]]:
        if not is_state(state):
            return None, []
        key = self._key_of_request(environ, state)
        # Another transaction, whose state begins in the same way, has a cookie of the same name: it stays.
        return (None, []) if key is None else (self._take(key, now), [self._cookies.remove(environ, state)])

    def _take(self, key: bytes, now: float) -> bytes | None:
        record = self._store.load(key, now)
        # A store returns no dead record; the check is for clocks that differ.
        if record is None or record.namespace != self._namespace or not has_sound_times(record):
            return None
        # SQLite stores any type in any column.
        if record.owner is not None or type(record.handle) is not str or type(record.version) is not bytes:
            return None
        if now >= record.expires or record.version.startswith(_TAKEN):
            return None
        # Not delete(): while a record moves between two stores, two calls of it may both report success.
        version = _TAKEN + tokens.new_version()[len(_TAKEN) :]
        taken = record._replace(data=self._no_data, version=version)
        try:
            outcome = self._store.replace(key, taken, record.version, now)
        except StoreUnavailable as error:
            self._check_lost("replace", error)
            outcome = self._store.replace(key, taken, record.version, now)
        if outcome is not Outcome.SAVED:
            return None
        try:
            self._store.delete(key)
        except StoreUnavailable:
            pass  # It is taken already, and expires soon.
        return record.data

    def _check_lost(self, operation: str, error: StoreUnavailable) -> None:
        """Raise the error unless only the answer to the write was lost, so that the write can be repeated."""
        if not error.answer_lost:
            raise error
        self._events("retried", operation=operation, error=str(error))

    def _key_of_request(self, environ: Mapping[str, Any], state: str) -> bytes | None:
        """Return the store's key. A separate method, so that no frame that waits for the store has the token."""
        for value in self._cookies.read(environ, state):
            if _TOKEN.fullmatch(value) and hmac.compare_digest(self._state(value.encode()), state):
                return self._key(value.encode())
        return None

    def _new_credential(self) -> Credential:
        token = tokens.new_token()
        return Credential(token, True, self._key(token))

    def _key(self, token: bytes) -> bytes:
        return hashlib.sha256(self._purpose + token).digest()

    def _state(self, token: bytes) -> str:
        return new_state(hmac.digest(token, self._purpose, "sha256"))


def new_state(raw: bytes) -> str:
    """Return 32 bytes as a state: 43 url-safe characters, which fit into SAML's RelayState (80 bytes)."""
    return base64_encode(raw).decode()


def is_state(state: object) -> TypeGuard[str]:
    """Return whether ``state`` has the form of a state; a client can send anything."""
    return isinstance(state, str) and _TOKEN.fullmatch(state) is not None
