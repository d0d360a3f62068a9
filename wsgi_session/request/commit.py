"""The commit: merge a request's changes into the newest stored data, and save the result.

Everything that can happen between a load and a save (another request's write, a rotation, a logout, a lost reply) is
handled here, in one place for changes, ``atomic``, rotations and logins.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from wsgi_session.backends.base import Credential
from wsgi_session.backends.stored_owner import names_of, stored_owner
from wsgi_session.codec.packing import Packed
from wsgi_session.codec.sealed import is_outdated
from wsgi_session.cookies import tokens
from wsgi_session.cookies.cookie import CROSS_SITE, OUTSIDE
from wsgi_session.errors import SessionTooLarge, StoreUnavailable, UnsupportedValue
from wsgi_session.request.data import Data
from wsgi_session.request.devices import after_login
from wsgi_session.request.ending import forget_refused, note_end
from wsgi_session.request.loading import VALIDATED
from wsgi_session.request.login import owner_text, report_unfiled_user
from wsgi_session.request.providers import check_after
from wsgi_session.request.records import changed_record, first_record, join_checked, login_record
from wsgi_session.request.states import KEEP, SET, Cookie
from wsgi_session.request.times import active_at
from wsgi_session.request.work import Work
from wsgi_session.stores.contract import Outcome, Record

#: If another request wrote first, a save merges and tries again, up to this number of times or of seconds. A rotation
#: may try more often: in a Redis cluster it takes three steps, so that other writes interfere more often.
MAX_TRIES, MAX_ROTATIONS = 100, 1000
MAX_SECONDS = 5.0
# A name of the module, because reading a member of an enum takes as long as two function calls.
_SAVED = Outcome.SAVED

#: Returns the values to store, given the stored ones.
Merge = Callable[[Packed], Packed]
#: The session as it was last loaded, to which the changes are applied.
Base = tuple[Credential, Record, Packed]


def save(work: Work, data: Data) -> bool:
    """Save what changed; return whether anything was saved, or dropped. Errors are reported as events, and raised."""
    try:
        return _save(work, data)
    except StoreUnavailable as error:
        work.backend.settings.events("unavailable", error=str(error))
        raise
    except (SessionTooLarge, UnsupportedValue) as error:
        work.backend.settings.events("unsaved", handle=work.handle, owner=owner_text(work), error=str(error))
        raise


def _save(work: Work, data: Data) -> bool:
    data = work.data_to_save(data)
    changed = data.find_changes()
    if work.late and work.backend.change_needs_cookie:
        # The session is in the cookie, and the headers were sent: nothing can be saved any more.
        if changed:
            work.ended_record = work.record
            drop(work, data)
        return changed
    clock = work.backend.settings.clock
    now = clock()
    if work.login is not None:
        data.keep_written()
    record, credential = work.record, work.credential
    if record is None or credential is None:
        if work.ended:
            if changed or work.outside_path or (work.cross_site and work.create_if_empty):
                drop(work, data)
            return True
        if not (changed or work.create_if_empty or work.login is not None):
            return False
        create(work, data.apply_to(data.stored), now)
        return True
    rotating = work.next_credential is not None
    # clear() also deletes keys that other requests stored since this one loaded, so it is saved even if it changed
    # nothing here. If the session is in the cookie, no other request can have stored keys.
    if not (changed or rotating or (data.cleared and work.backend.compares)):
        return False
    base = (credential, record, data.stored)
    try:
        if replace(work, base, data.apply_to, now, rotating=rotating):
            return True
    except (StoreUnavailable, SessionTooLarge) as error:
        if rotating or data.cleared or data.changed.keys() != {VALIDATED}:
            raise
        # Only the time of the last check by ``validate`` is not stored, so the next request checks again. Like a failed
        # touch, this does not affect the response.
        del data.changed[VALIDATED]
        work.backend.settings.events("touch_failed", handle=work.handle, owner=owner_text(work), error=str(error))
        return False
    note_end(work)
    if work.login is not None:
        # Two requests with the same token logged in at once: the second one's session has only its own changes.
        create(work, data.apply_to(data.stored), now)
    elif changed:
        drop(work, data)
    return True


def refresh(work: Work, data: Data) -> None:
    """Record the activity, and renew a cookie that an older secret signed. An outage does not affect the response."""
    settings, record, credential = work.backend.settings, work.record, work.credential
    assert record is not None and credential is not None
    now = settings.clock()
    alive = False
    try:
        live = _live_base(work, (credential, record, data.stored), now)
        if live is not None:
            (_, record, packed), moment = live
            touched, expires = settings.lifetime.times_after(record, now, touching=work.touching)
            if is_outdated(record.data) and _seal_again(work, (credential, record, packed), now):
                return
            # Needed even if no time changes and only the signature is old, because the session may have ended.
            alive = work.backend.touch(credential, touched, expires, moment)
    except StoreUnavailable as error:
        settings.events("touch_failed", handle=work.handle, owner=stored_owner(record), error=str(error))
        return
    if not alive:
        # Another request has removed or replaced the cookie: setting it now would undo that.
        work.cookie = KEEP
        return
    after = record._replace(touched=touched, expires=expires)
    data.stored = packed
    work.adopt_times(after, _cookie_after(work, credential, record, after))


def _seal_again(work: Work, base: Base, now: float) -> bool:
    """Save the session unchanged, so that the newest secret seals it; return False if that is impossible."""
    try:
        return replace(work, base, lambda stored: stored, now)
    except SessionTooLarge:
        # Stored under a larger max_size, or without encryption, which adds a few bytes.
        return False


def drop(work: Work, data: Data) -> None:
    """Discard what this request wrote, and report the keys in an event."""
    events = work.backend.settings.events
    if work.outside_path:
        events.once("outside_path", advice=OUTSIDE)
    elif work.cross_site:
        events.once("cross_site_write", advice=CROSS_SITE)
    else:
        keys = sorted(key for key in data.changed if isinstance(key, str))
        # The session is still there if a save failed after the headers.
        handle, owner = names_of(work.ended_record or work.record)
        events("dropped", handle=handle, owner=owner, keys=keys)
    data.changed = {}


def replace(work: Work, base: Base, merge: Merge, now: float, *, rotating: bool = False) -> bool:
    """Merge into the newest values and store the result; return False if the session has ended.

    ``rotating``: store it under a new token, as the intended login if there is one.
    """
    version = tokens.new_rotation_version(is_login=work.login is not None) if rotating else tokens.new_version()
    live = _live_base(work, base, now)
    if live is None:
        return False
    current, moment = live
    for tries in range(MAX_ROTATIONS if rotating else MAX_TRIES):
        outcome = (_rotate if rotating else _replace)(work, current, merge, version, now, moment)
        if outcome is _SAVED:
            return True
        if outcome is Outcome.GONE:
            return False
        if tries:
            # A random pause separates competing writers. It comes before the reload, which must be as new as possible.
            time.sleep(random.uniform(0, min(0.0005 * 2**tries, 0.02)))  # noqa: S311  (no secret)
        reloaded = _reload(work, current[0], moment)
        if reloaded is None:
            return False
        current = reloaded
        if work.backend.settings.clock() - now >= MAX_SECONDS:
            break
    raise StoreUnavailable(
        f"Other requests wrote to this session first, {tries + 1} times in a row, so nothing was saved. Write to it "
        "less often, or in fewer requests at once."
    )


def _replace(work: Work, base: Base, merge: Merge, version: bytes, now: float, moment: float) -> Outcome:
    credential, before, stored = base
    packed = merge(stored)
    record = _changed(work, before, packed, version, now)
    outcome = work.backend.replace(credential, record, before.version, moment)
    if outcome is _SAVED:
        if work.login is None:
            report_unfiled_user(work, stored, packed, record)
        work.adopt(record, packed, _cookie_after(work, credential, before, record))
    return outcome


def _rotate(work: Work, base: Base, merge: Merge, version: bytes, now: float, moment: float) -> Outcome:
    (old, before, stored), new, login, settings = base, work.next_credential, work.login, work.backend.settings
    assert new is not None
    packed = merge(stored)
    if login is None:
        record = _changed(work, before, packed, version, now)
    else:
        record = login_record(login, join_checked(packed, settings), version, now, settings)
    if work.remember is not None:
        record = record._replace(persistent=work.remember)
    outcome, credential = work.backend.rotate(old, new, record, before.version, moment)
    if outcome is _SAVED:
        if login is None:
            report_unfiled_user(work, stored, packed, record)
        _adopt_new(work, credential, record, packed, "rotated")
    return outcome


def create(work: Work, packed: Packed, now: float) -> None:
    """Store a new session, as a login if one is intended."""
    settings, backend = work.backend.settings, work.backend
    data = join_checked(packed, settings)
    handle, version = tokens.new_handle_and_version()
    if work.login is None:
        record = first_record(work.planned_handle or handle, data, version, now, settings)
    else:
        record = login_record(work.login, data, version, now, settings)
        forget_refused(work)
    if work.remember is not None:
        record = record._replace(persistent=work.remember)
    credential = backend.create(work.next_credential or backend.new_credential(), record, now)
    if work.login is None:
        report_unfiled_user(work, {}, packed, record)
    _adopt_new(work, credential, record, packed, "created")


def _changed(work: Work, before: Record, packed: Packed, version: bytes, now: float) -> Record:
    settings = work.backend.settings
    data = join_checked(packed, settings)
    active = active_at(work, before, now)
    return changed_record(before, data, version, active, settings, touching=work.touching)


def _cookie_after(work: Work, credential: Credential, before: Record, record: Record) -> Cookie:
    """Return whether to set the cookie: the session expires later, the signature is old, or the session is in it."""
    extended = record.persistent and record.expires > before.expires
    return SET if extended or not credential.current or work.backend.change_needs_cookie else KEEP


def _adopt_new(work: Work, credential: Credential, record: Record, packed: Packed, event: str) -> None:
    events = work.backend.settings.events
    if record.owner is not None:
        if work.login is not None:
            work.logged_in = True
            check_after(work, record)
            devices = after_login(work, record, packed)
            events("logged_in", handle=record.handle, owner=stored_owner(record), **devices)
        if work.confirming is not None:
            events("confirmed", handle=record.handle, owner=stored_owner(record), method=work.confirming)
            work.confirming = None
    work.adopt_new(credential, record, packed)
    if events.are_heard(event):
        events(event, handle=record.handle, owner=stored_owner(record))


def _live_base(work: Work, base: Base, now: float) -> tuple[Base, float] | None:
    """Return the base and the ``now`` to pass to the store for it; ``None`` if the session has ended.

    If the base has expired, it is reloaded: another request may have extended the session.
    """
    lifetime = work.backend.settings.lifetime
    credential, record, _ = base
    moment = lifetime.judged_at(record, now, work.loaded_at)
    if moment is not None:
        return base, moment
    reloaded = _reload(work, credential, work.loaded_at)
    if reloaded is None:
        return None
    record = reloaded[1]
    moment = lifetime.judged_at(record, now, work.loaded_at)
    if moment is None:
        (handle, owner), reason = names_of(record), lifetime.reason(record)
        work.backend.settings.events("expired", handle=handle, owner=owner, reason=reason)
        return None
    return reloaded, moment


def _reload(work: Work, credential: Credential, now: float) -> Base | None:
    """Return the session as another request stored it; ``None`` if it has ended."""
    _, _, record, packed = work.backend.look_up(credential, now)
    if record is None:
        return None
    work.backend.settings.events("conflict", handle=record.handle, owner=stored_owner(record))
    return credential, record, packed
