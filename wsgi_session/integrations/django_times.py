"""How long a record lives for Django, whose sessions each have an age of their own, and count it from the last save."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from django.contrib.sessions.backends.base import SessionBase

from wsgi_session.backends.base import Backend, Loaded
from wsgi_session.request.work import Work


def started_work(backend: Backend, loaded: Loaded, now: float) -> Work:
    """Return a unit of work that has loaded a session at ``now``, outside of a server's request."""
    work = Work(backend, {})
    work.start(loaded, now)
    return work


def expires(session: SessionBase, work: Work, touched: float) -> float:
    """Return when the session expires by Django's rules if it was last saved at ``touched``."""
    saved = datetime.fromtimestamp(touched, timezone.utc)
    return session.get_expiry_date(modification=saved, expiry=work.peek("_session_expiry")).timestamp()


def set_idle_timeout(work: Work, idle: float, now: float) -> None:
    """Let the record expire no earlier than the session, which does so ``idle`` seconds after a save at ``now``."""
    if work.record is not None:
        # The record must be live for this save, even if the session now expires earlier: loading checks that.
        idle = max(idle, now - work.record.touched + 1)
    settings = work.backend.settings
    lifetime = replace(settings.lifetime, idle=idle, touch_interval=0.0)
    work.backend.settings = replace(settings, lifetime=lifetime)


def touch(work: Work, now: float) -> bool:
    """Touch the record for a save without changes, which extends the session too; return False if it has ended."""
    record, credential = work.record, work.credential
    assert record is not None and credential is not None
    lifetime = work.backend.settings.lifetime
    touched, expires = lifetime.times_after(record, now, touching=True)
    moment = lifetime.judged_at(record, now, work.loaded_at)
    return moment is not None and work.backend.touch(credential, touched, expires, moment)
