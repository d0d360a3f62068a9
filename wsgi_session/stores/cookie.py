"""``cookie://``: no server-side store. The session itself is sealed (encrypted and authenticated) into cookies.

Sessions that only browsers have cannot be listed, counted, revoked or updated, so those operations raise
``Unsupported``, here and in ``Session.atomic``. A copied cookie keeps working until the time limits sealed into it,
even after a logout; ``validate`` can end it earlier (docs/stores-cookie.md).
"""

from __future__ import annotations

from typing import NoReturn

from wsgi_session.config.extras import missing_cryptography
from wsgi_session.errors import ConfigError, Unsupported
from wsgi_session.stores.contract import Outcome, Record, Store
from wsgi_session.stores.urls.options import parse_query_options
from wsgi_session.stores.urls.parts import split_url, without_secrets


class CookieStore(Store):
    """A placeholder that selects sealed cookies. It stores nothing, so every operation raises ``Unsupported``.

    Raises ``ConfigError`` if the package ``cryptography`` is not installed.
    """

    def __init__(self) -> None:
        try:
            # A missing package is reported at construction, not at the first request.
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: F401
        except ImportError as error:
            raise missing_cryptography("cookie://", error) from error

    def load(self, key: bytes, now: float) -> Record | None:
        self._raise_unsupported("load")

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._raise_unsupported("create")

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self._raise_unsupported("replace")

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self._raise_unsupported("rotate")

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        self._raise_unsupported("touch")

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        self._raise_unsupported("delete")

    def ping(self) -> None:
        """Do nothing: there is no engine that could be unavailable."""

    def close(self) -> None:
        """Do nothing: there are no connections or files to release."""

    def _raise_unsupported(self, operation: str) -> NoReturn:
        raise Unsupported(
            f"cookie:// keeps sessions in the browsers, so {operation}() is not available. Use a server-side store, "
            "such as sqlite:///sessions.db.",
            operation=operation,
        )


def open_url(url: str) -> CookieStore:
    """Return the store for ``cookie://``, which has no options. Raises ``ConfigError`` for any other URL."""
    parts = split_url(url)
    if parts.login or parts.hosts or parts.path:
        raise ConfigError(f"{without_secrets(url)}: cookie:// takes no host and no path. Write cookie://.")
    parse_query_options(url, {})
    return CookieStore()
