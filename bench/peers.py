"""The contenders: one small class each. To add one, write a class like these and put it into ``CONTENDERS``.

A contender has one WSGI application for each of ``payload.WORKS``, and the same application without a session, whose
cost is subtracted. All contenders over one engine share it and its settings: SQLite in WAL mode with
``synchronous=NORMAL``, even if that is not their default; one Valkey; one PostgreSQL. All else is at its default.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from bench import floor, servers
from bench.payload import HEADERS, LARGE, NOBODY, SMALL, VISITS, WORKS, App, untouched

SECRET = "for-the-bench-only-5d0c2b7f9e1a4836c7d8e9f0a1b2c3d4"
#: More sessions than any run makes, so that no contender reaches its limit.
MANY = 1_000_000


class Contender:
    """A library that keeps sessions. The constructor raises ``ImportError`` if a package or the server is missing."""

    #: "library-engine": the name that ``--only`` takes and the tables show.
    name: ClassVar[str]
    #: Whether it can keep the large session.
    keeps_large: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        """Set up everything, in ``folder`` if it needs files."""
        #: By the names in ``payload.WORKS``.
        self.applications: dict[str, App] = {}
        #: The same without a session.
        self.bare: App = untouched

    def close(self) -> None:
        """Close connections and files."""


class FloorMemory(Contender):
    name = "floor-memory"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.applications = floor.memory()


class FloorSQLite(Contender):
    name = "floor-sqlite"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.applications, self.connection = floor.sqlite(folder)

    def close(self) -> None:
        self.connection.close()


class FloorRedis(Contender):
    name = "floor-redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.applications, self.client = floor.redis(servers.valkey())

    def close(self) -> None:
        self.client.close()


class FloorPostgreSQL(Contender):
    name = "floor-postgresql"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.applications, self.connection = floor.postgresql(servers.postgresql())

    def close(self) -> None:
        self.connection.close()


class Ours(Contender):
    """``SessionMiddleware`` with only the settings that it requires."""

    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from wsgi_session import SessionMiddleware

        def read(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            email = environ["session"].get("email", NOBODY)
            start_response("200 OK", HEADERS.copy())
            return [email.encode()]

        def read_nested(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            email = environ["session"]["user"]["email"]
            start_response("200 OK", HEADERS.copy())
            return [email.encode()]

        def write(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            session = environ["session"]
            visits = session["visits"] = session["visits"] + 1
            start_response("200 OK", HEADERS.copy())
            return [(VISITS % visits).encode()]

        def new(payload: dict[str, Any]) -> App:
            def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
                environ["session"].update(payload)
                start_response("200 OK", HEADERS.copy())
                return [NOBODY.encode()]

            return application

        self.store = self.make_store(folder)
        inner = (untouched, read, read_nested, write, new(SMALL), new(LARGE))
        self.applications = {
            work: SessionMiddleware(application, secret=SECRET, store=self.store, **self.options)
            for work, application in zip(WORKS, inner, strict=True)
        }

    def make_store(self, folder: Path) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.store.close()


class OursMemory(Ours):
    name = "ours-memory"

    def make_store(self, folder: Path) -> Any:
        from wsgi_session.stores.memory import MemoryStore

        return MemoryStore(MANY)


class OursSQLite(Ours):
    name = "ours-sqlite"

    def make_store(self, folder: Path) -> Any:
        from wsgi_session.stores.sqlite import SQLiteStore

        return SQLiteStore(folder / "ours.db")


class OursMemoryEncrypted(OursMemory):
    name = "ours-memory-encrypted"
    options: ClassVar[dict[str, Any]] = {"encrypt": True}


class OursSQLiteEncrypted(OursSQLite):
    name = "ours-sqlite-encrypted"
    options: ClassVar[dict[str, Any]] = {"encrypt": True}


class OursRedis(Ours):
    name = "ours-redis"

    def make_store(self, folder: Path) -> Any:
        from wsgi_session.stores.redis.urls import open_url

        return open_url(servers.valkey())


class OursPostgreSQL(Ours):
    name = "ours-postgresql"

    def make_store(self, folder: Path) -> Any:
        from wsgi_session.stores.sql.store import open_url

        return open_url(servers.postgresql())


class OursCookie(Ours):
    name = "ours-cookie"
    keeps_large = False

    def make_store(self, folder: Path) -> Any:
        import cryptography  # noqa: F401 (so that a missing package raises ImportError here)

        from wsgi_session.stores.cookie import open_url

        return open_url("cookie://")


class Beaker(Contender):
    """Beaker's ``SessionMiddleware``, signed, saved by ``session.save()`` after a write.

    Its cookie is set to HttpOnly and to last a month, like those of the others. Its default is neither.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from beaker.middleware import SessionMiddleware

        def read(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            email = environ["beaker.session"].get("email", NOBODY)
            start_response("200 OK", HEADERS.copy())
            return [email.encode()]

        def read_nested(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            email = environ["beaker.session"]["user"]["email"]
            start_response("200 OK", HEADERS.copy())
            return [email.encode()]

        def write(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            session = environ["beaker.session"]
            visits = session["visits"] = session["visits"] + 1
            session.save()
            start_response("200 OK", HEADERS.copy())
            return [(VISITS % visits).encode()]

        def new(payload: dict[str, Any]) -> App:
            def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
                session = environ["beaker.session"]
                session.update(payload)
                session.save()
                start_response("200 OK", HEADERS.copy())
                return [NOBODY.encode()]

            return application

        options = {
            "session.secret": SECRET,
            "session.httponly": True,
            "session.cookie_expires": timedelta(days=30),
            **self.options(folder),
        }
        inner = (untouched, read, read_nested, write, new(SMALL), new(LARGE))
        self.applications = {
            work: SessionMiddleware(application, options) for work, application in zip(WORKS, inner, strict=True)
        }

    def options(self, folder: Path) -> dict[str, Any]:
        raise NotImplementedError


class BeakerMemory(Beaker):
    name = "beaker-memory"

    def options(self, folder: Path) -> dict[str, Any]:
        return {"session.type": "memory"}


class BeakerSQLite(Beaker):
    name = "beaker-sqlite"

    def options(self, folder: Path) -> dict[str, Any]:
        tune_sqlite()
        return {
            "session.type": "ext:database",
            "session.url": f"sqlite:///{folder / 'beaker.db'}",
            "session.lock_dir": str(folder / "beaker-locks"),
        }


class BeakerRedis(Beaker):
    name = "beaker-redis"

    def options(self, folder: Path) -> dict[str, Any]:
        return {"session.type": "ext:redis", "session.url": servers.valkey()}


class FlaskSession(Contender):
    """Flask-Session on Flask. The cost of the same Flask application without it is subtracted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import flask
        from flask_session import Session

        def build(extend: Callable[[Any], object]) -> Any:
            site = flask.Flask("bench")
            site.config["SESSION_COOKIE_NAME"] = "sid"
            extend(site)

            def answer(body: str) -> flask.Response:
                return flask.Response(body, headers=HEADERS)

            @site.get("/untouched")
            def untouched() -> flask.Response:
                return answer(NOBODY)

            @site.get("/read")
            def read() -> flask.Response:
                return answer(flask.session.get("email", NOBODY))

            @site.get("/read_nested")
            def read_nested() -> flask.Response:
                return answer(flask.session["user"]["email"])

            @site.get("/write")
            def write() -> flask.Response:
                flask.session["visits"] += 1
                return answer(VISITS % flask.session["visits"])

            @site.get("/new_small")
            def new_small() -> flask.Response:
                flask.session.update(SMALL)
                return answer(NOBODY)

            @site.get("/new_large")
            def new_large() -> flask.Response:
                flask.session.update(LARGE)
                return answer(NOBODY)

            return site

        def extend(site: Any) -> None:
            self.configure(site, folder)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                Session(site)

        site, plain = build(extend), build(lambda site: None)
        self.applications = dict.fromkeys(WORKS, site.wsgi_app)
        self.bare = _always_untouched(plain.wsgi_app)

    def configure(self, site: Any, folder: Path) -> None:
        raise NotImplementedError


class FlaskSessionMemory(FlaskSession):
    name = "flask-session-memory"

    def configure(self, site: Any, folder: Path) -> None:
        from cachelib import SimpleCache

        site.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=SimpleCache(threshold=MANY))


class FlaskSessionSQLite(FlaskSession):
    name = "flask-session-sqlite"

    def configure(self, site: Any, folder: Path) -> None:
        from flask_sqlalchemy import SQLAlchemy

        tune_sqlite()
        site.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder / 'flask-session.db'}"
        site.config.update(SESSION_TYPE="sqlalchemy", SESSION_SQLALCHEMY=SQLAlchemy(site))


class FlaskSessionRedis(FlaskSession):
    name = "flask-session-redis"

    def configure(self, site: Any, folder: Path) -> None:
        from redis import Redis

        self.client = Redis.from_url(servers.valkey())
        site.config.update(SESSION_TYPE="redis", SESSION_REDIS=self.client)

    def close(self) -> None:
        self.client.close()


class DjangoRedis(Contender):
    """Django's sessions in its Redis cache. The cost of the same site without their middleware is subtracted."""

    name = "django-redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import django
        from django.conf import settings
        from django.core.cache.backends.redis import RedisCache
        from django.core.handlers.wsgi import WSGIHandler
        from django.http import HttpRequest, HttpResponse
        from django.urls import path

        def answer(body: str) -> HttpResponse:
            return HttpResponse(body, headers=dict(HEADERS))

        def untouched(request: HttpRequest) -> HttpResponse:
            return answer(NOBODY)

        def read(request: Any) -> HttpResponse:
            return answer(request.session.get("email", NOBODY))

        def read_nested(request: Any) -> HttpResponse:
            return answer(request.session["user"]["email"])

        def write(request: Any) -> HttpResponse:
            visits = request.session["visits"] = request.session["visits"] + 1
            return answer(VISITS % visits)

        def new_small(request: Any) -> HttpResponse:
            request.session.update(SMALL)
            return answer(NOBODY)

        def new_large(request: Any) -> HttpResponse:
            request.session.update(LARGE)
            return answer(NOBODY)

        views = (untouched, read, read_nested, write, new_small, new_large)
        settings.configure(
            SECRET_KEY=SECRET,
            ALLOWED_HOSTS=["localhost"],
            ROOT_URLCONF=tuple(path(work, view) for work, view in zip(WORKS, views, strict=True)),
            MIDDLEWARE=[],
            CACHES={"default": {"BACKEND": f"{RedisCache.__module__}.RedisCache", "LOCATION": servers.valkey()}},
            SESSION_ENGINE="django.contrib.sessions.backends.cache",
        )
        django.setup()
        plain = WSGIHandler()
        settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
        self.applications = dict.fromkeys(WORKS, WSGIHandler())
        self.bare = _always_untouched(plain)


class PyramidSessionRedis(Contender):
    """pyramid_session_redis on Pyramid. The cost of the same Pyramid application without it is subtracted."""

    name = "pyramid-session-redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from pyramid.config import Configurator
        from pyramid.request import Request
        from pyramid.response import Response
        from pyramid_session_redis import RedisSessionFactory

        def answer(body: str) -> Response:
            return Response(body.encode(), headerlist=HEADERS.copy())

        def untouched(request: Request) -> Response:
            return answer(NOBODY)

        def read(request: Request) -> Response:
            return answer(request.session.get("email", NOBODY))

        def read_nested(request: Request) -> Response:
            return answer(request.session["user"]["email"])

        def write(request: Request) -> Response:
            visits = request.session["visits"] = request.session["visits"] + 1
            return answer(VISITS % visits)

        def new_small(request: Request) -> Response:
            request.session.update(SMALL)
            return answer(NOBODY)

        def new_large(request: Request) -> Response:
            request.session.update(LARGE)
            return answer(NOBODY)

        def build(**options: Any) -> Any:
            config = Configurator(**options)
            for work, view in zip(WORKS, (untouched, read, read_nested, write, new_small, new_large), strict=True):
                config.add_route(work, f"/{work}")
                config.add_view(view, route_name=work)
            return config.make_wsgi_app()

        factory = RedisSessionFactory(secret=SECRET, redis_url=servers.valkey(), cookie_name="sid")
        self.applications = dict.fromkeys(WORKS, build(session_factory=factory))
        self.bare = _always_untouched(build())


def _always_untouched(application: App) -> App:
    def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ["PATH_INFO"] = "/untouched"
        return application(environ, start_response)

    return bare


def _tune(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = normal")


def tune_sqlite() -> None:
    """Give every SQLite connection that SQLAlchemy opens the settings of our store and the floor."""
    from sqlalchemy import Engine, event

    if not event.contains(Engine, "connect", _tune):
        event.listen(Engine, "connect", _tune)


CONTENDERS: tuple[type[Contender], ...] = (
    FloorMemory,
    OursMemory,
    BeakerMemory,
    FlaskSessionMemory,
    FloorSQLite,
    OursSQLite,
    BeakerSQLite,
    FlaskSessionSQLite,
    FloorRedis,
    OursRedis,
    BeakerRedis,
    FlaskSessionRedis,
    DjangoRedis,
    PyramidSessionRedis,
    FloorPostgreSQL,
    OursPostgreSQL,
    OursCookie,
    OursMemoryEncrypted,
    OursSQLiteEncrypted,
)
#: The contenders that need no server: a run without ``--all`` or ``--only`` measures these.
USUAL = tuple(kind for kind in CONTENDERS if kind.name.endswith(("-memory", "-sqlite")))
