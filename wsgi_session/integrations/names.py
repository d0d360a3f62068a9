"""The public name of a session, also of one that is not stored yet: other libraries' ``sid`` or ``id``."""

from __future__ import annotations

from wsgi_session.cookies.tokens import new_handle_and_version
from wsgi_session.request.work import Work


def public_name(work: Work) -> str:
    """Return the session's handle; for a session that is not stored, the handle that it will have if it is stored.

    Other libraries choose a session's id when the request comes in, and applications use it as a key of their own
    (a room, a row of a table) before anything is stored.
    """
    handle = work.open().handle or work.planned_handle
    if handle is None:
        handle = work.planned_handle = new_handle_and_version()[0]
    return handle
