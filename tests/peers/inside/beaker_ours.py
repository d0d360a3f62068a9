"""A plugin for pytest that puts our drop-in in the place of Beaker's middleware and classes: ``-p beaker_ours``.

Beaker's tests make sessions without a middleware. Here these are sessions of a drop-in with the same options. Their
secrets are short, so a longer one is made of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import beaker.middleware
import beaker.session
from beaker.container import MemoryNamespaceManager
from beaker.exceptions import BeakerException

from wsgi_session import ConfigError
from wsgi_session.integrations.beaker import SessionMiddleware
from wsgi_session.integrations.standalone import StandAlone
from wsgi_session.stores import MemoryStore

_MEMORY = MemoryStore()
_SECRETS = ("secret", "encrypt_key", "validate_key")


def make_middleware(app: Any, config: Any = None, environ_key: str = "beaker.session", **given: Any) -> Any:
    options = {**(config or {}), **given}
    secrets = [str(options.pop(name)) for name in list(options) if name.rpartition(".")[2] in _SECRETS]
    options["secret"] = hashlib.sha256("".join(secrets).encode()).hexdigest()
    try:
        # As arguments, whose names need no prefix.
        return SessionMiddleware(app, None, environ_key, **options)
    except ConfigError as error:
        raise BeakerException(str(error)) from error


def make_session(request: Any, id: str | None = None, **options: Any) -> Any:
    new = _middleware_of(options)._get_session()
    session = (None if id is None else new.get_by_id(id)) or new
    if not options.get("data_dir"):
        # The tests look at this class before they rely on it.
        session.namespace_class = MemoryNamespaceManager
    return session


def make_session_object(environ: dict[str, Any], **options: Any) -> Any:
    return StandAlone(_middleware_of(options), environ).session


class CookieSession:
    """A session in the cookie: each ``save()`` and ``delete()`` writes the cookie into ``request``."""

    def __init__(self, request: dict[str, Any], id: str | None = None, **options: Any) -> None:
        self._request = request
        self._middleware = _middleware_of({**options, "type": "cookie"})
        self._open()

    def _open(self) -> None:
        cookie = str(self._request.get("cookie", "")).strip().partition(";")[0]
        self._alone = StandAlone(self._middleware, {"HTTP_COOKIE": cookie})

    def _close(self) -> None:
        for name, value in self._alone.finish("200 OK", []):
            if name == "Set-Cookie":
                self._request.update(cookie=value, cookie_out=value, set_cookie=True)
        self._open()

    def save(self) -> None:
        self._alone.session.save()  # type: ignore[attr-defined]
        self._close()

    def delete(self) -> None:
        self._alone.session.destroy()
        self._close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._alone.session, name)

    def __contains__(self, key: object) -> bool:
        return key in self._alone.session

    def __iter__(self) -> Iterator[str]:
        return iter(self._alone.session)

    def __getitem__(self, key: str) -> Any:
        return self._alone.session[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._alone.session[key] = value

    def __delitem__(self, key: str) -> None:
        del self._alone.session[key]


def _middleware_of(options: dict[str, Any]) -> Any:
    given = {name: value for name, value in options.items() if name != "use_cookies"}
    if not given.get("data_dir") and given.get("type") != "cookie":
        given["store"] = _MEMORY
    return make_middleware(_without_app, **given)


def _without_app(environ: Any, start_response: Any) -> Any:
    raise AssertionError("No test calls this application.")


beaker.middleware.SessionMiddleware = make_middleware
beaker.session.Session = make_session
beaker.session.SessionObject = make_session_object
beaker.session.CookieSession = CookieSession
