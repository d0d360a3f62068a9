"""Pyramid's ``remember`` and ``forget``: a login that gives the session an owner, and a logout that ends it.

``SessionAuthenticationPolicy`` and ``SessionAuthenticationHelper`` store the user's id under a key of the session, and
delete that key. They have no hook, so assigning and deleting the key are the login and the logout. The key is
``auth.userid``; if they have another prefix, give the key in the setting ``wsgi_session.userid_key``.
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

#: The key under which Pyramid stores the user's id, unless its helper has another prefix.
USERID_KEY = "auth.userid"


class RememberingWork(Work):
    """A unit of work whose user may also be the one whose id Pyramid has stored under ``userid_key``."""

    userid_key = USERID_KEY
    _asks_policy = False

    def user(self) -> Mapping[str, Any] | None:
        return super().user() or user_with_id(self, self.peek(self.userid_key))

    def current_user(self) -> Mapping[str, Any] | None:
        """Return the logged-in user. A user of ``remember`` must also be authenticated by a security policy, if any."""
        user, request = self.user(), get_current_request()
        if user is None or super().user() is not None or self._asks_policy or not self._belongs_to(request):
            return user
        if request.registry.queryUtility(ISecurityPolicy) is None:
            return user
        # The policy may call the helpers, which must then not ask the policy again.
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
        # Check this first: if it raises, the user must not be logged in, and the id must not be stored.
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


def make_middleware_type(userid_key: str) -> type[SessionMiddleware]:
    """Return a middleware class in whose sessions ``userid_key`` is the key of the user's id."""

    class PyramidWork(RememberingWork):
        pass

    class PyramidMiddleware(SessionMiddleware):
        _work_type = PyramidWork
        _session_type = RememberingSession

    PyramidWork.userid_key = userid_key
    return PyramidMiddleware
