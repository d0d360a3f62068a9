"""Forms without tokens: the browser says which page has sent a request."""

from __future__ import annotations

from typing import Any
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.requests import browser_in_an_outage, make_environ, session_in, with_body
from tests.support.site import ANN, Site
from wsgi_session import ConfigError, SessionMissing, StoreUnavailable, check_csrf, login, protect_from_csrf

HTTPS = {"wsgi.url_scheme": "https", "HTTP_HOST": "shop.example"}
HTTP = {"wsgi.url_scheme": "http", "HTTP_HOST": "shop.example"}
KEY = "test.session"


def allowed(trusted: Any = (), **headers: Any) -> bool:
    """Return what ``check_csrf`` says of a POST of a visitor without a session, which no token can help."""
    site = Site()
    return bool(
        site.browser().call(
            lambda environ: check_csrf(environ, trusted_origins=trusted), make_environ(method="POST", **headers)
        )
    )


OWN: dict[str, dict[str, str]] = {
    "same-origin": {**HTTPS, "HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": "https://shop.example"},
    "behind a proxy that renames the host": {"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": "https://x.example"},
    "no-referrer hides the origin": {**HTTPS, "HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": "null"},
    "an old browser": {**HTTPS, "HTTP_ORIGIN": "https://shop.example"},
    "plain http": {**HTTP, "HTTP_ORIGIN": "http://shop.example"},
    "TLS ends at a proxy": {**HTTP, "HTTP_ORIGIN": "https://shop.example"},
    "a port": {"HTTP_HOST": "shop.example:8080", "HTTP_ORIGIN": "http://shop.example:8080"},
    "a proxy that names the port": {**HTTP, "HTTP_HOST": "shop.example:443", "HTTP_ORIGIN": "https://shop.example"},
    "a host in capitals": {**HTTPS, "HTTP_HOST": "Shop.EXAMPLE", "HTTP_ORIGIN": "https://shop.example"},
    "IPv6": {"HTTP_HOST": "[::1]:8080", "HTTP_ORIGIN": "http://[::1]:8080"},
    "an IDN": {"HTTP_HOST": "xn--bcher-kva.example", "HTTP_ORIGIN": "http://xn--bcher-kva.example"},
    "started by the visitor, with an origin": {
        **HTTPS,
        "HTTP_SEC_FETCH_SITE": "none",
        "HTTP_ORIGIN": "https://shop.example",
    },
    "no Host": {
        "HTTP_HOST": "",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "81",
        "HTTP_ORIGIN": "http://shop.example:81",
    },
}
FOREIGN: dict[str, dict[str, str]] = {
    "cross-site": {**HTTPS, "HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "https://evil.example"},
    "same-site": {**HTTPS, "HTTP_SEC_FETCH_SITE": "same-site", "HTTP_ORIGIN": "https://blog.shop.example"},
    "cross-site that claims our origin": {**HTTPS, "HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "https://shop.example"},
    "capitals": {**HTTPS, "HTTP_SEC_FETCH_SITE": "Same-Origin", "HTTP_ORIGIN": "https://shop.example"},
    "two values": {**HTTPS, "HTTP_SEC_FETCH_SITE": "same-origin, cross-site"},
    "the same value twice": {**HTTPS, "HTTP_SEC_FETCH_SITE": "same-origin,same-origin"},
    "an unknown value": {**HTTPS, "HTTP_SEC_FETCH_SITE": "x", "HTTP_ORIGIN": "https://shop.example"},
    "a sandboxed frame": {**HTTPS, "HTTP_ORIGIN": "null"},
    "another site": {**HTTPS, "HTTP_ORIGIN": "https://evil.example"},
    "a host that only begins like ours": {**HTTPS, "HTTP_ORIGIN": "https://shop.example.evil.example"},
    "another host of the domain": {**HTTPS, "HTTP_ORIGIN": "https://blog.shop.example"},
    "another port": {"HTTP_HOST": "localhost:8000", "HTTP_ORIGIN": "http://localhost:8001"},
    "http to https": {**HTTPS, "HTTP_ORIGIN": "http://shop.example"},
    "another scheme": {**HTTP, "HTTP_ORIGIN": "ftp://shop.example"},
    "an origin in capitals": {**HTTPS, "HTTP_ORIGIN": "HTTPS://SHOP.EXAMPLE"},
    "a path": {**HTTPS, "HTTP_ORIGIN": "https://shop.example/"},
    "a user": {**HTTPS, "HTTP_ORIGIN": "https://shop.example@evil.example"},
    "two origins": {**HTTPS, "HTTP_ORIGIN": "https://shop.example, https://evil.example"},
    "two hosts": {**HTTPS, "HTTP_HOST": "shop.example,evil.example", "HTTP_ORIGIN": "https://evil.example"},
    "an IDN that is not encoded": {**HTTPS, "HTTP_HOST": "b\xfccher.example", "HTTP_ORIGIN": "https://b\xfccher.example"},
    "text": {**HTTPS, "HTTP_ORIGIN": "shop.example"},
    "started by the visitor, from elsewhere": {**HTTPS, "HTTP_SEC_FETCH_SITE": "none", "HTTP_ORIGIN": "null"},
}  # fmt: skip
SILENT: dict[str, dict[str, str]] = {
    "neither header": {**HTTPS},
    "empty headers": {**HTTPS, "HTTP_SEC_FETCH_SITE": "", "HTTP_ORIGIN": ""},
    "started by the visitor": {**HTTPS, "HTTP_SEC_FETCH_SITE": "none"},
}


@pytest.mark.parametrize("headers", OWN.values(), ids=OWN)
def test_a_page_of_this_site_needs_no_token_and_no_session(headers: dict[str, Any]) -> None:
    site = Site()
    browser = site.browser()
    assert browser.call(check_csrf, make_environ(method="POST", **headers)) is True
    assert (site.calls.log, browser.jar, site.events) == (["answer"], {}, [])
    assert "Vary" not in dict(browser.answer.headers)


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "get", ""])
def test_another_site_is_refused_even_with_a_valid_token(headers: dict[str, Any], method: str) -> None:
    site = Site()
    browser = site.browser()
    token = browser.call(lambda environ: session_in(environ).csrf_token)
    environ = make_environ(method=method, HTTP_X_CSRF_TOKEN=token, **headers)
    assert browser.call(lambda environ: check_csrf(environ, token), environ) is False
    (event,) = site.happened("cross_origin")
    assert event["origin"] == headers.get("HTTP_ORIGIN", "None")


@pytest.mark.parametrize("headers", SILENT.values(), ids=SILENT)
def test_what_does_not_say_where_it_comes_from_needs_a_token(headers: dict[str, Any]) -> None:
    browser = Site().browser()
    browser.environ = {"wsgi.url_scheme": "https"}
    token = browser.call(lambda environ: session_in(environ).csrf_token)
    for text, expected in ((token, True), ("wrong", False), ("", False)):
        environ = make_environ(method="POST", HTTP_X_CSRF_TOKEN=text, **headers)
        assert browser.call(check_csrf, environ) is expected


def test_a_tab_from_before_the_login_still_works() -> None:
    browser = Site().browser()
    old = browser.call(lambda environ: session_in(environ).csrf_token)
    browser.call(lambda environ: login(environ, ANN))
    body = f"csrf_token={old}".encode()
    assert browser.call(check_csrf, with_body(body)) is False
    assert browser.call(check_csrf, with_body(body, HTTP_SEC_FETCH_SITE="same-origin")) is True


def test_in_an_outage_a_page_of_this_site_is_let_through_and_a_token_is_not_judged() -> None:
    def same_origin(environ: dict[str, Any]) -> bool:
        return check_csrf(environ)

    browser = browser_in_an_outage()
    assert browser.call(same_origin, make_environ(method="POST", HTTP_SEC_FETCH_SITE="same-origin")) is True
    assert browser.call(same_origin, make_environ(method="POST", HTTP_SEC_FETCH_SITE="cross-site")) is False

    def silent(environ: dict[str, Any]) -> None:
        with pytest.raises(StoreUnavailable):
            check_csrf(environ, "x")

    browser.call(silent, make_environ(method="POST"))


def test_without_the_middleware_it_says_so() -> None:
    with pytest.raises(SessionMissing):
        check_csrf(make_environ(method="POST", HTTP_SEC_FETCH_SITE="same-origin"))


def test_another_layers_session_is_enough_where_no_token_is_needed() -> None:
    assert check_csrf(make_environ(method="POST", session={}, HTTP_SEC_FETCH_SITE="same-origin")) is True
    assert check_csrf(make_environ(method="POST", session={}, HTTP_SEC_FETCH_SITE="cross-site")) is False


TRUSTED = ["https://pay.example", "HTTP://Localhost:3000", "capacitor://localhost", "https://x.example:443"]


@pytest.mark.parametrize(
    "origin", ["https://pay.example", "http://localhost:3000", "capacitor://localhost", "https://x.example"]
)
def test_a_trusted_origin_is_let_through(origin: str) -> None:
    for site in ("cross-site", "same-site", "none", ""):
        assert allowed(TRUSTED, **HTTPS, HTTP_SEC_FETCH_SITE=site, HTTP_ORIGIN=origin) is True
        assert allowed(**HTTPS, HTTP_SEC_FETCH_SITE=site or "cross-site", HTTP_ORIGIN=origin) is False


@pytest.mark.parametrize(
    "origin",
    ["http://pay.example", "https://pay.example:8443", "https://a.pay.example", "https://pay.example/", "null", ""],
)  # fmt: skip
def test_no_other_origin_is_let_through(origin: str) -> None:
    assert allowed(TRUSTED, **HTTPS, HTTP_SEC_FETCH_SITE="cross-site", HTTP_ORIGIN=origin) is False


@pytest.mark.parametrize(
    "wrong",
    ["https://pay.example/", "https://pay.example/x", "https://*.example", "pay.example", "null", "", "https://", "//x",
     "https://a@pay.example", "https://pay.example?x", "https://pay.example#x", "https://pay example", "https://b\xfc.example",
     "https://pay.example:port", "https://pay.example\n", 5, None, b"https://pay.example"],
)  # fmt: skip
def test_what_is_no_origin_cannot_be_trusted(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="is not an origin"):
        protect_from_csrf(inside, [wrong])
    with pytest.raises(ConfigError, match="is not an origin"):
        check_csrf(make_environ(session={}), trusted_origins=[wrong])


@pytest.mark.parametrize("wrong", ["https://pay.example", b"https://pay.example", None, 5])
def test_trusted_origins_are_a_sequence(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="give a sequence"):
        protect_from_csrf(inside, wrong)


@given(st.text(), st.text(), st.text())
def test_nothing_a_client_sends_makes_an_exception_or_opens_the_door(site: str, origin: str, host: str) -> None:
    got = allowed(TRUSTED, **HTTPS, HTTP_SEC_FETCH_SITE=site, HTTP_ORIGIN=origin)
    assert got is (site == "same-origin" or (origin == "https://shop.example" and site in ("", "none")))
    allowed(HTTP_ORIGIN=origin, HTTP_HOST=host)
    allowed(HTTP_ORIGIN=f"https://{host}", HTTP_HOST=host)


def inside(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"inside" + environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]


def send(trusted: Any = (), app: Any = None, **headers: Any) -> tuple[str, dict[str, str], bytes]:
    """Return what ``protect_from_csrf`` answers to a POST, under wsgiref's validator."""
    environ = {**make_environ(method="POST"), KEY: {}, **headers}
    seen: list[Any] = []

    def start_response(status: str, given: list[tuple[str, str]], exc_info: Any = None) -> Any:
        seen[:] = [status, dict(given)]
        return lambda data: None

    checked: Any = validator(protect_from_csrf(inside, trusted, KEY))
    body = checked(environ, start_response)
    try:
        return seen[0], seen[1], b"".join(body)
    finally:
        body.close()


def test_the_wrapper_lets_a_page_of_this_site_through_and_refuses_others() -> None:
    assert send(HTTP_SEC_FETCH_SITE="same-origin")[0] == "200 OK"
    assert send(REQUEST_METHOD="GET", HTTP_SEC_FETCH_SITE="cross-site")[0] == "200 OK"
    assert send(TRUSTED, HTTP_SEC_FETCH_SITE="cross-site", HTTP_ORIGIN="https://pay.example")[0] == "200 OK"
    status, headers, body = send(HTTP_SEC_FETCH_SITE="cross-site", HTTP_SEC_FETCH_MODE="navigate")
    assert (status, headers["Cache-Control"]) == ("403 Forbidden", "no-store")
    assert headers["Content-Length"] == str(len(body))
    assert body == b"This request was not sent by a page of this site.\n"
    status, headers, body = send(HTTP_SEC_FETCH_SITE="cross-site", HTTP_SEC_FETCH_MODE="cors")
    assert (status, headers["Content-Type"], body) == ("403 Forbidden", "application/json", b'{"error": "csrf"}\n')


def test_the_wrapper_takes_a_token_and_leaves_the_form_readable() -> None:
    site = Site()
    browser = site.browser()
    token = browser.call(lambda environ: session_in(environ).csrf_token)
    body = f"csrf_token={token}&a=1".encode()
    protected = protect_from_csrf(inside)
    answer = browser.visit(protected, lint=False, **with_body(body))
    assert (answer.code, answer.body) == (200, b"inside" + body)
    answer = browser.visit(protected, lint=False, **with_body(body.replace(b"=", b"=x")))
    assert answer.code == 403
    assert browser.visit(protected, lint=False, **with_body(b"")).code == 403
    assert site.browser().visit(protected, lint=False, **with_body(body)).code == 403


def test_a_refusal_sets_no_cookie_which_would_replace_the_visitors_own() -> None:
    browser = Site().browser()
    answer = browser.visit(protect_from_csrf(inside), lint=False, **make_environ(method="POST"))
    assert answer.code == 403
    assert browser.jar == {}


def test_a_long_header_is_reported_in_part() -> None:
    site = Site()
    environ = make_environ(method="POST", HTTP_ORIGIN="x" * 10_000, HTTP_HOST="y" * 10_000)
    assert site.browser().call(check_csrf, environ) is False
    (event,) = site.happened("cross_origin")
    assert {name: len(value) for name, value in event.items()} == {"origin": 200, "host": 200}
