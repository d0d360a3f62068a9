"""A page of the application's own for an outage: it keeps its body and headers, and nobody loses the cookie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import override_settings
from flask import Flask, jsonify, request, session
from flask_login import current_user, login_user

from tests.frameworks import django_site
from tests.frameworks.django_visitor import cookie, page, visitor
from tests.frameworks.flask_logins import USERS, with_logins
from tests.frameworks.flask_site import MakeApp, Visitor, clock, make_app, store
from tests.support.stores import CountingStore
from wsgi_session import StoreUnavailable, user_or_none

pytest.importorskip("pyramid", reason="pip install pyramid pyramid_retry")

from pyramid.response import Response

from tests.frameworks.pyramid_site import Site, count

__all__ = ["clock", "make_app", "store"]

SORRY = {"error": "sessions are down"}
CORS = {"Access-Control-Allow-Origin": "https://front.example"}


def answer(error: Exception) -> Any:
    return jsonify(SORRY), 503, {**CORS, "Retry-After": "60"}


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = with_logins(make_app())
    app.register_error_handler(StoreUnavailable, answer)
    return app


def put() -> str:
    session["a"] = 1
    return "ok"


def change() -> str:
    session["b"] = 2
    return "ok"


FLASK_LOOKS: dict[str, Callable[[], Any]] = {
    "read": lambda: str(session.get("a")),
    "write": put,
    "current_user": lambda: str(current_user.is_authenticated),
    "helper": lambda: str(user_or_none(request)),
    "login": lambda: str(login_user(USERS["ann"])),
}


@pytest.mark.parametrize("look", FLASK_LOOKS.values(), ids=FLASK_LOOKS)
def test_flasks_error_handler_answers_an_outage(app: Flask, store: CountingStore, look: Callable[[], Any]) -> None:
    visitor = Visitor(app)
    visitor.do(lambda: (put(), login_user(USERS["ann"])))
    store.fail("load")
    got = visitor.visit(look)
    assert (got.status_code, got.json, got.headers["Retry-After"]) == (503, SORRY, "60")
    assert got.headers["Access-Control-Allow-Origin"] == CORS["Access-Control-Allow-Origin"]
    assert visitor.cookies == []
    store.recover()
    assert visitor.visit(FLASK_LOOKS["current_user"]).text == "True"


def test_a_page_without_a_time_to_try_again_gets_ours(app: Flask, store: CountingStore) -> None:
    app.register_error_handler(StoreUnavailable, lambda error: (jsonify(SORRY), 503))
    visitor = Visitor(app)
    visitor.do(put)
    store.fail("load")
    got = visitor.visit(FLASK_LOOKS["read"])
    assert (got.json, got.headers["Retry-After"], got.headers["Cache-Control"]) == (SORRY, "7", "no-store")


def down(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("503 Down", [("Content-Type", "application/json"), *CORS.items()])
    return [b"{}"]


def test_in_flask_an_outage_page_answers_for_views_that_do_not(make_app: MakeApp, store: CountingStore) -> None:
    visitor = Visitor(make_app(outage_page=down))
    visitor.do(put)
    for operation, look in (("load", FLASK_LOOKS["read"]), ("replace", change)):
        store.fail(operation)
        got = visitor.visit(look)
        assert (got.status_code, got.json) == (503, {})
        assert got.headers["Access-Control-Allow-Origin"] == CORS["Access-Control-Allow-Origin"]
        store.recover()


def test_pyramids_exception_view_answers_an_outage() -> None:
    def setup(config: Any) -> None:
        def view(error: Exception, request: Any) -> Any:
            return Response(json=SORRY, status=503, headerlist=[("Content-Type", "application/json"), *CORS.items()])

        config.add_exception_view(view, context=StoreUnavailable)

    browser = Site(count, setup=setup).browser()
    browser.see()
    cookie = browser.cookie
    browser.site.store.down = True
    got = browser.visit()
    assert (got.status_int, got.json, got.headers["Retry-After"]) == (503, SORRY, "5")
    assert got.headers["Access-Control-Allow-Origin"] == CORS["Access-Control-Allow-Origin"]
    assert (browser.cookie, got.headers.getall("Set-Cookie")) == (cookie, [])
    browser.site.store.down = False
    assert browser.see() == "2"


def test_in_pyramid_an_outage_page_may_be_a_dotted_name() -> None:
    browser = Site(count, outage_page="tests.frameworks.test_outage_pages.down").browser()
    browser.site.store.down = True
    browser.cookies["sid"] = "A" * 43 + "." + "A" * 43
    assert browser.see() == "1", "a cookie that was not signed here costs no look"
    got = browser.visit()
    assert (got.status, got.json) == ("503 Down", {})


class Sorry:
    """A middleware of the site's own, below the session's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, StoreUnavailable):
            return JsonResponse(SORRY, status=503, headers=CORS)
        return None


@pytest.mark.parametrize("every", [False, True], ids=["", "SESSION_SAVE_EVERY_REQUEST"])
def test_djangos_own_answer_to_an_outage_is_kept(store: CountingStore, every: bool) -> None:
    django_site.set_up()
    from django.conf import settings

    middleware = [*settings.MIDDLEWARE, "tests.frameworks.test_outage_pages.Sorry"]
    with override_settings(WSGI_SESSION_STORE=store, MIDDLEWARE=middleware, SESSION_SAVE_EVERY_REQUEST=every):
        client = visitor()
        client.get("/put", {"key": "a", "value": "1"})
        before = cookie(client).value
        store.fail("load")
        got = client.get("/")
        assert (got.status_code, got.json()) == (503, SORRY)
        assert got["Access-Control-Allow-Origin"] == CORS["Access-Control-Allow-Origin"]
        assert "sessionid" not in got.cookies
        store.recover()
        assert (cookie(client).value, page(client)["session"]) == (before, {"a": "1"})
