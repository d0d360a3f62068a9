"""Make a session of ours from a foreign one: its owner, its times, and the values that can be kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import check_key, join, pack
from wsgi_session.codec.supported import printable
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError, SessionTooLarge, UnsupportedValue
from wsgi_session.moving.adopt import Adopt
from wsgi_session.moving.opaque import class_in, plain
from wsgi_session.moving.reader import Foreign, NotAdopted
from wsgi_session.owner import owner_of, user_mapping_or_none
from wsgi_session.request.data import Data
from wsgi_session.request.flash import put_message
from wsgi_session.request.login import OWNER
from wsgi_session.stores.contract import CLOCK_SKEW, LAST_TIME, Record

#: The internal key that marks an adopted session. Its value: the owner at the adoption, or ``None``; the key under
#: which a logout leaves a marker, or ``None``; and until when that marker is needed.
ADOPTED = b"adopted"
#: A session with more keys is not adopted.
MAX_KEYS = 10_000


@dataclass
class Prepared:
    """A foreign session as a record of ours, without a version of its own yet."""

    record: Record
    #: When the foreign session would have ended; ``None``: never.
    ends: float | None
    #: Whether somebody is logged in.
    has_owner: bool = False
    #: The keys that were dropped, each with what it contained.
    dropped: dict[str, str] = field(default_factory=dict)


def prepare(foreign: Foreign, adopt: Adopt, settings: Settings, now: float, marker: bytes | None = None) -> Prepared:
    """Return the record for a foreign session, or raise ``NotAdopted``.

    ``marker``: the key of the marker that a logout leaves, if nobody is logged in.
    """
    created, touched, ends = _times(foreign, now)
    if ends is not None and now >= ends:
        raise NotAdopted("expired")
    given: object = foreign.data
    if not isinstance(given, Mapping) or len(given) > MAX_KEYS:
        raise NotAdopted("corrupt", "the session is no mapping with a reasonable number of keys")
    if now >= settings.lifetime.end(touched, created, None):
        # The other library accepts the session, so this request counts as activity. (Flask's cookie, for one, does not
        # record activity.) The absolute timeout still counts from the creation.
        touched = now
    expires = settings.lifetime.end(touched, created, None)
    if now >= expires:
        raise NotAdopted("expired", "it is older than absolute_timeout")
    owner = owner_text(foreign, adopt)
    prepared = Prepared(_EMPTY, ends)
    data = Data({}, settings.max_size)
    for key, value in foreign.data.items():
        _keep(data, key, value, prepared, adopt)
    for category, message in foreign.flashes:
        _keep_flash(data, category, message, prepared, adopt, now)
    adopted = [owner, None if owner is not None else marker, ends]
    data.put(ADOPTED, adopted, pack(adopted, "adopted"))
    if owner is not None:
        data.put(OWNER, owner, pack(owner, "user"))
    packed = join(data.apply_to({}))
    if len(packed) > settings.max_size:
        raise NotAdopted("too_large", f"{len(packed):,} bytes, but max_size is {settings.max_size:,}")
    handle, version = tokens.new_handle_and_version()
    prepared.has_owner = owner is not None
    prepared.record = Record(
        data=packed,
        version=version,
        handle=handle,
        created=created,
        touched=touched,
        expires=expires,
        owner=None if owner is None else tokens.owner_key(settings.namespace, owner),
        persistent=settings.persistent if foreign.persistent is None else foreign.persistent,
        namespace=settings.namespace,
    )
    return prepared


def owner_text(foreign: Foreign, adopt: Adopt) -> str | None:
    """Return the owner of a foreign session, as ``login()`` would file it; ``None`` for an anonymous one."""
    user_id = foreign.user_id if adopt.user_id is None else adopt.user_id(foreign.data)
    try:
        if user_id is not None:
            return owner_of({"id": plain(user_id)})
    except ConfigError:
        # The session could be opened, but not be listed or revoked.
        raise NotAdopted("unsupported", f"a user id of type {type(user_id).__name__}") from None
    user = user_mapping_or_none(foreign.data.get("user"))
    try:
        return None if user is None else owner_of(user)
    except ConfigError:
        return None


def _times(foreign: Foreign, now: float) -> tuple[float, float, float | None]:
    """Return created, touched and the end of a foreign session, checked. A clock may be fast by ``CLOCK_SKEW``."""
    touched = now if foreign.touched is None else foreign.touched
    created = touched if foreign.created is None else foreign.created
    for moment in (created, touched, foreign.expires or 0.0):
        if type(moment) not in (int, float) or not math.isfinite(moment) or moment < 0:
            raise NotAdopted("corrupt", "a time is not a number of seconds")
    if max(created, touched) > now + CLOCK_SKEW:
        raise NotAdopted("corrupt", "a time is in the future")
    ends = foreign.expires
    touched = float(min(touched, now))
    return float(min(created, touched)), touched, None if ends is None else float(min(ends, LAST_TIME / 4))


def _keep(data: Data, key: Any, value: Any, prepared: Prepared, adopt: Adopt) -> None:
    try:
        data.assign(check_key(plain(key)), plain(value))
    except SessionTooLarge as error:
        raise NotAdopted("too_large", f"more than max_size, {error.limit:,} bytes") from None
    except (UnsupportedValue, RecursionError):
        _drop(printable(str(key)[:200]) if isinstance(key, str) else type(key).__name__, value, prepared, adopt)


def _keep_flash(data: Data, category: Any, message: Any, prepared: Prepared, adopt: Adopt, now: float) -> None:
    try:
        put_message(data, plain(message), str(category), now)
    except SessionTooLarge as error:
        raise NotAdopted("too_large", f"more than max_size, {error.limit:,} bytes") from None
    except (UnsupportedValue, RecursionError):
        _drop("flashed message", message, prepared, adopt)


def _drop(key: str, value: Any, prepared: Prepared, adopt: Adopt) -> None:
    kind = class_in(value)
    if adopt.refuse:
        raise NotAdopted("unsupported", f"{key}: {kind}")
    prepared.dropped[key] = kind


_EMPTY = Record(b"", b"", "", 0.0, 0.0, 0.0)
