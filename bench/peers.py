"""Who is measured: one small class each. To add one, write a class like these and put it into ``CONTENDERS``.

A contender brings one WSGI application for each of ``payload.WORKS``, and the same application without a session, which
is taken off. All that need an engine get the same one with the same settings: SQLite in WAL mode with
``synchronous=NORMAL``, whatever they would choose by themselves. Everything else is as it comes.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from bench import floor
from bench.payload import HEADERS, LARGE, NOBODY, SMALL, VISITS, WORKS, App, untouched

SECRET = "for-the-bench-only-5d0c2b7f9e1a4836c7d8e9f0a1b2c3d4"
#: More sessions than any run makes, so that nobody's bound is met.
MANY = 1_000_000


class Contender:
    """Somebody who keeps sessions. Raises ``ImportError`` at construction where its packages are missing."""

    #: "who-engine": what ``--only`` takes and the tables show.
    name: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        """Set up everything, in ``folder`` if it needs files."""
        #: By the names in ``payload.WORKS``.
        self.applications: dict[str, App] = {}
        #: The same without a session.
        self.bare: App = untouched

    def close(self) -> None:
        """Let go of connections and files."""


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


class Ours(Contender):
    """``SessionMiddleware`` with no setting but what it requires."""

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
            work: SessionMiddleware(application, secret=SECRET, store=self.store)
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


class Beaker(Contender):
    """Beaker's ``SessionMiddleware``, signed, saved by ``session.save()`` where something was written."""

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

        options = {"session.secret": SECRET, **self.options(folder)}
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


class FlaskSession(Contender):
    """Flask-Session on Flask; what is taken off is the same Flask application without it."""

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

        def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            environ["PATH_INFO"] = "/untouched"
            return plain.wsgi_app(environ, start_response)

        self.bare = bare

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


def _tune(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = normal")


def tune_sqlite() -> None:
    """Give every SQLite connection that SQLAlchemy opens the settings that ours and the floor have."""
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
)
