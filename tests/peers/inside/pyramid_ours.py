"""A plugin for pytest: Pyramid's cookie session factories, and the session of its test requests, are ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyramid.session
import pyramid.testing

from wsgi_session.integrations.pyramid_logins import USERID_KEY, make_middleware_type
from wsgi_session.integrations.pyramid_session import PyramidSession
from wsgi_session.integrations.standalone import StandAlone
from wsgi_session.stores import MemoryStore

_MIDDLEWARE = make_middleware_type(USERID_KEY)(
    lambda environ, start: [], secret="51c9e07d6a4b" * 3, store=MemoryStore()
)


class DummySession(PyramidSession):
    """A new session, with these values in it."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(StandAlone(_MIDDLEWARE, {"wsgi.url_scheme": "http"}).session)
        self.update(values or {})


def _make_factory(*args: object, **options: object) -> Callable[[Any], PyramidSession]:
    return lambda request: DummySession()


pyramid.testing.DummySession = DummySession
pyramid.session.BaseCookieSessionFactory = pyramid.session.SignedCookieSessionFactory = _make_factory
