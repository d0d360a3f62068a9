"""How a draft is saved: created, replaced or rotated in the store, on top of whatever is stored by then.

Everything that could come between a load and a save (another request's write, a rotation, a logout, a lost answer) is
handled here, once, for ordinary changes, ``atomic``, ``rotate`` and ``login`` alike.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from wsgi_session import tokens
from wsgi_session.backend import Bearer
from wsgi_session.codec import CorruptData, Packed, check_key, pack, unpack
from wsgi_session.draft import Draft
from wsgi_session.errors import SessionGone, StoreUnavailable, Unsupported
from wsgi_session.records import changed_record, first_record, join_within, login_record, touched_times
from wsgi_session.stores import Outcome, Record

#: A save that meets other writers merges and tries again, so often or so long (seconds) at most.
MAX_TRIES = 100
MAX_SECONDS = 5.0

T = TypeVar("T")
Merge = Callable[[Packed], Packed]


def save(draft: Draft) -> bool:
    """Save what changed; return whether anything was, or had to be dropped."""
    changed = draft.values.collect()
    if draft.record is None:
        if draft.dead:
            if changed:
                _drop(draft)
            return True
        if not (changed or draft.wanted or draft.login is not None):
            return False
        _create(draft, draft.values.applied_to, draft.backend.settings.clock())
        return True
    # A clear of what looked empty drops what others have stored meanwhile, where they can have.
    clears = draft.values.cleared and not draft.backend.stateless
    if not changed and draft.next_bearer is None and not clears:
        return False
    if not _replace(draft, draft.values.applied_to, draft.backend.settings.clock()) and changed:
        _drop(draft)
    return True


def drop_changes(draft: Draft) -> bool:
    """Say what changed after the answer was out: without a store, there is nothing to put it into any more."""
    changed = draft.values.collect()
    if changed:
        draft.lost = draft.handle
        _drop(draft)
    return changed


def refresh(draft: Draft) -> None:
    """Note the activity, and renew a cookie that an older secret signed. Never harms the answer."""
    record, bearer = draft.record, draft.bearer
    assert record is not None and bearer is not None
    now = draft.backend.settings.clock()
    touched, expires = touched_times(record, now, draft.backend.settings, touching=draft.touching)
    try:
        # Asked also where only the signature is old and no time moves: whether it has ended meanwhile.
        alive = not _is_over(draft, record, now) and draft.backend.touch(bearer, touched, expires, now)
    except StoreUnavailable as error:
        draft.backend.settings.events("touch_failed", handle=record.handle, error=str(error))
        return
    if not alive:
        # Ended a moment ago: a cookie now would come after the one that removed or replaced it.
        draft.cookie_due = None
        return
    draft.record = record._replace(touched=touched, expires=expires)
    if not bearer.current or draft.backend.stateless or (record.persistent and expires > record.expires):
        draft.cookie_due = True


def atomic(draft: Draft, function: Callable[[dict[str, Any]], T]) -> T:
    """Apply ``function`` to the newest data and save the outcome at once; ``SessionGone`` if it has ended."""
    if draft.backend.stateless:
        raise Unsupported(
            "a session in the cookie has no newest data: two requests never see each other's. Use a store that "
            "keeps sessions, such as sqlite:///sessions.db.",
            operation="atomic",
        )
    results: list[T] = []

    def merge(base: Packed) -> Packed:
        packed = draft.values.applied_to(base)
        made: Packed = {key: value for key, value in packed.items() if type(key) is bytes}
        data = {key: unpack(value) for key, value in packed.items() if type(key) is str}
        results.append(function(data))
        made.update((check_key(key), pack(value, key, draft.values.limit)) for key, value in data.items())
        return made

    draft.values.collect()
    now = draft.backend.settings.clock()
    if draft.dead:
        raise _gone(draft)
    try:
        if draft.record is None:
            packed = merge(draft.values.stored)
            if packed or draft.wanted:
                _create(draft, lambda base: packed, now)
            else:
                draft.values.saved(packed)
        elif not _replace(draft, merge, now):
            raise _gone(draft)
    except CorruptData:
        draft.corrupt()
        raise _gone(draft) from None
    return results[-1]


def _replace(draft: Draft, merge: Merge, now: float) -> bool:
    """Replace or rotate, merging with whoever wrote first. False: the session ended elsewhere."""
    version = tokens.draw_version()
    clock = draft.backend.settings.clock
    loaded = draft.record
    assert loaded is not None
    # Over by what this request saw: another one may have kept it alive since.
    if _is_over(draft, loaded, now) and not _reload(draft, now):
        return _ended_elsewhere(draft, merge, now)
    for tries in range(MAX_TRIES):
        outcome = _try(draft, merge, version, now)
        if outcome is Outcome.SAVED:
            return True
        if outcome is Outcome.CONFLICT and tries:
            # Writers who step out of each other's way all get through sooner. Not later than here: what is loaded ages.
            time.sleep(random.uniform(0, min(0.0005 * 2**tries, 0.02)))  # noqa: S311  (no secret)
        if outcome is Outcome.GONE or not _reload(draft, now):
            return _ended_elsewhere(draft, merge, now)
        if clock() - now >= MAX_SECONDS:
            break
    raise StoreUnavailable(
        f"other requests wrote to this session first, {tries + 1} times in a row: nothing was saved. Write to it "
        "less often, or in fewer requests at once."
    )


def _try(draft: Draft, merge: Merge, version: bytes, now: float) -> Outcome:
    before, bearer = draft.record, draft.bearer
    assert before is not None and bearer is not None
    packed = merge(draft.values.stored)
    record = _next_record(draft, before, join_within(packed, draft.backend.settings.max_size), version, now)
    if draft.next_bearer is None:
        outcome = draft.backend.replace(bearer, record, before.version, now)
    else:
        if draft.remember is not None:
            record = record._replace(persistent=draft.remember)
        outcome, bearer = draft.backend.rotate(bearer, draft.next_bearer, record, before.version, now)
    if outcome is not Outcome.SAVED:
        return outcome
    rotated = draft.next_bearer is not None
    moved = record.persistent and record.expires > before.expires
    if rotated or moved or not bearer.current or draft.backend.stateless:
        draft.cookie_due = True
    _saved(draft, packed, record, bearer)
    if rotated:
        draft.backend.settings.events("rotated", handle=record.handle)
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
    if draft.remember is not None:
        record = record._replace(persistent=draft.remember)
    bearer = draft.backend.create(draft.next_bearer or draft.backend.draw(), record, now)
    draft.cookie_due = True
    _saved(draft, packed, record, bearer)
    settings.events("created", handle=record.handle)


def _saved(draft: Draft, packed: Packed, record: Record, bearer: Bearer) -> None:
    if draft.login is not None:
        draft.backend.settings.events("logged_in", handle=record.handle)
    draft.record = record
    draft.bearer = bearer
    draft.login = draft.next_bearer = None
    draft.wanted = False
    draft.values.saved(packed)


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


def _ended_elsewhere(draft: Draft, merge: Merge, now: float) -> bool:
    draft.lost = None if draft.record is None else draft.record.handle
    draft.state = "unknown"
    draft.record = draft.bearer = None
    draft.values.stored = {}
    if draft.login is None:
        draft.dead = True
        return False
    # Two logins at once from one token: the second carries only what its own request wrote.
    _create(draft, merge, now)
    return True


def _next_record(draft: Draft, before: Record, data: bytes, version: bytes, now: float) -> Record:
    if draft.login is not None:
        return login_record(draft.login, data, version, now, draft.backend.settings)
    active = draft.active_at(before, now)
    return changed_record(before, data, version, active, draft.backend.settings, touching=draft.touching)


def _is_over(draft: Draft, record: Record, now: float) -> bool:
    """Whether it died since it was loaded: the store may still have it, under settings that were longer once."""
    return now >= draft.backend.settings.expires(record.touched, record.created, record.idle)


def _drop(draft: Draft) -> None:
    keys = sorted(key for key in draft.values.changed if isinstance(key, str))
    draft.backend.settings.events("dropped", handle=draft.lost, keys=keys)
    draft.values.changed = {}


def _gone(draft: Draft) -> SessionGone:
    return SessionGone("the session has ended: nothing was saved. Ask the visitor to log in again.", handle=draft.lost)
