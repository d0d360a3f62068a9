"""Chooses what makes the backend of a middleware. Modules that few sites use are imported only if they are needed."""

from __future__ import annotations

from collections.abc import Callable

from wsgi_session.backends.header import TokenHeader
from wsgi_session.backends.server import StoreBackend


def choose_store_backend(
    adopt: object, namespace: object, header: TokenHeader | None, *, bound: bool
) -> Callable[..., StoreBackend]:
    """Return what makes a backend that keeps sessions: one that adopts, one that binds to devices, both or neither.

    Raises ``ConfigError`` for options that do not go together.
    """
    if adopt is not None:
        from wsgi_session.moving.backend import adopting_backend

        return adopting_backend(adopt, namespace, header, bound=bound)
    if bound:
        from wsgi_session.backends.device_bound import DeviceBoundBackend

        return DeviceBoundBackend
    return StoreBackend
