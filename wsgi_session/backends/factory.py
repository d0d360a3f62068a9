"""Makes the backend for a store, with the options that it can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wsgi_session.backends.base import Backend
from wsgi_session.backends.header import HeaderBackend, TokenHeader
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.transactions import StoreTransactions
from wsgi_session.config.extras import missing_cryptography
from wsgi_session.cookies.cookie import SchemeCookies
from wsgi_session.cookies.tokens import TokenSigner
from wsgi_session.cookies.transaction import TransactionCookies
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Store
from wsgi_session.stores.cookie import CookieStore

if TYPE_CHECKING:
    from wsgi_session.backends.binding import Binding


def make_backend(
    store: Store,
    secrets: list[bytes],
    cookies: SchemeCookies,
    transaction_cookies: TransactionCookies,
    settings: Settings,
    store_backend: Callable[..., StoreBackend],
    header: TokenHeader | None,
    device_prefix: str | None,
) -> Backend:
    """Return the backend for ``store``. Raises ``ConfigError`` for an option that the store cannot have.

    ``store_backend`` makes the backend for every store but ``cookie://``. ``header`` comes from ``transport``, and
    ``device_prefix`` is the path of ``experimental_device_bound``.
    """
    if not isinstance(store, CookieStore):
        transactions = StoreTransactions(store, transaction_cookies, settings)
        by_header = None if header is None else HeaderBackend(store, secrets, header, transactions, settings)
        if header is not None and by_header is not None and header.only:
            if device_prefix is not None:
                raise ConfigError(
                    "experimental_device_bound: browsers bind a session by a cookie, which transport='header' does "
                    "not read. Give transport='both', or leave out one of the two."
                )
            return by_header
        signer = TokenSigner(secrets, settings.namespace)
        backend = store_backend(store, signer, cookies, transactions, settings)
        backend.by_header = by_header
        if device_prefix is not None:
            backend.binding = _make_binding(secrets, cookies, settings, device_prefix)
        return backend
    if device_prefix is not None:
        raise ConfigError(
            "experimental_device_bound: cookie:// cannot bind a session, because a copy of the cookie that was made "
            "before would stay valid without the device. Give a store that keeps sessions, such as "
            "sqlite:///sessions.db."
        )
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


def _make_binding(secrets: list[bytes], cookies: SchemeCookies, settings: Settings, prefix: str) -> Binding:
    # Imported here, because it needs the extra ``crypto``, and few sites have the option.
    from wsgi_session.backends.binding import Binding

    try:
        # A missing package is reported at construction, not at the first registration.
        import wsgi_session.cookies.proofs  # noqa: F401
    except ImportError as error:
        raise missing_cryptography("experimental_device_bound", error) from error
    return Binding(secrets, settings.namespace, cookies, settings.events, prefix)
