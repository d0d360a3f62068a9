"""``cookie://``: no store at all. The session itself stands sealed in the browser's cookies; see ``sealed.py``.

What a stateless session cannot do raises ``Unsupported``, here and in ``Session.atomic``: nobody can list, count,
revoke or update what only browsers hold, and a copy of a cookie works until the limits inside its seal, logged out or
not. There ``validate`` helps: docs/stores-cookie.md.
"""

from __future__ import annotations

from typing import NoReturn

from wsgi_session.errors import ConfigError, Unsupported
from wsgi_session.stores.contract import Outcome, Record, Store
from wsgi_session.stores.urls.options import query_options
from wsgi_session.stores.urls.parts import split_url, without_secrets


class CookieStore(Store):
    """Says that sessions are kept in sealed cookies. It keeps nothing, and so offers nothing."""

    def __init__(self) -> None:
        try:
            # Said at construction, not at the first visitor's request.
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"sessions in cookies cannot be sealed ({error}): pip install 'wsgi-session[crypto]'"
            ) from error

    def load(self, key: bytes, now: float) -> Record | None:
        self._refuse("load")

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._refuse("create")

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self._refuse("replace")

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self._refuse("rotate")

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        self._refuse("touch")

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        self._refuse("delete")

    def ping(self) -> None:
        """Return: there is nothing that could be away."""

    def close(self) -> None:
        """Nothing to let go of."""

    def _refuse(self, operation: str) -> NoReturn:
        raise Unsupported(
            f"cookie:// keeps sessions in the browsers, not here: no {operation}(). Use a store that keeps them, such "
            "as sqlite:///sessions.db.",
            operation=operation,
        )


def open_url(url: str) -> CookieStore:
    """Return the store for ``cookie://``, which has no options."""
    parts = split_url(url)
    if parts.login or parts.hosts or parts.path:
        raise ConfigError(f"{without_secrets(url)}: sessions in cookies have no name or path: write cookie://")
    query_options(url, {})
    return CookieStore()
