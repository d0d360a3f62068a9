"""Login and logout by a framework: give the session an owner, and end it."""

from __future__ import annotations

from typing import Any

from wsgi_session.backends.stored_owner import OWNER
from wsgi_session.codec.packing import CorruptData, pack
from wsgi_session.codec.plain import to_scalar
from wsgi_session.errors import ConfigError
from wsgi_session.owner import owner_of, user_mapping_or_none
from wsgi_session.request.confirmation import CONFIRMED
from wsgi_session.request.data import Data
from wsgi_session.request.devices import ABOUT, description_of
from wsgi_session.request.login import plan_login
from wsgi_session.request.states import OPEN
from wsgi_session.request.work import Work


def owner_with_id(user_id: object) -> str:
    """Return the owner of the user ``{"id": user_id}``, as ``owner_of()`` does."""
    return f"id:{to_scalar(user_id)}"


def log_in_as(work: Work, user_id: object, *login_keys: str) -> None:
    """Let the commit store the session as a login of the user, with a new token, handle and time of creation.

    The framework has stored the user under ``login_keys`` already, and decides which other data stays.
    """
    data = work.data or work.load()
    try:
        about = description_of(work)
    except BaseException:
        # Without a new token, the user must not stay in the session.
        for key in login_keys:
            if key in data:
                data.delete(key)
        raise
    owner = owner_with_id(user_id)
    if _has_own_user(work) and work.peek(OWNER) != owner:
        # Otherwise the helpers would still find the user before.
        data.delete("user")
    plan_login(work, owner, work.persistent, None, about, *login_keys)


def end_login(work: Work) -> None:
    """End the session, and move the data that the framework has left in it to a new session.

    After the headers were sent, no cookie can be set for a new session, so this data is lost.
    """
    contents, persistent = _contents(work), work.persistent
    work.destroy()
    if work.late or work.phase is not OPEN:
        return
    work.remember = persistent
    data = work.data or work.load()
    for key, value in contents.items():
        data.put(key, value, pack(value, str(key)))


def revert(work: Work) -> None:
    """Discard every change of this request that was not saved yet, also a login and a confirmation."""
    if work.data is None:
        return
    work.data = Data(work.data.stored, work.data.limit)
    if work.login is not None:
        # Otherwise the session would be stored as that user's, with the data of the user before.
        work.login = work.next_credential = None
    work.confirming = None


def user_with_id(work: Work, user_id: Any) -> dict[str, Any] | None:
    """Return a user with that id if it is the session's owner, else ``None``."""
    if user_id is None or work.peek(OWNER) != owner_with_id(user_id):
        return None
    return {"id": user_id}


def _contents(work: Work) -> dict[str | bytes, Any]:
    """Return all values but those of the login, including flash messages; an empty dict if the record is corrupt."""
    data = work.data or work.load()
    ended: tuple[str | bytes, ...] = (OWNER, CONFIRMED, ABOUT)
    if _has_own_user(work):
        ended = (*ended, "user")
    try:
        keys: list[str | bytes] = [*data.keys(), *data.internal_keys()]
        return {key: data.get(key) for key in keys if key not in ended}
    except CorruptData:
        return {}


def _has_own_user(work: Work) -> bool:
    """Return whether ``login()`` has stored the user of this login under ``user``."""
    try:
        user = user_mapping_or_none(work.peek("user"))
        return user is not None and owner_of(user) == work.peek(OWNER)
    except ConfigError:
        return False
