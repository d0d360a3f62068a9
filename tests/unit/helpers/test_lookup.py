"""Finding the environ and the session of a framework's request object."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.requests import make_environ, session_in
from tests.support.site import ANN, Site
from wsgi_session import check_csrf, get_session, login, logout, user_or_none
from wsgi_session.errors import ConfigError, SessionMissing
from wsgi_session.helpers.lookup import bytes_of, environ_of, peek_user, session_of

ENVIRON = make_environ(session={})


@pytest.mark.parametrize(
    "request_object",
    [
        ENVIRON,
        SimpleNamespace(environ=ENVIRON),
        SimpleNamespace(env=ENVIRON),
        SimpleNamespace(wsgi_environ=ENVIRON),
        SimpleNamespace(META=ENVIRON),
        SimpleNamespace(environ=None, META=ENVIRON),
    ],
    ids=["environ", "WebOb", "Falcon", "CherryPy", "META", "two"],
)
def test_every_frameworks_request_leads_to_its_environ(request_object: object) -> None:
    assert environ_of(request_object) is ENVIRON


@pytest.mark.parametrize("request_object", [None, "GET /", 5, SimpleNamespace(), SimpleNamespace(environ="x")])
def test_what_is_no_request_is_refused_with_what_to_give(request_object: object) -> None:
    name = type(request_object).__name__
    with pytest.raises(ConfigError, match=f"request is of type {name}, .*give the WSGI environ"):
        environ_of(request_object)


class Proxy:
    """A session like Beaker's: not registered as a Mapping, and with everything behind ``__getattr__``."""

    def __getattr__(self, name: str) -> Any:
        return getattr({"user": {"email": "ann@example.com"}}, name)


@pytest.mark.parametrize("session", [{}, {"a": 1}, Proxy()])
def test_any_mapping_will_do_as_a_session(session: object) -> None:
    assert session_of({"session": session}, "session") is session


@pytest.mark.parametrize(("session", "found"), [(None, "is missing"), ("x", "is of type str"), ([], "is of type list")])
def test_no_session_says_what_is_there_and_what_to_wrap(session: object, found: str) -> None:
    with pytest.raises(SessionMissing, match=rf"environ\['other'\] {found}\. .*SessionMiddleware\(app") as caught:
        session_of({"other": session}, "other")
    assert caught.value.key == "other"


def django_request() -> Any:
    http = pytest.importorskip("django.http", reason="pip install django")
    # __new__, because the constructor needs settings.
    request = http.HttpRequest.__new__(http.HttpRequest)
    request.META = make_environ()
    return request


def pyramid_request() -> Any:
    return pytest.importorskip("pyramid.request", reason="pip install pyramid").Request(make_environ())


def flask_request() -> Any:
    return pytest.importorskip("flask", reason="pip install flask").Request(make_environ())


def flask_environ() -> Any:
    request = flask_request()
    return {**request.environ, "werkzeug.request": request}


@pytest.mark.parametrize(
    ("make_request", "remedy"),
    [
        (django_request, r'SESSION_ENGINE = "wsgi_session\.integrations\.django".*HelpersMiddleware.* in MIDDLEWARE'),
        (flask_request, r'FlaskSessions\(app, store="sqlite:///sessions\.db"\)'),
        (flask_environ, r"FlaskSessions\(app, "),
        (pyramid_request, r'config\.include\("wsgi_session\.integrations\.pyramid"\)'),
    ],
    ids=["Django", "Flask", "Flask's environ", "Pyramid"],
)
@pytest.mark.parametrize("helper", [get_session, user_or_none, check_csrf, logout])
def test_in_a_framework_no_session_names_that_frameworks_remedy(
    make_request: Callable[[], object], remedy: str, helper: Callable[[object], object]
) -> None:
    with pytest.raises(SessionMissing, match=remedy) as caught:
        helper(make_request())
    assert "SessionMiddleware(app" not in str(caught.value)


def test_the_frameworks_proxy_and_a_subclass_of_its_request_are_known_too() -> None:
    flask = pytest.importorskip("flask", reason="pip install flask")

    class Request(flask.Request):  # type: ignore[name-defined,misc]
        pass

    app = flask.Flask("site")
    app.request_class = Request
    with app.test_request_context(), pytest.raises(SessionMissing, match="FlaskSessions"):
        user_or_none(flask.request)


@given(st.text())
def test_no_text_of_an_environ_makes_an_exception(text: str) -> None:
    assert len(bytes_of({"PATH_INFO": text}, "PATH_INFO")) == len(text)


def test_the_bytes_of_the_request_come_back_as_they_were_sent() -> None:
    assert bytes_of({"PATH_INFO": "/café".encode().decode("latin-1")}, "PATH_INFO") == "/café".encode()
    assert bytes_of({}, "PATH_INFO") == b""


def test_a_look_at_the_user_hands_nothing_out_that_would_be_packed_again() -> None:
    browser = Site().browser()
    browser.call(lambda environ: login(environ, ANN))

    def handler(environ: dict[str, Any]) -> None:
        seen: Any = peek_user(session_in(environ))
        seen["name"] = "changed"

    browser.call(handler)
    assert browser.call(lambda environ: session_in(environ)["user"]) == ANN
