"""What a framework's own login and logout do to our session: give it an owner, end it everywhere."""

from __future__ import annotations

from typing import Any

from wsgi_session.codec.packing import CorruptData, pack
from wsgi_session.request.ending import destroy
from wsgi_session.request.login import OWNER, plan_login
from wsgi_session.request.states import OPEN
from wsgi_session.request.work import Work


def owner_named(user_id: object) -> str:
    """Return the owner that the administrator's view calls ``{"id": user_id}``."""
    return f"id:{user_id}"


def log_in_as(work: Work, user_id: object, *login_keys: str) -> None:
    """Let the commit store the session as a login of the user, under a new token, handle and time of creation.

    The framework has put its own data there, what says who logged in under ``login_keys``, and decides what of the rest
    stays.
    """
    plan_login(work, owner_named(user_id), work.open().persistent, None, *login_keys)


def end_login(work: Work) -> None:
    """End the session everywhere, and put what the framework leaves in it into a new one.

    After the headers there is no cookie for a new session, so nothing is left.
    """
    contents, persistent = _contents(work), work.persistent
    destroy(work)
    if work.late or work.phase is not OPEN:
        return
    work.remember = persistent
    data = work.data or work.load()
    for key, value in contents.items():
        data.put(key, value, pack(value, str(key)))


def user_with_id(work: Work, user_id: Any) -> dict[str, Any] | None:
    """Return the user of that id if the session has that owner, else ``None``."""
    if user_id is None or work.peek(OWNER) != owner_named(user_id):
        return None
    return {"id": user_id}


def _contents(work: Work) -> dict[str | bytes, Any]:
    """Return all values but the owner, messages included; nothing of a record that cannot be read."""
    data = work.data or work.load()
    try:
        keys: list[str | bytes] = [*data.keys(), *data.internal_keys()]
        return {key: data.get(key) for key in keys if key != OWNER}
    except CorruptData:
        return {}
