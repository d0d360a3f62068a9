"""What ``describe`` says of the device that logs in, and what a login does to the user's other sessions.

The description is an internal key of the record, so that older processes, which do not know it, keep it. It belongs to
one login, by its handle.
"""

from __future__ import annotations

from typing import Any

from wsgi_session.backends.base import Credential
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import CorruptData, Packed, pack, unpack
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.request.work import Work
from wsgi_session.stores.contract import ListsOwners, OwnedSession, Record

#: The internal key. Its value is the login's handle, the description, and whether the login before it had the same one.
ABOUT = b"about"
#: A longer description is cut: a client decides how long its User-Agent is.
MAX_ABOUT = 200
_UNKNOWN: dict[str, bool | None] = {"new_device": None}


def description_of(work: Work) -> str | None:
    """Return what ``describe`` says of the device; ``None`` without it, or outside of a request.

    Raises ``ConfigError`` if that is not a text, and passes on the errors of ``describe``. So call this before a login
    changes anything: a login that fails must leave no user in a session whose token another person may know.
    """
    describe = work.backend.settings.describe
    if describe is None or not work.environ:
        return None
    about = describe(work.environ)
    if about is None:
        return None
    if not isinstance(about, str):
        raise ConfigError(f"describe returned an object of type {type(about).__name__}: return a str, or None.")
    # Part of a header may have become a lone surrogate, which cannot be stored.
    return about[:MAX_ABOUT].encode(errors="replace").decode()


def note_device(work: Work, owner: str, handle: str, about: str | None) -> None:
    """Let the commit store the description of the device that logs in as ``owner``; ``handle`` is the login's."""
    settings, record = work.backend.settings, work.record
    if settings.describe is None:
        return
    known, owner_key = False, tokens.owner_key(settings.namespace, owner)
    if record is not None and record.owner == owner_key:
        known = about_of(work.peek(ABOUT), record.handle) == about
    value = [handle, about, known]
    (work.data or work.load()).put(ABOUT, value, pack(value, "about"))


def about_of(stored: Any, handle: str) -> str | None:
    """Return the description in the internal key's value, if it belongs to the login ``handle``; else ``None``."""
    if not isinstance(stored, list) or len(stored) != 3 or stored[0] != handle:
        return None
    about: str | None = stored[1]
    return about


def stored_about(packed: Packed, handle: str) -> str | None:
    """Return the description among the values of a record; ``None`` if it has none, or if it cannot be read."""
    try:
        return about_of(unpack(packed[ABOUT]) if ABOUT in packed else None, handle)
    except CorruptData:
        return None


def after_login(work: Work, record: Record, packed: Packed) -> dict[str, bool | None]:
    """End the user's oldest sessions if there are more than ``max_sessions``; return more data for the login's event.

    Two logins at once both do this, each after it was saved, so that the later one sees both. They agree which sessions
    are the oldest. An outage is only reported: the login was saved, and the next one ends the rest.
    """
    settings = work.backend.settings
    if record.owner is None or (settings.describe is None and settings.max_sessions is None):
        return _UNKNOWN
    try:
        logins = work.backend.logins_of(record.owner, settings.clock())
        # Of logins at the very same time, as under the frozen clock of a test, this one is the newest.
        # str(): SQLite stores any type in any column.
        logins.sort(key=lambda login: (login.created, login.handle == record.handle, str(login.handle)))
        novelty = _UNKNOWN if settings.describe is None else _novelty(work, record, packed, logins)
        if settings.max_sessions is not None:
            oldest = [login.handle for login in logins[: -settings.max_sessions]]
            if oldest and work.backend.end_logins(record.owner, frozenset(oldest), settings.clock()):
                for handle in oldest:
                    settings.events("displaced", handle=handle, owner=stored_owner(record), by=record.handle)
        return novelty
    except StoreUnavailable as error:
        settings.events("unavailable", error=str(error))
        return _UNKNOWN


def _novelty(work: Work, record: Record, packed: Packed, logins: list[OwnedSession]) -> dict[str, bool | None]:
    """Return whether no earlier live login of the user, of the newest 20, has the same description."""
    about = stored_about(packed, record.handle)
    if about is None or not isinstance(work.backend.store, ListsOwners):
        return _UNKNOWN
    if unpack(packed[ABOUT])[2]:
        return {"new_device": False}
    now = work.backend.settings.clock()
    earlier = [login for login in logins if login.created <= record.created and login.handle != record.handle]
    for login in earlier[-20:][::-1]:
        *_, other = work.backend.look_up(Credential(b"", True, login.key), now)
        if stored_about(other, login.handle) == about:
            return {"new_device": False}
    return {"new_device": True}
