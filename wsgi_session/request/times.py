"""Apply the rules of ``lifetime.py`` to one request: when its session expires, and what it records as activity."""

from __future__ import annotations

from wsgi_session.request.work import Work
from wsgi_session.stores.contract import Record


def expires(work: Work) -> float | None:
    """Return when the session expires if no further request arrives; ``None`` while it is new."""
    settings, record, login = work.backend.settings, work.record, work.login
    lifetime, now = settings.lifetime, settings.clock()
    if login is not None:
        return lifetime.end(now, login.created, login.idle)
    if record is None:
        return None
    touched, end = lifetime.times_after(record, active_at(work, record, now), touching=work.touching)
    return lifetime.end_of(record._replace(touched=touched, expires=end))


def active_at(work: Work, record: Record, now: float) -> float:
    """Return the time to record as activity: ``now``, or an earlier time for a change after the headers.

    Such a change cannot renew the cookie. So the time is so early that the next request touches again, and renews the
    cookie too. Otherwise no request might do so, and the cookie of an active visitor would expire.
    """
    return now - work.backend.settings.lifetime.interval(record.idle) if work.late else now


def refresh_due(work: Work) -> bool:
    """Return whether a request that changed nothing has activity to record, or a cookie to renew."""
    record, credential = work.record, work.credential
    if record is None or credential is None:
        return False
    settings = work.backend.settings
    if not credential.current or work.cookie_unconfirmed:
        return True
    if not work.touching:
        return False
    clock = settings.clock
    return settings.lifetime.touch_due(record, clock())
