"""Pyramid's ``remember`` and ``forget`` over our sessions: a login with an owner, a logout that ends the session.

``SessionAuthenticationPolicy`` and ``SessionAuthenticationHelper`` put the user's id under a key of the session, and
delete that key. They offer no hook, so it is the key that is watched: ``auth.userid``, or the setting
``wsgi_session.userid_key`` where they were given another prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyramid.interfaces import ISecurityPolicy
from pyramid.threadlocal import get_current_request

from wsgi_session.integrations.logins import end_login, log_in_as, user_with_id
from wsgi_session.middleware import SessionMiddleware
from wsgi_session.request.work import Work
from wsgi_session.session import Session, work_of

#: Where Pyramid keeps the user's id, unless its helper was given another prefix.
USERID_KEY = "auth.userid"


class RememberingWork(Work):
    """A unit of work whose user is also the one that Pyramid remembers under ``userid_key``."""

    userid_key = USERID_KEY
    _asks_policy = False

    def user(self) -> Mapping[str, Any] | None:
        return super().user() or user_with_id(self, self.peek(self.userid_key))

    def current_user(self) -> Mapping[str, Any] | None:
        """Return who is logged in; a remembered user only if the security policy, where there is one, agrees."""
        user, request = self.user(), get_current_request()
        if user is None or super().user() is not None or self._asks_policy or not self._belongs_to(request):
            return user
        if request.registry.queryUtility(ISecurityPolicy) is None:
            return user
        # The policy may ask the helpers in its turn, which then answer by what is in the session.
        self._asks_policy = True
        try:
            return None if request.authenticated_userid is None else user
        finally:
            self._asks_policy = False

    def _belongs_to(self, request: Any) -> bool:
        session = None if request is None else request.environ.get(self.backend.settings.environ_key)
        return isinstance(session, Session) and work_of(session) is self


class RememberingSession(Session):
    """``environ["session"]`` in a Pyramid application. Assigning ``userid_key`` is a login, deleting it a logout."""

    _work: RememberingWork

    def __setitem__(self, key: str, value: Any) -> None:
        if key != self._work.userid_key:
            super().__setitem__(key, value)
            return
        # First of all: if this raises, nobody is logged in, and no id may be there.
        self._work.writable(needs_cookie=True)
        super().__setitem__(key, value)
        log_in_as(self._work, value, key)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        if key == self._work.userid_key:
            end_login(self._work)

    def update(self, other: Any = (), /, **more: Any) -> None:
        items = dict(other, **more)
        userid_key = self._work.userid_key
        if userid_key in items:
            self._work.writable(needs_cookie=True)
        super().update(items)
        if userid_key in items:
            self[userid_key] = items[userid_key]


def middleware_watching(userid_key: str) -> type[SessionMiddleware]:
    """Return a middleware class whose sessions watch ``userid_key``."""

    class WatchingWork(RememberingWork):
        pass

    class PyramidMiddleware(SessionMiddleware):
        _work_type = WatchingWork
        _session_type = RememberingSession

    WatchingWork.userid_key = userid_key
    return PyramidMiddleware
