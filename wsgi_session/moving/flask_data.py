"""What Flask and Flask-Login keep in a session, in whichever way it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.moving.reader import Foreign, NotAdopted
from wsgi_session.moving.tagged_json import flash_to_keep

_PERMANENT, _FLASHES = "_permanent", "_flashes"
#: Where Flask-Login keeps the user's id.
USER_ID = "_user_id"
#: Flask's PERMANENT_SESSION_LIFETIME, in seconds.
LIFETIME = 31 * 86_400.0


def foreign_of_flask(data: Any, touched: float | None, expires: float | None) -> Foreign:
    """Return the session with Flask's own keys taken out of its data."""
    if not isinstance(data, Mapping):
        raise NotAdopted("corrupt", "the session is not a mapping")
    kept = dict(data)
    flashes = kept.pop(_FLASHES, None) or ()
    persistent = bool(kept.pop(_PERMANENT, False))
    messages = [(pair[0], flash_to_keep(pair[1])) for pair in flashes]
    return Foreign(kept, None, touched, expires, kept.get(USER_ID), persistent, messages)
