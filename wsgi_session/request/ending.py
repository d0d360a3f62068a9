"""The end of a session: by this request, at once in the store; or by another request."""

from __future__ import annotations

from wsgi_session.backends.base import Backend
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.errors import HeadersAlreadySent
from wsgi_session.events import EVENTS
from wsgi_session.request.data import Data
from wsgi_session.request.fields import WorkFields
from wsgi_session.request.states import REMOVE
from wsgi_session.stores.contract import Record


def end(work: WorkFields, event: str = "destroyed") -> None:
    """End the loaded session, and discard the changes that were not saved yet."""
    backend = work.backend
    for credential, record in (work.unread, (work.credential, work.record)):
        if record is not None and credential is not None:
            backend.delete(credential, record, backend.settings.clock())
            report(backend, record, event)
    work.unread = (None, None)
    forget_refused(work)
    _forget(work)
    # If another request ended it, the browser may already have a new cookie: removing that would log the visitor out.
    if not work.ended:
        work.state = "destroyed"
        work.cookie = REMOVE


def _forget(work: WorkFields) -> None:
    """Discard the session and its unsaved changes: this request has ended it."""
    work.record = work.credential = work.next_credential = work.login = work.planned_handle = None
    work.confirming = None
    work.create_if_empty = False
    work.data = Data({}, work.backend.settings.max_size)


def note_end(work: WorkFields) -> None:
    """Record that another request ended the session: changes are dropped, unless this request logs in."""
    work.ended_record, work.ended_credential = work.record, work.credential
    work.state = "unknown"
    work.record = work.credential = None
    data = work.data
    assert data is not None
    data.stored = {}
    if work.login is not None:
        data.keep_written()
    work.ended = work.login is None


def forget_refused(work: WorkFields) -> None:
    """Delete the record that the store may still have for a credential of the request that was not accepted.

    A slow request that loaded the session while it was live would otherwise save it after this logout or login. So
    would one that does not read the value that has made this session corrupt.
    """
    if work.refused is not None:
        work.backend.forget(work.refused)
        work.refused = None
    credential, record = work.unread
    if credential is not None and record is not None:
        work.backend.delete(credential, record, work.backend.settings.clock())
        work.unread = (None, None)


def closed_error() -> HeadersAlreadySent:
    """Return the error for a change after the end of the response."""
    return HeadersAlreadySent("The response is closed, so its session cannot be changed any more.")


def report(backend: Backend, record: Record, event: str) -> None:
    """Report that the session of ``record`` was ended; ``event`` says how."""
    (reason,) = EVENTS[event].reasons
    backend.settings.events(event, handle=record.handle, owner=stored_owner(record), reason=reason)
