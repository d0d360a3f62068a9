"""Logging in. The login takes effect with the commit; until then, the unit of work has it as an intention."""

from __future__ import annotations

from typing import Any

from wsgi_session.backends.stored_owner import OWNER as OWNER
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import CorruptData, Packed, pack, unpack
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError
from wsgi_session.owner import owner_of, user_mapping_or_none
from wsgi_session.request.confirmation import CONFIRMED
from wsgi_session.request.devices import ABOUT, description_of, note_device
from wsgi_session.request.providers import file_under, provider_key_of
from wsgi_session.request.records import Login
from wsgi_session.request.work import Work
from wsgi_session.stores.contract import Record


def log_in(
    work: Work,
    user: dict[str, Any],
    *,
    remember: bool | None,
    idle: float | None,
    provider_session: str | None = None,
) -> None:
    """Let the commit give the session to the user, with a new token, handle and time of creation.

    ``remember``: whether the cookie is kept after the browser closes; ``None``: the middleware's setting. ``idle``: the
    login's own idle timeout in seconds. ``provider_session``: the session at the identity provider, if there is one.
    """
    # Checked before anything is changed.
    provider = None if provider_session is None else provider_key_of(work, provider_session)
    data = work.writable(needs_cookie=True)
    settings = work.backend.settings
    owner = owner_of(user)
    packed = pack(user, "user", data.limit)
    about = description_of(work)
    if _belongs_to_another(work, owner):
        # CVE-2014-0482: the new user must not see the data of the previous one.
        data.clear(internal=True)
    data.put("user", user, packed)
    persistent = settings.persistent if remember is None else remember
    plan_login(work, owner, persistent, None if idle is None else min(idle, settings.lifetime.idle), about, "user")
    if remember is not None:
        work.remember = None
    if provider is not None:
        file_under(work, provider)


def plan_login(work: Work, owner: str, persistent: bool, idle: float | None, about: str | None, *keys: str) -> None:
    """Let the commit store the session as a login of ``owner``; ``keys`` are the application's keys for the user.

    ``about``: what ``description_of`` has returned.
    """
    data = work.data or work.load()
    data.put(OWNER, owner, pack(owner, "user"))
    now = work.backend.settings.clock()
    # Those of an earlier login in this request do not count for this one.
    work.provider = work.confirming = None
    handle, _ = tokens.new_handle_and_version()
    note_device(work, owner, handle, about)
    work.intend_login(Login(owner, handle, now, persistent, idle), (*keys, OWNER, ABOUT, CONFIRMED))


def owner_text(work: Work) -> str | None:
    """Return the owner of the session as it will be after this request is saved, for an event."""
    if work.login is not None:
        return work.login.owner
    return None if work.record is None else stored_owner(work.record)


def _belongs_to_another(work: Work, owner: str) -> bool:
    """Return whether the session belonged to another user before this login."""
    login, record = work.login, work.record
    if login is not None and login.owner != owner:
        return True
    stored = None if record is None else record.owner
    if login is None and stored not in (None, tokens.owner_key(work.backend.settings.namespace, owner)):
        return True
    # The application may have put another user under "user" without a login.
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
        # The user has neither an id nor an email: the record's owner decides, if there is one.
        return not work.has_owner


def report_unfiled_user(work: Work, before: Packed, packed: Packed, record: Record) -> None:
    """Report, once, that a user was put into the session without a login: the administrator's view cannot find it."""
    given = packed.get("user")
    if given is None or given == before.get("user"):
        return
    events = work.backend.settings.events
    if events.has_reported("unfiled_user") or not work.backend.compares:
        return
    user = user_mapping_or_none(unpack(given))
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
