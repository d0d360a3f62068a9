"""Device-bound logins with Flask and Pyramid: their own logins are bound, and a copied cookie is dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask_login import current_user, login_user, logout_user
from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.response import Response as PyramidResponse
from pyramid.security import forget, remember

from tests.frameworks.flask_logins import USERS, with_logins
from tests.support.client import Application
from tests.support.device import DeviceClient
from tests.support.site import SECRET
from wsgi_session.backends.binding import BOUND_SECONDS
from wsgi_session.integrations.flask import FlaskSessions
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import FakeClock


def flask_site(clock: FakeClock) -> Application:
    app = Flask("site")
    app.secret_key = SECRET
    FlaskSessions(app, store=MemoryStore(), clock=clock, experimental_device_bound=True)
    with_logins(app)

    @app.get("/enter")
    def enter() -> str:
        login_user(USERS["ann"])
        return "in"

    @app.get("/logout")
    def leave() -> str:
        logout_user()
        return "out"

    @app.get("/who")
    def whoami() -> str:
        return str(current_user.get_id())

    return app


class _Policy:
    """The part of a security policy that the test needs."""

    helper = SessionAuthenticationHelper()

    def identity(self, request: Any) -> Any:
        return self.authenticated_userid(request)

    def authenticated_userid(self, request: Any) -> Any:
        return self.helper.authenticated_userid(request)

    def remember(self, request: Any, userid: Any, **options: Any) -> Any:
        return self.helper.remember(request, userid, **options)

    def forget(self, request: Any, **options: Any) -> Any:
        return self.helper.forget(request, **options)


def pyramid_site(clock: FakeClock) -> Application:
    settings = {"secret": SECRET, "store": MemoryStore(), "clock": clock, "experimental_device_bound": "true"}
    config = Configurator(settings={f"wsgi_session.{name}": value for name, value in settings.items()})
    config.include("wsgi_session.integrations.pyramid")
    config.set_security_policy(_Policy())
    views: dict[str, Callable[[Any], object]] = {
        "enter": lambda request: remember(request, "ann"),
        "logout": forget,
        "who": lambda request: None,
    }
    for name, view in views.items():
        config.add_route(name, f"/{name}")

        def answer(request: Any, view: Callable[[Any], object] = view) -> Any:
            view(request)
            return PyramidResponse(str(request.authenticated_userid))

        config.add_view(answer, route_name=name)
    app: Application = config.make_wsgi_app()
    return app


@pytest.fixture(params=[flask_site, pyramid_site], ids=["flask", "pyramid"])
def visitor(request: pytest.FixtureRequest) -> DeviceClient:
    clock = FakeClock()
    client = DeviceClient(request.param(clock))
    client.clock = clock
    return client


def get(client: DeviceClient, path: str) -> str:
    return client.open(path, base_url="https://localhost", lint=False).text


def test_a_login_is_bound_and_a_copied_cookie_is_dead(visitor: DeviceClient) -> None:
    clock: Any = visitor.clock
    get(visitor, "/enter")
    clock.advance(BOUND_SECONDS)
    assert get(visitor, "/who") == "ann"
    assert visitor.instructions is not None
    (bound,) = visitor.bound_names
    thief = DeviceClient(visitor.app)
    thief.clock = clock
    thief.jar = {name: value for name, value in visitor.jar.items() if name != bound}
    assert get(thief, "/who") == "None"
    assert get(visitor, "/who") == "ann"
    get(visitor, "/logout")
    assert get(visitor, "/who") == "None"
