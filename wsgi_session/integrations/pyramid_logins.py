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

from wsgi_session.backends.base import Backend
from wsgi_session.exchange import Exchange, StartResponse
from wsgi_session.integrations.logins import end_login, file_login, filed_user
from wsgi_session.session import Session

#: Where Pyramid keeps the user's id, unless its helper was given another prefix.
USERID_KEY = "auth.userid"


class RememberingSession(Session):
    """``environ["session"]`` in a Pyramid application. What is put under ``userid_key`` is logged in."""

    userid_key = USERID_KEY
    _asks_policy = False

    def __setitem__(self, key: str, value: Any) -> None:
        if key != self.userid_key:
            super().__setitem__(key, value)
            return
        draft = self._writing(cookie=True)  # Before the id is put there, which nobody has logged in if this raises.
        super().__setitem__(key, value)
        file_login(draft, value, key)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        if key == self.userid_key:
            end_login(self)

    def update(self, other: Any = (), /, **more: Any) -> None:
        items = dict(other, **more)
        if self.userid_key in items:
            self._writing(cookie=True)
        super().update(items)
        if self.userid_key in items:
            self[self.userid_key] = items[self.userid_key]

    def _user(self) -> Mapping[str, Any] | None:
        return super()._user() or filed_user(self, self._peek(self.userid_key))

    def _current_user(self) -> Mapping[str, Any] | None:
        """Return who is logged in; a remembered user only if the security policy, where there is one, agrees."""
        user, request = self._user(), get_current_request()
        if user is None or super()._user() is not None or self._asks_policy or not self._is_of(request):
            return user
        if request.registry.queryUtility(ISecurityPolicy) is None:
            return user
        # The policy may ask the helpers in its turn: they answer by what is in the session then.
        self._asks_policy = True
        try:
            return None if request.authenticated_userid is None else user
        finally:
            self._asks_policy = False

    def _is_of(self, request: Any) -> bool:
        return request is not None and request.environ.get(self._backend.settings.environ_key) is self


def exchange_watching(userid_key: str) -> type[Exchange]:
    """Return what carries a request out whose session watches ``userid_key``."""

    class WatchingSession(RememberingSession):
        pass

    WatchingSession.userid_key = userid_key

    class PyramidExchange(Exchange):
        def __init__(self, backend: Backend, environ: dict[str, Any], start_response: StartResponse) -> None:
            super().__init__(backend, environ, start_response)
            self.session = WatchingSession(backend, environ)

    return PyramidExchange
