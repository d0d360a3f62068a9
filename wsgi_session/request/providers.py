"""The identity provider's session of a login: filed when the user logs in, and checked after the login was saved."""

from __future__ import annotations

from wsgi_session.backends.providers import file_login, is_filed, provider_key
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.request.records import login_record
from wsgi_session.request.work import Work
from wsgi_session.stores.contract import Record


def provider_key_of(work: Work, provider_session: object) -> bytes:
    """Return the key under which a login of this request is filed; see ``provider_key``."""
    return provider_key(work.backend.store, work.backend.settings.namespace, provider_session)


def file_this_login(work: Work, provider_session: object) -> None:
    """File this request's login; ``ConfigError`` if there is none, ``StoreUnavailable`` if the store is down."""
    if work.login is None:
        raise ConfigError("set_provider_session() files a login, so call it after the login, in the same request.")
    file_under(work, provider_key_of(work, provider_session))


def file_under(work: Work, provider: bytes) -> None:
    """File the login of this request under the provider's session, before the login is saved.

    It is filed immediately, because a slow request may save it much later: a logout at the provider until then finds
    what is filed, and :func:`check_after` finds that it is gone.
    """
    backend, login = work.backend, work.login
    assert login is not None
    # Set first: if the application goes on after a failure, the login, which was not filed, does not last.
    work.provider = provider
    settings, now = backend.settings, backend.settings.clock()
    try:
        record = login_record(login, b"", b"", now, settings)
        file_login(backend.store, provider, record, settings.lifetime.absolute, now)
    except StoreUnavailable as error:
        work.note_outage(error)
        raise


def check_after(work: Work, record: Record) -> None:
    """End the login of ``record`` if the provider's session has ended since it was filed."""
    backend, provider = work.backend, work.provider
    if provider is None or record.owner is None:
        return
    now = backend.settings.clock()
    if not is_filed(backend.store, provider, record, now) and backend.end_logins(record.owner, [record.handle], now):
        backend.settings.events("revoked", handle=record.handle, owner=stored_owner(record), reason="revoked", count=1)
