"""A Flask application with our sessions, its store counted and its clock in the test's hand; and its visitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.test import TestResponse

from tests.support.client import Cookie, parse_cookie
from tests.support.stores import KINDS, CountingStore, Kind, counting
from wsgi_session.integrations.flask import FlaskSessions
from wsgi_session.testing import FakeClock

SECRET = "flask-9d1f6a27c3e04b58a1d27f60e39b4c85"
ANN = {"id": 1, "name": "Ann", "email": "ann@example.com"}

MakeApp = Callable[..., Flask]


@pytest.fixture(params=[kind for kind in KINDS if kind.name in ("memory", "sqlite")], ids=lambda kind: kind.name)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CountingStore]:
    kind: Kind = request.param
    with kind.open(tmp_path) as inner:
        yield counting(inner)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_app(store: CountingStore, clock: FakeClock) -> Iterator[MakeApp]:
    """Return a function that makes an application: names in capitals are its settings, the others our options."""
    with ExitStack() as stack:

        def make(**given: Any) -> Flask:
            app = new_app(**{name: value for name, value in given.items() if name.isupper()})
            options = {name: value for name, value in given.items() if not name.isupper()}
            FlaskSessions(app, **{"store": store, "clock": clock, **options})
            stack.callback(app.extensions["wsgi_session"].close)
            return app

        yield make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app)


def new_app(**settings: Any) -> Flask:
    """Return an application without sessions of ours, in which a :class:`Visitor` can do anything."""
    app = Flask("site", static_folder=None)
    app.config.update({"SECRET_KEY": SECRET, **settings})

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @app.route("/<path:path>", methods=["GET", "POST"])
    def page(path: str) -> Any:
        return request.environ["test.view"]()

    return app


class Visitor:
    """A test client, each of whose requests is answered by a view of the test's own."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client()
        self.answer: TestResponse

    def visit(self, view: Callable[[], Any], path: str = "/", **options: Any) -> TestResponse:
        """Make a request that ``view`` answers, and close the answer as servers do; ``options`` are the client's."""
        environ = {"test.view": view, **options.pop("environ_overrides", {})}
        self.answer = self.client.open(path, environ_overrides=environ, buffered=True, **options)
        return self.answer

    def do(self, function: Callable[[], Any], path: str = "/", **options: Any) -> Any:
        """Call ``function`` in a request that is answered with 200; return its result."""
        results: list[Any] = []

        def view() -> str:
            results.append(function())
            return "done"

        answer = self.visit(view, path, **options)
        assert answer.status_code == 200, (answer, answer.get_data(as_text=True))
        return results[0]

    def copy(self) -> Visitor:
        """Return a visitor with the same cookies: a thief who copied them, or a request that is under way."""
        other = Visitor(self.app)
        assert self.client._cookies is not None
        other.client._cookies = dict(self.client._cookies)
        return other

    @property
    def cookies(self) -> list[Cookie]:
        """The cookies that the last answer set."""
        return [parse_cookie(header) for header in self.answer.headers.getlist("Set-Cookie")]

    @property
    def cookie(self) -> Cookie:
        """The one cookie that the last answer set."""
        (cookie,) = self.cookies
        return cookie
