"""The identity provider's session of a login: filed before the login is saved, and checked afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsgi_session.backends.providers import file_login, is_filed, provider_key
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Record

if TYPE_CHECKING:
    from wsgi_session.request.work import Work


def provider_key_of(work: Work, provider_session: object) -> bytes:
    """Return the key under which the commit is to file a login of this request; see ``provider_key``."""
    return provider_key(work.backend.store, work.backend.settings.namespace, provider_session)


def file_this_login(work: Work, provider_session: object) -> None:
    """Let the commit file this request's login too; ``ConfigError`` if there is none."""
    if work.login is None:
        raise ConfigError("set_provider_session() files a login, so call it after the login, in the same request.")
    work.provider = provider_key_of(work, provider_session)


def file_before(work: Work, record: Record, now: float) -> None:
    """File the login of ``record``, which is saved next, under the provider's session."""
    backend, provider = work.backend, work.provider
    assert provider is not None
    file_login(backend.store, provider, record, backend.settings.lifetime.absolute, now)


def check_after(work: Work, record: Record) -> None:
    """End the login of ``record`` if the provider's session has ended since it was filed."""
    backend, provider = work.backend, work.provider
    if provider is None or record.owner is None:
        return
    now = backend.settings.clock()
    if not is_filed(backend.store, provider, record, now) and backend.end_logins(record.owner, [record.handle], now):
        backend.settings.events("revoked", handle=record.handle, owner=stored_owner(record), reason="revoked", count=1)
