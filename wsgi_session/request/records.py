"""Build the records that a save writes, and check their size."""

from __future__ import annotations

from typing import NamedTuple

from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import Packed
from wsgi_session.codec.sealed import size_of
from wsgi_session.codec.supported import printable
from wsgi_session.cookies import tokens
from wsgi_session.errors import SessionTooLarge
from wsgi_session.stores.contract import Record, make_record


class Login(NamedTuple):
    """A login: the properties that it gives to the session."""

    owner: str
    handle: str
    #: Seconds since the epoch.
    created: float
    persistent: bool
    #: The login's own idle timeout in seconds; ``None``: the middleware's.
    idle: float | None


def first_record(handle: str, data: bytes, version: bytes, now: float, settings: Settings) -> Record:
    """Return the record of a new anonymous session."""
    idle = settings.lifetime.anonymous
    expires = settings.lifetime.end(now, now, idle)
    return make_record((data, version, handle, now, now, expires, None, settings.persistent, idle, settings.namespace))


def login_record(login: Login, data: bytes, version: bytes, now: float, settings: Settings) -> Record:
    """Return the record of a session after a login."""
    return Record(
        data=data,
        version=version,
        handle=login.handle,
        created=login.created,
        touched=now,
        expires=settings.lifetime.end(now, login.created, login.idle),
        owner=tokens.owner_key(settings.namespace, login.owner),
        persistent=login.persistent,
        idle=login.idle,
        namespace=settings.namespace,
    )


def changed_record(
    stored: Record, data: bytes, version: bytes, now: float, settings: Settings, *, touching: bool
) -> Record:
    """Return ``stored`` with new data and a new version. Its times change only if a touch is due."""
    touched, expires = settings.lifetime.times_after(stored, now, touching=touching)
    _, _, handle, created, _, _, owner, persistent, idle, namespace = stored
    return make_record((data, version, handle, created, touched, expires, owner, persistent, idle, namespace))


def join_checked(packed: Packed, settings: Settings) -> bytes:
    """Return a record's data, or raise ``SessionTooLarge`` naming the largest keys."""
    join, limit = settings.join, settings.max_size
    data = join(packed)
    if len(data) <= limit:
        return data
    size = len(data)
    sizes = sorted(((size_of(value), str(key)) for key, value in packed.items()), reverse=True)[:3]
    largest = [(key, length) for length, key in sizes]
    named = ", ".join(f"{printable(key)} ({length:,} bytes)" for key, length in largest)
    raise SessionTooLarge(
        f"The session has {size:,} bytes, but max_size is {limit:,}. Largest keys: {named}. Store such data in a "
        "table of your own, and only its id in the session.",
        size=size,
        limit=limit,
        largest=largest,
    )
