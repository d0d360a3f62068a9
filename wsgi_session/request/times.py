"""The times of one request: what it records as activity, and until when its session and its cookie live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsgi_session.stores.contract import Record

if TYPE_CHECKING:
    from wsgi_session.request.work import Work


def expires(work: Work) -> float | None:
    """Return when the session ends if no further request arrives; ``None`` while it is new."""
    settings, record, login = work.backend.settings, work.record, work.login
    lifetime, now = settings.lifetime, settings.clock()
    if login is not None:
        return lifetime.end(now, login.created, login.idle)
    if record is None:
        return None
    touched, end = lifetime.times_after(record, active_at(work, record, now), touching=work.touching)
    return lifetime.end_of(record._replace(touched=touched, expires=end))


def active_at(work: Work, record: Record, now: float) -> float:
    """Return the moment that is recorded as activity: after the headers, so early that the next request renews it.

    The cookie is renewed with it then. If late changes, which set no cookie, always moved the session's life, the
    cookie of an active visitor would run out.
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
    return work.touching and settings.lifetime.touch_due(record, settings.clock())
