"""New session keys that a request has not saved yet.

Django's own engines store a session under its new key as soon as ``cycle_key()`` is called. Here the change is a part
of the save, so that a failed request leaves the visitor the old key. But code of the same request that opens, finds or
ends a session by either key must see the change: so the session is saved as soon as such code asks for one of the keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Protocol
from weakref import WeakValueDictionary, ref

from django.core.signals import request_finished, request_started
from django.dispatch import receiver

from wsgi_session.backends.base import Credential


class Pending(Protocol):
    """A session that has, or had, a new key which is not saved."""

    def save_new_key(self) -> None:
        """Save the session if its key is still to be changed."""


_NOTHING: Mapping[bytes, ref[Pending]] = MappingProxyType({})
# Only its own request knows a new key, so no context is needed. A failed request may have noted it elsewhere, though.
_by_new_key: WeakValueDictionary[bytes, Pending] = WeakValueDictionary()
# The old key belongs to parallel requests too, for which it stays valid until the save.
_by_old_key: ContextVar[Mapping[bytes, ref[Pending]]] = ContextVar("_by_old_key", default=_NOTHING)


def remember(session: Pending, old: Credential | None, new: Credential) -> None:
    """Let :func:`save_pending` save ``session``, until its new key is saved."""
    _by_new_key[new.key] = session
    if old is not None:
        alive = {key: one for key, one in _by_old_key.get().items() if one() is not None}
        _by_old_key.set({**alive, old.key: ref(session)})


def save_pending(credential: Credential) -> None:
    """Save the session whose key is to be changed from or to that of ``credential``, if this request has one."""
    old = _by_old_key.get().get(credential.key)
    for session in (_by_new_key.get(credential.key), None if old is None else old()):
        if session is not None:
            session.save_new_key()


@receiver([request_started, request_finished])
def _forget_the_request_before(**kwargs: object) -> None:
    # If the thread's last request has failed, the visitor keeps the old key. So forget the new one: an error reporter
    # may keep the session alive, and other code that asks for the new key must not save it.
    before = {id(one()) for one in _by_old_key.get().values()}
    for key, session in list(_by_new_key.items()):
        if id(session) in before:
            _by_new_key.pop(key, None)
    _by_old_key.set(_NOTHING)
