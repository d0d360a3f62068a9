"""A plugin for pytest: each Flask application with a secret key has our sessions, from its first request on.

Tests change an application's settings after it was made, so this cannot be done in its constructor.
"""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from wsgi_session.integrations.flask import EXTENSION, FlaskSessions
from wsgi_session.middleware import SessionMiddleware
from wsgi_session.stores import MemoryStore

#: The middleware of the application that was set up last.
middlewares: list[SessionMiddleware] = []


def _set_up(app: Flask) -> None:
    # An application with sessions of its own is a test of that.
    if (
        EXTENSION in app.extensions
        or not app.secret_key
        or type(app.session_interface) is not SecureCookieSessionInterface
    ):
        return
    key = app.secret_key if isinstance(app.secret_key, bytes) else app.secret_key.encode()
    # The secrets of tests are shorter than ours may be.
    FlaskSessions(app, secret=hashlib.sha256(key).hexdigest(), store=MemoryStore())
    middlewares[:] = [app.extensions[EXTENSION]]


def _after_set_up(name: str) -> None:
    method = getattr(Flask, name)

    def with_ours(app: Flask, *args: Any, **options: Any) -> Any:
        _set_up(app)
        return method(app, *args, **options)

    setattr(Flask, name, with_ours)


for _name in ("__call__", "request_context"):
    _after_set_up(_name)
