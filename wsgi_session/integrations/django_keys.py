"""Session keys for Django: what ``session_key`` and the cookie contain, and the store's key for it.

A session key is a token of 40 characters, because applications keep it in columns of that length, as Django's own
engine does. That leaves no room for a signature, and 200 random bits need none. The store sees only a hash.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode

from wsgi_session.backends.base import Credential, Transactions
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.settings import Settings
from wsgi_session.cookies import tokens
from wsgi_session.stores.contract import Store

_KEY = re.compile(r"[a-z2-7]{40}", re.ASCII)


class SessionKeys:
    """The session keys of one namespace, and their credentials."""

    def __init__(self, namespace: str) -> None:
        name = namespace.encode()
        # The hash includes the namespace, so that no site opens a session of another one in the same store.
        self._hash = hashlib.sha256(b"wsgi-session.django.%d:%s:" % (len(name), name))

    def credential(self, session_key: bytes) -> Credential:
        """Return the credential for a session key."""
        key = self._hash.copy()
        key.update(session_key)
        return Credential(session_key, True, key.digest())

    def derived_credential(self, seed: bytes) -> Credential:
        """Return the credential whose session key is made of 25 of these secret bytes."""
        return self.credential(b32encode(seed[:25]).lower())


class KeyBackend(StoreBackend):
    """The sessions of a Django site. It has no signer and no cookies: Django reads and sets the cookie."""

    def __init__(self, store: Store, transactions: Transactions, settings: Settings) -> None:
        self.store = store
        self.transactions = transactions
        self.settings = settings
        self._keys = SessionKeys(settings.namespace)

    def credential_of(self, session_key: str | None) -> Credential | None:
        """Return the credential for a session key; ``None`` if it is not of the form of ours."""
        if session_key is None or not _KEY.fullmatch(session_key):
            return None
        return self._keys.credential(session_key.encode())

    def session_key_of(self, credential: Credential) -> str:
        """Return the session key."""
        return credential.token.decode()

    def new_credential(self) -> Credential:
        """Return a new, unused credential."""
        return self._keys.credential(tokens.new_short_token())

    def derived_credential(self, seed: bytes) -> Credential:
        """Return the credential whose session key is made of 25 of these secret bytes."""
        return self._keys.derived_credential(seed)
