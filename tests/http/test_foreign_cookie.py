"""Two applications on one host with the same cookie name: each reports the other's cookie, once."""

from __future__ import annotations

import logging

import pytest

from tests.support.site import MakeSite, Site, put
from tests.support.stores import SERVER
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import FakeClock

OTHER = "another-application-7d2f60e39b4c85a1"


def test_a_cookie_by_another_secret_is_told_of_once_with_what_to_do(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    site, other = make_site(), make_site(secret=OTHER)
    browser = other.browser()
    browser.do(put(cart=["tea"]))
    visitor = site.browser()
    visitor.jar = dict(browser.jar)
    with caplog.at_level(logging.WARNING, "wsgi_session"):
        for _ in range(3):
            assert visitor.do(lambda session: session.state).result == "tampered"
    (told,) = site.happened("foreign_cookie")
    assert told["cookie_name"] == "sid"
    assert "cookie_name" in told["advice"]
    assert "ports do not separate cookies" in told["advice"]
    assert "secret" in told["advice"]
    (line,) = [record.getMessage() for record in caplog.records]
    for cookie in browser.jar.values():
        assert cookie not in line


def test_a_long_cookie_of_another_secret_is_reported_too(make_site: MakeSite) -> None:
    site, other = make_site(), make_site(secret=OTHER)
    browser = other.browser()
    browser.do(put(cart="tea " * 1500))
    visitor = site.browser()
    visitor.jar = dict(browser.jar)
    visitor.do(lambda session: session.state)
    assert len(site.happened("foreign_cookie")) == 1


@pytest.mark.parametrize(
    "value",
    ["", "x", "tea", "." * 87, "a" * 87, "a" * 43 + "." + "a" * 42, "\xe9" * 43 + "." + "a" * 43, "9.AQ", "AQ" * 20],
)
def test_a_cookie_of_another_format_is_not_reported(make_site: MakeSite, value: str) -> None:
    site = make_site()
    browser = site.browser()
    browser.jar["sid"] = value
    browser.do(lambda session: session.state)
    assert site.happened("foreign_cookie") == []


def test_an_ended_session_and_one_of_an_older_secret_are_not_reported(make_site: MakeSite) -> None:
    old = make_site(secret=OTHER)
    browser = old.browser()
    browser.do(put(cart=["tea"]))
    site = make_site(secret=["the-new-secret-5f2c9e07d6a4b4f0c9d2f", OTHER])
    visitor = site.browser()
    visitor.jar = dict(browser.jar)
    assert visitor.do(lambda session: session.state).result == "live"
    visitor.do(lambda session: session.destroy())
    visitor.jar = dict(browser.jar)
    visitor.do(lambda session: session.state)
    assert site.happened("foreign_cookie") == []


@pytest.mark.needs(SERVER)
def test_a_live_session_beside_a_foreign_cookie_is_no_news(make_site: MakeSite) -> None:
    site, other = make_site(), make_site(secret=OTHER)
    browser, foreign = site.browser(), other.browser()
    browser.do(put(cart=["tea"]))
    foreign.do(put(cart=["jam"]))
    header = f"sid={foreign.jar['sid']}; sid={browser.jar['sid']}"
    assert site.browser().do(lambda session: session.state, HTTP_COOKIE=header).result == "live"
    assert site.happened("foreign_cookie") == []


@pytest.mark.needs(SERVER)
def test_the_cookie_of_another_tenant_is_told_of_with_what_to_do(make_site: MakeSite) -> None:
    site = make_site(namespace=lambda environ: environ["HTTP_HOST"])
    browser = site.browser(HTTP_HOST="red.example")
    browser.do(put(cart=["tea"]))
    browser.do(lambda session: session.state, HTTP_HOST="blue.example")
    (told,) = site.happened("foreign_cookie")
    assert "or another tenant of namespace= set the cookie" in told["advice"]


def test_each_middleware_says_it_for_itself() -> None:
    store, clock = MemoryStore(), FakeClock()
    browser = Site(store, clock, secret=OTHER).browser()
    browser.do(put(cart=["tea"]))
    for _ in range(2):
        site = Site(store, clock)
        visitor = site.browser()
        visitor.jar = dict(browser.jar)
        visitor.do(lambda session: session.state)
        assert len(site.happened("foreign_cookie")) == 1
