"""What a framework's own login and logout do to our session: file it under its owner, end it everywhere."""

from __future__ import annotations

from typing import Any

from wsgi_session.codec.packing import CorruptData, pack
from wsgi_session.cookies import tokens
from wsgi_session.request.records import Login
from wsgi_session.request.work import OWNER, Draft
from wsgi_session.session import OPEN, Session


def owner_named(user_id: object) -> str:
    """Return the owner that the administrator's view calls ``{"id": user_id}``."""
    return f"id:{user_id}"


def file_login(draft: Draft, user_id: object, *login_keys: str) -> None:
    """File the session under the user with the save, under a new token, handle and time of creation.

    As ``login()`` does, but for the data: the framework has put its own there, what says who logged in under
    ``login_keys``, and says what of the rest stays.
    """
    owner = owner_named(user_id)
    draft.values.put(OWNER, owner, pack(owner, "user id"))
    # With the login it belongs to the commit: ``atomic`` does not save it under the token from before.
    draft.login_keys = (*login_keys, OWNER)
    draft.next_bearer = draft.next_bearer or draft.backend.draw()
    draft.login = Login(
        owner=owner,
        handle=tokens.draw_names()[0],
        created=draft.backend.settings.clock(),
        persistent=draft.persistent,
        idle=None,
    )
    # A request that came with the token from before a login gets a session of its own by another login.
    draft.dead = draft.outside


def end_login(session: Session) -> None:
    """End the session, now and everywhere, and put what the framework leaves in it into a fresh one.

    Where no cookie can be sent any more there can be no fresh one, and nothing is left.
    """
    draft = session._draft or session._look()
    contents, persistent = _contents(draft), draft.persistent
    session.destroy()
    if draft.late or session._phase != OPEN:
        return
    draft.remember = persistent
    for key, value in contents.items():
        draft.values.put(key, value, pack(value, str(key)))


def filed_user(session: Session, user_id: Any) -> dict[str, Any] | None:
    """Return the user of that id if the session is filed under that user, else ``None``."""
    if user_id is None or session._peek(OWNER) != owner_named(user_id):
        return None
    return {"id": user_id}


def _contents(draft: Draft) -> dict[str | bytes, Any]:
    """Return all values but the owner's name, messages included; nothing of a record that cannot be read."""
    values = draft.values
    try:
        keys: list[str | bytes] = [*values.keys(), *values.own_keys()]
        return {key: values.get(key) for key in keys if key != OWNER}
    except CorruptData:
        return {}
