"""A login that waits for the commit, and whose the session is until then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wsgi_session.codec.packing import CorruptData, Packed, pack, unpack
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError
from wsgi_session.owner import logged_in, owner_of
from wsgi_session.stores.contract import Record

if TYPE_CHECKING:
    from wsgi_session.request.work import Work

#: The record key of the owner's readable form; the store indexes by a hash of it.
OWNER = b"owner"


class Login(NamedTuple):
    """What the session is from a login on."""

    owner: str
    handle: str
    #: Seconds since the epoch.
    created: float
    persistent: bool
    #: The login's own idle time-out in seconds, ``None``: the middleware's.
    idle: float | None


def log_in(work: Work, user: dict[str, Any], *, remember: bool | None, idle: float | None) -> None:
    """Make the session the user's with the commit, under a new token, handle and time of creation.

    ``remember``: whether the cookie outlives the browser, ``None``: as the middleware is set. ``idle``: seconds.
    """
    data = work.writable(needs_cookie=True)
    settings = work.backend.settings
    owner = owner_of(user)
    packed = pack(user, "user", data.limit)
    if _belongs_to_another(work, owner):
        # CVE-2014-0482: the next user must not see what belonged to this one.
        data.clear(own=True)
    data.put("user", user, packed)
    persistent = settings.persistent if remember is None else remember
    plan_login(work, owner, persistent, None if idle is None else min(idle, settings.lifetime.idle), "user")
    if remember is not None:
        work.remember = None


def plan_login(work: Work, owner: str, persistent: bool, idle: float | None, *keys: str) -> None:
    """Let the commit store the session as a login of ``owner``; ``keys``: the application's keys that say who it is."""
    data = work.data or work.load()
    data.put(OWNER, owner, pack(owner, "user"))
    now = work.backend.settings.clock()
    work.intend_login(Login(owner, tokens.draw_names()[0], now, persistent, idle), (*keys, OWNER))


def _belongs_to_another(work: Work, owner: str) -> bool:
    """Return whether the session has been another user's so far."""
    login, record = work.login, work.record
    if login is not None and login.owner != owner:
        return True
    stored = None if record is None else record.owner
    if login is None and stored not in (None, tokens.owner_key(work.backend.settings.namespace, owner)):
        return True
    # Or another user was put under "user" by hand, without a login.
    data = work.data or work.load()
    try:
        user = data.peek("user") if "user" in data else None
    except CorruptData:
        if not work.has_owner:
            work.mark_corrupt()
        return False
    if not isinstance(user, dict) or not user:
        return False
    try:
        return owner_of(user) != owner
    except ConfigError:
        # The user has neither id nor e-mail address: the record's owner decides, if there is one.
        return not work.has_owner


def tell_unfiled_user(work: Work, before: Packed, packed: Packed, record: Record) -> None:
    """Say, once, that a user was put into the session without a login, so that no administrator finds it."""
    given = packed.get("user")
    if given is None or given == before.get("user"):
        return
    events = work.backend.settings.events
    if events.has_told("unfiled_user") or not work.backend.compares:
        return
    user = logged_in(unpack(given))
    if user is None:
        return
    try:
        expected = tokens.owner_key(record.namespace, owner_of(user))
        indexed = record.owner == expected
    except ConfigError:
        indexed = record.owner is not None
    if not indexed:
        advice = "call login(request, user): sessions.of(), revoke() and revoke_all() do not find this session"
        events.once("unfiled_user", handle=record.handle, advice=advice)
