"""A request outside of ``cookie_path`` gets no new session, because the browser would not send its cookie back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.site import ANN, Browser, MakeSite, Site, log_in, put, read
from wsgi_session import SessionGone
from wsgi_session.testing import plant
from wsgi_session.testing import read as read_planted

INSIDE = [
    ("", "/shop"),
    ("", "/shop/"),
    ("", "/shop/cart"),
    ("/shop", ""),
    ("/shop", "/cart"),
]
OUTSIDE = [("", "/"), ("", "/login"), ("", "/shopping"), ("", "/sho"), ("", ""), ("/blog", "/shop"), ("", "/SHOP/cart")]


@pytest.fixture
def shop(make_site: MakeSite) -> Site:
    return make_site(cookie_path="/shop")


@pytest.mark.parametrize(("script_name", "path"), INSIDE)
def test_a_request_inside_of_the_path_gets_a_session(shop: Site, script_name: str, path: str) -> None:
    browser = shop.browser(SCRIPT_NAME=script_name, PATH_INFO=path)
    assert browser.do(put(a=1)).cookie is not None
    assert browser.do(read).result == {"a": 1}
    assert shop.happened("outside_path") == []


def test_a_cookie_path_with_percent_signs_is_that_of_the_decoded_path(make_site: MakeSite) -> None:
    """A server decodes the path; a browser compares the encoded one."""
    site = make_site(cookie_path="/caf%C3%A9")
    browser = site.browser(SCRIPT_NAME="", PATH_INFO="/caf\xc3\xa9/menu")
    answer = browser.do(put(a=1))
    assert answer.cookie is not None
    assert answer.cookie.attributes["path"] == "/caf%C3%A9"
    assert browser.do(read).result == {"a": 1}
    cookie = plant(site.middleware, {"b": 2})
    assert read_planted(site.middleware, cookie) == {"b": 2}


@pytest.mark.parametrize(("script_name", "path"), OUTSIDE)
@pytest.mark.parametrize("change", [put(a=1), log_in(ANN), lambda session: session.csrf_token, put(user=ANN)])
def test_a_request_outside_of_the_path_stores_nothing_and_sends_no_cookie(
    shop: Site, script_name: str, path: str, change: Any
) -> None:
    browser = shop.browser(SCRIPT_NAME=script_name, PATH_INFO=path)
    answer = browser.visit(page_of(change), lint=False)
    assert (answer.code, answer.cookies) == (200, [])
    assert set(shop.calls.counts()) <= {"load"}


def page_of(change: Any) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        change(environ["session"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"page"]

    return app


def test_a_request_outside_the_cookie_path_is_warned_of_once(shop: Site) -> None:
    browser = shop.browser(SCRIPT_NAME="", PATH_INFO="/login")
    for _ in range(3):
        browser.do(put(a=1))
    (warning,) = shop.happened("outside_path")
    assert "cookie_path" in warning["advice"]
    assert "SCRIPT_NAME" in warning["advice"], "behind a proxy that strips a prefix, that is what is missing"
    assert shop.happened("dropped") == []


def test_a_request_outside_of_the_path_that_only_reads_is_no_warning(shop: Site) -> None:
    shop.browser(SCRIPT_NAME="", PATH_INFO="/login").do(read)
    assert shop.happened("outside_path") == []


def test_a_session_whose_cookie_was_sent_outside_of_the_path_works(shop: Site) -> None:
    browser = shop.browser(SCRIPT_NAME="", PATH_INFO="/shop/cart")
    browser.do(put(a=1))
    browser.do(put(b=2), SCRIPT_NAME="", PATH_INFO="/elsewhere")
    assert browser.do(read).result == {"a": 1, "b": 2}


@pytest.mark.needs("server")
def test_atomic_outside_of_the_path_says_why_nothing_can_be_kept(shop: Site) -> None:
    def count(session: Any) -> None:
        with pytest.raises(SessionGone, match="cookie_path"):
            session.atomic(lambda data: data.update(a=1))

    assert shop.browser(SCRIPT_NAME="", PATH_INFO="/").do(count).cookies == []


def test_a_planted_session_is_one_of_the_path(shop: Site) -> None:
    cookie = plant(shop.middleware, {"a": 1})
    assert read_planted(shop.middleware, cookie) == {"a": 1}
    assert Browser(shop, SCRIPT_NAME="", PATH_INFO="/shop", HTTP_COOKIE=cookie).do(read).result == {"a": 1}
