"""``namespace=`` in the frameworks, also in requests that have no middleware around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.client import Client

SECRET = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
A, B = {"Host": "a.example"}, {"Host": "b.example"}


def tenant_of(environ: Mapping[str, Any]) -> str:
    return str(environ["HTTP_HOST"])


def validate(session: Any, environ: Mapping[str, Any]) -> bool:
    return environ["HTTP_HOST"] == "a.example"


def test_flask_gives_each_tenant_its_own_sessions() -> None:
    flask = pytest.importorskip("flask", reason="pip install flask")
    from wsgi_session.integrations.flask import FlaskSessions

    app = flask.Flask(__name__)
    app.secret_key = SECRET
    FlaskSessions(app, store="memory://", namespace=tenant_of, validate=validate)
    app.add_url_rule("/put", "put", lambda: flask.session.update(cart="tea", user={"id": 1}) or "")
    app.add_url_rule("/read", "read", lambda: repr(dict(flask.session)))
    visitor = Client(app)
    visitor.open("/put", headers=A)
    (cookie,) = visitor.jar.values()
    assert "tea" in visitor.open("/read", headers=A).text
    assert visitor.open("/read", headers=B).text == "{}"
    # Outside of the middleware.
    for host, expected in (("a.example", "tea"), ("b.example", None)):
        headers = {"Host": host, "Cookie": f"session={cookie}"}
        with app.test_request_context("/", headers=headers):
            assert flask.session.get("cart") == expected


def test_the_remember_cookie_of_flask_login_is_of_one_tenant_if_the_id_names_it() -> None:
    """Flask-Login signs the id with the application's key alone, as the page on several sites says."""
    flask = pytest.importorskip("flask", reason="pip install flask")
    flask_login = pytest.importorskip("flask_login", reason="pip install flask-login")
    from wsgi_session.integrations.flask import FlaskSessions

    app = flask.Flask(__name__)
    app.secret_key = SECRET
    app.config["REMEMBER_COOKIE_NAME"] = "remember"

    class User(flask_login.UserMixin):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self, user_id: str) -> None:
            self.id = user_id

    def user_of(user_id: str) -> User | None:
        return User(user_id) if user_id.partition("/")[0] == flask.request.host else None

    flask_login.LoginManager(app).user_loader(user_of)
    FlaskSessions(app, store="memory://", namespace=tenant_of)
    app.add_url_rule("/login", "login", lambda: str(flask_login.login_user(User("a.example/5"), remember=True)))
    app.add_url_rule("/who", "who", lambda: str(flask_login.current_user.is_authenticated))
    visitor = Client(app)
    visitor.open("/login", headers=A)
    remembered = {"remember": visitor.jar["remember"]}
    for headers, expected in ((B, "False"), (A, "True")):
        visitor.jar = dict(remembered)
        assert visitor.open("/who", headers=headers).text == expected


def test_pyramid_takes_both_functions_by_their_dotted_names() -> None:
    pyramid = pytest.importorskip("pyramid.config", reason="pip install pyramid")
    from pyramid.request import Request
    from pyramid.response import Response

    settings = {
        "wsgi_session.secret": SECRET,
        "wsgi_session.store": "memory://",
        "wsgi_session.namespace": f"{__name__}.tenant_of",
        "wsgi_session.validate": f"{__name__}.validate",
    }

    def put(request: Any) -> Any:
        request.session.update(cart="tea", user={"id": 1})
        return Response("")

    def sub(request: Any) -> Any:
        inner = Request.blank("/read", headers={"Host": request.host, "Cookie": request.headers["Cookie"]})
        return request.invoke_subrequest(inner)

    views = {"put": put, "read": lambda request: Response(repr(dict(request.session))), "sub": sub}
    with pyramid.Configurator(settings=settings) as config:
        config.include("wsgi_session.integrations.pyramid")
        for name, view in views.items():
            config.add_route(name, f"/{name}")
            config.add_view(view, route_name=name)
        visitor = Client(config.make_wsgi_app())
    visitor.open("/put", headers=A)
    for path in ("/read", "/sub"):
        assert "tea" in visitor.open(path, headers=A).text
        assert visitor.open(path, headers=B).text == "{}"
