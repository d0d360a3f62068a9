"""The owner of a Django session whose user was put into it without a login."""

from __future__ import annotations

from django.contrib.auth import SESSION_KEY as USER_ID

from wsgi_session.cookies import tokens
from wsgi_session.integrations.logins import log_in_as, owner_with_id
from wsgi_session.request.confirmation import CONFIRMED, note_unconfirmed
from wsgi_session.request.work import Work


def set_owner(work: Work) -> None:
    """Set the owner if the user was put into the session without a login, so that it can be found and revoked.

    When the user has proved who they are is not known then: see ``redirect_unless_fresh``.
    """
    user = work.peek(USER_ID)
    # A login makes a new session, which must not replace one that another request has ended.
    if user is None or work.ended or (work.login is not None and work.login.owner == owner_with_id(user)):
        return
    owner = tokens.owner_key(work.backend.settings.namespace, owner_with_id(user))
    # An earlier request may have removed this same user, by clear().
    was_there = USER_ID in (work.data or work.load()).stored
    if work.record is None or work.record.owner != owner or not was_there:
        log_in_as(work, user, USER_ID)
        note_unconfirmed(work)


def note_login(work: Work) -> None:
    """Note that the owner, whom a save has already set, has logged in: that counts as a confirmation."""
    (work.data or work.load()).put_packed(CONFIRMED, None)
