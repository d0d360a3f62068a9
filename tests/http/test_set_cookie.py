"""Set-Cookie for every kind and name: first, refresh, rotation, removal; plain, __Host-, __Secure-."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import Cookie
from tests.support.site import ANN, Browser, MakeSite, log_in, put, read
from tests.support.stores import SERVER
from wsgi_session.testing.clock import FakeClock

HTTPS = {"wsgi.url_scheme": "https"}
DAY = 86_400.0
#: Options and scheme; then the cookie's name, and its attributes except Max-Age and Expires.
WANTED: dict[str, tuple[dict[str, Any], dict[str, Any], str, dict[str, Any]]] = {
    "http": ({}, {}, "sid", {"path": "/", "httponly": True, "samesite": "Lax"}),
    "https": ({}, HTTPS, "__Host-sid", {"path": "/", "httponly": True, "samesite": "Lax", "secure": True}),
    "https, a path": (
        {"cookie_path": "/app"},
        HTTPS,
        "__Secure-sid",
        {"path": "/app", "httponly": True, "samesite": "Lax", "secure": True},
    ),
    "https, a domain": (
        {"cookie_domain": "example.com"},
        HTTPS,
        "__Secure-sid",
        {"domain": "example.com", "path": "/", "httponly": True, "samesite": "Lax", "secure": True},
    ),
    "always secure, behind a proxy": (
        {"cookie_secure": True},
        {},
        "__Host-sid",
        {"path": "/", "httponly": True, "samesite": "Lax", "secure": True},
    ),
    "never secure": (
        {"cookie_secure": False},
        HTTPS,
        "sid",
        {"path": "/", "httponly": True, "samesite": "Lax"},
    ),
    "strict, with a name": (
        {"cookie_samesite": "Strict", "cookie_name": "shop"},
        HTTPS,
        "__Host-shop",
        {"path": "/", "httponly": True, "samesite": "Strict", "secure": True},
    ),
    "in other sites' frames": (
        {"cookie_samesite": "None", "cookie_secure": True, "cookie_partitioned": True},
        HTTPS,
        "__Host-sid",
        {"path": "/", "httponly": True, "samesite": "None", "secure": True, "partitioned": True},
    ),
    "a prefix spelt out": (
        {"cookie_name": "__Secure-own", "cookie_secure": True},
        HTTPS,
        "__Secure-own",
        {"path": "/", "httponly": True, "samesite": "Lax", "secure": True},
    ),
}


def sent(browser: Browser, function: Any) -> Cookie:
    answer = browser.do(function)
    assert answer.cookie, answer
    return answer.cookie


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_every_cookie_of_a_session_has_the_same_name_and_attributes(
    make_site: MakeSite, clock: FakeClock, wanted: tuple[Any, ...]
) -> None:
    options, environ, name, attributes = wanted
    browser = make_site(**options).browser(**environ)
    first = sent(browser, put(a=1))
    clock.advance(2 * DAY)
    refresh = sent(browser, read)
    rotation = sent(browser, lambda session: session.rotate())
    login = sent(browser, log_in(ANN))
    removal = sent(browser, lambda session: session.destroy())
    assert {cookie.name for cookie in (first, refresh, rotation, login, removal)} == {name}
    for cookie in (first, refresh, rotation, login):
        assert cookie.attributes == {**attributes, "max-age": str(int(30 * DAY))}, cookie
    assert removal.value == ""
    assert removal.attributes == {**attributes, "max-age": "0", "expires": "Thu, 01 Jan 1970 00:00:00 GMT"}
    assert first.value == refresh.value != rotation.value != login.value
    assert browser.jar == {}


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_only_the_expected_name_is_looked_at(make_site: MakeSite, wanted: tuple[Any, ...]) -> None:
    options, environ, name, _ = wanted
    browser = make_site(**options).browser(**environ)
    browser.do(put(a=1))
    value = browser.token
    plain = options.get("cookie_name", "sid")
    for other in {"sid", "__Host-sid", "__Secure-sid", f"__Host-{plain}", f"__Secure-{plain}", plain} - {name}:
        assert browser.do(lambda session: session.state, HTTP_COOKIE=f"{other}={value}").result == "new", other
    assert browser.do(lambda session: session.state, HTTP_COOKIE=f"{name}={value}").result == "live"


def test_a_cookie_over_http_opens_nothing_over_https(make_site: MakeSite) -> None:
    site = make_site()
    browser = site.browser()
    browser.do(put(a=1))
    assert browser.do(lambda session: session.state, **HTTPS).result == "new"


def test_a_forwarded_scheme_is_told_once_and_changes_nothing(make_site: MakeSite) -> None:
    site = make_site()
    proxied = site.browser(HTTP_X_FORWARDED_PROTO="https")
    cookies = [sent(site.browser(HTTP_X_FORWARDED_PROTO="https"), put(a=1)), sent(proxied, put(a=1))]
    assert [cookie.name for cookie in cookies] == ["sid", "sid"]
    assert proxied.do(read).result == {"a": 1}
    (told,) = site.happened("behind_proxy")
    assert "cookie_secure=True" in told["advice"]


@pytest.mark.parametrize("secure", [True, False])
def test_a_forwarded_scheme_is_not_told_where_the_setting_is_explicit(make_site: MakeSite, secure: bool) -> None:
    site = make_site(cookie_secure=secure)
    site.browser(HTTP_X_FORWARDED_PROTO="https").do(put(a=1))
    assert site.happened("behind_proxy") == []
