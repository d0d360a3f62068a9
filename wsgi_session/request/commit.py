"""The commit: what a request changed goes into the store, on top of whatever is stored by then.

Whatever can come between a load and a save (another request's write, a rotation, a logout, a lost reply) is handled
here, once, for changes, ``atomic``, rotations and logins alike.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from wsgi_session.backends.base import Credential
from wsgi_session.codec.packing import Packed
from wsgi_session.cookies import tokens
from wsgi_session.cookies.cookie import OUTSIDE
from wsgi_session.errors import SessionTooLarge, StoreUnavailable, UnsupportedValue
from wsgi_session.request.data import Data
from wsgi_session.request.ending import forget_refused
from wsgi_session.request.login import tell_unfiled_user
from wsgi_session.request.records import changed_record, first_record, join_within, login_record
from wsgi_session.request.states import KEEP, SET, Cookie
from wsgi_session.request.times import active_at
from wsgi_session.stores.contract import Outcome, Record

if TYPE_CHECKING:
    from wsgi_session.request.work import Work

#: A save that meets other writers merges and tries again, at most so often or for so many seconds. A rotation meets
#: more of them: in a Redis cluster it takes three steps.
MAX_TRIES, MAX_ROTATIONS = 100, 1000
MAX_SECONDS = 5.0

#: Makes the values to be stored from those that are stored.
Merge = Callable[[Packed], Packed]
#: What a change is made to: the session as the store had it when it was last asked.
Base = tuple[Credential, Record, Packed]


def save(work: Work, data: Data) -> bool:
    """Save what changed; return whether anything was saved, or dropped. An error is told as an event, and raised."""
    try:
        return _save(work, data)
    except StoreUnavailable as error:
        work.backend.settings.events("unavailable", error=str(error))
        raise
    except (SessionTooLarge, UnsupportedValue) as error:
        work.backend.settings.events("unsaved", handle=work.handle, error=str(error))
        raise


def _save(work: Work, data: Data) -> bool:
    changed = data.collect()
    if work.late and work.backend.change_needs_cookie:
        # The headers were sent, and there is no store: nothing can be saved any more.
        if changed:
            work.ended_handle = work.handle
            drop(work, data)
        return changed
    now = work.backend.settings.clock()
    if work.login is not None:
        data.keep_written()
    record, credential = work.record, work.credential
    if record is None or credential is None:
        if work.ended:
            if changed or work.outside_path:
                drop(work, data)
            return True
        if not (changed or work.create_if_empty or work.login is not None):
            return False
        create(work, data.applied_to(data.stored), now)
        return True
    rotating = work.next_credential is not None
    # A clear() of what looked empty also deletes what other requests have stored since, where they can.
    if not (changed or rotating or (data.cleared and work.backend.compares)):
        return False
    base = (credential, record, data.stored)
    if replace(work, base, data.applied_to, now, rotating=rotating):
        return True
    work.note_end()
    if work.login is not None:
        # Two logins at once from one token: the second one gets a session with what its own request wrote.
        create(work, data.applied_to(data.stored), now)
    elif changed:
        drop(work, data)
    return True


def refresh(work: Work, data: Data) -> None:
    """Record the activity, and renew a cookie that an older secret signed. An outage does not harm the response."""
    settings, record, credential = work.backend.settings, work.record, work.credential
    assert record is not None and credential is not None
    now = settings.clock()
    alive = False
    try:
        live = _live_base(work, (credential, record, data.stored), now)
        if live is not None:
            (_, record, packed), moment = live
            touched, expires = settings.lifetime.times_after(record, now, touching=work.touching)
            # Asked also if only the signature is old and no time moves: the session may have ended.
            alive = work.backend.touch(credential, touched, expires, moment)
    except StoreUnavailable as error:
        settings.events("touch_failed", handle=work.handle, error=str(error))
        return
    if not alive:
        # A cookie that is set now would come after the one that removed or replaced it.
        work.cookie = KEEP
        return
    after = record._replace(touched=touched, expires=expires)
    data.stored = packed
    work.adopt_times(after, _cookie_after(work, credential, record, after))


def drop(work: Work, data: Data) -> None:
    """Forget what this request wrote, and say so in an event that names the keys."""
    events = work.backend.settings.events
    if work.outside_path:
        events.once("outside_path", advice=OUTSIDE)
    else:
        keys = sorted(key for key in data.changed if isinstance(key, str))
        events("dropped", handle=work.ended_handle, keys=keys)
    data.changed = {}


def replace(work: Work, base: Base, merge: Merge, now: float, *, rotating: bool = False) -> bool:
    """Store what ``merge`` makes of the newest values, if ``rotating`` under a new token and as the intended login.

    Return False if the session has ended.
    """
    version = tokens.draw_rotation(begins=work.login is not None) if rotating else tokens.draw_version()
    live = _live_base(work, base, now)
    if live is None:
        return False
    current, moment = live
    for tries in range(MAX_ROTATIONS if rotating else MAX_TRIES):
        outcome = (_rotate if rotating else _replace)(work, current, merge, version, now, moment)
        if outcome is Outcome.SAVED:
            return True
        if outcome is Outcome.GONE:
            return False
        if tries:
            # A random pause gets all writers through sooner. Before the reload: what is loaded grows old.
            time.sleep(random.uniform(0, min(0.0005 * 2**tries, 0.02)))  # noqa: S311  (no secret)
        reloaded = _reload(work, current[0], moment)
        if reloaded is None:
            return False
        current = reloaded
        if work.backend.settings.clock() - now >= MAX_SECONDS:
            break
    raise StoreUnavailable(
        f"Other requests wrote to this session first, {tries + 1} times in a row: nothing was saved. Write to it less "
        "often, or in fewer requests at once."
    )


def _replace(work: Work, base: Base, merge: Merge, version: bytes, now: float, moment: float) -> Outcome:
    credential, before, stored = base
    packed = merge(stored)
    record = _changed(work, before, packed, version, now)
    outcome = work.backend.replace(credential, record, before.version, moment)
    if outcome is Outcome.SAVED:
        if work.login is None:
            tell_unfiled_user(work, stored, packed, record)
        work.adopt(record, packed, _cookie_after(work, credential, before, record))
    return outcome


def _rotate(work: Work, base: Base, merge: Merge, version: bytes, now: float, moment: float) -> Outcome:
    (old, before, stored), new, login, settings = base, work.next_credential, work.login, work.backend.settings
    assert new is not None
    packed = merge(stored)
    if login is None:
        record = _changed(work, before, packed, version, now)
    else:
        record = login_record(login, join_within(packed, settings.max_size), version, now, settings)
    if work.remember is not None:
        record = record._replace(persistent=work.remember)
    outcome, credential = work.backend.rotate(old, new, record, before.version, moment)
    if outcome is Outcome.SAVED:
        if login is None:
            tell_unfiled_user(work, stored, packed, record)
        _adopt_new(work, credential, record, packed, "rotated")
    return outcome


def create(work: Work, packed: Packed, now: float) -> None:
    """Store a new session, as a login if one is intended."""
    settings, backend = work.backend.settings, work.backend
    data = join_within(packed, settings.max_size)
    handle, version = tokens.draw_names()
    if work.login is None:
        record = first_record(handle, data, version, now, settings)
    else:
        record = login_record(work.login, data, version, now, settings)
        forget_refused(work)
    if work.remember is not None:
        record = record._replace(persistent=work.remember)
    credential = backend.create(work.next_credential or backend.draw(), record, now)
    if work.login is None:
        tell_unfiled_user(work, {}, packed, record)
    _adopt_new(work, credential, record, packed, "created")


def _changed(work: Work, before: Record, packed: Packed, version: bytes, now: float) -> Record:
    settings = work.backend.settings
    data = join_within(packed, settings.max_size)
    active = active_at(work, before, now)
    return changed_record(before, data, version, active, settings, touching=work.touching)


def _cookie_after(work: Work, credential: Credential, before: Record, record: Record) -> Cookie:
    """Return whether the cookie has to be set: its end moved, its signature is old, or the session is in it."""
    moved = record.persistent and record.expires > before.expires
    return SET if moved or not credential.current or work.backend.change_needs_cookie else KEEP


def _adopt_new(work: Work, credential: Credential, record: Record, packed: Packed, event: str) -> None:
    events = work.backend.settings.events
    if work.login is not None:
        events("logged_in", handle=record.handle)
    work.adopt_new(credential, record, packed)
    events(event, handle=record.handle)


def _live_base(work: Work, base: Base, now: float) -> tuple[Base, float] | None:
    """Return the base and the time to judge it by; by what another request made of it since, if it seems to be over."""
    lifetime = work.backend.settings.lifetime
    credential, record, _ = base
    moment = lifetime.judged_at(record, now, work.loaded_at)
    if moment is not None:
        return base, moment
    reloaded = _reload(work, credential, work.loaded_at)
    moment = None if reloaded is None else lifetime.judged_at(reloaded[1], now, work.loaded_at)
    return None if reloaded is None or moment is None else (reloaded, moment)


def _reload(work: Work, credential: Credential, now: float) -> Base | None:
    """Return what another request stored; ``None`` if the session has ended."""
    _, _, record, packed = work.backend.look_up(credential, now)
    if record is None:
        return None
    work.backend.settings.events("conflict", handle=record.handle)
    return credential, record, packed
