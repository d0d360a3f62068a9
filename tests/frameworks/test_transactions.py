"""A login at another site, in the frameworks: the answer finds what the login remembers, and keeps the session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import Client
from wsgi_session import begin_transaction, end_transaction, get_session

CROSS_SITE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


def flask_site() -> Any:
    flask = pytest.importorskip("flask", reason="pip install flask")
    from wsgi_session.integrations.flask import FlaskSessions

    app = flask.Flask(__name__)
    app.secret_key = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
    FlaskSessions(app, store="memory://")

    @app.get("/begin")
    def begin() -> Any:
        return begin_transaction(flask.request, {"next": "/cart"})

    @app.post("/end")
    def end() -> Any:
        flask.flash("Try again.")
        return repr(end_transaction(flask.request, flask.request.args["state"]))

    @app.get("/put")
    def put() -> Any:
        flask.session["cart"] = ["tea"]
        return ""

    @app.get("/read")
    def read() -> Any:
        return repr(dict(flask.session))

    return app


def pyramid_site() -> Any:
    config_module = pytest.importorskip("pyramid.config", reason="pip install pyramid")
    from pyramid.response import Response

    def put(request: Any) -> Any:
        request.session["cart"] = ["tea"]
        return Response("")

    def end(request: Any) -> Any:
        request.session.flash("Try again.")
        return Response(repr(end_transaction(request, request.GET["state"])))

    views = {
        "begin": lambda request: Response(begin_transaction(request, {"next": "/cart"})),
        "end": end,
        "put": put,
        "read": lambda request: Response(repr(get_session(request).copy())),
    }
    settings = {"wsgi_session.secret": "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8", "wsgi_session.store": "memory://"}
    with config_module.Configurator(settings=settings) as config:
        config.include("wsgi_session.integrations.pyramid")
        for name, view in views.items():
            config.add_route(name, f"/{name}")
            config.add_view(view, route_name=name)
        return config.make_wsgi_app()


@pytest.mark.parametrize("make", [flask_site, pyramid_site], ids=["flask", "pyramid"])
def test_the_answer_of_another_site_finds_what_the_login_remembers_and_keeps_the_session(make: Any) -> None:
    visitor = Client(make())
    visitor.open("/put")
    session = dict(visitor.jar)
    state = visitor.open("/begin").text
    assert len(visitor.jar) == 2
    # Browsers leave out the session's cookie, which is Lax.
    visitor.jar = {name: value for name, value in visitor.jar.items() if name not in session}
    for expected in ({"next": "/cart"}, None):
        answer = visitor.open(f"/end?state={state}", method="POST", headers=CROSS_SITE)
        assert answer.text == repr(expected)
        assert [cookie for cookie in answer.cookies if not cookie.removes] == []
    visitor.jar = session
    assert visitor.open("/read").text == "{'cart': ['tea']}"
