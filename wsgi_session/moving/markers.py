"""Markers: the store's memory of which foreign sessions were adopted, and as which session.

A marker is a record in our own store. Its key is derived from the id of the foreign session, and it is created with
``Store.create``, which never overwrites: so of two requests that adopt one session at once, one wins, and the other
takes the winner's session. The marker stays until the foreign session would have ended. So after a logout, the old
cookie leads to the marker, and the marker leads nowhere.

The steps of an adoption, in this order: store the session under a new token that nobody knows yet; create the marker;
delete the foreign record; answer with the new cookie. A crash after any of them logs nobody out, because the browser
still has the old cookie: before the second step, the foreign record is still there and is adopted anew, and after it,
the marker leads to the session. (After a crash between the first two, a session is left that nobody can open. It
expires like any other.)

The token is derived from the foreign id, which the browser proves, and from random bytes in the marker. The store alone
does not contain it. A cookie with it also needs the middleware's signature.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from wsgi_session.config.secrets import HiddenBytes
from wsgi_session.cookies import tokens
from wsgi_session.errors import KeyExists, StoreUnavailable
from wsgi_session.stores.contract import Outcome, Record, Store

_MARKER = b"wsgi-session adopted session\0"
_TOKEN = b"wsgi-session token of an adopted session\0"
# What the data of a marker starts with, if it leads to a session (adopted at a visit, or in advance), and the number of
# random bytes that follow.
_LEADS, _IN_ADVANCE, _RANDOM = b"1", b"2", 32
#: How long, in seconds, to remember a revocation, or a foreign session that never ends, while the site adopts.
NEVER = 10 * 365 * 86_400.0
#: The data of a marker that leads nowhere: the visitor has logged out before the session was adopted.
NOWHERE = b"0"


def marker_namespace(namespace: str) -> str:
    """Return the namespace of markers. No cookie can have this name, so no middleware lists or counts them."""
    return f"{namespace}/adopted"


def marker_key(namespace: str, reader: str, session_id: str) -> bytes:
    """Return the store's key for the marker of a foreign session; ``reader``: the reader's ``scope``.

    If a reader checks a signature, its ids are not secret. Another reader, which checks none, must not open the same
    session by the same id.
    """
    scope = f"{namespace}/{reader}".encode()
    return hashlib.sha256(_MARKER + b"%d:%b:" % (len(scope), scope) + _encode(session_id)).digest()


def new_lead(*, advance: bool = False) -> bytes:
    """Return the data of a new marker that leads to a session; ``advance``: one that was adopted before the visit."""
    return (_IN_ADVANCE if advance else _LEADS) + os.urandom(_RANDOM)


def was_in_advance(marker: Record) -> bool:
    """Return whether the session was adopted in advance, and the visitor has not come since."""
    return _is_lead(marker.data) and marker.data[:1] == _IN_ADVANCE


def seed_of(session_id: str, marker: Record) -> bytes | None:
    """Return the secret bytes from which the session's token is derived; ``None`` if the marker leads nowhere."""
    if not _is_lead(marker.data):
        return None
    return HiddenBytes(hmac.digest(_encode(session_id), _TOKEN + marker.data[1:], "sha256"))


def make_marker(data: bytes, now: float, expires: float, namespace: str) -> Record:
    """Return a marker that is remembered until ``expires``."""
    handle, version = tokens.new_handle_and_version()
    return Record(data, version, handle, now, now, expires, namespace=marker_namespace(namespace))


def create_once(store: Store, key: bytes, record: Record, now: float) -> bool:
    """Create a record; return False if another one is under ``key``. A lost answer is asked for once more."""
    try:
        try:
            store.create(key, record, now)
        except StoreUnavailable as error:
            if not error.answer_lost:
                raise
            store.create(key, record, now)
    except KeyExists:
        return False
    return True


def put_marker(store: Store, key: bytes, marker: Record, before: Record | None, now: float) -> bool:
    """Store a marker in place of ``before``; return False if another request was faster.

    A lost answer is asked for once more.
    """
    if before is None:
        return create_once(store, key, marker, now)
    try:
        outcome = store.replace(key, marker, before.version, now)
    except StoreUnavailable as error:
        if not error.answer_lost:
            raise
        outcome = store.replace(key, marker, before.version, now)
    return outcome is Outcome.SAVED


def _is_lead(data: object) -> bool:
    # SQLite stores any type in any column.
    return isinstance(data, bytes) and len(data) == 1 + _RANDOM and data[:1] in (_LEADS, _IN_ADVANCE)


def _encode(session_id: str) -> bytes:
    return session_id.encode(errors="surrogatepass")
