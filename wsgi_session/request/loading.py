"""Loading the session of a request, on first access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wsgi_session.codec.packing import pack
from wsgi_session.cookies.caching import is_public
from wsgi_session.cookies.cookie import may_lack_cookie, path_covers
from wsgi_session.errors import HeadersAlreadySent, StoreUnavailable
from wsgi_session.request.data import Data
from wsgi_session.request.ending import end
from wsgi_session.request.states import KEEP, OPEN
from wsgi_session.stores.contract import CLOCK_SKEW

if TYPE_CHECKING:
    from wsgi_session.request.work import Work

#: The internal key of when ``validate`` accepted the session, and under which handle.
VALIDATED = b"validated"
#: Replaces a unit of work's environ once that is not needed any more.
NO_ENVIRON: Mapping[str, Any] = {}

# Attributes that a request may set after its session was loaded, and that the next load would not reset.
_SET_LATER = (
    "ended",
    "ended_record",
    "login_keys",
    "provider",
    "remember",
    "planned_handle",
    "confirming",
    "create_if_empty",
    "outside_path",
    "cross_site",
    "unread",
    "refused",
)


def load(work: Work) -> Data:
    """Load the session and return its data. In an outage, raise ``StoreUnavailable`` or return an empty session."""
    if work.accessed and work.outage is not None:
        if not work.backend.settings.anonymous_in_outage:
            raise work.unavailable()
        # The store failed before the session was loaded, in a transaction: it is not asked again.
        return work.start(("unavailable", None, None, {}), work.backend.settings.clock())
    work.accessed = True
    if work.phase is not OPEN:
        _prepare_late_load(work)
    settings = work.backend.settings
    clock = settings.clock
    now = clock()
    try:
        data = work.start(work.backend.load(work.environ, now), now)
        if work.record is None:
            if settings.cookie_path != "/" and not path_covers(settings.cookie_path, work.environ):
                work.outside_path = work.ended = True
            elif work.state == "new" and may_lack_cookie(work.environ, settings.samesite):
                work.cross_site = work.ended = True
        elif settings.validate is not None:
            data = _validate(work)
    except StoreUnavailable as error:
        settings.events("unavailable", error=str(error))
        work.outage = error
        if not settings.anonymous_in_outage:
            work.outage_raised = True
            raise
        data = work.start(("unavailable", None, None, {}), now)
    work.scheme = work.environ.get("wsgi.url_scheme")
    # The environ contains the session: only the garbage collector would free such a cycle.
    work.environ = NO_ENVIRON if settings.describe is None else client_of(work.environ, work.backend.credential_key)
    return data


def reload(work: Work) -> bool:
    """Load the newest stored data, and keep this request's changes; return whether the session is still live."""
    work.open()
    record, credential, settings = work.record, work.credential, work.backend.settings
    if record is None or credential is None or not work.backend.compares:
        return record is not None
    now = settings.clock()
    try:
        _, _, record, packed = work.backend.look_up(credential, now)
        if record is None:
            work.note_end()
            (work.data or work.load()).rebase({})
            return False
        work.record, work.loaded_at = record, now
        (work.data or work.load()).rebase(packed)
        if settings.validate is not None:
            _validate(work)
    except StoreUnavailable as error:
        work.note_outage(error)
        raise
    return work.record is not None


def mark_corrupt(work: Work) -> None:
    """Treat a session with an unreadable value as unknown: this request's changes go into a new session."""
    if work.record is not None:
        work.unread = work.credential, work.record
        work.backend.settings.events("corrupt", handle=work.record.handle)
        if work.late:
            # The headers were sent, so no cookie can be set for a new session.
            work.ended_record, work.ended = work.record, True
    work.state = "unknown"
    work.record = work.credential = None
    (work.data or work.load()).rebase({})


def unload(work: Work) -> None:
    """Forget what was loaded and intended, including the cookie. An immediate ``destroy`` is not undone."""
    for name in _SET_LATER:
        vars(work).pop(name, None)
    work.data, work.cookie = None, KEEP


def client_of(environ: Mapping[str, Any], credential_key: str) -> dict[str, str]:
    """Return what ``describe`` may see of the request: its texts, without the credentials."""
    hidden = ("HTTP_COOKIE", "HTTP_AUTHORIZATION", credential_key)
    return {name: value for name, value in environ.items() if type(value) is str and name not in hidden}


def _is_due(work: Work) -> bool:
    """Return whether ``validate`` is to be called: the last call that accepted this login was long enough ago."""
    every = work.backend.settings.validate_every
    if every is None:
        return True
    stored = work.peek(VALIDATED)
    # A login gives the session another handle, so that it is checked again.
    if not isinstance(stored, list) or stored[0] != work.handle:
        return True
    return not -CLOCK_SKEW <= work.backend.settings.clock() - stored[1] < every


def _prepare_late_load(work: Work) -> None:
    if is_public(work.sent_headers):
        raise HeadersAlreadySent(
            "The session was first used after the headers, which allow any cache to store this response. Use the "
            "session before start_response, or do not mark the response public."
        )
    work.backend.settings.events("late_access")
    if work.cookie_and_scheme is not None:
        kept = zip(("HTTP_COOKIE", "wsgi.url_scheme"), work.cookie_and_scheme, strict=True)
        work.environ = {**dict(kept), **work.token_header}


def _validate(work: Work) -> Data:
    validate = work.backend.settings.validate
    assert validate is not None
    try:
        # In this order: if the time of the last check cannot be read, the session is corrupt, and has no user.
        if _is_due(work) and work.user() is not None:
            if not validate(work):
                end(work, "invalid")
            elif work.backend.settings.validate_every is not None and work.record is not None and work.phase is OPEN:
                value = [work.handle, work.backend.settings.clock()]
                (work.data or work.load()).put(VALIDATED, value, pack(value, "validated"))
    except BaseException:
        # If the application catches this error, it must not go on as if the session were valid: the next access loads
        # the session again.
        unload(work)
        raise
    return work.data or work.load()
