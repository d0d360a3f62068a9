"""No token and no secret is in tracebacks, memory, logs, pages or backups of a store.

``tests/support/leaks.py`` checks the log lines and the package's own errors in every test; the rest is here.
"""

from __future__ import annotations

import base64
import gc
import logging
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import create_engine, inspect, make_url

from tests.security.cases import DAY, OLD_SECRET
from tests.security.shop import Visitor, open_shop
from tests.support.leaks import Watch, as_shown, frames_of, is_ours
from tests.support.servers.shared import mariadb, postgres, valkey
from tests.support.site import ANN, SECRET, Browser, Site, log_in, log_out, put, read
from tests.support.stores import PROCESSES, SERVER, Kind
from wsgi_session import (
    ConfigError,
    Session,
    SessionError,
    SessionMiddleware,
    check_csrf,
    login,
    redirect_if_anonymous,
    user_email_or_none,
)
from wsgi_session.middleware import filter_app_factory
from wsgi_session.stores import MemoryStore, SQLiteStore, Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.sql.drivers import with_driver
from wsgi_session.testing.clock import FakeClock


class Refused(Exception):
    """The error that these tests raise in various places. No code handles it."""


# Tracebacks.


def shown(watch: Watch, error: BaseException) -> list[str]:
    """Return the local variables of our frames that show a token or a secret in a traceback of ``error``."""
    frames = [frame for frame in frames_of(error) if is_ours(frame)]
    assert frames, "no frame of ours: nothing is shown by this"
    return list(watch.shown_in(frames))


def broken_by(function: Callable[[Session], object], **environ: Any) -> Callable[[Site, Browser], object]:
    return lambda site, browser: browser.do(function, **environ)


def with_store_failing(method: str, function: Callable[[Session], object]) -> Callable[[Site, Browser], object]:
    def visit(site: Site, browser: Browser) -> None:
        site.clock.advance(3 * DAY)
        site.calls.fail(method, error=Refused(method))
        browser.do(function)

    return visit


def refuse(*given: object) -> Any:
    raise Refused


def refuse_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    environ["session"]["n"] = 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first"
    raise Refused


def with_server_refusing_the_headers(site: Site, browser: Browser) -> None:
    """Let the server refuse the headers, as servers that check them do."""

    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        login(environ, ANN)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    site.middleware(browser.request(page), refuse)


def with_form(function: Callable[[dict[str, Any]], object], method: str) -> Callable[[Site, Browser], object]:
    """Let the store fail while a form with the visitor's valid token is checked."""

    def visit(site: Site, browser: Browser) -> None:
        token = browser.do(lambda session: session.csrf_token).result

        def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            function(environ)
            return []

        site.calls.fail("load", error=Refused())
        body = f"csrf_token={token}".encode()
        browser.visit(
            page,
            REQUEST_METHOD=method,
            CONTENT_TYPE="application/x-www-form-urlencoded",
            CONTENT_LENGTH=str(len(body)),
            HTTP_X_CSRF_TOKEN=token,
            lint=False,
            **{"wsgi.input": BytesIO(body)},
        )

    return visit


def ask_before(helper: Callable[[dict[str, Any]], object]) -> Callable[[Site, Browser], object]:
    return with_store_failing("load", lambda session: helper({"session": session}))


BROKEN: dict[str, Callable[[Site, Browser], object]] = {
    "application": broken_by(lambda session: refuse(session.get("cart"))),
    "application, before a look": broken_by(refuse),
    "application, sending": lambda site, browser: browser.visit(refuse_late),
    "application, inside atomic": broken_by(lambda session: session.atomic(refuse)),
    "server": with_server_refusing_the_headers,
    "load": with_store_failing("load", read),
    "create": with_store_failing("create", lambda session: (session.destroy(), session.update(n=1))),
    "replace": with_store_failing("replace", put(n=1)),
    "rotate": with_store_failing("rotate", lambda session: session.rotate()),
    "login": with_store_failing("rotate", log_in(ANN)),
    "touch": with_store_failing("touch", read),
    "delete": with_store_failing("delete", log_out),
    "too much data": broken_by(put(big="x" * 2_000_000)),
    "no such value": broken_by(lambda session: session["cart"].append(object())),
    "a key that is none": broken_by(lambda session: session["nothing"]),
    "user_email_or_none": ask_before(user_email_or_none),
    "redirect_if_anonymous": ask_before(redirect_if_anonymous),
    "check_csrf": with_form(check_csrf, "POST"),
}


#: The failures that do not involve a call of the store.
BROKEN_WITHOUT_A_STORE = [name for name in BROKEN if name.startswith(("application,", "server", "too", "no", "a key"))]
BROKEN_WITHOUT_A_STORE.remove("application, inside atomic")


def check_traceback(broken: str, store: Store, clock: FakeClock, watch: Watch) -> None:
    site = Site(store, clock, secret=[SECRET, OLD_SECRET])
    browser = site.browser()
    browser.do(put(cart=[1]))
    browser.do(log_in(ANN))
    with pytest.raises((Refused, SessionError, KeyError)) as caught:
        BROKEN[broken](site, browser)
    assert shown(watch, caught.value) == []


@pytest.mark.parametrize("broken", BROKEN)
def test_no_traceback_with_locals_shows_a_token(broken: str, clock: FakeClock, tmp_path: Path, watch: Watch) -> None:
    """Whatever fails, in the application, the server or the store: no local variable of ours shows a token of the
    session. (The environ belongs to the server and contains the Cookie header, so other frames show it.)
    """
    for store in (MemoryStore(), SQLiteStore(tmp_path / "sessions.db")):
        with store:
            check_traceback(broken, store, clock, watch)


@pytest.mark.parametrize("broken", BROKEN_WITHOUT_A_STORE)
def test_no_traceback_with_locals_shows_a_sealed_cookie(broken: str, clock: FakeClock, watch: Watch) -> None:
    check_traceback(broken, CookieStore(), clock, watch)


def test_no_traceback_of_a_session_that_is_refused_shows_its_token(clock: FakeClock, watch: Watch) -> None:
    site = Site(MemoryStore(), clock, validate=refuse)
    browser = site.browser()
    browser.do(log_in(ANN))
    with pytest.raises(Refused) as caught:
        browser.do(read)
    assert shown(watch, caught.value) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"app": None},
        {"max_size": 0},
        {"idle_timeout": -1},
        {"cookie_name": "a b"},
        {"cookie_samesite": "None"},
        {"store": "no-such-store://"},
        {"store": "sqlite:///"},
        {"store": "cookie://", "cookie_path": "/" + "x" * 4000},
        {"secret": [SECRET, "changeme-" + SECRET]},
        {"secret": (SECRET, b"short")},
        {"secret": [SECRET, None]},
        {"secret": [SECRET, SECRET + "\ud800"]},
        {"secret": [SECRET] * 5},
    ],
    ids=repr,
)
def test_no_traceback_of_a_wrong_option_shows_the_secret(wrong: dict[str, Any], watch: Watch) -> None:
    """Not even a secret that is refused, which may differ from the right one in one letter."""
    options: dict[str, Any] = {"app": refuse, "secret": SECRET, "store": "memory://", **wrong}
    watch.note(SECRET)
    with pytest.raises(ConfigError) as caught:
        SessionMiddleware(**options)
    assert shown(watch, caught.value) == []


@pytest.mark.parametrize(
    "wrong", [{"session.max_size": "x"}, {"session.colour": "red"}, {"session.store": "x"}], ids=repr
)
def test_no_traceback_of_a_wrong_setting_shows_the_secret(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch, watch: Watch
) -> None:
    settings = {"session.secret": f"{SECRET} {OLD_SECRET.replace(' ', '-')}", "session.store": "memory://", **wrong}
    watch.note(SECRET)
    for name, value in settings.items():
        monkeypatch.setenv(name.replace("session.", "WSGI_SESSION_").upper(), value)
    makers: list[Callable[[], object]] = [
        lambda: SessionMiddleware.from_config(refuse, settings),
        lambda: SessionMiddleware.from_environ(refuse),
        lambda: filter_app_factory(
            refuse, {}, **{name.removeprefix("session."): value for name, value in settings.items()}
        ),
    ]
    for make in makers:
        with pytest.raises(ConfigError) as caught:
            make()
        assert shown(watch, caught.value) == []


# Objects, logs, pages and stored data.


def everything_that_happens(browser: Browser) -> None:
    """Do everything that a visitor can do, so that every kind of token is generated, sent and replaced."""
    browser.do(put(cart=[1]))
    in_flight = browser.copy()
    browser.do(lambda session: (session.csrf_token, session.flash("saved")))
    browser.do(log_in(ANN))
    in_flight.do(put(late=1))
    browser.do(lambda session: session.rotate())
    browser.site.clock.advance(3 * DAY)
    browser.do(read)
    browser.do(put(n=1))
    browser.do(read, HTTP_COOKIE=f"{browser.header}x; {in_flight.header}")
    browser.do(lambda session: session.flashes())


def test_no_object_of_ours_shows_a_token_or_a_secret(clock: FakeClock, watch: Watch) -> None:
    """This checks every object that exists while a session is in use: a debugger shows the `repr` of objects."""
    seen: set[str] = set()
    # Not those that other tests have left: some of them are made to have an enormous ``repr``.
    existing = gc.get_objects()
    known = set(map(id, existing))
    for store in (MemoryStore(), CookieStore()):
        browser = Site(store, clock, secret=[SECRET, OLD_SECRET]).browser()

        def look(session: Session) -> list[str]:
            session["cart"] = [2]
            session.csrf_token  # noqa: B018  (draws one)
            session.rotate()
            new = [one for one in gc.get_objects() if id(one) not in known]
            ours = [one for one in new if str(type(one).__module__).startswith("wsgi_session")]
            seen.update(type(one).__name__ for one in ours)
            return [type(one).__name__ for one in ours if watch.shows(as_shown(one))]

        browser.do(put(cart=[1]))
        assert browser.do(look).result == []
    assert seen >= {"Session", "Work", "Credential", "Record", "Exchange", "StoreBackend", "CookieBackend", "Sealer"}


def test_no_logger_at_debug_tells_a_token(
    site: Site, browser: Browser, caplog: pytest.LogCaptureFixture, watch: Watch
) -> None:
    """This includes the loggers of the stores' drivers, all at DEBUG."""
    caplog.set_level(logging.DEBUG)
    everything_that_happens(browser)
    site.calls.fail("load", "touch", "replace")
    browser.do(read)
    assert len(caplog.records) >= 3, caplog.text
    assert [record.name for record in caplog.records if watch.shows(record.getMessage())] == []


def files_in(folder: Path) -> str:
    """Return all bytes below ``folder``, as text of one character each."""
    return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


def tables_of(url: str) -> str:
    """Return the contents of all tables of the tests in a database."""
    engine = create_engine(with_driver(make_url(url)))
    with engine.connect() as connection:
        tables = [name for name in inspect(connection).get_table_names() if name.startswith("test_")]
        rows = [row for name in tables for row in connection.exec_driver_sql(f"SELECT * FROM {name}")]
    engine.dispose()
    return "".join(bytes_and_text(value) for row in rows for value in row)


def bytes_and_text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def keys_of(url: str) -> str:
    """Return every key of a Redis, with its value."""
    with Redis.from_url(url) as client:
        readers: dict[bytes, Callable[[bytes], Any]] = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"zset": lambda key: client.zrange(key, 0, -1),
        }
        found = [(key, readers[client.type(key)](key)) for key in client.scan_iter()]
    return "".join(map(flattened, found))


def flattened(value: object) -> str:
    if isinstance(value, dict):
        return flattened(list(value.items()))
    if isinstance(value, (list, tuple, set)):
        return "".join(map(flattened, value))
    return bytes_and_text(value)


DUMPS: dict[str, Callable[[Path], str]] = {
    "sqlite": files_in,
    "encrypted": files_in,
    "postgresql": lambda folder: tables_of(postgres()),
    "mariadb": lambda folder: tables_of(mariadb()),
    "redis": lambda folder: keys_of(valkey()),
}


@pytest.mark.needs(SERVER, PROCESSES)
def test_no_dump_of_a_store_holds_a_token(
    site: Site, browser: Browser, kind: Kind, tmp_path: Path, watch: Watch
) -> None:
    """Not the SQLite file and its log, not the tables, not the keys of Redis: neither as it is nor
    in hexadecimal or base64. The same holds for form tokens, which are derived from it, and for the secret.
    """
    if kind.name not in DUMPS:
        pytest.skip(f"elsewhere: {kind.name} is dumped as another kind")
    everything_that_happens(browser)
    dump = DUMPS[kind.name](tmp_path)
    handle = browser.do(lambda session: session.handle).result
    assert handle in dump, "the dump is not of this store"
    assert not watch.shows(dump)
    token = browser.token.partition(".")[0].encode()
    raw = base64.urlsafe_b64decode(token + b"=")
    for form in (token, base64.b64encode(token), raw):
        assert form.decode("latin-1") not in dump, form
        assert form.hex() not in dump.lower(), form


def test_no_page_of_the_demo_shows_a_token_or_the_secret(watch: Watch) -> None:
    """The CSRF tokens in its forms do not give access to a session; they are removed before the search."""
    shop = open_shop()
    visitor = Visitor(shop)
    paths = [path for path in [*shop.routes, "/nowhere"] if path != "/logout"]
    pages = [visitor.get(path) for path in paths]
    pages.append(visitor.send("/cart", "/cart/add", sku="oat"))
    visitor.log_in()
    pages += [visitor.get(path) for path in paths]
    pages += [visitor.post("/cart/add", sku="oat"), visitor.post("/login", csrf_token="wrong")]
    watch.note(visitor.client.header.partition("=")[2])
    pages = [re.sub(r'(name="csrf_token" value=)"[^"]+"', r"\1", page) for page in pages]
    assert [page[:60] for page in pages if watch.shows(page)] == []
