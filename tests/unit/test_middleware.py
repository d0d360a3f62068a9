"""``SessionMiddleware(...)``: the effect of each option, and the refusal of a wrong one at construction."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.names import name_of
from tests.support.requests import make_environ, session_in
from tests.support.site import ANN, SECRET, Browser, Site
from wsgi_session import ConfigError, SessionMiddleware, SessionTooLarge, StoreUnavailable, login, user_or_none
from wsgi_session.config.keygen import new_secret
from wsgi_session.middleware import filter_app_factory
from wsgi_session.stores import MemoryStore, Record, SQLiteStore, Store
from wsgi_session.testing.clock import FakeClock
from wsgi_session.testing.planting import plant, read

TELLTALE = "tell-tale-9f3a" * 2
DAY = timedelta(days=1)


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


def wrap(**options: Any) -> SessionMiddleware:
    return SessionMiddleware(application, **{"secret": SECRET, "store": MemoryStore(), **options})


def write(environ: dict[str, Any]) -> None:
    environ["session"]["a"] = 1


def set_cookies(browser: Browser) -> list[str]:
    return browser.answer.all("Set-Cookie")


class Down(MemoryStore):
    def load(self, key: bytes, now: float) -> Record | None:
        raise StoreUnavailable("the engine does not answer")


# Wrong options.

WRONG: dict[str, list[Any]] = {
    "secret": [None, "", TELLTALE, [SECRET] * 5, [SECRET, TELLTALE], "secret" + TELLTALE * 2],
    "store": [None, "", 5, "nowhere", "gopher://x", "sqlite", MemoryStore, Path("a.db")],
    "encrypt": ["yes", None, 1, "Accept-plain"],
    "environ_key": ["", None, 5, b"session"],
    "cookie_name": ["", "a b", "a;b", "sid\r\n", None, 5, "__host-a", "__Secure-a"],
    "namespace": ["shop", 5, False],
    "cookie_path": ["", "a", "/a;b", "/a b", None],
    "cookie_domain": ["", "a b", "a;b", 5],
    "cookie_secure": ["always", None, 1, "True"],
    "cookie_samesite": ["lax", None, True, "None"],
    "cookie_partitioned": ["yes", None, 1, True],
    "cookie_persistent": ["yes", None, 1],
    "transport": ["", "headers", None, True, ["cookie"]],
    "transport_header": ["", "a b", "a_b", "é", "Session-Token", None, 5],
    "idle_timeout": [0, -1, None, "15m", float("nan"), float("inf"), timedelta(0), True],
    "absolute_timeout": [0, -1, "15m", float("nan"), float("inf"), timedelta(-1), False],
    "anonymous_timeout": [0, -1, "15m", float("nan"), timedelta(0), False, timedelta(days=31)],
    "touch_interval": [0, -1, "15m", float("nan"), timedelta(0)],
    "max_size": [0, -1, 1.5, "1MB", None, True],
    "max_sessions": [0, -1, 1.5, "5", True],
    "describe": ["mine:name", 5, False],
    "on_store_error": ["", "ignore", None, True],
    "validate": ["mine:check", 5, False],
    "adopt": ["flask", 5, False, []],
    "validate_every": [0, -1, "15m", float("nan"), timedelta(minutes=1)],
    "outage_page": ["<h1>Later</h1>", 5, False],
    "experimental_device_bound": ["", "device", "/", "/a/", "/a b", "/a//b", "/é", "/a\n", None, 5],
    "on_event": ["mine:count", 5, False],
    "report_store_calls": ["yes", None, 1],
    "clock": [None, 5, "time.time"],
}


def test_every_option_has_its_wrong_values() -> None:
    parameters = inspect.signature(SessionMiddleware.__init__).parameters
    assert set(WRONG) == {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option, values in WRONG.items() for value in values],
    ids=lambda value: repr(value)[:24],
)
def test_a_wrong_option_is_named_at_construction_with_what_to_give_instead(option: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        wrap(**{option: value})
    said = str(caught.value)
    assert isinstance(caught.value, ValueError)
    # The message for a URL with an unknown scheme does not name the option, but contains the word "store".
    assert option in said, said
    assert TELLTALE not in said
    assert TELLTALE not in repr(caught.value.__cause__)
    assert re.search(r"[Gg]ive|[Ww]rite|Make|The options are|Add cookie_secure=True", said), said


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option, values in WRONG.items() if option not in ("secret", "store") for value in values],
    ids=lambda value: repr(value)[:24],
)
def test_the_value_of_a_wrong_option_is_shown_unless_it_is_secret(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(value))):
        wrap(**{option: value})


@pytest.mark.parametrize("app", [None, "app", b"", 5, [application]], ids=name_of)
def test_what_is_no_application_is_refused(app: Any) -> None:
    with pytest.raises(ConfigError, match=r"app is .*: give (a WSGI application|the application itself)"):
        SessionMiddleware(app, secret=SECRET, store=MemoryStore())


def test_secret_and_store_have_no_default_and_nothing_is_positional() -> None:
    parameters = inspect.signature(SessionMiddleware).parameters
    assert parameters["secret"].default is parameters["store"].default is inspect.Parameter.empty
    assert {name for name, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY} == {"app"}


def test_a_wrong_option_opens_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("wsgi_session.middleware.open_store", opened.append)
    with pytest.raises(ConfigError):
        wrap(store=f"sqlite:///{tmp_path}/a.db", max_size=0)
    assert opened == []


# The effect of each option.


def test_environ_key_is_where_the_session_is() -> None:
    browser = Site(environ_key="shop.session").browser()
    browser.call(lambda environ: environ["shop.session"].update(a=1))
    assert browser.call(lambda environ: (dict(environ["shop.session"]), "session" in environ)) == ({"a": 1}, False)


@pytest.mark.parametrize(
    ("options", "scheme", "expected"),
    [
        ({}, "http", r"sid=[\w.-]{87}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax"),
        ({}, "https", r"__Host-sid=[\w.-]{87}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax; Secure"),
        ({"cookie_secure": True}, "http", r"__Host-sid=[\w.-]{87}; .*; Secure"),
        ({"cookie_secure": False}, "https", r"sid=[\w.-]{87}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax"),
        ({"cookie_name": "shop"}, "http", r"shop=.*"),
        ({"cookie_path": "/shop"}, "http", r"sid=.*; Path=/shop; .*"),
        ({"cookie_path": "/shop"}, "https", r"__Secure-sid=.*; Path=/shop; .*; Secure"),
        ({"cookie_domain": "example.com"}, "https", r"__Secure-sid=.*; Domain=example.com; .*; Secure"),
        ({"cookie_samesite": "Strict"}, "http", r".*; SameSite=Strict"),
        ({"cookie_samesite": "None", "cookie_secure": True}, "http", r".*; SameSite=None; Secure"),
        ({"cookie_partitioned": True, "cookie_secure": True}, "https", r"__Host-.*; Secure; Partitioned"),
        ({"cookie_persistent": False}, "http", r"sid=[\w.-]{87}; Path=/; HttpOnly; SameSite=Lax"),
        ({"idle_timeout": 900}, "http", r"sid=.*; Max-Age=900; .*"),
        ({"idle_timeout": timedelta(minutes=15)}, "http", r"sid=.*; Max-Age=900; .*"),
        ({"absolute_timeout": 60}, "http", r"sid=.*; Max-Age=60; .*"),
        ({"idle_timeout": 999 * DAY, "absolute_timeout": None}, "http", r"sid=.*; Max-Age=34560000; .*"),
    ],
    ids=repr,
)
def test_the_cookie_is_as_the_options_say(options: dict[str, Any], scheme: str, expected: str) -> None:
    browser = Site(clock=FakeClock(), **options).browser()
    request = {"wsgi.url_scheme": scheme, "SCRIPT_NAME": "", "PATH_INFO": options.get("cookie_path", "/")}
    browser.call(write, make_environ(**request))
    (cookie,) = set_cookies(browser)
    assert re.fullmatch(expected, cookie), cookie
    assert browser.call(lambda environ: session_in(environ)["a"], make_environ(**request)) == 1


@pytest.mark.parametrize(("secure", "scheme"), [("auto", "https"), (True, "http")])
def test_where_the_cookie_is_secure_the_plain_name_is_not_looked_at(secure: Any, scheme: str) -> None:
    browser = Site(cookie_secure=secure).browser()
    browser.call(write, make_environ(**{"wsgi.url_scheme": scheme}))
    browser.header = browser.header.removeprefix("__Host-")
    seen = browser.call(lambda environ: session_in(environ).state, make_environ(**{"wsgi.url_scheme": scheme}))
    assert seen == "new"


def test_the_prefixed_name_is_not_looked_at_over_http() -> None:
    browser = Site().browser()
    browser.call(write)
    browser.header = f"__Host-{browser.header}"
    assert browser.call(lambda environ: session_in(environ).state) == "new"


def test_a_session_ends_idle_or_at_its_end() -> None:
    clock = FakeClock()
    browser = Site(clock=clock, idle_timeout=DAY, absolute_timeout=2 * DAY, touch_interval=1).browser()
    browser.call(write)
    for _ in range(3):
        clock.advance(DAY / 2)
        assert browser.call(lambda environ: dict(session_in(environ))) == {"a": 1}
    clock.advance(DAY / 2)
    assert browser.call(lambda environ: session_in(environ).state) == "unknown"

    browser.call(write)
    clock.advance(DAY)
    assert browser.call(lambda environ: session_in(environ).state) == "unknown"


def test_without_an_absolute_timeout_an_active_session_lives_for_years() -> None:
    clock = FakeClock()
    browser = Site(clock=clock, absolute_timeout=None).browser()
    browser.call(write)
    for _ in range(50):
        clock.advance(29 * DAY)
        assert browser.call(lambda environ: dict(session_in(environ))) == {"a": 1}


@pytest.mark.parametrize(
    ("interval", "due"), [(None, timedelta(days=1)), (60, timedelta(seconds=60)), (5 * DAY, 5 * DAY)]
)
def test_activity_is_noted_once_in_the_touch_interval(interval: Any, due: timedelta) -> None:
    clock = FakeClock()
    browser = Site(clock=clock, touch_interval=interval).browser()
    browser.call(write)
    clock.advance(due - timedelta(seconds=1))
    browser.call(lambda environ: session_in(environ).get("a"))
    assert set_cookies(browser) == []
    clock.advance(1)
    browser.call(lambda environ: session_in(environ).get("a"))
    assert len(set_cookies(browser)) == 1


def test_data_over_max_size_is_refused_with_the_largest_keys_and_the_record_stays() -> None:
    browser = Site(max_size=1000).browser()
    browser.call(write)
    with pytest.raises(SessionTooLarge) as caught:
        browser.call(lambda environ: session_in(environ).update(b="x" * 600, c=["y" * 500], d=1))
    error = caught.value
    assert error.limit == 1000
    assert 1100 < error.size < 1150
    assert [name for name, _ in error.largest] == ["b", "c", "d"]
    assert "Largest keys: b (603 bytes), c (50" in str(error)
    assert browser.call(lambda environ: dict(session_in(environ))) == {"a": 1}


def test_no_line_break_of_a_key_is_in_the_refusal_of_too_much_data() -> None:
    """Servers log exceptions, and a key may come from a client (CVE-2025-25184)."""
    with pytest.raises(SessionTooLarge) as caught:
        Site(max_size=100).browser().call(lambda environ: session_in(environ).update({"a\nERROR forged": "x" * 600}))
    assert str(caught.value).isprintable(), str(caught.value)
    assert caught.value.largest[0][0] == "a\nERROR forged"


def test_data_of_exactly_max_size_is_kept() -> None:
    with pytest.raises(SessionTooLarge) as caught:
        Site(max_size=1).browser().call(write)
    browser = Site(max_size=caught.value.size).browser()
    browser.call(write)
    assert browser.call(lambda environ: dict(session_in(environ))) == {"a": 1}


def test_on_store_error_fail_answers_503_and_anonymous_an_empty_session() -> None:
    def look(environ: dict[str, Any]) -> str:
        return session_in(environ).state

    cookie = plant(Site().middleware, {"a": 1})
    failing = Site(Down(), on_store_error="fail").browser()
    failing.header = cookie
    assert failing.call(look) is None
    assert (failing.answer.status, dict(failing.answer.headers)["Retry-After"]) == ("503 Service Unavailable", "5")
    lenient = Site(Down(), on_store_error="anonymous").browser()
    lenient.header = cookie
    assert lenient.call(look) == "unavailable"
    assert lenient.answer.status == "200 OK"


def test_validate_is_called_once_per_request_with_a_login_and_false_ends_the_session() -> None:
    asked: list[Any] = []
    answers = iter([True, False])

    def check(session: Any) -> bool:
        asked.append(dict(session))
        return next(answers)

    browser = Site(validate=check).browser()
    browser.call(write)
    browser.call(lambda environ: session_in(environ).get("a"))
    assert asked == [], "an anonymous visitor was asked about"
    browser.call(lambda environ: login(environ, ANN))
    assert browser.call(lambda environ: (user_or_none(environ), session_in(environ).get("a"))) == (ANN, 1)
    assert asked == [{"a": 1, "user": ANN}]
    assert browser.call(lambda environ: (user_or_none(environ), session_in(environ).state)) == (None, "destroyed")
    assert "Max-Age=0" in set_cookies(browser)[0]
    assert browser.call(lambda environ: dict(session_in(environ))) == {}


def test_on_event_hears_what_happens_and_no_secret_of_it() -> None:
    heard: list[tuple[str, Any]] = []
    browser = Site(on_event=lambda name, data: heard.append((name, data))).browser()
    browser.call(lambda environ: login(environ, ANN))
    token = browser.header.partition("=")[2].partition(".")[0]
    browser.call(lambda environ: session_in(environ).destroy())
    assert [name for name, _ in heard] == ["logged_in", "created", "destroyed"]
    assert len(token) == 43
    assert token not in repr(heard)


def test_several_secrets_open_old_cookies_and_renew_them() -> None:
    store = MemoryStore()
    old, new = new_secret(), new_secret()
    cookie = plant(wrap(secret=old, store=store), {"a": 1})
    assert read(wrap(secret=new, store=store), cookie) == {}
    both = wrap(secret=[new, old], store=store)
    assert read(both, cookie) == {"a": 1}


def test_two_middlewares_of_different_names_over_one_store_share_nothing() -> None:
    store = MemoryStore()
    shop, blog = wrap(store=store, cookie_name="shop"), wrap(store=store, cookie_name="blog")
    cookie = plant(shop, {"user": ANN})
    assert read(blog, cookie.replace("shop=", "blog=")) == {}
    assert (shop.sessions.count(), blog.sessions.count()) == (1, 0)
    assert (len(shop.sessions.of(ANN)), len(blog.sessions.of(ANN))) == (1, 0)


# Attributes, closing and nesting.


def test_the_wrapped_application_and_the_store_are_at_hand_and_no_secret_is_shown() -> None:
    store = MemoryStore()
    middleware = wrap(store=store, cookie_name="shop")
    assert middleware.app is application
    assert middleware.store is store
    assert repr(middleware) == "<SessionMiddleware 'shop' over MemoryStore>"
    assert SECRET not in repr(vars(middleware))


def test_a_store_opened_from_a_url_is_closed_with_the_middleware(tmp_path: Path) -> None:
    with wrap(store=f"sqlite:///{tmp_path}/a.db") as middleware:
        assert isinstance(middleware.store, SQLiteStore)
        assert read(middleware, plant(middleware, {"a": 1})) == {"a": 1}
        closed = watch_close(middleware.store)
    assert closed == [True]


def test_a_ready_store_is_its_builders_to_close() -> None:
    store = MemoryStore()
    closed = watch_close(store)
    with wrap(store=store):
        pass
    assert closed == []


def watch_close(store: Store) -> list[bool]:
    closed: list[bool] = []
    close = store.close

    def watched() -> None:
        closed.append(True)
        close()

    store.close = watched  # type: ignore[method-assign]
    return closed


def test_a_relative_path_is_made_absolute_at_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with wrap(store="sqlite:///a.db") as middleware:
        monkeypatch.chdir("/")
        plant(middleware, {"a": 1})
    assert (tmp_path / "a.db").exists()


def test_memory_refuses_to_serve_several_processes_and_names_what_does() -> None:
    middleware = wrap()
    with pytest.raises(ConfigError, match=r'MemoryStore works in one process only.*Use store="sqlite:///sessions.db"'):
        middleware({**make_environ(), "wsgi.multiprocess": True}, lambda *args: print)
    assert middleware({**make_environ(), "wsgi.multiprocess": False}, lambda *args: print) == [b"done"]


def test_sqlite_serves_several_processes(tmp_path: Path) -> None:
    with wrap(store=f"sqlite:///{tmp_path}/a.db") as middleware:
        assert middleware({**make_environ(), "wsgi.multiprocess": True}, lambda *args: print) == [b"done"]


def test_two_middlewares_at_one_key_are_refused_by_both_names() -> None:
    inner = wrap(cookie_name="inner")
    outer = SessionMiddleware(inner, secret=SECRET, store=MemoryStore(), cookie_name="outer")
    with pytest.raises(ConfigError, match=r"cookie_name='outer'.*cookie_name='inner'.*another environ_key"):
        outer(make_environ(), lambda *args: print)


@pytest.mark.parametrize("environ_key", ["session", "other"])
def test_two_middlewares_with_one_cookie_name_are_refused_whatever_their_keys(environ_key: str) -> None:
    """Each would overwrite the other's cookie."""
    inner = wrap(environ_key=environ_key)
    outer = SessionMiddleware(inner, secret=SECRET, store=MemoryStore())
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"cookie_name='sid'.*another cookie_name"):
            outer(make_environ(), lambda *args: print)


def test_two_middlewares_at_two_keys_both_serve() -> None:
    both: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        both[:] = [environ["session"], environ["other"]]
        return application(environ, start_response)

    inner = SessionMiddleware(app, secret=SECRET, store=MemoryStore(), cookie_name="b", environ_key="other")
    outer = SessionMiddleware(inner, secret=SECRET, store=MemoryStore())
    outer(make_environ(), lambda *args: print)
    assert both[0] is not both[1]
    assert [session.state for session in both] == ["new", "new"]


def test_an_environ_that_is_used_again_gets_a_fresh_session() -> None:
    seen: list[Any] = []
    middleware = SessionMiddleware(
        lambda environ, start_response: (seen.append(environ["session"]), application(environ, start_response))[1],
        secret=SECRET,
        store=MemoryStore(),
    )
    environ = make_environ()
    middleware(environ, lambda *args: print)
    middleware(environ, lambda *args: print)
    assert seen[0] is not seen[1]


def test_another_object_at_the_key_is_replaced() -> None:
    """For example another library's session, or a test's dict."""
    browser = Site().browser()
    assert browser.call(lambda environ: session_in(environ).state, make_environ(session={"stale": 1})) == "new"


# From text.

FILE = {
    "session.secret": SECRET,
    "session.store": "memory://",
    "session.cookie_name": "shop",
    "session.cookie_secure": "true",
    "session.idle_timeout": "15m",
    "session.absolute_timeout": "none",
    "session.max_size": "4096",
    "other.key": "left alone",
}


def from_environ(monkeypatch: pytest.MonkeyPatch) -> SessionMiddleware:
    for name, text in FILE.items():
        monkeypatch.setenv(name.replace("session.", "WSGI_SESSION_").upper(), text)
    return SessionMiddleware.from_environ(application)


WAYS: dict[str, Callable[[pytest.MonkeyPatch], SessionMiddleware]] = {
    "from_config": lambda patch: SessionMiddleware.from_config(application, FILE),
    "prefix": lambda patch: SessionMiddleware.from_config(
        application, {name.replace("session.", "my_"): text for name, text in FILE.items()}, prefix="my_"
    ),
    "from_environ": from_environ,
    "paste": lambda patch: filter_app_factory(
        application,
        {"here": "/somewhere"},
        **{name.removeprefix("session."): text for name, text in FILE.items() if name.startswith("session.")},
    ),
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def configured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionMiddleware]:
    with request.param(monkeypatch) as middleware:
        yield middleware


def test_text_sets_every_option_that_arguments_set(configured: SessionMiddleware) -> None:
    assert configured.app is application
    assert isinstance(configured.store, MemoryStore)
    settings = configured._settings
    lifetime = settings.lifetime
    assert (settings.namespace, lifetime.idle, lifetime.absolute) == ("shop", 900.0, None)
    assert settings.max_size == 4096
    cookie = plant(configured, {"a": 1})
    assert cookie.startswith("__Host-shop=")
    assert read(configured, cookie) == {"a": 1}


@pytest.mark.parametrize("prefix", ["session.", "", "x_"])
def test_an_unknown_entry_with_the_prefix_is_an_error(prefix: str) -> None:
    mapping = {f"{prefix}secret": SECRET, f"{prefix}store": "memory://", f"{prefix}type": "file"}
    with pytest.raises(ConfigError, match=rf"^{re.escape(prefix)}type is not an option here: write store with a URL"):
        SessionMiddleware.from_config(application, mapping, prefix=prefix)


def test_the_environments_names_are_upper_case_and_its_prefix_can_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    monkeypatch.setenv("SHOP_STORE", "memory://")
    monkeypatch.setenv("SHOP_COOKIE_NAME", "shop")
    with SessionMiddleware.from_environ(application, prefix="SHOP_") as middleware:
        assert plant(middleware, {}).startswith("shop=")
    monkeypatch.setenv("SHOP_COOKIENAME", "shop")
    with pytest.raises(ConfigError, match=r"SHOP_COOKIENAME: did you mean SHOP_COOKIE_NAME\?"):
        SessionMiddleware.from_environ(application, prefix="SHOP_")


def test_a_weak_secret_in_the_environment_is_refused_unprinted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGI_SESSION_SECRET", TELLTALE)
    monkeypatch.setenv("WSGI_SESSION_STORE", "memory://")
    with pytest.raises(ConfigError) as caught:
        SessionMiddleware.from_environ(application)
    assert TELLTALE not in str(caught.value)


def test_an_environment_that_says_nothing_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WSGI_SESSION_SECRET", raising=False)
    with pytest.raises(ConfigError, match="WSGI_SESSION_SECRET is missing"):
        SessionMiddleware.from_environ(application)


def test_a_touch_interval_that_would_log_active_visitors_out_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"touch_interval=900 is not shorter than idle_timeout=900"):
        SessionMiddleware(
            lambda environ, start_response: [],
            secret=new_secret(),
            store="memory://",
            idle_timeout=900,
            touch_interval=900,
        )


# Device-bound logins.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transport": "header"}, r"transport='header' does not read\. Give transport='both'"),
        ({"store": "cookie://"}, r"cookie:// cannot bind a session.*Give a store that keeps sessions"),
        ({"cookie_domain": "example.com"}, r"experimental_device_bound and cookie_domain: .*Leave cookie_domain out"),
        ({"cookie_partitioned": True, "cookie_secure": True}, r"Leave cookie_partitioned out"),
    ],
)
def test_what_cannot_be_bound_to_a_device_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrap(experimental_device_bound=True, **options)


def test_without_cryptography_device_bound_logins_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wsgi_session.cookies.proofs", None)
    with pytest.raises(ConfigError, match=r"experimental_device_bound .*pip install 'wsgi-session\[crypto\]'"):
        wrap(experimental_device_bound=True)


def test_the_wrapped_application_can_be_replaced_with_device_bound_logins_too() -> None:
    middleware = wrap(experimental_device_bound="/auth")
    assert middleware.app is application
    seen: list[str] = []

    def other(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        return application(environ, start_response)

    middleware.app = other
    Client(middleware).open("/page")
    assert seen == ["/page"]
