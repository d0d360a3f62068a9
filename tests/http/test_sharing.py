"""Rules 17 and 18, and several middlewares: over one store, in one request, and around sub-requests."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from tests.support.site import ANN, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import PROCESSES, SERVER
from wsgi_session import ConfigError, Session, SessionMiddleware
from wsgi_session.stores import MemoryStore, MigratingStore
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.testing.clock import FakeClock

PLAIN = [("Content-Type", "text/plain")]


def visit_with(site: Site, browser: Browser) -> Browser:
    other = site.browser()
    other.jar = dict(browser.jar)
    return other


# Two middlewares over one store.


@pytest.mark.needs(SERVER)
def test_two_middlewares_of_one_name_over_one_store_serve_the_same_sessions(make_site: MakeSite) -> None:
    one, two = make_site(), make_site()
    browser = one.browser()
    browser.do(log_in(ANN))
    other = visit_with(two, browser)
    assert other.do(read).result == {"user": ANN}
    other.do(log_out)
    assert browser.do(lambda session: session.state).result == "unknown"
    assert one.middleware.sessions.count() == 0


@pytest.mark.needs(SERVER)
def test_two_middlewares_of_two_names_over_one_store_share_nothing(make_site: MakeSite) -> None:
    shop, admin = make_site(cookie_name="shop"), make_site(cookie_name="admin")
    ann, root = shop.browser(), admin.browser()
    ann.do(log_in(ANN))
    root.do(log_in(ANN))
    assert (shop.middleware.sessions.count(), admin.middleware.sessions.count()) == (1, 1)
    assert len(shop.middleware.sessions.of(ANN)) == 1
    crossed = admin.browser()
    crossed.jar = {"admin": ann.token}
    assert crossed.do(lambda session: (session.state, session.copy())).result == ("tampered", {})
    assert shop.middleware.sessions.revoke_all(ANN) == 1
    assert root.do(lambda session: session.owner).result == "id:1"


def test_two_middlewares_of_two_secrets_open_nothing_of_each_other(make_site: MakeSite) -> None:
    one, two = make_site(), make_site(secret="another one, of more than thirty-two bytes")
    browser = one.browser()
    browser.do(put(a=1))
    assert visit_with(two, browser).do(lambda session: session.state).result == "tampered"


# Two middlewares in one request.


def nest(outer: Site, inner: Site, app: Any) -> Any:
    """Return an application for ``outer`` that is ``inner`` around ``app``."""

    def nested(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return inner.middleware({**environ, "test.app": app}, start_response)

    return nested


def test_a_second_middleware_at_the_same_key_is_refused_by_both_names(make_site: MakeSite) -> None:
    outer, inner = make_site(cookie_name="outer"), make_site(cookie_name="inner")
    with pytest.raises(ConfigError, match=r"outer.*inner"):
        outer.browser().visit(nest(outer, inner, None), lint=False)


def test_two_middlewares_at_two_keys_both_serve(make_site: MakeSite) -> None:
    outer, inner = make_site(cookie_name="outer"), make_site(cookie_name="inner", environ_key="inner.session")

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["from"] = "outer"
        environ["inner.session"]["from"] = "inner"
        start_response("200 OK", list(PLAIN))
        return [b"page"]

    browser = outer.browser()
    answer = browser.visit(nest(outer, inner, app), lint=False)
    assert sorted(cookie.name for cookie in answer.cookies) == ["inner", "outer"]
    assert answer.header("Vary") == "Cookie"
    assert answer.header("Cache-Control") == "private"
    seen: list[Any] = []

    def look(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append((environ["session"].copy(), environ["inner.session"].copy()))
        start_response("200 OK", list(PLAIN))
        return [b"page"]

    browser.visit(nest(outer, inner, look), lint=False)
    assert seen == [({"from": "outer"}, {"from": "inner"})]


# Sub-requests and environs that are used again.


def test_every_call_makes_a_fresh_session(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    kept: list[Session] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        kept.append(environ["session"])
        start_response("200 OK", list(PLAIN))
        return [str(environ["session"]["a"]).encode()]

    request = browser.request(app)
    for _ in range(2):
        body = site.middleware(request, lambda status, headers: lambda data: None)
        assert b"".join(body) == b"1"
    assert kept[0] is not kept[1]


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("copied", [True, False], ids=["a copy of the environ", "the same environ"])
def test_a_sub_request_has_a_session_of_its_own_and_loses_nothing(site: Site, browser: Browser, copied: bool) -> None:
    browser.do(put(a=1))

    def sub(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["sub"] = 2
        start_response("200 OK", list(PLAIN))
        return [b"sub"]

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        session = environ["session"]
        session["before"] = 1
        inner = dict(environ) if copied else environ
        inner["test.app"] = sub
        b"".join(site.middleware(inner, lambda status, headers: lambda data: None))
        session["after"] = 3
        start_response("200 OK", list(PLAIN))
        return [b"page"]

    browser.visit(app, lint=False)
    assert browser.do(read).result == {"a": 1, "before": 1, "sub": 2, "after": 3}


@pytest.mark.parametrize("fails", [False, True], ids=["", "that fails"])
def test_after_a_sub_request_in_the_same_environ_the_request_has_its_own_session_again(
    site: Site, browser: Browser, fails: bool
) -> None:
    """Otherwise it would use a closed session: without ``Vary``, a shared cache would send Ann's page to everyone."""
    browser.do(log_in(ANN))

    def sub(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if fails:
            raise RuntimeError("the sub-request failed")
        start_response("200 OK", list(PLAIN))
        return [b"sub"]

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["test.app"] = sub
        with suppress(RuntimeError):
            site.middleware(environ, lambda status, headers: lambda data: None)
        environ["session"]["seen"] = 1
        start_response("200 OK", [*PLAIN, ("Cache-Control", "public")])
        return [environ["session"]["user"]["name"].encode()]

    answer = browser.visit(app, lint=False)
    assert (answer.body, answer.header("Vary")) == (b"Ann", "Cookie")
    assert site.happened("late_access") == []
    assert browser.do(read).result == {"user": ANN, "seen": 1}


@pytest.mark.needs(SERVER)
def test_a_sub_request_while_the_body_streams_leaves_the_request_its_session(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))

    def sub(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        return [b"sub"]

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"].get("a")
        start_response("200 OK", list(PLAIN))
        yield b"pa"
        environ["test.app"] = sub
        list(site.middleware(environ, lambda status, headers: lambda data: None))
        environ["session"]["late"] = 2
        yield b"ge"

    assert browser.visit(app, lint=False).body == b"page"
    assert browser.do(read).result == {"a": 1, "late": 2}


# Rule 17.


def test_nothing_starts_a_thread(site: Site, browser: Browser) -> None:
    before = set(threading.enumerate())
    browser.do(log_in(ANN))
    site.calls.inner.sweep_due = True
    site.browser().do(put(a=1))
    browser.do(log_out)
    assert set(threading.enumerate()) == before


def test_a_middleware_keeps_nothing_of_a_request(site: Site, browser: Browser) -> None:
    """No request can reach another request's session, in any thread or greenlet."""

    def state(value: object, depth: int = 3) -> Any:
        if depth == 0 or not hasattr(value, "__dict__"):
            return id(value)
        return {name: state(inner, depth - 1) for name, inner in vars(value).items() if name != "store"}

    browser.do(read)  # The first request checks whether another middleware is around this one.
    before = state(site.middleware)
    browser.do(log_in(ANN))
    browser.do(put(a=1))
    browser.do(log_out)
    assert state(site.middleware) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # pytest's watchdog is one.
def test_a_forked_child_serves_what_is_in_the_store(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        signal.alarm(60)  # Ends a child that hangs; its status is then not 0.
        try:
            os.write(writing, repr(browser.do(lambda session: session["a"]).result).encode())
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"1"
    assert browser.do(read).result == {"a": 1}


@pytest.mark.needs(PROCESSES)
def test_a_store_that_several_processes_see_serves_them(browser: Browser) -> None:
    assert browser.do(put(a=1), **{"wsgi.multiprocess": True}).code == 200


def test_sessions_in_the_cookie_are_served_by_several_processes() -> None:
    assert Site(CookieStore()).browser().do(put(a=1), **{"wsgi.multiprocess": True}).code == 200


def test_memory_refuses_to_serve_several_processes() -> None:
    for store in (MemoryStore(), MigratingStore(MemoryStore(), MemoryStore())):
        with pytest.raises(ConfigError, match="sqlite:///"):
            Site(store).browser().do(put(a=1), **{"wsgi.multiprocess": True})


# Rule 18.


@pytest.mark.parametrize("year", [1971, 2027, 2999])
def test_time_comes_only_from_the_given_clock(make_site: MakeSite, year: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock((year - 1970) * 365.2425 * 86_400)
    browser = make_site(clock=clock).browser()
    for name in ("time", "time_ns", "sleep", "localtime", "gmtime"):
        monkeypatch.setattr(time, name, _never_to_us(getattr(time, name)))
    browser.do(log_in(ANN))
    browser.do(lambda session: (session.flash("x"), session.rotate()))
    clock.advance(29 * 86_400)
    assert browser.do(lambda session: session["user"]).result == ANN
    clock.advance(30 * 86_400)
    assert browser.do(lambda session: session.state).result == "unknown"
    browser.do(put(a=1))
    browser.do(lambda session: session.destroy())


def _never_to_us(clock: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``clock`` that raises if this package calls it. Client libraries may call it."""

    def asked(*arguments: object) -> Any:
        caller = sys._getframe(1).f_globals["__name__"]
        assert not caller.startswith("wsgi_session"), f"{caller} asked for the system's time"
        return clock(*arguments)

    return asked


@pytest.mark.needs(SERVER)
def test_the_default_clock_is_the_systems(store: Any) -> None:
    created: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"].atomic(lambda data: data.update(a=1))
        created.append(environ["session"].created.timestamp())
        start_response("200 OK", list(PLAIN))
        return [b"page"]

    middleware = SessionMiddleware(app, secret="a secret of more than thirty-two bytes, x", store=store)
    environ = {"wsgi.url_scheme": "http"}
    before = time.time()
    middleware(environ, lambda status, headers: lambda data: None)
    assert before <= created[0] <= time.time()
