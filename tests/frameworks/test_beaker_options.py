"""Beaker's configuration: what is translated, what is accepted without an effect, and what is refused."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paste.deploy import loadfilter

from tests.frameworks.beaker_site import SECRET, BeakerSite, Visitor
from tests.support import ROOT
from tests.support.client import Answer
from tests.support.pages import python_of, section
from wsgi_session import ConfigError
from wsgi_session.integrations.beaker import SessionMiddleware
from wsgi_session.integrations.beaker_given import Given
from wsgi_session.integrations.beaker_secret import secret_option
from wsgi_session.middleware import internals_of
from wsgi_session.stores import MemoryStore, SQLiteStore
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.testing.harness import run_concurrently

DAY = 86_400


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


def _saving(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    session = environ["beaker.session"]
    session["count"] = session.get("count", 0) + 1
    session.save()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(session["count"]).encode()]


def made(**options: Any) -> SessionMiddleware:
    """Return a middleware, closed already: to look at."""
    middleware = SessionMiddleware(app, {"session.secret": SECRET, **options})
    middleware.close()
    return middleware


def save(session: Any) -> None:
    session["cart"] = ["tea"]
    session.save()


def answer_of(**options: Any) -> Answer:
    """Return the answer to the first request that saves."""
    site = BeakerSite(**options)
    visitor = site.visitor()
    visitor.do(save)
    site.middleware.close()
    return visitor.answer


# Names.


@pytest.mark.parametrize("prefix", ["session.", "beaker.session."])
def test_options_are_read_under_both_prefixes_and_other_keys_are_ignored(tmp_path: Path, prefix: str) -> None:
    config = {f"{prefix}key": "shop", f"{prefix}secret": SECRET, "cache.type": "file", "debug": "true", "here": "/"}
    middleware = SessionMiddleware(app, config)
    with middleware:
        assert internals_of(middleware).backend.settings.namespace == "shop"
        assert (middleware.app, middleware.wrap_app) == (app, app)


def test_arguments_take_precedence_and_need_no_prefix() -> None:
    config = {"session.key": "shop", "session.secret": SECRET}
    for arguments in ({"key": "cart"}, {"session.key": "cart"}):
        with SessionMiddleware(app, config, **arguments) as middleware:
            assert internals_of(middleware).backend.settings.namespace == "cart"


def test_the_old_prefix_is_read_with_a_warning() -> None:
    config = {"session_secret": SECRET, "session_of_something_else": 1}
    with pytest.warns(DeprecationWarning, match=r"Write session\.secret in place of session_secret"):
        SessionMiddleware(app, config).close()


def test_without_a_name_the_cookie_has_beakers() -> None:
    (cookie,) = answer_of().cookies
    assert cookie.name == "beaker.session.id"
    assert cookie.attributes == {"path": "/", "httponly": True, "samesite": "Lax"}


def test_the_session_is_at_the_given_environ_key_and_its_maker_at_beakers() -> None:
    seen = []

    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["shop.session"].accessed(), callable(environ["beaker.get_session"])))
        return app(environ, start_response)

    config = {"session.secret": SECRET}
    for middleware in (
        SessionMiddleware(page, config, "shop.session"),
        SessionMiddleware(page, {**config, "session.environ_key": "shop.session"}),
    ):
        with middleware:
            Visitor(middleware, "http").open("/")
    assert seen == [(False, True)] * 2


def test_webtest_gets_the_session_of_the_request() -> None:
    variables: dict[str, Any] = {}
    site = BeakerSite(webtest_varname="session")
    with site.middleware:
        visitor = site.visitor()
        environ: dict[str, Any] = {"paste.testing_variables": variables}
        visitor.visit(lambda environ: save(environ["beaker.session"]), **environ)
        assert variables["session"].handle is not None
        assert visitor.do(dict) == {"cart": ["tea"]}


def test_none_is_the_same_as_leaving_an_option_out() -> None:
    nothing = dict.fromkeys(
        ("type", "data_dir", "timeout", "cookie_domain", "samesite", "secure", "auto", "validate_key")
    )
    middleware = made(**{f"session.{name}": value for name, value in nothing.items()})
    assert isinstance(middleware.store, MemoryStore)


# Options of the cookie, and times.


def test_secure_httponly_samesite_and_path_are_those_of_the_cookie() -> None:
    given = {"secure": "yes", "httponly": "true", "samesite": "strict", "cookie_path": "/shop"}
    cookie = BeakerSite(**given).visitor()
    cookie.do(save, path="/shop")
    (sent,) = cookie.answer.cookies
    assert sent.name == "__Secure-beaker.session.id"
    assert sent.attributes == {"path": "/shop", "secure": True, "httponly": True, "samesite": "Strict"}


def test_the_domain_is_that_of_the_cookie() -> None:
    (cookie,) = answer_of(cookie_domain="example.com").cookies
    assert cookie.attributes["domain"] == "example.com"


@pytest.mark.parametrize(
    ("expires", "max_age"),
    [
        (True, None),
        ("true", None),
        ("T", None),
        (False, 400 * DAY),
        ("off", 400 * DAY),
        (300, 300),
        ("300", 300),
        (timedelta(days=1), DAY),
    ],
)
def test_cookie_expires_says_how_long_the_browser_keeps_the_cookie(expires: object, max_age: int | None) -> None:
    (cookie,) = answer_of(cookie_expires=expires).cookies
    assert cookie.attributes.get("max-age") == (None if max_age is None else str(max_age))


def test_a_duration_in_cookie_expires_ends_the_session_however_active_it_is() -> None:
    site = BeakerSite(cookie_expires=3600, timeout=1800)
    visitor = site.visitor()
    with site.middleware:
        visitor.do(save)
        for _ in range(3):
            site.clock.advance(1100)
            assert visitor.do(dict) == {"cart": ["tea"]}
        site.clock.advance(1100)
        assert visitor.do(dict) == {}


@pytest.mark.parametrize("timeout", [1800, "1800"])
def test_timeout_ends_a_session_without_activity(timeout: object) -> None:
    site = BeakerSite(timeout=timeout)
    visitor = site.visitor()
    with site.middleware:
        visitor.do(save)
        site.clock.advance(1700)
        assert visitor.do(dict) == {"cart": ["tea"]}
        site.clock.advance(1799)
        assert visitor.do(dict) == {"cart": ["tea"]}
        site.clock.advance(1801)
        assert visitor.do(dict) == {}


def test_without_a_timeout_a_session_lasts_400_days() -> None:
    site = BeakerSite()
    visitor = site.visitor()
    with site.middleware:
        visitor.do(save)
        site.clock.advance(399 * DAY)
        assert visitor.do(dict) == {"cart": ["tea"]}


# Secrets.


def test_the_longest_of_beakers_secrets_signs() -> None:
    config = {"session.type": "cookie", "session.encrypt_key": SECRET, "session.validate_key": True}
    with SessionMiddleware(app, config) as middleware:
        assert repr(middleware).startswith("<SessionMiddleware")


def test_a_secret_with_spaces_is_one_secret_and_a_list_is_several() -> None:
    for secret in ("one two three " * 3, [SECRET, SECRET[::-1]], (SECRET,)):
        made(**{"session.secret": secret})


@pytest.mark.parametrize(
    "given",
    [
        {"type": "cookie"},
        {"type": "cookie", "validate_key": True},
        {"type": "ext:redis", "url": "redis://localhost"},
        {"store": "memory://"},
    ],
)
def test_a_missing_secret_is_named_with_the_command_that_makes_one(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"session\.secret is missing.*keygen"):
        SessionMiddleware(app, **given)


def test_a_short_secret_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="at least 32") as raised:
        SessionMiddleware(app, {"session.type": "cookie", "session.validate_key": "hoobermas"})
    assert "hoobermas" not in str(raised.value)


@pytest.mark.parametrize("given", [{}, {"secret": "blah"}, {"validate_key": True}])
def test_a_file_store_without_a_secret_makes_one_that_only_its_owner_can_read(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    options = {"data_dir": str(tmp_path / "data"), **given}
    first, second = SessionMiddleware(_saving, **options), SessionMiddleware(_saving, **options)
    with first, second:
        visitor, other = Visitor(first, "http"), Visitor(second, "http")
        assert visitor.open("/").text == "1"
        other.jar = visitor.jar
        assert other.open("/").text == "2"
    file = tmp_path / "data" / "session_secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text("ascii")) == 64
    assert sorted(path.name for path in file.parent.glob("session_secret*")) == ["session_secret"]


def test_processes_that_start_at_once_have_the_same_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def secret() -> str:
        return str(secret_option(Given({}, {"data_dir": str(tmp_path)}))["secret"][0])

    found = set(run_concurrently([secret] * 8))
    # As seen by a process that looked for the file just before another one created it.
    monkeypatch.setattr("os.path.exists", lambda path: False)
    assert {secret()} == found


def test_a_secret_that_cannot_be_stored_is_refused_with_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "session_secret").mkdir()
    with pytest.raises(ConfigError, match=r"session_secret .*Write session\.secret"):
        SessionMiddleware(app, data_dir=str(tmp_path))


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for secret in (None, SECRET):
        with pytest.raises(ConfigError, match=r"session\.data_dir='.*/file/data' cannot be created"):
            SessionMiddleware(app, data_dir=str(tmp_path / "file" / "data"), secret=secret)


def test_a_memory_store_needs_no_secret() -> None:
    with SessionMiddleware(_saving) as middleware:
        visitor = Visitor(middleware, "http")
        assert [visitor.open("/").text for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize(
    "given",
    [
        {"validate_key": SECRET, "nonsense": 1},
        {"secret": SECRET, "type": "ext:redis", "url": f"redis://:{SECRET}@localhost/0?nonsense=1"},
        {
            "secret": SECRET[::-1],
            "type": "ext:database",
            "sa_opts": {"sa.url": f"nothing://ann:{SECRET}@localhost/app"},
        },
    ],
)
def test_no_secret_and_no_password_is_in_a_traceback_that_shows_local_variables(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        SessionMiddleware(app, **given)
    frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    ours = [frame for frame in frames if "integrations" in frame.f_code.co_filename]
    assert ours
    assert SECRET not in str(raised.value) + "".join(repr(frame.f_locals) for frame in ours)


# Where the sessions are.


@pytest.mark.parametrize("kind", ["file", "dbm", None])
def test_files_become_one_sqlite_file_in_the_data_dir_which_is_created(tmp_path: Path, kind: str | None) -> None:
    folder = tmp_path / "50% of [data]" / "sessions"
    middleware = made(**{"session.type": kind, "session.data_dir": str(folder), "session.lock_dir": "/nowhere"})
    assert isinstance(middleware.store, SQLiteStore)
    assert middleware.store.path == str(folder / "sessions.db")


def test_two_processes_of_a_file_store_share_their_sessions(tmp_path: Path) -> None:
    first, second = (BeakerSite(type="file", data_dir=str(tmp_path)) for _ in range(2))
    with first.middleware, second.middleware:
        visitor, other = first.visitor(), second.visitor()
        visitor.do(save)
        other.jar = visitor.jar
        assert other.do(dict) == {"cart": ["tea"]}


def test_memory_and_cookie_are_what_they_are_called() -> None:
    assert isinstance(made(**{"session.type": "memory"}).store, MemoryStore)
    assert isinstance(made(**{"session.type": "cookie"}).store, CookieStore)


def test_redis_is_reached_by_its_url_or_client() -> None:
    redis = pytest.importorskip("redis", reason="pip install redis")
    from wsgi_session.stores.redis import RedisStore

    for given in ("redis://localhost:6399/3", "localhost:6399", redis.Redis(port=6399)):
        assert isinstance(made(**{"session.type": "ext:redis", "session.url": given}).store, RedisStore)
    assert isinstance(made(**{"session.type": "redis", "session.url": "localhost:6399"}).store, RedisStore)
    given = "redis://node-1:7001, redis://node-2:7002/"
    for name in ("urls", "url"):
        assert isinstance(made(**{"session.type": "ext:rediscluster", f"session.{name}": given}).store, RedisStore)
    with pytest.raises(ConfigError, match="RedisCluster"):
        made(**{"session.type": "ext:rediscluster", "session.urls": SimpleNamespace()})


@pytest.mark.parametrize(
    "names",
    [
        {"url": "{url}"},
        {"sa.url": "{url}", "table_name": "shop"},
        {"url": "{url}?timeout=20", "table_name": "shop", "optimistic": True},
        {"sa_opts": {"sa.url": "{url}", "sa.echo": "false"}},
        {"sa.url": "{url}", "sa.pool_recycle": "3600", "sa.echo": None},
    ],
)
def test_a_database_has_the_sessions_in_a_table_of_their_own(tmp_path: Path, names: dict[str, Any]) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="pip install 'wsgi-session[sql]'")
    url = f"sqlite:///{tmp_path}/app.db"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE shop (id INTEGER PRIMARY KEY, namespace TEXT, data BLOB)"))

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(one) for name, one in value.items()}
        return value.format(url=url) if isinstance(value, str) else value

    site = BeakerSite(type="ext:database", **filled(names))
    with site.middleware:
        visitor = site.visitor()
        visitor.do(save)
        assert visitor.do(dict) == {"cart": ["tea"]}
    expected = "wsgi_shop" if "table_name" in names else "wsgi_sessions"
    assert expected in sqlalchemy.inspect(engine).get_table_names()
    engine.dispose()


def test_sqla_has_its_sessions_in_the_bound_database(tmp_path: Path) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="pip install 'wsgi-session[sql]'")
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/app.db")
    table = sqlalchemy.Table("beaker_cache", sqlalchemy.MetaData(), sqlalchemy.Column("namespace", sqlalchemy.String))
    for more in ({}, {"table": table}):
        site = BeakerSite(type="ext:sqla", bind=engine, **more)
        with site.middleware:
            site.visitor().do(save)
    assert {"wsgi_sessions", "wsgi_beaker_cache"} <= set(sqlalchemy.inspect(engine).get_table_names())
    engine.dispose()


def test_a_schema_is_put_before_the_table() -> None:
    pytest.importorskip("sqlalchemy", reason="pip install 'wsgi-session[sql]'")
    given = {"type": "ext:database", "url": "sqlite:///app.db", "table_name": "shop", "schema_name": "no schema"}
    with pytest.raises(ConfigError, match=r"no schema\.wsgi_shop"):
        made(**{f"session.{name}": value for name, value in given.items()})


def test_a_missing_client_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wsgi_session.stores.sql", None)
    with pytest.raises(ConfigError, match=r"pip install 'wsgi-session\[sql\]'"):
        made(**{"session.type": "ext:database", "session.url": "postgresql://localhost/app"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"type": "file"}, "data_dir is missing"),
        ({"type": "ext:redis"}, "url is missing"),
        ({"type": "ext:rediscluster"}, "urls is missing"),
        ({"type": "ext:rediscluster", "urls": "redis://u:p@node-1:7001"}, r"redis\+cluster://"),
        ({"type": "ext:database"}, "url is missing"),
        ({"type": "ext:sqla"}, "bind is missing"),
        ({"type": "ext:memcached", "url": "127.0.0.1:11211"}, r"session\.type='ext:memcached'.*redis.*redis://"),
        ({"type": "ext:mongodb", "url": "mongodb://localhost"}, "ext:mongodb"),
        ({"type": "ext:google"}, "ext:google"),
        ({"type": 7}, "session.type=7"),
    ],
)
def test_a_store_that_cannot_be_found_is_refused_with_what_to_write(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**{f"session.{name}": value for name, value in given.items()})


def test_a_store_of_this_package_takes_precedence_and_stays_open() -> None:
    with MemoryStore() as store:
        middleware = made(**{"session.type": "ext:memcached", "session.url": "a:1", "session.store": store})
        assert middleware.store is store
        site = BeakerSite(store=store)
        site.visitor().do(save)
        assert site.middleware.sessions.count() == 1


# What makes no difference, and what is refused.


def test_what_makes_no_difference_is_accepted() -> None:
    given = {
        "lock_dir": "/var/lock",
        "log_file": "/var/log/sessions",
        "enabled": "false",
        "crypto_type": "cryptography",
        "encrypt_nonce_bits": "48",
        "invalidate_corrupt": "false",
        "data_serializer": "pickle",
        "save_accessed_time": "false",
        "use_cookies": "true",
        "httponly": True,
    }
    made(**{f"session.{name}": value for name, value in given.items()})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"httponly": "false"}, r"session\.httponly=False.*session_info"),
        ({"use_cookies": False}, r"session\.use_cookies=False.*beaker\.get_session"),
        ({"timeout": 60, "save_accessed_time": "no"}, r"session\.save_accessed_time=False.*timeout"),
        ({"data_serializer": "yaml"}, r"session\.data_serializer='yaml'"),
        ({"data_serializer": SimpleNamespace(loads=1, dumps=1)}, r"session\.data_serializer"),
        ({"namespace_class": object}, r"session\.namespace_class.*store"),
        ({"session_class": object}, r"session_class"),
        ({"encrypt_key": SECRET, "type": "file"}, r"session\.encrypt_key: .*not encrypted"),
        ({"id": "42"}, r"session\.id: only the server"),
        ({"cookie_expires": datetime(2038, 1, 1)}, r"session\.cookie_expires=.*timedelta"),
        ({"cookie_expires": "tomorrow"}, r"session\.cookie_expires='tomorrow'"),
        ({"secure": "maybe"}, r"session\.secure='maybe': give true or false"),
        ({"auto": 1}, r"session\.auto=1: give true or false"),
        ({"timeout": 0}, "idle_timeout=0"),
        ({"nonsense": 60}, "nonsense"),
        ({"cookie_secure": True, "samesite": "none", "key": ""}, "cookie_name"),
    ],
)
def test_what_has_no_meaning_is_refused_with_what_to_write(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**{f"session.{name}": value for name, value in given.items()})


def test_a_refusal_names_the_option_as_it_was_written() -> None:
    with pytest.raises(ConfigError, match=r"^beaker\.session\.secure='maybe'"):
        made(**{"beaker.session.secure": "maybe"})


def test_options_of_this_package_are_accepted() -> None:
    given = {"absolute_timeout": "30d", "idle_timeout": "15m", "cookie_name": "shop", "on_store_error": "anonymous"}
    settings = internals_of(made(**{f"session.{name}": value for name, value in given.items()})).backend.settings
    assert (settings.lifetime.absolute, settings.lifetime.idle, settings.namespace) == (30 * DAY, 900, "shop")
    assert settings.anonymous_in_outage


# PasteDeploy.


@pytest.mark.parametrize("names", [("session.", "session."), ("", "beaker.session.")])
def test_paste_builds_the_middleware_from_beakers_section(tmp_path: Path, names: tuple[str, str]) -> None:
    ini = tmp_path / "shop.ini"
    of_filter, of_default = names
    lines = [
        *("[DEFAULT]", f"{of_default}secret = {SECRET}"),
        *(
            "[filter:sessions]",
            "paste.filter_app_factory = wsgi_session.integrations.beaker:session_filter_app_factory",
            f"{of_filter}data_dir = %(here)s/data",
        ),
    ]
    ini.write_text("\n".join(lines))
    make: Callable[..., Any] = loadfilter(f"config:{ini}", name="sessions")
    with make(app) as middleware:
        assert isinstance(middleware, SessionMiddleware)
        assert isinstance(middleware.store, SQLiteStore)
        assert middleware.store.path == str(tmp_path / "data" / "sessions.db")


def test_the_factory_of_a_filter_wraps_an_application() -> None:
    from wsgi_session.integrations.beaker import session_filter_factory

    with session_filter_factory({"session.secret": SECRET}, **{"session.key": "shop"})(app) as middleware:
        assert middleware.app is app


def test_the_example_of_the_page_counts_its_visits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"SECRET": SECRET}
    page = ROOT / "docs" / "frameworks.md"
    exec(compile(python_of(section(page.read_text("utf-8"), "Beaker")), str(page), "exec"), names)
    with names["app"] as middleware:
        visitor = Visitor(middleware, "http")
        assert [visitor.open("/").text for _ in range(3)] == ["Visit 1", "Visit 2", "Visit 3"]
    assert (tmp_path / "data" / "sessions.db").exists()
