"""An invalid application or store is refused at construction; the message says what to give instead."""

from __future__ import annotations

import inspect
import re
import sqlite3
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from webob import Request
from werkzeug import Request as Werkzeug
from werkzeug import Response

from tests.support.names import name_of
from wsgi_session import ConfigError, SessionMiddleware
from wsgi_session.stores import MemoryStore, SQLiteStore

SECRET = "given-9d1f6a27c3e04b58a1d27f60e39b4c85"


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


class Application:
    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return application(environ, start_response)

    def method(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return application(environ, start_response)


class PerRequest:
    """A class whose instances answer one request each, as in an example of PEP 3333."""

    def __init__(self, environ: dict[str, Any], start_response: Any) -> None:
        self.answer = application(environ, start_response)

    def __iter__(self) -> Any:
        return iter(self.answer)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError


class Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError


def refused(app: Any = application, store: Any = "memory://") -> str:
    with pytest.raises(ConfigError) as caught:
        SessionMiddleware(app, secret=SECRET, store=store)
    return str(caught.value)


class Unreadable:
    """A proxy for an application that does not exist yet, so that reading its signature raises."""

    @property
    def __signature__(self) -> Any:
        raise LookupError("not yet")

    def __call__(self, *arguments: Any) -> Any:
        return application(*arguments)


@Werkzeug.application
def decorated(request: Werkzeug) -> Response:
    """Its decorator returns a function with other arguments, but copies the signature."""
    return Response("page")


@pytest.mark.parametrize(
    "app",
    [
        application,
        Application(),
        Application().method,
        PerRequest,
        partial(application),
        Unreadable(),
        lambda *request: application(*request),
        decorated,
        SessionMiddleware(application, secret=SECRET, store="memory://", environ_key="inner", cookie_name="i"),
    ],
    ids=name_of,
)
def test_whatever_can_be_called_as_a_wsgi_application_is_taken(app: Any) -> None:
    with SessionMiddleware(app, secret=SECRET, store="memory://") as middleware:
        assert Request.blank("/").get_response(middleware).text == "page"


def test_an_application_that_a_decorator_has_made_is_taken() -> None:
    werkzeug = pytest.importorskip("werkzeug", reason="pip install Werkzeug")
    from webob.dec import wsgify

    class Site:
        @werkzeug.Request.application
        def __call__(self, request: Any) -> Any:
            return werkzeug.Response("page")

    def view(request: Any) -> Any:
        return werkzeug.Response("page")

    def lying(*request: Any) -> Iterable[bytes]:
        return application(*request)

    lying.__signature__ = inspect.signature(lambda: None)  # type: ignore[attr-defined]
    for app in (Site(), werkzeug.Request.application(view), wsgify(lambda request: "page"), lying):
        with SessionMiddleware(app, secret=SECRET, store="memory://") as middleware:
            assert Request.blank("/").get_response(middleware).text == "page"


@pytest.mark.parametrize("app", [asgi, Asgi(), Asgi().__call__, partial(asgi)], ids=name_of)
def test_an_asgi_application_is_told_how_it_gets_sessions(app: Any) -> None:
    said = refused(app)
    assert "an ASGI application, but SessionMiddleware is for WSGI" in said
    assert "a2wsgi.ASGIMiddleware(app)" in said


def test_what_is_said_to_asgi_applications_works() -> None:
    a2wsgi = pytest.importorskip("a2wsgi", reason="pip install a2wsgi")

    async def page(scope: Any, receive: Any, send: Any) -> None:
        session = scope["wsgi_environ"]["session"]
        session["visits"] = session.get("visits", 0) + 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": str(session["visits"]).encode()})

    with SessionMiddleware(a2wsgi.ASGIMiddleware(page), secret=SECRET, store="memory://") as middleware:
        first = Request.blank("/").get_response(middleware)
        cookie = first.headers["Set-Cookie"].partition(";")[0]
        second = Request.blank("/", headers={"Cookie": cookie}).get_response(middleware)
    assert (first.text, second.text) == ("1", "2")


def three(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError


class Configurator:
    def make_wsgi_app(self) -> Any:
        raise NotImplementedError


class Web:
    def wsgifunc(self) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (None, r"app is None: give a WSGI application"),
        (5, r"app is of type int: give a WSGI application"),
        ("site:app", r"app is of type str: give the application itself, not its name\."),
        (sqlite3, r"app is the module sqlite3: give the application in it, such as sqlite3\.app\."),
        (Configurator(), r"app is of type Configurator: give app\.make_wsgi_app\(\)\."),
        (Web(), r"app is of type Web: give app\.wsgifunc\(\)\."),
        (three, r"app is the function three, which cannot be called with \(environ, start_response\)"),
        (Application, r"app is the class Application, which cannot be called with \(environ, start_response\)"),
    ],
)
def test_what_is_no_application_is_named_with_what_to_give(app: Any, said: str) -> None:
    assert re.match(said, refused(app)), refused(app)


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (None, 'store is None: give a URL such as "sqlite:///sessions.db", or a Store.'),
        (5, 'store is of type int: give a URL such as "sqlite:///sessions.db", or a Store.'),
        (b"memory://", 'store is of type bytes: give a URL such as "sqlite:///sessions.db", or a Store.'),
        ({}, 'store is of type dict: give "memory://" for sessions in this process.'),
        (Path("/srv/sessions.db"), f'store is of type {type(Path()).__name__}: give "sqlite:////srv/sessions.db".'),
        (MemoryStore, "store is the class MemoryStore: give MemoryStore(...), an instance of it."),
        (SQLiteStore, "store is the class SQLiteStore: give SQLiteStore(...), an instance of it."),
        (dict, 'store is the class dict: give a URL such as "sqlite:///sessions.db", or a Store.'),
        (sqlite3, 'store is the module sqlite3: give a URL such as "sqlite:///sessions.db", or a Store.'),
        (
            "sessions.db",
            "store='sessions.db' is not a URL: it has no '://'. Write sqlite:///sessions.db, or memory://.",
        ),
    ],
)
def test_what_is_no_store_is_named_with_what_to_give(store: Any, said: str) -> None:
    assert refused(store=store) == said


def test_a_client_is_told_which_store_takes_it() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        assert "sqlite:///sessions.db" in refused(store=connection)
    finally:
        connection.close()
    redis = pytest.importorskip("redis", reason="no Redis client here: pip install redis hiredis")
    assert "wsgi_session.stores.redis.RedisStore(client)" in refused(store=redis.Redis())
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="pip install SQLAlchemy")
    assert "wsgi_session.stores.sql.SQLStore(engine)" in refused(store=sqlalchemy.create_engine("sqlite://"))
