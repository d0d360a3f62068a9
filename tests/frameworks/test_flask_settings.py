"""How Flask applications say what they want: options, settings, factories, several applications in one process."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request, session
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.frameworks.flask_site import ANN, SECRET, MakeApp, Visitor, app, clock, make_app, new_app, store
from tests.support.stores import CountingStore
from wsgi_session import ConfigError, SessionMiddleware, login
from wsgi_session.integrations.flask import FlaskSessions
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import FakeClock

__all__ = ["app", "clock", "make_app", "store"]

OTHER = "another-5f0b1c6d8e2a4739b6c1d0e9f8a7b6c5"


def put() -> None:
    session["a"] = 1


def everything() -> dict[str, Any]:
    return dict(session)


@pytest.mark.parametrize(
    ("settings", "name", "attributes"),
    [
        ({}, "session", {"path": "/", "httponly": True, "samesite": "Lax"}),
        ({"SESSION_COOKIE_NAME": "shop"}, "shop", {"path": "/", "httponly": True, "samesite": "Lax"}),
        (
            {"SESSION_COOKIE_DOMAIN": "localhost.example", "SESSION_COOKIE_SAMESITE": "strict"},
            "session",
            {"domain": "localhost.example", "path": "/", "httponly": True, "samesite": "Strict"},
        ),
        ({"APPLICATION_ROOT": "/bar"}, "session", {"path": "/bar", "httponly": True, "samesite": "Lax"}),
        (
            {"APPLICATION_ROOT": "/foo", "SESSION_COOKIE_PATH": "/bar"},
            "session",
            {"path": "/bar", "httponly": True, "samesite": "Lax"},
        ),
        (
            {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_PARTITIONED": True},
            "__Host-session",
            {"path": "/", "httponly": True, "samesite": "None", "secure": True, "partitioned": True},
        ),
        # Ours stand above Flask's, and what is given to FlaskSessions above both.
        (
            {"SESSION_COOKIE_NAME": "no", "WSGI_SESSION_COOKIE_NAME": "ours", "WSGI_SESSION_COOKIE_PERSISTENT": "yes"},
            "ours",
            {"max-age": "2678400", "path": "/", "httponly": True, "samesite": "Lax"},
        ),
        (
            {"WSGI_SESSION_COOKIE_NAME": "ours", "cookie_name": "given", "cookie_persistent": True, "idle_timeout": 60},
            "given",
            {"max-age": "60", "path": "/", "httponly": True, "samesite": "Lax"},
        ),
    ],
    ids=str,
)
def test_the_cookie_is_what_the_settings_say(
    make_app: MakeApp, settings: dict[str, Any], name: str, attributes: dict[str, Any]
) -> None:
    visitor = Visitor(make_app(**settings))
    # Outside of its path no cookie would come back, and none is sent.
    visitor.do(put, base_url=f"http://localhost{attributes['path'].rstrip('/')}")
    assert (visitor.cookie.name, visitor.cookie.attributes) == (name, attributes)


def test_over_https_the_cookie_is_secure_with_no_setting_also_behind_a_proxy(app: Flask) -> None:
    secure = {"path": "/", "httponly": True, "samesite": "Lax", "secure": True}
    visitor = Visitor(app)
    visitor.do(put, base_url="https://localhost")
    assert (visitor.cookie.name, visitor.cookie.attributes) == ("__Host-session", secure)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    behind = Visitor(app)
    behind.do(put, headers={"X-Forwarded-Proto": "https"})
    assert (behind.cookie.name, behind.cookie.attributes) == ("__Host-session", secure)


def test_a_visitor_who_is_not_logged_in_may_have_a_shorter_life(make_app: MakeApp, clock: FakeClock) -> None:
    visitor = Visitor(make_app(WSGI_SESSION_ANONYMOUS_TIMEOUT="1h"))
    visitor.do(lambda: session.update(cart=["tea"]))
    clock.advance(3600)
    assert visitor.do(lambda: dict(session)) == {}
    visitor.do(lambda: login(request, ANN))
    clock.advance(3600)
    assert visitor.do(lambda: session["user"]) == ANN


def test_a_lifetime_over_90_days_is_not_cut_short(make_app: MakeApp, clock: FakeClock) -> None:
    year = Visitor(make_app(PERMANENT_SESSION_LIFETIME=timedelta(days=365)))
    month = Visitor(make_app(SESSION_COOKIE_NAME="month"))
    for visitor in (year, month):
        visitor.do(put)
    for _ in range(8):
        clock.advance(timedelta(days=12))
        seen = [visitor.do(everything) for visitor in (year, month)]
    assert seen == [{"a": 1}, {}], "after 96 days, with a visit every 12"


def test_an_old_secret_in_the_fallbacks_still_opens_and_the_cookie_is_renewed(make_app: MakeApp) -> None:
    before = Visitor(make_app(SECRET_KEY=OTHER))
    before.do(put)
    changing, after = Visitor(make_app(SECRET_KEY_FALLBACKS=[OTHER])), Visitor(make_app())
    changing.client.set_cookie("session", before.cookie.value)
    assert changing.do(everything) == {"a": 1}
    old, new = before.cookie.value.partition("."), changing.cookie.value.partition(".")
    assert (new[0] == old[0], new[2] == old[2]) == (True, False), "the same token, signed anew"
    for visitor, cookie, seen in [(after, changing.cookie, {"a": 1}), (Visitor(after.app), before.cookie, {})]:
        visitor.client.set_cookie("session", cookie.value)
        assert visitor.do(everything) == seen


@pytest.mark.parametrize(
    "secret",
    [
        {"SECRET_KEY": None, "secret": f"{SECRET} with spaces"},
        {"SECRET_KEY": f"{SECRET} with spaces"},
        {"SECRET_KEY": SECRET.encode()},
        {"SECRET_KEY": "short", "WSGI_SESSION_SECRET": f"{OTHER} {SECRET}"},
        {"SECRET_KEY": "short", "secret": [OTHER, SECRET]},
    ],
    ids=str,
)
def test_the_secret_can_be_given_in_any_of_these_ways(make_app: MakeApp, secret: dict[str, Any]) -> None:
    visitor = Visitor(make_app(**secret))
    visitor.do(put)
    assert visitor.do(everything) == {"a": 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"SECRET_KEY": None}, r"SECRET_KEY.*keygen"),
        ({"SECRET_KEY": "dev"}, r'secret has 3 bytes.*"SECRET_KEY".*FlaskSessions\(app, secret='),
        ({"SECRET_KEY_FALLBACKS": ["old"]}, "secret 2 has 3 bytes.*SECRET_KEY_FALLBACKS"),
        ({"secret": "short"}, "secret has 5 bytes.*keygen.$"),
        ({"WSGI_SESSION_SECRET": "short"}, "secret has 5 bytes.*keygen.$"),
        ({"SESSION_COOKIE_HTTPONLY": False}, "SESSION_COOKIE_HTTPONLY=False"),
        ({"SESSION_COOKIE_SAMESITE": "None"}, "cookie_secure=True"),
        ({"PERMANENT_SESSION_LIFETIME": 0}, "idle_timeout"),
        ({"WSGI_SESSION_IDLE": "5m"}, "WSGI_SESSION_IDLE: no such option.*WSGI_SESSION_IDLE_TIMEOUT"),
        ({"cookie_nam": "sid"}, "^cookie_nam: did you mean cookie_name"),
        ({"max_size": -1}, "max_size=-1"),
    ],
    ids=str,
)
def test_a_mistake_in_the_settings_is_an_error_at_the_start(
    make_app: MakeApp, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_app(**given)


def test_a_missing_store_is_an_error_that_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r'store="sqlite:///sessions.db".*WSGI_SESSION_STORE'):
        FlaskSessions(new_app())


def test_an_application_gets_its_sessions_once(app: Flask) -> None:
    with pytest.raises(ConfigError, match="once"):
        FlaskSessions(app, store="memory://")


def test_the_environment_can_say_it_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLASK_WSGI_SESSION_STORE", f"sqlite:///{tmp_path}/sessions.db")
    monkeypatch.setenv("FLASK_WSGI_SESSION_IDLE_TIMEOUT", "15m")
    monkeypatch.setenv("FLASK_WSGI_SESSION_COOKIE_PERSISTENT", "true")
    app = new_app()
    app.config.from_prefixed_env()
    FlaskSessions(app)
    with app.extensions["wsgi_session"]:
        visitor = Visitor(app)
        visitor.do(put)
        assert visitor.cookie.attributes["max-age"] == "900"
    assert "sessions.db" in os.listdir(tmp_path)


def test_a_factory_makes_applications_that_share_nothing_but_the_extension(tmp_path: Path) -> None:
    sessions = FlaskSessions(cookie_name="sid")
    made = []
    for name in ("one", "two"):
        app = new_app(WSGI_SESSION_STORE=f"sqlite:///{tmp_path}/{name}.db")
        sessions.init_app(app)
        made.append(Visitor(app))
    one, two = made
    one.do(lambda: login(request, ANN))
    token = one.cookie.value
    found = [visitor.do(lambda: len(sessions.middleware.sessions.of(ANN))) for visitor in made]
    assert found == [1, 0]
    two.client.set_cookie("sid", token)
    assert (one.do(lambda: session["user"]), two.do(everything)) == (ANN, {})
    with one.app.app_context():
        assert sessions.middleware is one.app.extensions["wsgi_session"]
        assert isinstance(sessions.middleware, SessionMiddleware)
    for visitor in made:
        visitor.app.extensions["wsgi_session"].close()


def test_a_store_from_a_url_is_closed_with_the_middleware_and_a_given_one_is_not(tmp_path: Path) -> None:
    app = new_app()
    FlaskSessions(app, store=f"sqlite:///{tmp_path}/sessions.db")
    visitor = Visitor(app)
    visitor.do(put)
    middleware = app.extensions["wsgi_session"]
    middleware.close()
    with pytest.raises(Exception, match="closed"):
        middleware.store.load(b"k" * 32, 0)


def test_devices_can_be_listed_and_ended_and_the_session_at_hand_be_kept(app: Flask) -> None:
    sessions = app.extensions["wsgi_session"].sessions
    visitors = [Visitor(app) for _ in range(3)]
    for visitor in visitors:
        visitor.do(lambda: login(request, ANN))
    assert len(sessions.of(ANN)) == 3
    assert visitors[0].do(lambda: sessions.revoke_all(ANN, keep=session)) == 2
    assert [bool(visitor.do(everything)) for visitor in visitors] == [True, False, False]


def test_validate_ends_a_login(make_app: MakeApp) -> None:
    locked: list[int] = []
    visitor = Visitor(make_app(validate=lambda session: session["user"]["id"] not in locked))
    visitor.do(lambda: login(request, ANN))
    assert visitor.do(everything) == {"user": ANN}
    locked.append(ANN["id"])  # type: ignore[arg-type]
    assert visitor.do(everything) == {}


def test_applications_under_a_dispatcher_share_sessions_only_if_they_are_set_so(
    make_app: MakeApp, store: CountingStore
) -> None:
    shop, help_pages = make_app(), make_app()
    office = make_app(SESSION_COOKIE_NAME="office")
    site = new_app()
    site.wsgi_app = DispatcherMiddleware(shop.wsgi_app, {"/help": help_pages, "/office": office})  # type: ignore[method-assign]
    visitor = Visitor(site)
    visitor.do(put)
    assert [visitor.do(everything, path) for path in ("/", "/help/", "/office/")] == [{"a": 1}, {"a": 1}, {}]
    visitor.do(lambda: session.update(b=2), "/office/desk")
    assert [cookie.name for cookie in visitor.cookies] == ["office"]
    assert [visitor.do(everything, path) for path in ("/", "/office/")] == [{"a": 1}, {"b": 2}]


def test_a_session_of_another_middleware_around_is_not_hidden(app: Flask) -> None:
    outer = SessionMiddleware(app.wsgi_app, secret=OTHER, store=MemoryStore())
    app.wsgi_app = outer  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="environ_key"):
        Visitor(app).visit(lambda: "never")


def test_another_environ_key_lets_both_be_there(make_app: MakeApp) -> None:
    app = make_app(environ_key="flask.session")
    app.wsgi_app = SessionMiddleware(app.wsgi_app, secret=OTHER, store=MemoryStore())  # type: ignore[method-assign]
    visitor = Visitor(app)

    def both() -> None:
        session["a"] = 1
        request.environ["session"]["b"] = 2

    visitor.do(both)
    assert sorted(cookie.name for cookie in visitor.cookies) == ["session", "sid"]
    assert visitor.do(lambda: (everything(), dict(request.environ["session"]))) == ({"a": 1}, {"b": 2})
