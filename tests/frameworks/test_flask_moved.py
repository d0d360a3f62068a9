"""Applications written for Flask's own sessions, or for Flask-Session, run unchanged."""

from __future__ import annotations

import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, get_template_attribute, render_template_string, request, session
from flask.sessions import NullSession, SecureCookieSession, SessionMixin
from jinja2 import DictLoader
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.frameworks.flask_site import ANN, MakeApp, Visitor, app, clock, make_app, new_app, store, visitor
from tests.support.names import name_of
from tests.support.servers.shared import valkey
from tests.support.stores import CountingStore
from wsgi_session import ConfigError, Session, get_session, login
from wsgi_session.integrations.flask import FlaskMiddleware, FlaskSessions
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.sqlite import SQLiteStore
from wsgi_session.testing import FakeClock

__all__ = ["app", "clock", "make_app", "store", "visitor"]

numbers = count(1)


def ours() -> Any:
    return session._get_current_object()  # type: ignore[attr-defined]


def put() -> None:
    session["a"] = 1


def everything() -> dict[str, Any]:
    return dict(session)


def sid() -> str:
    name: str = ours().sid
    return name


def regenerate() -> None:
    current_app.session_interface.regenerate(session)  # type: ignore[attr-defined]


# session.sid and session_interface.regenerate().


def test_a_new_session_has_the_sid_that_it_keeps(visitor: Visitor) -> None:
    first = visitor.do(lambda: (sid(), put(), sid()))
    assert first[0] == first[2]
    assert isinstance(first[0], str)
    assert visitor.do(lambda: (sid(), ours().handle)) == (first[0], first[0])
    assert Visitor(visitor.app).do(sid) != first[0]


def test_asking_a_new_session_for_its_sid_stores_nothing(visitor: Visitor, store: CountingStore) -> None:
    visitor.do(sid)
    assert (store.counts(), visitor.cookies) == ({}, [])


def test_a_session_begun_after_the_end_of_another_has_a_sid_of_its_own(visitor: Visitor) -> None:
    old = visitor.do(lambda: (put(), sid())[1])

    def begin_again() -> tuple[str, str]:
        before = sid()
        session.clear()
        return before, (put(), sid())[1]

    before, after = visitor.do(begin_again)
    assert before == old != after == visitor.do(sid)

    def twice() -> tuple[str, str]:
        session.clear()
        first = sid()
        session.clear()
        return first, (put(), sid())[1]

    first, second = visitor.do(twice)
    assert first != second == visitor.do(sid)


def test_the_sid_of_a_login_finds_the_session_for_the_administrator(visitor: Visitor) -> None:
    name = visitor.do(lambda: (login(request, ANN), sid())[1])
    assert visitor.do(sid) == name
    assert visitor.app.extensions["wsgi_session"].sessions.revoke(ANN, name)
    assert visitor.do(everything) == {}


def test_a_sid_cannot_be_chosen_and_the_error_says_what_to_call(visitor: Visitor) -> None:
    def choose() -> None:
        with pytest.raises(AttributeError, match=r"session_interface\.regenerate\(session\)"):
            session.sid = "mine"  # type: ignore[attr-defined]

    visitor.do(choose)


def test_regenerate_replaces_the_token_and_keeps_the_data(visitor: Visitor) -> None:
    visitor.do(put)
    stolen, name = visitor.copy(), visitor.do(sid)
    visitor.do(regenerate)
    assert stolen.do(everything) == {}
    assert visitor.do(lambda: (everything(), sid())) == ({"a": 1}, name)


def test_regenerating_an_empty_session_does_nothing(visitor: Visitor, store: CountingStore) -> None:
    visitor.do(regenerate)
    assert (store.counts(), visitor.cookies) == ({}, [])


# isinstance() and the attributes of app.wsgi_app.


def test_flasks_own_classes_count_it_as_one_of_theirs(visitor: Visitor) -> None:
    base = pytest.importorskip("flask_session.base", reason="pip install Flask-Session")
    kinds = (SessionMixin, SecureCookieSession, base.ServerSideSession, Session)
    assert visitor.do(lambda: [isinstance(session, kind) for kind in (*kinds, NullSession)]) == [True] * 4 + [False]


def test_flask_session_need_not_be_installed(monkeypatch: pytest.MonkeyPatch, make_app: MakeApp) -> None:
    monkeypatch.setitem(sys.modules, "flask_session.base", None)
    assert Visitor(make_app()).do(lambda: isinstance(session, SecureCookieSession))


def test_attributes_of_what_wsgi_app_was_are_still_reached() -> None:
    class Prefix:
        script_name = "/books"

        def __init__(self, app: Any) -> None:
            self.app = app
            self.is_proxied = False

        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            self.is_proxied = environ["HTTP_HOST"] == "proxy.example"
            return self.app(environ, start_response)

    app = new_app()
    app.wsgi_app = Prefix(ProxyFix(app.wsgi_app, x_for=2))  # type: ignore[method-assign]
    FlaskSessions(app, store="memory://")
    outer: Any = app.wsgi_app
    assert (outer.script_name, outer.is_proxied, outer.app.app.x_for) == ("/books", False, 2)
    Visitor(app).do(put, base_url="http://proxy.example")
    assert outer.is_proxied
    assert outer.store is app.extensions["wsgi_session"].store, "ours come first"
    with pytest.raises(AttributeError, match=r"Neither FlaskMiddleware nor the application in it .*'script_nam'"):
        outer.script_nam  # noqa: B018
    assert not hasattr(FlaskMiddleware.__new__(FlaskMiddleware), "script_name"), "its constructor may have failed"


# Templates.


def test_in_a_template_a_key_comes_before_an_attribute_that_only_ours_has(visitor: Visitor) -> None:
    def page() -> str:
        return render_template_string("{{ session.state }} {{ session.owner }} {{ session.is_new }} {{ session.new }}")

    assert visitor.do(page) == "new None True True"
    visitor.do(lambda: session.update(state="paid", owner="Ann", is_new="yes", new="key", get="key"))
    assert visitor.do(page) == "paid Ann yes False"
    assert visitor.do(lambda: (ours().state, ours().owner, ours().is_new)) == ("live", None, False)
    text = "{{ session.get('state') }} {{ session['new'] }} {{ 'state' in session }} {{ session|length }}"
    assert visitor.do(lambda: render_template_string(text)) == "paid key True 5"


@pytest.mark.parametrize("made_before", [True, False])
def test_an_imported_macro_sees_the_same_session_as_its_page(store: CountingStore, *, made_before: bool) -> None:
    app = new_app()
    app.jinja_loader = DictLoader({"m.html": "{% macro state() %}{{ session.state }}{% endmacro %}"})
    if made_before:
        app.jinja_env.filters["twice"] = lambda text: text * 2
    FlaskSessions(app, store=store)
    app.jinja_options = {"trim_blocks": True}
    visitor = Visitor(app)
    visitor.do(lambda: session.update(state="paid"))
    page = "{% from 'm.html' import state %}{{ state() }} {{ session.state }}"
    assert visitor.do(lambda: render_template_string(page)) == "paid paid"
    assert visitor.do(lambda: get_template_attribute("m.html", "state")()) == "paid"
    assert app.jinja_env.trim_blocks is not made_before, "settings made afterwards still count"


def test_a_template_that_passes_the_session_on_passes_a_session(visitor: Visitor) -> None:
    def page() -> str:
        return render_template_string("{{ kind(session) }}", kind=lambda given: isinstance(given, Session))

    assert visitor.do(page) == "True"


def test_an_application_may_have_its_own_session_in_templates(store: CountingStore) -> None:
    app = new_app()
    app.jinja_env.globals["session"] = {"state": "its own"}
    FlaskSessions(app, store=store)
    assert Visitor(app).do(lambda: render_template_string("{{ session.state }}")) == "its own"


def test_a_template_outside_of_a_request_finds_no_session(app: Flask) -> None:
    with app.app_context():
        assert render_template_string("{% if session %}yes{% else %}no{% endif %}") == "no"
        with pytest.raises(RuntimeError, match="outside of request context"):
            render_template_string("{{ session.state }}")


# The test client.

HTTPS = {"base_url": "https://localhost"}


def test_https_requests_of_the_test_client_see_what_a_transaction_wrote(visitor: Visitor) -> None:
    with visitor.client.session_transaction() as transaction:
        transaction["a"] = 1
    assert visitor.do(everything, **HTTPS) == {"a": 1}
    assert visitor.do(everything) == {"a": 1}
    with visitor.client.session_transaction() as transaction:
        transaction["b"] = 2
    assert visitor.do(everything, **HTTPS) == {"a": 1, "b": 2}


def test_a_transaction_sees_what_https_requests_did(visitor: Visitor) -> None:
    with visitor.client.session_transaction() as transaction:
        transaction["a"] = 1
    visitor.do(lambda: (login(request, ANN), session.update(b=2)), **HTTPS)
    with visitor.client.session_transaction() as transaction:
        assert dict(transaction) == {"a": 1, "user": ANN, "b": 2}
        transaction["c"] = 3
    assert visitor.do(everything, **HTTPS) == {"a": 1, "user": ANN, "b": 2, "c": 3}
    visitor.do(lambda: session.clear(), **HTTPS)
    with visitor.client.session_transaction() as transaction:
        assert dict(transaction) == {}


def test_a_transaction_that_clears_logs_out_of_both_schemes(visitor: Visitor) -> None:
    with visitor.client.session_transaction() as transaction:
        transaction["a"] = 1
    with visitor.client.session_transaction() as transaction:
        transaction.clear()
    assert [visitor.client.get_cookie(name) for name in ("session", "__Host-session")] == [None, None]
    assert (visitor.do(everything), visitor.do(everything, **HTTPS)) == ({}, {})


def test_a_transaction_sees_an_http_login_after_a_transaction(visitor: Visitor) -> None:
    with visitor.client.session_transaction() as transaction:
        transaction["a"] = 1
    visitor.do(lambda: login(request, ANN))
    with visitor.client.session_transaction() as transaction:
        assert dict(transaction) == {"a": 1, "user": ANN}
        transaction["b"] = 2
    assert visitor.do(everything) == {"a": 1, "user": ANN, "b": 2}


def test_a_permanent_transaction_is_permanent_over_https(visitor: Visitor) -> None:
    with visitor.client.session_transaction() as transaction:
        transaction["a"] = 1
        transaction.permanent = True
    cookies = [visitor.client.get_cookie(name) for name in ("session", "__Host-session")]
    assert [cookie.max_age for cookie in cookies if cookie is not None] == [31 * 86_400] * 2


@pytest.mark.parametrize("options", [{"cookie_secure": True}, {"cookie_secure": False}], ids=str)
def test_with_one_name_for_both_schemes_a_transaction_sets_one_cookie(
    make_app: MakeApp, options: dict[str, Any]
) -> None:
    app = make_app(**options)
    visitor = Visitor(app)
    with visitor.client.session_transaction() as transaction:
        transaction["a"] = 1
    assert (visitor.do(everything), visitor.do(everything, **HTTPS)) == ({"a": 1}, {"a": 1})
    with app.test_request_context("/"):
        put()
        assert len(app.process_response(app.make_response("done")).headers.getlist("Set-Cookie")) == 1


def test_https_requests_see_a_transaction_also_with_the_state_in_the_cookie(make_app: MakeApp) -> None:
    visitor = Visitor(make_app(store=CookieStore()))
    with visitor.client.session_transaction() as transaction:
        transaction["a"] = 1
    assert (visitor.do(everything), visitor.do(everything, **HTTPS)) == ({"a": 1}, {"a": 1})


def test_a_transaction_in_an_outage_sees_an_empty_session_if_that_is_wanted(
    make_app: MakeApp, store: CountingStore
) -> None:
    visitor = Visitor(make_app(on_store_error="anonymous"))
    with visitor.client.session_transaction() as transaction:
        transaction["a"] = 1
    store.fail("load")
    with visitor.client.session_transaction() as transaction:
        assert (transaction.state, dict(transaction)) == ("unavailable", {})  # type: ignore[attr-defined]


# Flask-Session's settings.


@pytest.fixture
def moved() -> Iterator[Any]:
    """Return a function that makes an application with these settings of Flask-Session, and closes its store."""
    made = []

    def make(**settings: Any) -> Visitor:
        app = new_app(**settings)
        FlaskSessions(app, clock=FakeClock())
        made.append(app.extensions["wsgi_session"])
        return Visitor(app)

    yield make
    for middleware in made:
        middleware.close()
        if isinstance(middleware.store, SQLiteStore):  # RedisStore opens a new connection.
            with pytest.raises(Exception, match="closed"):
                middleware.store.load(b"k" * 32, 0)


def test_the_folder_of_flask_session_keeps_the_sessions_in_a_folder_of_its_own(
    moved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cachelib = pytest.importorskip("cachelib", reason="pip install Flask-Session")
    given = {"SESSION_TYPE": "filesystem", "SESSION_FILE_DIR": str(tmp_path / "given"), "SESSION_KEY_PREFIX": "shop:"}
    cache = cachelib.FileSystemCache("cached", threshold=1)
    cases = [
        (given, "given"),
        ({"SESSION_TYPE": "filesystem"}, "flask_session"),
        ({"SESSION_TYPE": "cachelib"}, "flask_session"),
        ({"SESSION_TYPE": "cachelib", "SESSION_CACHELIB": cache}, "cached"),
    ]
    for settings, folder in cases:
        visitor = moved(**settings)
        visitor.do(put)
        assert visitor.do(everything) == {"a": 1}
        assert (tmp_path / folder / "wsgi_session" / "sessions.db").exists()
        assert stat.S_IMODE((tmp_path / folder / "wsgi_session").stat().st_mode) == 0o700
        assert visitor.do(lambda: get_session(request).state) == "live"
    for number in range(3):
        # An older process still has its sessions there, and makes room for new ones.
        cache.set(str(number), {})
    assert visitor.do(everything) == {"a": 1}


def test_flask_session_cleanup_removes_expired_sessions(tmp_path: Path, clock: FakeClock) -> None:
    def rows() -> int:
        with closing(sqlite3.connect(tmp_path / "wsgi_session" / "sessions.db")) as database:
            found: tuple[int] = database.execute("SELECT count(*) FROM sessions").fetchone()
        return found[0]

    def clean_up() -> int:
        return site.test_cli_runner().invoke(args=["session_cleanup"]).exit_code

    site = new_app(SESSION_TYPE="filesystem", SESSION_FILE_DIR=str(tmp_path))
    FlaskSessions(site, clock=clock)
    with site.extensions["wsgi_session"]:
        Visitor(site).do(put)
        clock.advance(30 * 86_400)
        Visitor(site).do(put)
        assert (clean_up(), rows()) == (0, 2)
        clock.advance(2 * 86_400)
        assert (clean_up(), rows()) == (0, 1)


def test_flask_session_cleanup_has_nothing_to_do_in_redis(moved: Any) -> None:
    pytest.importorskip("redis", reason="pip install redis")
    app = moved(SESSION_TYPE="redis").app
    assert app.test_cli_runner().invoke(args=["session_cleanup"]).exit_code == 0


def test_the_cookie_is_permanent_as_with_flask_session_unless_the_settings_say_otherwise(
    moved: Any, tmp_path: Path
) -> None:
    folder = {"SESSION_TYPE": "FileSystem", "SESSION_FILE_DIR": str(tmp_path)}
    for settings, permanent in [({}, True), ({"SESSION_PERMANENT": True}, True), ({"SESSION_PERMANENT": False}, False)]:
        visitor = moved(**folder, **settings)
        visitor.do(put)
        assert ("max-age" in visitor.cookie.attributes) is permanent
    visitor = moved(**folder, WSGI_SESSION_COOKIE_PERSISTENT=False)
    visitor.do(put)
    assert "max-age" not in visitor.cookie.attributes, "ours come first"


def test_a_store_of_ours_comes_before_flask_sessions(tmp_path: Path) -> None:
    app = new_app(SESSION_TYPE="mongodb", WSGI_SESSION_STORE=f"sqlite:///{tmp_path}/ours.db")
    FlaskSessions(app)
    with app.extensions["wsgi_session"]:
        Visitor(app).do(put)
    assert (tmp_path / "ours.db").exists()


@pytest.mark.engine
@pytest.mark.parametrize("form", ["client", "url"])
def test_the_redis_client_of_flask_session_names_the_server(moved: Any, form: str) -> None:
    redis = pytest.importorskip("redis", reason="pip install redis")
    prefix = f"moved-{next(numbers)}:"
    client = redis.Redis.from_url(valkey())
    settings = {"SESSION_REDIS": client, "SESSION_KEY_PREFIX": prefix} if form == "client" else {}
    visitor = moved(**{"SESSION_TYPE": "redis", "SESSION_REDIS": f"{valkey()}?prefix={prefix}", **settings})
    visitor.do(put)
    assert visitor.do(everything) == {"a": 1}
    assert [key[: len(prefix)] for key in client.scan_iter(f"{prefix}*")] == [prefix.encode()]
    client.close()


def test_redis_without_a_client_is_the_one_on_this_machine(moved: Any) -> None:
    pytest.importorskip("redis", reason="pip install redis")
    for settings in ({}, {"SESSION_KEY_PREFIX": "a&b=é:"}):
        visitor = moved(SESSION_TYPE="redis", **settings)
        assert type(visitor.app.extensions["wsgi_session"].store).__name__ == "RedisStore"


def test_flask_sqlalchemy_names_the_database(moved: Any, tmp_path: Path) -> None:
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy", reason="pip install Flask-SQLAlchemy")
    database = flask_sqlalchemy.SQLAlchemy()
    uri = f"sqlite:///{tmp_path}/shop.db"

    app = new_app(SQLALCHEMY_DATABASE_URI=uri, SESSION_TYPE="sqlalchemy", SESSION_SQLALCHEMY=database)
    with pytest.raises(ConfigError, match=r"init_app\(app\) before FlaskSessions"):
        FlaskSessions(app)
    database.init_app(app)
    FlaskSessions(app)
    with app.extensions["wsgi_session"]:
        Visitor(app).do(put)
    assert (tmp_path / "shop-sessions.db").exists(), "the application's transactions do not lock the sessions"


@pytest.mark.engine
def test_flask_sqlalchemy_names_a_database_on_a_server(moved: Any) -> None:
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy", reason="pip install Flask-SQLAlchemy")
    from tests.support.servers.shared import postgres

    database = flask_sqlalchemy.SQLAlchemy()
    app = new_app(
        SQLALCHEMY_BINDS={"sessions": postgres().replace("postgresql://", "postgresql+psycopg://")},
        SESSION_SQLALCHEMY_BIND_KEY="sessions",
        SESSION_TYPE="sqlalchemy",
        SESSION_SQLALCHEMY=database,
    )
    database.init_app(app)
    FlaskSessions(app)
    with app.extensions["wsgi_session"]:
        visitor = Visitor(app)
        visitor.do(put)
        assert visitor.do(everything) == {"a": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SESSION_TYPE": "memcached"}, r"SESSION_TYPE='memcached': .*WSGI_SESSION_STORE.*sqlite:///sessions\.db"),
        ({"SESSION_TYPE": "mongodb"}, r"SESSION_TYPE='mongodb': .*redis://HOST:6379/0"),
        ({"SESSION_TYPE": "cachelib", "SESSION_CACHELIB": object()}, r"SESSION_TYPE='cachelib'"),
        ({"SESSION_TYPE": "sqlalchemy"}, r"without SESSION_SQLALCHEMY"),
        ({"SESSION_TYPE": "null"}, r"^store is missing"),
        ({"SESSION_TYPE": None}, r"^store is missing"),
    ],
    ids=name_of,
)
def test_a_setting_that_names_no_store_of_ours_is_an_error_that_says_what_to_write(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        FlaskSessions(new_app(**settings))


def test_a_database_in_memory_keeps_no_sessions() -> None:
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy", reason="pip install Flask-SQLAlchemy")
    database = flask_sqlalchemy.SQLAlchemy()
    app = new_app(SQLALCHEMY_DATABASE_URI="sqlite://", SESSION_TYPE="sqlalchemy", SESSION_SQLALCHEMY=database)
    database.init_app(app)
    with pytest.raises(ConfigError, match="in memory"):
        FlaskSessions(app)
