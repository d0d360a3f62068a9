"""The administrator's view of a middleware with several tenants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.admin.sessions import Sessions
from wsgi_session.backends.base import Backend
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.tenants import Tenants
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Scans, Store


class TenantSessions(Sessions):
    """The type of ``middleware.sessions`` of a middleware with ``namespace=``: only ``tenant`` and ``sweep`` work."""

    def __init__(self, store: Store, settings: Settings, backend: Backend, tenants: Tenants) -> None:
        super().__init__(store, settings, backend)
        self._tenants = tenants

    def tenant(self, name: str) -> Sessions:
        backend = self._tenants.backend(name)
        return Sessions(self._store, backend.settings, backend)

    def count(self) -> int:
        raise _no_tenant_error()

    def revoke_provider_session(self, provider_session: str) -> int:
        raise _no_tenant_error()

    def _key(self, user: Mapping[str, Any] | str) -> bytes:
        raise _no_tenant_error()

    def _scan_store(self, operation: str) -> Scans:
        raise _no_tenant_error()


def _no_tenant_error() -> ConfigError:
    return ConfigError("Each tenant has its own sessions: call this method of middleware.sessions.tenant(name).")
