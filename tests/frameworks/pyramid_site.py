"""A Pyramid application with our sessions, its store counted and its clock set by the test; and its browsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from wsgiref.validate import validator

import pytest

pytest.importorskip("pyramid", reason="pip install pyramid pyramid_retry")

from pyramid.config import Configurator
from pyramid.response import Response
from webob import Request as Client

from wsgi_session import StoreUnavailable
from wsgi_session.stores import Record
from wsgi_session.stores.memory import MemoryStore
from wsgi_session.testing import FakeClock, read

SECRET = "51c9e07d6a4b4f0c9d2f8e7a1b3c5d6e"
ANN = {"id": 1, "name": "Ann", "email": "ann@example.com"}
View = Callable[[Any], Any]


class Store(MemoryStore):
    """Counts what is asked of it, and can be out of order."""

    calls: list[str]
    down = False

    def load(self, key: bytes, now: float) -> Record | None:
        self.calls.append("load")
        if self.down:
            raise StoreUnavailable("the engine does not answer")
        return super().load(key, now)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self.calls.append("create")
        super().create(key, record, now)


class Site:
    """A Pyramid application whose session comes from the include, and nothing else."""

    def __init__(self, *views: View, setup: Callable[[Any], None] | None = None, **settings: Any) -> None:
        self.store = Store()
        self.store.calls = []
        self.clock = FakeClock()
        given = {"secret": SECRET, "store": self.store, "clock": self.clock, **settings}
        with Configurator(settings={f"wsgi_session.{name}": value for name, value in given.items()}) as config:
            config.include("wsgi_session.integrations.pyramid")
            for view in views:
                config.add_route(view.__name__, "/" if view is views[0] else f"/{view.__name__}")
                config.add_view(rendered(view), route_name=view.__name__)
            if setup is not None:
                setup(config)
        self.registry = config.registry
        self.app = config.make_wsgi_app()

    @property
    def middleware(self) -> Any:
        return self.registry["wsgi_session"]

    def browser(self) -> Browser:
        return Browser(self)


def rendered(view: View) -> View:
    """The view, which may return anything: a value other than a response is shown, and kept in ``request.environ``."""

    def with_response(request: Any) -> Any:
        result = view(request)
        if hasattr(result, "app_iter"):
            return result
        return Response(repr(result), content_type="text/plain")

    return with_response


class Browser:
    """Keeps cookies."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cookies: dict[str, str] = {}

    def visit(self, path: str = "/", scheme: str = "http", **more: Any) -> Any:
        """Make a request, as a server does; return the answer."""
        client = Client.blank(path, base_url=f"{scheme}://localhost", **more)
        # The validator's input can be read once, as a server's.
        client.environ.pop("webob.is_body_seekable", None)
        if self.cookies:
            client.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = client.get_response(validator(self.site.app))
        answer.body  # noqa: B018  (read to its end, and closed)
        for line in answer.headers.getall("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return answer

    def see(self, path: str = "/", **more: Any) -> str:
        """Return the text of a page."""
        answer = self.visit(path, **more)
        assert answer.status_int == 200, answer
        return str(answer.text)

    def session(self) -> dict[str, Any]:
        """Return what is stored for this browser."""
        return read(self.site.middleware, self.cookie)

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


def count(request: Any) -> int:
    request.session["count"] = request.session.get("count", 0) + 1
    return int(request.session["count"])
