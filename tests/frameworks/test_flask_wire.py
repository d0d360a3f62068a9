"""Flask with our sessions over real HTTP, by Flask's own threaded server: what goes over the wire."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any, NamedTuple

import pytest
from flask import Flask, request, session
from werkzeug.serving import make_server

from tests.frameworks.flask_site import ANN, MakeApp, clock, make_app, store
from tests.support.client import Cookie, parse_cookie
from tests.support.stores import CountingStore
from wsgi_session import login, redirect_if_anonymous, user_email_or_none

__all__ = ["clock", "make_app", "store"]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    cookies: list[Cookie]
    text: str


class Browser:
    """Sends each request over a connection of its own, with the cookies that came."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.jar: dict[str, str] = {}

    def get(self, path: str, method: str = "GET") -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        jar = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        connection.request(method, path, headers={"Cookie": jar} if jar else {})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        cookies = [parse_cookie(value) for value in response.headers.get_all("Set-Cookie") or []]
        for cookie in cookies:
            self.jar[cookie.name] = cookie.value
        return Answer(response.status, dict(response.headers), cookies, text)


@pytest.fixture
def meeting() -> threading.Barrier:
    """Where overlapping requests wait for each other."""
    return threading.Barrier(2, timeout=20)


@pytest.fixture
def app(make_app: MakeApp, meeting: threading.Barrier) -> Flask:
    app = make_app()

    @app.get("/login")
    def log_in() -> str:
        login(request, ANN)
        return "Welcome"

    @app.get("/profile")
    def profile() -> Any:
        return redirect_if_anonymous(request) or f"Your email is {user_email_or_none(request)}"

    @app.get("/clear")
    def clear() -> str:
        session.clear()
        return "Bye"

    @app.get("/put/<name>")
    def put(name: str) -> str:
        seen = sorted(session)
        meeting.wait()
        session[name] = True
        return " ".join(seen)

    @app.get("/keys")
    def keys() -> str:
        return " ".join(sorted(session))

    return app


@pytest.fixture
def browser(app: Flask) -> Iterator[Browser]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield Browser(server.port)
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_a_visit_from_login_to_logout(browser: Browser) -> None:
    away = browser.get("/profile")
    assert (away.status, away.headers["Location"], away.cookies) == (302, "/login?next=/profile", [])
    welcome = browser.get("/login")
    (cookie,) = welcome.cookies
    assert (cookie.name, cookie.attributes) == ("session", {"path": "/", "httponly": True, "samesite": "Lax"})
    assert (welcome.headers["Vary"], welcome.headers["Cache-Control"]) == ("Cookie", "private, no-store")
    stolen = Browser(browser.port)
    stolen.jar = dict(browser.jar)
    profile = browser.get("/profile")
    assert (profile.text, profile.cookies, profile.headers["Vary"]) == ("Your email is ann@example.com", [], "Cookie")
    assert browser.get("/profile", "HEAD")[::3] == (200, "")
    (removed,) = browser.get("/clear").cookies
    assert removed.removes
    assert stolen.get("/profile").status == 302


def test_parallel_requests_keep_each_others_keys(browser: Browser) -> None:
    browser.get("/login")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(browser.get, ["/put/a", "/put/b"]))
    assert [(answer.status, answer.text) for answer in answers] == [(200, "user")] * 2, "both read before both wrote"
    assert browser.get("/keys").text == "a b user"


def test_an_outage_is_a_503_and_the_visitor_is_still_logged_in_afterwards(
    browser: Browser, store: CountingStore
) -> None:
    browser.get("/login")
    store.fail("load")
    answer = browser.get("/profile")
    assert (answer.status, answer.headers["Retry-After"], answer.cookies) == (503, "7", [])
    store.recover()
    assert browser.get("/profile").text == "Your email is ann@example.com"
