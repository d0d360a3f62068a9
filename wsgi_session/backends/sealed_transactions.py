"""Transactions for ``cookie://``, which has no store: the data is encrypted in the transaction's cookie.

Ending one removes the cookie. A copy of the cookie that was made before still works, with the state, until it expires.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from typing import Any

from msgpack import packb, unpackb

from wsgi_session.backends.settings import Settings
from wsgi_session.backends.transactions import is_state, new_state
from wsgi_session.cookies.chunks import MAX_COOKIE
from wsgi_session.cookies.cookie import MAX_CREDENTIALS
from wsgi_session.cookies.seal import Sealer
from wsgi_session.cookies.transaction import TransactionCookies
from wsgi_session.errors import SessionTooLarge


class SealedTransactions:
    """Transactions in their own cookies."""

    def __init__(self, secrets_newest_first: Sequence[bytes], cookies: TransactionCookies, settings: Settings) -> None:
        purpose: bytes = packb(["wsgi-session transaction", settings.namespace, settings.environ_key])
        self._sealer = Sealer(secrets_newest_first, purpose)
        self._cookies = cookies

    def begin(self, environ: Mapping[str, Any], data: bytes, max_age: float, now: float) -> tuple[str, list[str]]:
        state = new_state(os.urandom(32))
        value = self._sealer.seal(packb((state, now + max_age, data)))
        *removals, cookie = self._cookies.write(environ, state, value, max_age)
        size = len(cookie)
        if size > MAX_COOKIE:
            del value, cookie  # Error reporters show local variables.
            raise SessionTooLarge(
                f"The data of this transaction makes a cookie of {size:,} bytes, but browsers accept at most "
                f"{MAX_COOKIE:,}. Give less data, or use a store.",
                size=len(data),
                limit=max(0, len(data) - (size - MAX_COOKIE) * 3 // 4),
            )
        return state, [*removals, cookie]

    def end(self, environ: Mapping[str, Any], state: object, now: float) -> tuple[bytes | None, list[str]]:
        if not is_state(state):
            return None, []
        data, removals = None, []
        for value in self._cookies.read(environ, state)[:MAX_CREDENTIALS]:
            opened = self._sealer.open(value)
            if opened is not None:
                sealed_state, expires, found = unpackb(opened[0])
                # Another transaction, whose state begins in the same way, has a cookie of the same name: it stays.
                if compare_digest(sealed_state, state):
                    data, removals = found if now < expires else None, [self._cookies.remove(environ, state)]
        return data, removals
