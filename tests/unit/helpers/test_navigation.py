"""A script gets a 401 that names the login page; a page gets the redirect."""

from __future__ import annotations

from typing import Any
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.attacks import leaves
from tests.support.requests import make_environ
from tests.support.site import ANN
from wsgi_session import next_url, redirect_if_anonymous
from wsgi_session.helpers.redirects import LoginRedirect

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
SCRIPTS: dict[str, dict[str, Any]] = {
    "fetch": {"HTTP_SEC_FETCH_MODE": "cors", "HTTP_SEC_FETCH_DEST": "empty", "HTTP_ACCEPT": "*/*"},
    "fetch of the same origin": {"HTTP_SEC_FETCH_MODE": "same-origin", "HTTP_ACCEPT": FIREFOX},
    "an image": {"HTTP_SEC_FETCH_MODE": "no-cors", "HTTP_ACCEPT": "image/avif,image/webp,*/*;q=0.8"},
    "a websocket": {"HTTP_SEC_FETCH_MODE": "websocket"},
    "two modes": {"HTTP_SEC_FETCH_MODE": "navigate, cors", "HTTP_ACCEPT": FIREFOX},
    "a mode in capitals": {"HTTP_SEC_FETCH_MODE": "NAVIGATE", "HTTP_ACCEPT": FIREFOX},
    "htmx": {"HTTP_HX_REQUEST": "true", "HTTP_ACCEPT": "text/html"},
    "htmx, boosted": {"HTTP_HX_REQUEST": "true", "HTTP_HX_BOOSTED": "true", "HTTP_SEC_FETCH_MODE": "cors"},
    "jQuery": {"HTTP_X_REQUESTED_WITH": "XMLHttpRequest", "HTTP_ACCEPT": "*/*"},
    "axios": {"HTTP_ACCEPT": "application/json, text/plain, */*"},
    "an API's client": {"HTTP_ACCEPT": "application/vnd.api+json"},
    "an old browser's image": {"HTTP_ACCEPT": "image/png"},
    "one that refuses HTML": {"HTTP_ACCEPT": "text/html;q=0, application/json"},
    "one that refuses everything": {"HTTP_ACCEPT": "*/*;q=0.000"},
}
PAGES: dict[str, dict[str, Any]] = {
    "one that says nothing": {},
    "curl": {"HTTP_ACCEPT": "*/*"},
    "Firefox": {"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_DEST": "document", "HTTP_ACCEPT": FIREFOX},
    "a browser over http": {"HTTP_ACCEPT": FIREFOX},
    "a frame": {"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_DEST": "iframe", "HTTP_ACCEPT": FIREFOX},
    "Android's WebView": {"HTTP_X_REQUESTED_WITH": "com.example.app", "HTTP_ACCEPT": FIREFOX},
    "HTML beside JSON": {"HTTP_ACCEPT": "application/json, text/html;q=0.1"},
    "empty headers": {"HTTP_SEC_FETCH_MODE": "", "HTTP_HX_REQUEST": "", "HTTP_ACCEPT": ""},
    "capitals": {"HTTP_ACCEPT": "TEXT/HTML"},
    "XHTML": {"HTTP_ACCEPT": " application/xhtml+xml ; q=0.5 "},
}


def ask(login_url: str = "/login", navigation: bool | None = None, **environ: Any) -> LoginRedirect:
    environ.setdefault("path", "/items")
    response = redirect_if_anonymous(make_environ(session={}, **environ), login_url, navigation=navigation)
    assert response is not None
    return response


@pytest.mark.parametrize("headers", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_script_is_refused_with_the_login_page_in_json(headers: dict[str, Any], method: str) -> None:
    response = ask(method=method, query="page=2", **headers)
    assert (response.status, response.json) == (
        "401 Unauthorized",
        {"error": "login_required", "login_url": "/login"},
    )
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["WWW-Authenticate"] == 'Cookie realm="login"'
    assert response.location == "/login"


@pytest.mark.parametrize("headers", PAGES.values(), ids=PAGES)
def test_a_page_is_redirected_and_comes_back_to_where_it_was(headers: dict[str, Any]) -> None:
    response = ask(query="page=2", **headers)
    assert (response.status_int, response.location) == (302, "/login?next=/items%3Fpage%3D2")
    assert "HX-Redirect" not in response.headers
    assert ask(method="POST", **headers).status_int == 303


def test_a_user_is_neither_refused_nor_redirected() -> None:
    for headers in (*SCRIPTS.values(), *PAGES.values()):
        assert redirect_if_anonymous(make_environ(session={"user": ANN}, **headers)) is None


def test_the_application_can_decide() -> None:
    assert ask(navigation=False, **PAGES["Firefox"]).status_int == 401
    forced = ask(navigation=True, **SCRIPTS["fetch"])
    assert (forced.status_int, forced.location) == (302, "/login")


def test_what_no_visitor_navigated_to_is_never_next() -> None:
    for headers in SCRIPTS.values():
        for navigation in (True, False, None):
            assert ask(navigation=navigation, **headers).location == "/login"


def htmx(current: str, **environ: Any) -> str:
    response = ask(HTTP_HX_REQUEST="true", HTTP_HX_CURRENT_URL=current, HTTP_HOST="shop.example", **environ)
    assert response.status_int == 401
    assert response.headers["HX-Redirect"] == response.json["login_url"] == response.location
    return str(response.location)


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ("https://shop.example/cart?a=b&c=d#top", "/login?next=/cart%3Fa%3Db%26c%3Dd"),
        ("http://SHOP.example/cart", "/login?next=/cart"),
        ("https://shop.example", "/login"),
        ("https://evil.example/cart", "/login"),
        ("https://shop.example:8443/cart", "/login"),
        ("https://shop.example//evil.example", "/login"),
        ("https://shop.example/\\evil.example", "/login"),
        ("https://shop.example@evil.example/", "/login"),
        ("https://[shop.example/", "/login"),
        ("javascript:alert(1)", "/login"),
        ("/cart", "/login"),
        ("", "/login"),
    ],
)
def test_htmx_is_sent_to_the_login_and_back_to_its_page(current: str, expected: str) -> None:
    assert htmx(current) == expected
    assert htmx(current, method="POST") == expected


def test_htmx_under_a_mount_point_and_with_a_login_elsewhere() -> None:
    assert htmx("https://shop.example/app/cart", script="/app") == "/app/login?next=/app/cart"
    assert htmx("https://shop.example/cart", login_url="https://sso.example/") == "https://sso.example/"


@given(st.text(), st.text(), st.text())
def test_no_header_of_a_client_sends_htmx_off_the_site(current: str, host: str, path: str) -> None:
    for url in (current, f"https://{host}{path}"):
        response = ask(HTTP_HX_REQUEST="1", HTTP_HX_CURRENT_URL=url, HTTP_HOST=host)
        sent = response.headers["HX-Redirect"]
        assert sent.partition("?")[0] == "/login"
        assert leaves(next_url(make_environ(query=sent.partition("?")[2]))) == ""


@given(st.text(), st.text(), st.text(), st.text())
def test_nothing_a_client_sends_makes_an_exception(mode: str, hx: str, requested: str, accept: str) -> None:
    response = ask(HTTP_SEC_FETCH_MODE=mode, HTTP_HX_REQUEST=hx, HTTP_X_REQUESTED_WITH=requested, HTTP_ACCEPT=accept)
    assert response.status_int in (302, 401)


def test_a_list_of_a_million_types_takes_no_time() -> None:
    assert ask(HTTP_ACCEPT="a/b;c=d," * 1_000_000 + "text/html").status_int == 401


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_refusal_is_a_complete_answer(method: str) -> None:
    """Under wsgiref's validator, and without a body for HEAD."""
    environ = make_environ(method=method, **SCRIPTS["htmx"])
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        seen[:] = [status, dict(headers)]
        return lambda data: None

    checked: Any = validator(ask(method=method, **SCRIPTS["htmx"]))
    body = checked(environ, start_response)
    text = b"".join(body)
    body.close()
    assert seen[0] == "401 Unauthorized"
    assert seen[1]["Content-Type"] == "application/json"
    assert int(seen[1]["Content-Length"]) == (len(text) or 51)
    assert bool(text) is (method != "HEAD")
