"""The records that a save writes: their times, their owner, and how large they may be."""

from __future__ import annotations

from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import Packed, join
from wsgi_session.codec.supported import spelled
from wsgi_session.cookies import tokens
from wsgi_session.errors import SessionTooLarge
from wsgi_session.request.login import Login
from wsgi_session.stores.contract import Record, make_record


def first_record(handle: str, data: bytes, version: bytes, now: float, settings: Settings) -> Record:
    """Return the record of a new session, an anonymous visitor's."""
    expires = settings.lifetime.end(now, now, None)
    return make_record((data, version, handle, now, now, expires, None, settings.persistent, None, settings.namespace))


def login_record(login: Login, data: bytes, version: bytes, now: float, settings: Settings) -> Record:
    """Return the record of a session that somebody has just logged in to."""
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
    before: Record, data: bytes, version: bytes, now: float, settings: Settings, *, touching: bool
) -> Record:
    """Return ``before`` with other data; its times move only if a touch is due."""
    touched, expires = settings.lifetime.times_after(before, now, touching=touching)
    _, _, handle, created, _, _, owner, persistent, idle, namespace = before
    return make_record((data, version, handle, created, touched, expires, owner, persistent, idle, namespace))


def join_within(packed: Packed, limit: int) -> bytes:
    """Return a record's data, or raise ``SessionTooLarge`` naming the largest keys."""
    data = join(packed)
    if len(data) <= limit:
        return data
    size = len(data)
    sizes = sorted(((len(value), str(key)) for key, value in packed.items()), reverse=True)[:3]
    largest = [(key, length) for length, key in sizes]
    named = ", ".join(f"{spelled(key)} ({length:,} bytes)" for key, length in largest)
    raise SessionTooLarge(
        f"the session would take {size:,} bytes, and may take {limit:,} (max_size). Largest: {named}. Keep such "
        "data in a table of its own, and its id in the session.",
        size=size,
        limit=limit,
        largest=largest,
    )
