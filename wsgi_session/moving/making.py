"""Making the backend of a middleware: by its store, and by the options that few sites use.

What these need is imported only where it is used: they have packages and modules of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsgi_session.backends.base import Backend
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.settings import Settings
from wsgi_session.cookies.cookie import SchemeCookies
from wsgi_session.cookies.tokens import TokenSigner
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Store
from wsgi_session.stores.cookie import CookieStore

if TYPE_CHECKING:
    from wsgi_session.moving.adopt import Adopt


def make_backend(
    store: Store,
    secrets: list[bytes],
    cookies: SchemeCookies,
    settings: Settings,
    adopt: Adopt | None,
    device_prefix: str | None,
) -> Backend:
    """Return the backend for ``store``. Raises ``ConfigError`` for an option that the store cannot have."""
    if isinstance(store, CookieStore):
        return _make_cookie_backend(store, secrets, cookies, settings, adopt, device_prefix)
    signer = TokenSigner(secrets, settings.namespace)
    if device_prefix is not None:
        return _make_bound_backend(store, secrets, signer, cookies, settings, adopt, device_prefix)
    if adopt is None:
        return StoreBackend(store, signer, cookies, settings)
    from wsgi_session.moving.backend import AdoptingBackend

    return AdoptingBackend(store, signer, cookies, settings, adopt)


def _make_bound_backend(
    store: Store,
    secrets: list[bytes],
    signer: TokenSigner,
    cookies: SchemeCookies,
    settings: Settings,
    adopt: Adopt | None,
    prefix: str,
) -> Backend:
    from wsgi_session.backends.binding import Binding
    from wsgi_session.backends.device_bound import DeviceBoundBackend

    try:
        # A missing package is reported at construction, not at the first registration.
        import wsgi_session.cookies.proofs  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"experimental_device_bound needs the package cryptography ({error}). Run pip install "
            "'wsgi-session[crypto]'."
        ) from error
    if adopt is None:
        backend = DeviceBoundBackend(store, signer, cookies, settings)
    else:
        from wsgi_session.moving.backend import BoundAdoptingBackend

        backend = BoundAdoptingBackend(store, signer, cookies, settings, adopt)
    backend.binding = Binding(secrets, settings.namespace, cookies, settings.events, prefix)
    return backend


def _make_cookie_backend(
    store: Store,
    secrets: list[bytes],
    cookies: SchemeCookies,
    settings: Settings,
    adopt: Adopt | None,
    device_prefix: str | None,
) -> Backend:
    if device_prefix is not None:
        raise ConfigError(
            "experimental_device_bound: cookie:// cannot bind a session, because a copy of the cookie that was made "
            "before would stay valid without the device. Give a store that keeps sessions, such as "
            "sqlite:///sessions.db."
        )
    if adopt is not None:
        raise ConfigError(
            "adopt: cookie:// has nowhere to remember which sessions were adopted, so a logged-out visitor could come "
            "back with the old cookie. Give a store that keeps sessions, such as sqlite:///sessions.db."
        )
    # Imported here, because it needs the extra ``crypto``, which no other store needs.
    from wsgi_session.backends.cookie import CookieBackend

    return CookieBackend(store, secrets, cookies, settings)
