"""Checks of the application and the store, with advice for common mistakes (an ASGI application, a client, a class)."""

from __future__ import annotations

import inspect
import os
from types import ModuleType
from typing import Any

from wsgi_session.errors import ConfigError

# Methods of frameworks' objects that return a WSGI application: of Pyramid's Configurator, of web.py's application.
_MAKERS = ("make_wsgi_app", "wsgifunc")
# What to give instead of a client, by the client's top-level package.
_CLIENTS = {
    "redis": 'wsgi_session.stores.redis.RedisStore(client), or a URL such as "redis://localhost:6379/0"',
    "sqlalchemy": "wsgi_session.stores.sql.SQLStore(engine), or the URL of the database",
    "sqlite3": 'a URL with the path of a file, such as "sqlite:///sessions.db"',
}
_STORE = 'a URL such as "sqlite:///sessions.db", or a Store'


def check_app(app: object) -> None:
    """Raise ``ConfigError`` if ``app`` cannot be called as a WSGI application."""
    if not callable(app):
        raise ConfigError(f"app is {_name(app)}: give {_app_advice(app)}.")
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        raise ConfigError(
            f"app is {_name(app)}, an ASGI application, but SessionMiddleware is for WSGI. Turn it into a WSGI "
            'application: a2wsgi.ASGIMiddleware(app), in which scope["wsgi_environ"]["session"] is the session.'
        )
    if not _takes_a_request(app):
        raise ConfigError(
            f"app is {_name(app)}, which cannot be called with (environ, start_response): give {_app_advice(app)}."
        )


def check_store(store: object, kind: type) -> None:
    """Raise ``ConfigError`` if ``store`` is neither a URL nor an instance of ``kind``, the class ``Store``."""
    if isinstance(store, (str, kind)):
        return
    advice = _CLIENTS.get(type(store).__module__.partition(".")[0], _STORE)
    if inspect.isclass(store):
        advice = f"{store.__name__}(...), an instance of it" if issubclass(store, kind) else _STORE
    elif isinstance(store, os.PathLike):
        advice = f'"sqlite:///{os.fspath(store)}"'
    elif isinstance(store, dict):
        advice = '"memory://" for sessions in this process'
    raise ConfigError(f"store is {_name(store)}: give {advice}.")


def _takes_a_request(app: Any) -> bool:
    try:
        # The decorator's own signature counts: werkzeug's Request.application makes an application of f(request).
        signature = inspect.signature(app, follow_wrapped=False)
        if hasattr(app, "__signature__") or hasattr(type(app).__call__, "__signature__"):
            return True  # A signature that was set by hand need not be the real one.
    except Exception:
        # It is written in C, or a proxy for an object that does not exist yet. The first request will show whether it
        # can be called.
        return True
    try:
        signature.bind({}, None)
    except TypeError:
        return False
    return True


def _app_advice(app: object) -> str:
    """Return what to give instead of ``app``."""
    for name in _MAKERS:
        if hasattr(app, name):
            return f"app.{name}()"
    if isinstance(app, ModuleType):
        return f"the application in it, such as {app.__name__}.app"
    if isinstance(app, str):
        return "the application itself, not its name"
    return "a WSGI application, which is called with (environ, start_response)"


def _name(thing: object) -> str:
    if thing is None:
        return "None"
    if isinstance(thing, ModuleType):
        return f"the module {thing.__name__}"
    if inspect.isclass(thing):
        return f"the class {thing.__name__}"
    # From Python 3.14 on, inspect.isroutine() is true for a functools.partial, which has no name.
    if inspect.isroutine(thing) and hasattr(thing, "__name__"):
        return f"the function {thing.__name__}"
    return f"of type {type(thing).__name__}"
