"""``Session.atomic``: apply a function to the newest data, and save the result immediately."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from wsgi_session.backends.stored_owner import names_of
from wsgi_session.codec.packing import CorruptData, Packed, check_key, pack, unpack
from wsgi_session.codec.plain import plain_text
from wsgi_session.codec.sealed import opened
from wsgi_session.errors import SessionGone, Unsupported
from wsgi_session.request.assigned import AssignedDict
from wsgi_session.request.commit import create, replace
from wsgi_session.request.confirmation import CONFIRMED
from wsgi_session.request.data import Data
from wsgi_session.request.ending import note_end
from wsgi_session.request.states import SET
from wsgi_session.request.work import Work

T = TypeVar("T")
Function = Callable[[dict[str, Any]], T]
Changes = dict[str | bytes, bytes | None]


def apply(work: Work, data: Data, function: Function[T]) -> T:
    """Apply ``function`` to the newest data and save the result; ``SessionGone`` if the session has ended.

    A rotation or a login that this request intends still happens at the commit, and not at all if the request fails.
    """
    if not work.backend.compares:
        raise Unsupported(
            "cookie:// cannot do atomic(), because requests share no stored state. Use a store that keeps sessions, "
            "such as sqlite:///sessions.db.",
            operation="atomic",
        )
    data.find_changes()
    if work.ended:
        raise _gone_error(work)
    if work.login is not None and (work.record is None or data.cleared_internal):
        return _apply_to_login(work, function)
    attempt = _Attempt(work, data, function)
    changed = dict(data.changed)
    objects = {key: data.peek(key) for key in attempt.withheld if changed.get(key) is not None}
    try:
        if not _save(work, data, attempt):
            note_end(work)
            if work.login is None:
                raise _gone_error(work)
            return _apply_to_login(work, function)
    except CorruptData:
        work.mark_corrupt()
        raise _gone_error(work) from None
    # The function may have logged out: then its changes are in the next session.
    data = work.data or work.load()
    data.note_written(attempt.written)
    for key, value in attempt.withheld.items():
        if value is not None and value == changed.get(key):
            data.put(key, objects[key], value)  # The application may still change this object.
        else:
            data.put_packed(key, value)
    result: T = attempt.result
    return result


class _Attempt:
    """A merge that applies ``function``, and the result of its last call."""

    result: Any

    def __init__(self, work: Work, data: Data, function: Callable[[dict[str, Any]], Any]) -> None:
        self._data = data
        self._function = function
        #: The keys of a login or a confirmation. Only the commit stores them: a request that fails logs nobody in, and
        #: the session from before the login contains nothing that was written for the user.
        self.withheld: Changes = dict.fromkeys(_withheld_keys(work, data))
        #: What ``function`` changed.
        self.written: Changes = {}

    def __call__(self, base: Packed) -> Packed:
        packed = _opened(self._data.apply_to(base))
        after, assigned, self.result = _call(self._function, packed, self._data.limit)
        after.update((key, value) for key, value in packed.items() if type(key) is bytes)
        changed = {key for key in {*packed, *after} if after.get(key) != packed.get(key)}
        self.written = {key: after.get(key) for key in changed | assigned}
        for key in self.withheld:
            self.withheld[key] = after.pop(key, None)
            if key in base:
                after[key] = base[key]
        return after


def _withheld_keys(work: Work, data: Data) -> tuple[str | bytes, ...]:
    if work.login is not None:
        before = work.changed_before_login
        since = [key for key, packed in data.changed.items() if key not in before or before[key] is not packed]
        return (*work.login_keys, *since)
    return () if work.confirming is None else (CONFIRMED,)


def _save(work: Work, data: Data, attempt: _Attempt) -> bool:
    record, credential, now = work.record, work.credential, work.backend.settings.clock()
    if record is not None and credential is not None:
        saved = replace(work, (credential, record, data.stored), attempt, now)
        work.cookie_unconfirmed = work.cookie is SET
        return saved
    packed = attempt(data.stored)
    if packed or work.create_if_empty:
        create(work, packed, now)
    else:
        data.adopt(packed)
    return True


def _apply_to_login(work: Work, function: Function[T]) -> T:
    """Apply ``function`` to the session of a login, which is not stored yet, so that no other request changes it."""
    data = work.data or work.load()
    before = _opened(data.apply_to(data.stored))
    after, assigned, result = _call(function, before, data.limit)
    data = work.data or work.load()  # Another one if the function has logged out.
    deleted: Changes = {key: None for key in before if type(key) is str and key not in after}
    written: Changes = {key: value for key, value in after.items() if key in assigned or before.get(key) != value}
    for key, packed in {**deleted, **written}.items():
        data.put_packed(key, packed)
    return result


def _opened(packed: Packed) -> Packed:
    """Return the values with sealed ones opened, so that they can be compared with those that the function leaves."""
    return {key: opened(value) if type(key) is str else value for key, value in packed.items()}


def _call(function: Function[T], packed: Packed, limit: int) -> tuple[Packed, set[str], T]:
    """Call ``function`` with the application's values; return the new values, the assigned keys, and its result."""
    data = AssignedDict({key: unpack(value) for key, value in packed.items() if type(key) is str})
    result = function(data)
    assigned = {plain_text(key) for key in data.assigned}
    return {(name := check_key(key)): pack(value, name, limit) for key, value in data.items()}, assigned, result


def _gone_error(work: Work) -> SessionGone:
    if work.outside_path:
        return SessionGone("This request is outside of cookie_path, so no session can be stored for it.")
    return SessionGone("The session has ended, so nothing was saved.", handle=names_of(work.ended_record)[0])
