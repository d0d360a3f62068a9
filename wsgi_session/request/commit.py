"""How a draft is saved: created, replaced or rotated in the store, on top of whatever is stored by then.

Everything that could come between a load and a save (another request's write, a rotation, a logout, a lost answer) is
handled here, once, for ordinary changes, ``atomic``, ``rotate`` and ``login`` alike.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from wsgi_session.backends.base import Bearer
from wsgi_session.codec.packing import CorruptData, Packed, check_key, pack, unpack
from wsgi_session.cookies import tokens
from wsgi_session.cookies.cookie import OUTSIDE
from wsgi_session.errors import SessionGone, StoreUnavailable, Unsupported
from wsgi_session.request.records import changed_record, first_record, join_within, login_record, touched_times
from wsgi_session.request.work import Draft
from wsgi_session.stores.contract import Outcome, Record

#: A save that meets other writers merges and tries again, so often or so long (seconds) at most.
MAX_TRIES = 100
MAX_SECONDS = 5.0

T = TypeVar("T")
Merge = Callable[[Packed], Packed]


def save(draft: Draft) -> bool:
    """Save what changed; return whether anything was, or had to be dropped."""
    changed = draft.values.collect()
    now = draft.backend.settings.clock()
    if draft.login is not None:
        draft.values.keep_written()
    if draft.record is None:
        if draft.dead:
            if changed or draft.outside:
                drop(draft)
            return True
        if not (changed or draft.wanted or draft.login is not None):
            return False
        _create(draft, draft.values.applied_to, now)
        return True
    # A clear of what looked empty drops what others have stored meanwhile, where they can have.
    clears = draft.values.cleared and not draft.backend.stateless
    rotating = draft.next_bearer is not None
    if not (changed or rotating or clears):
        return False
    if _replace(draft, draft.values.applied_to, now, rotating=rotating):
        return True
    if draft.login is not None:
        # Two logins at once from one token: the second carries only what its own request wrote.
        _create(draft, draft.values.applied_to, now)
    elif changed:
        drop(draft)
    return True


def drop_changes(draft: Draft) -> bool:
    """Say what changed after the answer was out: without a store, there is nothing to put it into any more."""
    changed = draft.values.collect()
    if changed:
        draft.lost = draft.handle
        drop(draft)
    return changed


def refresh(draft: Draft) -> None:
    """Note the activity, and renew a cookie that an older secret signed. Never harms the answer."""
    now = draft.backend.settings.clock()
    try:
        moment = _judged_at(draft, now)
        record, bearer = draft.record, draft.bearer
        assert record is not None and bearer is not None
        touched, expires = touched_times(record, now, draft.backend.settings, touching=draft.touching)
        # Asked also where only the signature is old and no time moves: whether it has ended meanwhile.
        alive = moment is not None and draft.backend.touch(bearer, touched, expires, moment)
    except StoreUnavailable as error:
        draft.backend.settings.events("touch_failed", handle=draft.handle, error=str(error))
        return
    if not alive:
        # Ended a moment ago: a cookie now would come after the one that removed or replaced it.
        draft.cookie_due = None
        return
    draft.record = record._replace(touched=touched, expires=expires)
    if not bearer.current or draft.backend.stateless or (record.persistent and expires > record.expires):
        draft.cookie_due = True


def atomic(draft: Draft, function: Callable[[dict[str, Any]], T]) -> T:
    """Apply ``function`` to the newest data and save the outcome at once; ``SessionGone`` if it has ended.

    A rotation or a login that is pending stays so: it belongs to the commit, and is gone if the request fails.
    """
    if draft.backend.stateless:
        raise Unsupported(
            "a session in the cookie has no newest data: two requests never see each other's. Use a store that "
            "keeps sessions, such as sqlite:///sessions.db.",
            operation="atomic",
        )
    results: list[T] = []
    # What the login makes of these keys is not for the record that the visitor has if the request fails.
    pending: dict[str | bytes, bytes | None] = {} if draft.login is None else dict.fromkeys(draft.login_keys)
    written: dict[str | bytes, bytes | None] = {}

    def merge(base: Packed) -> Packed:
        packed = draft.values.applied_to(base)
        data = {key: unpack(value) for key, value in packed.items() if type(key) is str}
        results.append(function(data))
        made: Packed = {key: value for key, value in packed.items() if type(key) is bytes}
        made.update((check_key(key), pack(value, key, draft.values.limit)) for key, value in data.items())
        written.clear()
        written.update((key, made.get(key)) for key in {*packed, *made} if made.get(key) != packed.get(key))
        for key in pending:
            pending[key] = made.pop(key, None)
            if key in base:
                made[key] = base[key]
        return made

    draft.values.collect()
    now = draft.backend.settings.clock()
    if draft.dead:
        raise _gone(draft)
    if draft.login is not None and (draft.record is None or draft.values.cleared_own):
        return _apply_to_pending(draft, function)
    try:
        if draft.record is None:
            packed = merge(draft.values.stored)
            if packed or draft.wanted:
                _create(draft, lambda base: packed, now)
            else:
                draft.values.saved(packed)
        elif not _replace(draft, merge, now, rotating=False):
            if draft.login is None:
                raise _gone(draft)
            return _apply_to_pending(draft, function)
        else:
            draft.unconfirmed = draft.cookie_due
    except CorruptData:
        draft.corrupt()
        raise _gone(draft) from None
    draft.values.note_written(written)
    for key, value in pending.items():
        draft.values.put_packed(key, value)
    return results[-1]


def _apply_to_pending(draft: Draft, function: Callable[[dict[str, Any]], T]) -> T:
    """Apply ``function`` to a session that is not stored before the commit of its login: no other request has it."""
    before = draft.values.applied_to(draft.values.stored).copy()
    data = {key: unpack(value) for key, value in before.items() if type(key) is str}
    result = function(data)
    after = {check_key(key): pack(value, key, draft.values.limit) for key, value in data.items()}
    for key in before:
        if type(key) is str and key not in after:
            draft.values.put_packed(key, None)
    for key, value in after.items():
        if before.get(key) != value:
            draft.values.put_packed(key, value)
    return result


def _replace(draft: Draft, merge: Merge, now: float, *, rotating: bool) -> bool:
    """Replace or rotate, merging with whoever wrote first. False: the session has ended, and the draft knows."""
    version = tokens.draw_rotation(begins=draft.login is not None) if rotating else tokens.draw_version()
    moment = _judged_at(draft, now)
    if moment is None:
        _end(draft)
        return False
    for tries in range(MAX_TRIES):
        outcome = _try(draft, merge, version, now, moment, rotating=rotating)
        if outcome is Outcome.SAVED:
            return True
        if outcome is Outcome.CONFLICT and tries:
            # Writers who step out of each other's way all get through sooner. Not later than here: what is loaded ages.
            time.sleep(random.uniform(0, min(0.0005 * 2**tries, 0.02)))  # noqa: S311  (no secret)
        if outcome is Outcome.GONE or not _reload(draft, moment):
            _end(draft)
            return False
        if draft.backend.settings.clock() - now >= MAX_SECONDS:
            break
    raise StoreUnavailable(
        f"other requests wrote to this session first, {tries + 1} times in a row: nothing was saved. Write to it "
        "less often, or in fewer requests at once."
    )


def _try(draft: Draft, merge: Merge, version: bytes, now: float, moment: float, *, rotating: bool) -> Outcome:
    before, bearer, settings = draft.record, draft.bearer, draft.backend.settings
    assert before is not None and bearer is not None
    packed = merge(draft.values.stored)
    data = join_within(packed, settings.max_size)
    if draft.login is not None and rotating:
        record = login_record(draft.login, data, version, now, settings)
    else:
        active = draft.active_at(before, now)
        record = changed_record(before, data, version, active, settings, touching=draft.touching)
    if not rotating:
        outcome = draft.backend.replace(bearer, record, before.version, moment)
    else:
        assert draft.next_bearer is not None
        if draft.remember is not None:
            record = record._replace(persistent=draft.remember)
        outcome, bearer = draft.backend.rotate(bearer, draft.next_bearer, record, before.version, moment)
    if outcome is not Outcome.SAVED:
        return outcome
    moved = record.persistent and record.expires > before.expires
    if rotating or moved or not bearer.current or draft.backend.stateless:
        draft.cookie_due = True
    if draft.login is None:
        draft.tell_unfiled_user(packed, record)
    if rotating:
        _adopt(draft, packed, record, bearer)
        settings.events("rotated", handle=record.handle)
    else:
        draft.record = record
        draft.values.saved(packed)
    return outcome


def _create(draft: Draft, merge: Merge, now: float) -> None:
    settings = draft.backend.settings
    packed = merge(draft.values.stored)
    data = join_within(packed, settings.max_size)
    handle, version = tokens.draw_names()
    if draft.login is None:
        record = first_record(handle, data, version, now, settings)
    else:
        record = login_record(draft.login, data, version, now, settings)
        draft.forget_presented()
    if draft.remember is not None:
        record = record._replace(persistent=draft.remember)
    bearer = draft.backend.create(draft.next_bearer or draft.backend.draw(), record, now)
    draft.cookie_due = True
    if draft.login is None:
        draft.tell_unfiled_user(packed, record)
    _adopt(draft, packed, record, bearer)
    settings.events("created", handle=record.handle)


def _adopt(draft: Draft, packed: Packed, record: Record, bearer: Bearer) -> None:
    """Take over what was stored under a new bearer: all that was pending is done."""
    if draft.login is not None:
        draft.backend.settings.events("logged_in", handle=record.handle)
    draft.record = record
    draft.bearer = bearer
    draft.login = draft.next_bearer = None
    draft.wanted = False
    draft.values.saved(packed)


def _judged_at(draft: Draft, now: float) -> float | None:
    """Return what ``Draft.judged_at`` says, by what another request made of the session since if need be."""
    moment = draft.judged_at(now)
    if moment is None and _reload(draft, draft.loaded_at):
        moment = draft.judged_at(now)
    return moment


def _reload(draft: Draft, now: float) -> bool:
    """Take what another request stored as the base. False: it ended meanwhile."""
    assert draft.bearer is not None
    _, _, record, packed = draft.backend.look_up(draft.bearer, now)
    if record is None:
        return False
    draft.backend.settings.events("conflict", handle=record.handle)
    draft.record = record
    draft.values.stored = packed
    return True


def _end(draft: Draft) -> None:
    """Take note that the session ended elsewhere: what is written is dropped, unless a login makes a new one."""
    draft.lost = None if draft.record is None else draft.record.handle
    draft.state = "unknown"
    draft.record = draft.bearer = None
    draft.values.stored = {}
    if draft.login is not None:
        draft.values.keep_written()
    draft.dead = draft.login is None


def drop(draft: Draft) -> None:
    """Forget what this request wrote, and say so in an event that names the keys."""
    events = draft.backend.settings.events
    if draft.outside:
        events.once("outside_path", advice=OUTSIDE)
    else:
        keys = sorted(key for key in draft.values.changed if isinstance(key, str))
        events("dropped", handle=draft.lost, keys=keys)
    draft.values.changed = {}


def _gone(draft: Draft) -> SessionGone:
    if draft.outside:
        return SessionGone("this request is outside of cookie_path: no session is kept for it.")
    return SessionGone("the session has ended: nothing was saved. Ask the visitor to log in again.", handle=draft.lost)
