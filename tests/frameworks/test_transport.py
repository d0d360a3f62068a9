"""``transport=`` in the frameworks: the token in a header, also in requests that have no middleware around them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.client import Answer, Client
from wsgi_session.testing import plant, read

SECRET = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
NEW = {"Authorization": "Bearer new"}


def bearer(answer: Answer) -> dict[str, str]:
    """Return the headers of the next request of the client that got this answer."""
    assert answer.cookies == []
    return {"Authorization": f"Bearer {answer.header('Session-Token')}"}


def test_a_flask_application_answers_an_app_with_a_token_and_a_browser_with_a_cookie() -> None:
    flask = pytest.importorskip("flask", reason="pip install flask")
    from wsgi_session import login
    from wsgi_session.integrations.flask import FlaskSessions

    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, WSGI_SESSION_TRANSPORT="both")
    sessions = FlaskSessions(app, store="memory://")

    def log_in() -> str:
        login(flask.request, {"id": 5})
        return ""

    app.add_url_rule("/login", "login", log_in, methods=["POST"])
    app.add_url_rule("/read", "read", lambda: dict(flask.session))
    client = Client(app)
    headers = bearer(client.open("/login", method="POST", headers=NEW))
    assert json.loads(client.open("/read", headers=headers).text) == {"user": {"id": 5}}
    assert client.open("/login", method="POST").header("Session-Token") is None
    assert len(client.jar) == 1
    # Outside of the middleware.
    with app.test_request_context("/", headers=headers):
        assert flask.session["user"] == {"id": 5}
    with app.test_client().session_transaction(headers=headers) as session:
        session["cart"] = ["tea"]
    test_client = app.test_client()
    with test_client.session_transaction(headers=NEW) as session:
        session["cart"] = []
    assert test_client.get_cookie("session") is None
    assert json.loads(client.open("/read", headers=headers).text) == {"user": {"id": 5}, "cart": ["tea"]}
    with app.app_context():
        planted = plant(sessions.middleware, {"user": {"id": 6}}, environ={"HTTP_AUTHORIZATION": "Bearer new"})
        assert read(sessions.middleware, "", environ={"HTTP_AUTHORIZATION": planted}) == {"user": {"id": 6}}


def test_flask_logins_remember_cookie_opens_no_session_for_a_script_that_sends_the_header() -> None:
    """Else a script in the page could get a token, although it cannot read the cookie."""
    flask = pytest.importorskip("flask", reason="pip install flask")
    pytest.importorskip("flask_login", reason="pip install flask-login")
    from flask_login import LoginManager, UserMixin, current_user, login_user

    from wsgi_session import user_or_none
    from wsgi_session.integrations.flask import FlaskSessions

    class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
        id = "5"

    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, WSGI_SESSION_TRANSPORT="both")
    FlaskSessions(app, store="memory://")
    LoginManager(app).user_loader(lambda user_id: User())

    def log_in() -> str:
        login_user(User(), remember=True)
        return ""

    def who() -> str:
        user = user_or_none(flask.request)
        return f"{current_user.is_authenticated} {user is not None}"

    app.add_url_rule("/login", "login", log_in, methods=["POST"])
    app.add_url_rule("/", "who", who)
    client = Client(app)
    client.open("/login", method="POST")
    del client.jar["session"]
    answer = client.open("/", headers=NEW)
    assert (answer.text, answer.header("Session-Token")) == ("False False", None)
    assert "remember_token" in client.jar
    assert client.open("/").text == "True True"


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
def test_a_pyramid_application_answers_an_app_with_a_token_and_asks_it_for_no_csrf_token(header: str) -> None:
    pyramid = pytest.importorskip("pyramid.config", reason="pip install pyramid")
    from pyramid.csrf import check_csrf_token
    from pyramid.request import Request
    from pyramid.response import Response

    from wsgi_session import login

    settings = {
        "wsgi_session.secret": SECRET,
        "wsgi_session.store": "memory://",
        "wsgi_session.transport": "both",
        "wsgi_session.transport_header": header,
    }

    def log_in(request: Any) -> Any:
        login(request, {"id": 5})
        return Response("")

    def sub(request: Any) -> Any:
        return request.invoke_subrequest(Request.blank("/read", headers={header: request.headers[header]}))

    views = {
        "login": log_in,
        "read": lambda request: Response(repr(dict(request.session))),
        "sub": sub,
        "check": lambda request: Response(str(check_csrf_token(request, raises=False))),
    }
    with pyramid.Configurator(settings=settings) as config:
        config.include("wsgi_session.integrations.pyramid")
        for name, view in views.items():
            config.add_route(name, f"/{name}")
            config.add_view(view, route_name=name)
        client = Client(config.make_wsgi_app())
    scheme = "Bearer " if header == "Authorization" else ""
    answer = client.open("/login", headers={header: f"{scheme}new"})
    assert answer.cookies == []
    headers = {header: f"{scheme}{answer.header('Session-Token')}"}
    for path in ("/read", "/sub"):
        assert client.open(path, headers=headers).text == "{'user': {'id': 5}}"
    assert client.open("/check", method="POST", headers=headers).text == "True"
    assert client.open("/login").header("Session-Token") is None
    assert client.open("/check", method="POST").text == "False"


def test_pyramids_own_csrf_check_lets_an_app_pass_over_https() -> None:
    pyramid = pytest.importorskip("pyramid.config", reason="pip install pyramid")
    from pyramid.response import Response

    from wsgi_session import login

    def log_in(request: Any) -> Any:
        login(request, {"id": 5})
        return Response("")

    settings = {"wsgi_session.secret": SECRET, "wsgi_session.store": "memory://", "wsgi_session.transport": "both"}
    with pyramid.Configurator(settings=settings) as config:
        config.include("wsgi_session.integrations.pyramid")
        config.set_default_csrf_options(require_csrf=True, allow_no_origin=True)
        config.add_route("login", "/login")
        config.add_view(log_in, route_name="login")
        app = config.make_wsgi_app()
    for headers, code in ((NEW, 200), ({}, 400)):
        answer = Client(app).open("/login", method="POST", headers=headers, base_url="https://localhost")
        assert answer.code == code


def test_beakers_sessions_are_found_by_the_header_and_reverted_to_what_it_opens() -> None:
    from wsgi_session.integrations.beaker import SessionMiddleware

    def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        session = environ["beaker.session"]
        if environ["PATH_INFO"] == "/save":
            session["cart"] = ["tea"]
            session.save()
        else:
            session["cart"] = ["lost"]
            session.revert()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [repr(session.get("cart")).encode()]

    options = {"session.secret": SECRET, "session.store": "memory://", "session.transport": "header"}
    with SessionMiddleware(site, options) as app:
        client = Client(app)
        headers = bearer(client.open("/save", lint=False, headers=NEW))
        assert client.open("/", lint=False, headers=headers).text == "['tea']"
        assert client.open("/", lint=False).text == "None"
