"""Making the backend for a store."""

from __future__ import annotations

from collections.abc import Callable

from wsgi_session.backends.base import Backend
from wsgi_session.backends.header import HeaderBackend, TokenHeader
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.transactions import StoreTransactions
from wsgi_session.cookies.cookie import SchemeCookies
from wsgi_session.cookies.tokens import TokenSigner
from wsgi_session.cookies.transaction import TransactionCookies
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Store
from wsgi_session.stores.cookie import CookieStore


def make_backend(
    store: Store,
    secrets: list[bytes],
    cookies: SchemeCookies,
    transaction_cookies: TransactionCookies,
    settings: Settings,
    store_backend: Callable[..., StoreBackend],
    header: TokenHeader | None,
) -> Backend:
    """Return the backend for ``store``.

    ``store_backend`` makes one that keeps sessions, perhaps one that adopts; ``header`` is that of ``transport``.
    """
    if not isinstance(store, CookieStore):
        transactions = StoreTransactions(store, transaction_cookies, settings)
        by_header = None if header is None else HeaderBackend(store, secrets, header, transactions, settings)
        if header is not None and by_header is not None and header.only:
            return by_header
        signer = TokenSigner(secrets, settings.namespace)
        backend = store_backend(store, signer, cookies, transactions, settings)
        backend.by_header = by_header
        return backend
    if store_backend is not StoreBackend:
        raise ConfigError(
            "adopt: cookie:// has nowhere to remember which sessions were adopted, so a logged-out visitor could come "
            "back with the old cookie. Give a store that keeps sessions, such as sqlite:///sessions.db."
        )
    if header is not None:
        raise ConfigError(
            "transport: cookie:// keeps the session in the cookie, so a header cannot replace that. Give a store that "
            "keeps sessions, such as sqlite:///sessions.db."
        )
    # Imported here, because they need the extra ``crypto``, which no other store needs.
    from wsgi_session.backends.cookie import CookieBackend
    from wsgi_session.backends.sealed_transactions import SealedTransactions

    sealed = SealedTransactions(secrets, transaction_cookies, settings)
    return CookieBackend(store, secrets, cookies, sealed, settings)
