"""Make a session of ours from a foreign one: its owner, its times, and the values that can be kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wsgi_session.backends.settings import Settings
from wsgi_session.codec.packing import check_key, join, pack, unpack
from wsgi_session.codec.supported import printable
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError, SessionTooLarge, UnsupportedValue
from wsgi_session.moving.adopt import Adopt
from wsgi_session.moving.opaque import class_in, count_parts, opaque_in, plain
from wsgi_session.moving.reader import Foreign, NotAdopted
from wsgi_session.owner import owner_of, user_mapping_or_none
from wsgi_session.request.confirmation import CONFIRMED
from wsgi_session.request.data import Data
from wsgi_session.request.flash import put_message
from wsgi_session.request.login import OWNER
from wsgi_session.stores.contract import CLOCK_SKEW, LAST_TIME, Record

#: The internal key that marks an adopted session. Its value: the owner at the adoption, or ``None``; the key under
#: which a logout leaves a marker, or ``None``; until when that marker is needed; and the session's handle as long as
#: processes of the old kind may end it by ending the foreign one, else ``None``. (A login changes the handle.)
ADOPTED = b"adopted"
#: A session with more keys is not adopted.
MAX_KEYS = 10_000
#: A session is not adopted if the values that are dropped have more parts than this: keys can share a large value.
MAX_DROPPED_PARTS = 500_000
# Added for a value that only packing refused: packing may have looked at its shared parts again and again.
_PACKING_PARTS = 25_000


class Note(NamedTuple):
    """What the record of an adopted session says about the adoption; see ``ADOPTED``."""

    owner: str | None = None
    marker: bytes | None = None
    ends: float | None = None
    bound: str | None = None

    def packed(self) -> bytes:
        """Return the value to store under ``ADOPTED``."""
        return pack(list(self), "adopted")


def note_of(data: Mapping[Any, bytes]) -> Note:
    """Return the note in a session's packed data; an empty one if there is none, or if it is damaged."""
    try:
        return Note(*unpack(data[ADOPTED])) if ADOPTED in data else Note()
    except (ValueError, TypeError):
        return Note()


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
    #: The number of parts of the values that were dropped.
    dropped_parts: int = 0


def prepare(foreign: Foreign, adopt: Adopt, settings: Settings, now: float, marker: bytes | None = None) -> Prepared:
    """Return the record for a foreign session, or raise ``NotAdopted``.

    ``marker``: the key of the marker that a logout leaves, if nobody is logged in.
    """
    created, touched, ends = _times(foreign, now)
    if ends is not None and now >= ends:
        raise NotAdopted("expired")
    given: object = foreign.data
    if not isinstance(given, Mapping) or len(given) > MAX_KEYS:
        raise NotAdopted("corrupt", f"the session is not a mapping of at most {MAX_KEYS:,} keys")
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
    handle, version = tokens.new_handle_and_version()
    note = Note(owner, None if owner is not None else marker, ends, handle if adopt.keep_old else None)
    data.put(ADOPTED, note, note.packed())
    if owner is not None:
        data.put(OWNER, owner, pack(owner, "user"))
        # When and how the user has logged in is not known, so no confirmation of this login counts as one.
        unconfirmed = [handle, {}]
        data.put(CONFIRMED, unconfirmed, pack(unconfirmed, "confirmed"))
    packed = join(data.apply_to({}))
    if len(packed) > settings.max_size:
        raise NotAdopted("too_large", f"{len(packed):,} bytes, but max_size is {settings.max_size:,}")
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
    kept = plain(value)
    kind: str | None = class_in(value)
    try:
        name = check_key(plain(key))
        kind = opaque_in(kept)
        if kind is None:
            data.assign(name, kept)
            return
    except SessionTooLarge as error:
        raise NotAdopted("too_large", f"more than max_size, {error.limit:,} bytes") from None
    except (UnsupportedValue, RecursionError):
        pass
    _drop(printable(str(key)[:200]) if isinstance(key, str) else type(key).__name__, value, kind, prepared, adopt)


def _keep_flash(data: Data, category: Any, message: Any, prepared: Prepared, adopt: Adopt, now: float) -> None:
    kept = plain(message)
    kind: str | None = None
    try:
        kind = opaque_in(kept)
        if kind is None:
            put_message(data, kept, str(category), now)
            return
    except SessionTooLarge as error:
        raise NotAdopted("too_large", f"more than max_size, {error.limit:,} bytes") from None
    except (UnsupportedValue, RecursionError):
        pass
    _drop("flashed message", message, kind, prepared, adopt)


def _drop(key: str, value: Any, kind: str | None, prepared: Prepared, adopt: Adopt) -> None:
    prepared.dropped_parts += count_parts(value) + (_PACKING_PARTS if kind is None else 0)
    if prepared.dropped_parts > MAX_DROPPED_PARTS:
        raise NotAdopted("too_large", f"more than {MAX_DROPPED_PARTS:,} parts in values that cannot be stored")
    kind = kind or class_in(value)
    if adopt.refuse:
        raise NotAdopted("unsupported", f"{key}: {kind}")
    prepared.dropped[key] = kind


_EMPTY = Record(b"", b"", "", 0.0, 0.0, 0.0)
