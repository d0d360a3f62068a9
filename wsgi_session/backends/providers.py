"""The sessions of an identity provider: which of our sessions a logout at the provider ends.

Each login with a ``provider_session`` has an entry in the store: a record in a namespace of its own, whose owner is the
provider's session, whose handle is that of our session, and whose data is the key of our session's owner. So a store
needs nothing but ``of_owner`` for it.

The entry is stored when the user logs in, and the session with the commit, which looks at the entry again afterwards. A
logout at the provider first marks the entries that it finds, then ends the sessions. So a login that is not saved yet
ends too: either its session is found, or it finds its entry marked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator

from wsgi_session.backends.revocation import ShouldEnd, end_sessions, in_batches
from wsgi_session.cookies.tokens import owner_key
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import CLOCK_SKEW, ListsOwners, Record, Store
from wsgi_session.stores.unsupported import unsupported

#: Seconds for which an entry is kept if ``absolute_timeout`` is None: the longest life of a cookie (RFC 6265bis).
WITHOUT_LIMIT = 400 * 86_400.0
#: The version of a marked entry.
_MARKED = bytes(16)
# No cookie's name contains a slash, so that no middleware lists or counts the entries.
_NAMESPACE = "/provider"


def provider_key(store: Store, namespace: str, provider_session: object) -> bytes:
    """Return the key of a provider's session in the store's index of owners.

    Raises ``ConfigError`` for anything but a non-empty text, ``Unsupported`` if the store cannot list by owner.
    """
    if not isinstance(provider_session, str) or not provider_session:
        raise ConfigError(
            f"provider_session is of type {type(provider_session).__name__}, or empty: give the text that names the "
            "session at the provider, such as the claims 'iss' and 'sid' of an ID token."
        )
    if not isinstance(store, ListsOwners):
        raise unsupported(store, "revoke_provider_session")
    # Owners begin with "id:" or "email:", so that no user has the key of a provider's session.
    return owner_key(namespace, f"provider:{provider_session}")


def file_login(store: Store, provider: bytes, record: Record, absolute: float | None, now: float) -> None:
    """Store the entry for the login of ``record``. Call it once for a login: a second call could undo a mark."""
    key = _entry_key(provider, record)
    life = WITHOUT_LIMIT if absolute is None else absolute + CLOCK_SKEW
    entry = Record(
        data=record.owner or b"",
        version=key[:16],
        handle=record.handle,
        created=record.created,
        touched=now,
        expires=record.created + life,
        owner=provider,
        namespace=record.namespace + _NAMESPACE,
    )
    store.create(key, entry, now)


def is_filed(store: Store, provider: bytes, record: Record, now: float) -> bool:
    """Return whether the entry for the login of ``record`` is still there, and not marked."""
    entry = store.load(_entry_key(provider, record), now)
    return entry is not None and entry.version != _MARKED


def end_provider_session(store: Store, provider: bytes, now: float) -> Iterator[tuple[str | None, int]]:
    """End every session that was filed under ``provider``. It can be repeated.

    For each user, yield the number of sessions that were ended, and the handle if there was only one login.
    """
    assert isinstance(store, ListsOwners)
    # The keys of the entries by owner and handle: a user's sessions are listed once, not for each of many logins.
    filed: dict[bytes, dict[str, bytes]] = {}
    for batch in in_batches(store.of_owner(provider, now)):
        for listed in batch:
            entry = store.load(listed.key, now)
            if entry is not None and _is_entry(entry):
                store.replace(listed.key, entry._replace(version=_MARKED), entry.version, now)
                filed.setdefault(bytes(entry.data), {})[entry.handle] = listed.key
    for owner, keys in filed.items():
        ended = end_sessions(store, owner, now, _is_among(keys))
        for gone in in_batches(keys.values(), store.delete_pause):
            store.delete_many(gone)
        if ended:
            yield (next(iter(keys)) if len(keys) == 1 else None), ended


def _is_entry(record: Record) -> bool:
    """Return whether the record is an entry that was not edited by hand: SQLite stores any type in any column."""
    data: object = record.data
    namespace: object = record.namespace
    return isinstance(data, bytes) and isinstance(namespace, str) and namespace.endswith(_NAMESPACE)


def _is_among(handles: Container[str]) -> ShouldEnd:
    return lambda session: session.handle in handles


def _entry_key(provider: bytes, record: Record) -> bytes:
    return hashlib.sha256(b"provider session" + provider + record.handle.encode()).digest()
