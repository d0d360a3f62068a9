"""End the session of a request immediately, in the store: ``Session.destroy``, or a ``validate`` that returns False."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsgi_session.errors import HeadersAlreadySent, StoreUnavailable
from wsgi_session.request.states import CLOSED, REMOVE

if TYPE_CHECKING:
    from wsgi_session.request.work import Work


def destroy(work: Work) -> None:
    """End the session of each session cookie of the request, and discard the changes that were not saved yet.

    Raises ``StoreUnavailable`` if the store is down; ``HeadersAlreadySent`` if the response is closed, or if the
    session is in the cookie and the headers were sent.
    """
    work.open()
    if work.phase is CLOSED:
        raise closed_error()
    if work.state == "unavailable":
        raise work.unavailable()
    if work.backend.change_needs_cookie:
        work.writable(needs_cookie=True)
    try:
        _end_all(work)
    except StoreUnavailable as error:
        work.note_outage(error)
        raise


def _end_all(work: Work) -> None:
    """End the session, also if another request has rotated it, and the sessions of the request's other cookies."""
    backend = work.backend
    rotated = work.credential if work.record is None else None
    credentials = (work.credential, work.refused, work.unread[0])
    others = [other for credential in credentials for other in getattr(credential, "others", ())]
    end(work)
    for credential in (rotated, *others):
        record = None if credential is None else backend.end(credential, backend.settings.clock())
        if record is not None:
            backend.settings.events("destroyed", handle=record.handle)


def end(work: Work, event: str = "destroyed") -> None:
    """End the loaded session, and discard the changes that were not saved yet."""
    backend = work.backend
    for credential, record in (work.unread, (work.credential, work.record)):
        if record is not None and credential is not None:
            backend.delete(credential, record, backend.settings.clock())
            backend.settings.events(event, handle=record.handle)
    forget_refused(work)
    work.forget()
    # If another request ended it, the browser may already have a new cookie: removing that would log the visitor out.
    if not work.ended:
        work.state = "destroyed"
        work.cookie = REMOVE


def forget_refused(work: Work) -> None:
    """Delete the record that the store may still have for a credential of the request that was not accepted.

    A slow request that loaded the session while it was live would otherwise save it after this logout or login.
    """
    if work.refused is not None:
        work.backend.forget(work.refused)
        work.refused = None


def closed_error() -> HeadersAlreadySent:
    """Return the error for a change after the end of the response."""
    return HeadersAlreadySent("The response is closed, so its session cannot be changed any more.")
