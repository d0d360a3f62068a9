"""Making the backend for a store, and the cookies by which it finds a session."""

from __future__ import annotations

from typing import Any

from wsgi_session.backends.base import Backend
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.transactions import StoreTransactions
from wsgi_session.cookies.cookie import SchemeCookies, SessionCookie
from wsgi_session.cookies.tokens import TokenSigner
from wsgi_session.cookies.transaction import TransactionCookies
from wsgi_session.events import Events
from wsgi_session.stores.contract import Store
from wsgi_session.stores.cookie import CookieStore


def make_backend(
    store: Store,
    secrets: list[bytes],
    cookies: SchemeCookies,
    transaction_cookies: TransactionCookies,
    settings: Settings,
) -> Backend:
    """Return the backend for ``store``."""
    if not isinstance(store, CookieStore):
        transactions = StoreTransactions(store, transaction_cookies, settings)
        return StoreBackend(store, TokenSigner(secrets, settings.namespace), cookies, transactions, settings)
    # Imported here, because they need the extra ``crypto``, which no other store needs.
    from wsgi_session.backends.cookie import CookieBackend
    from wsgi_session.backends.sealed_transactions import SealedTransactions

    sealed = SealedTransactions(secrets, transaction_cookies, settings)
    return CookieBackend(store, secrets, cookies, sealed, settings)


def make_cookies(name: str, secure: bool | str, events: Events, **attributes: Any) -> SchemeCookies:
    """Return the session's cookies for http and https; ``attributes`` are those of ``SessionCookie``."""
    http = SessionCookie(name, secure=secure is True, **attributes)
    https = SessionCookie(name, secure=True, **attributes) if secure == "auto" else http
    return SchemeCookies(http, https, events)
