"""``check_csrf``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.client import StartResponse
from tests.support.requests import browser_in_an_outage, make_environ, session_in, with_body
from tests.support.site import ANN, Browser, Site, page
from wsgi_session import SessionMissing, StoreUnavailable, check_csrf, login


@pytest.fixture(scope="module")
def browser() -> Browser:
    browser = Site().browser()
    browser.call(lambda environ: session_in(environ).update(cart=["book"]))
    return browser


@pytest.fixture(scope="module")
def token(browser: Browser) -> str:
    return str(browser.call(lambda environ: session_in(environ).csrf_token))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_method_that_changes_nothing_needs_no_token_and_no_look(browser: Browser, method: str) -> None:
    assert browser.call(check_csrf, make_environ(method=method)) is True
    assert "Vary" not in dict(browser.answer.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "Get", "GET ", "", "QUERY"])
def test_every_other_method_needs_a_token(browser: Browser, method: str) -> None:
    assert browser.call(check_csrf, make_environ(method=method)) is False


def test_an_environ_without_a_method_needs_a_token(browser: Browser) -> None:
    def check(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        assert check_csrf(environ) is False
        return page()(environ, start_response)

    environ = browser.request(check)
    del environ["REQUEST_METHOD"]
    assert browser.send(environ, lint=False).code == 200


def test_the_token_may_be_given_or_come_as_a_header_or_in_a_form(browser: Browser, token: str) -> None:
    def given_one(environ: dict[str, Any]) -> bool:
        return check_csrf(environ, token)

    assert browser.call(given_one, make_environ(method="POST")) is True
    assert browser.call(check_csrf, make_environ(method="DELETE", HTTP_X_CSRF_TOKEN=token)) is True
    assert browser.call(check_csrf, with_body(f"a=1&csrf_token={token}".encode())) is True
    own_form = with_body(b"")
    assert browser.call(
        lambda environ: check_csrf(SimpleNamespace(environ=environ, form={"csrf_token": token})), own_form
    )


def test_a_multipart_form_will_do_and_stays_readable(browser: Browser, token: str) -> None:
    from webob import Request

    upload = Request.blank("/", POST={"csrf_token": token, "photo": ("a.png", b"\x89PNG\r\n--x")})
    environ = upload.environ
    assert browser.call(check_csrf, environ) is True
    request: Any = Request(environ)
    assert request.POST["photo"].file.read() == b"\x89PNG\r\n--x"


def test_the_one_given_counts_before_the_header_and_the_header_before_the_form(browser: Browser, token: str) -> None:
    body = f"csrf_token={token}".encode()
    assert browser.call(lambda environ: check_csrf(environ, "wrong"), with_body(body, HTTP_X_CSRF_TOKEN=token)) is False
    assert browser.call(lambda environ: check_csrf(environ, ""), with_body(body, HTTP_X_CSRF_TOKEN=token)) is False
    assert browser.call(check_csrf, with_body(body, HTTP_X_CSRF_TOKEN="wrong")) is False
    assert browser.call(check_csrf, with_body(body, HTTP_X_CSRF_TOKEN="")) is True


def test_json_needs_the_header(browser: Browser, token: str) -> None:
    body = json.dumps({"csrf_token": token}).encode()
    assert browser.call(check_csrf, with_body(body, "application/json")) is False
    assert browser.call(check_csrf, with_body(body, "application/json", HTTP_X_CSRF_TOKEN=token)) is True


def test_a_token_in_the_query_is_not_taken(browser: Browser, token: str) -> None:
    assert browser.call(check_csrf, make_environ(method="POST", query=f"csrf_token={token}")) is False


def test_another_visitors_token_is_refused(token: str) -> None:
    other = Site().browser()
    other.call(lambda environ: session_in(environ).update(cart=[]))
    assert other.call(check_csrf, make_environ(method="POST", HTTP_X_CSRF_TOKEN=token)) is False
    assert Site().browser().call(check_csrf, make_environ(method="POST", HTTP_X_CSRF_TOKEN=token)) is False


def test_a_form_from_before_the_login_does_not_work_after_it() -> None:
    browser = Site().browser()
    before = browser.call(lambda environ: session_in(environ).csrf_token)
    assert browser.call(check_csrf, with_body(f"csrf_token={before}".encode())) is True
    browser.call(lambda environ: login(environ, ANN))
    assert browser.call(check_csrf, with_body(f"csrf_token={before}".encode())) is False


@pytest.mark.parametrize("wrong", ["", " ", "x", "é", "\ud800", "\x00", "A" * 100_000, 5, b"token", ["token"], {}])
def test_what_is_no_token_is_false_and_never_an_exception(browser: Browser, wrong: Any) -> None:
    assert browser.call(lambda environ: check_csrf(environ, wrong), make_environ(method="POST")) is False
    assert browser.call(check_csrf, make_environ(method="POST", HTTP_X_CSRF_TOKEN=wrong)) is False


def test_a_token_with_any_character_changed_is_refused(browser: Browser, token: str) -> None:
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        got = browser.call(check_csrf, make_environ(method="POST", HTTP_X_CSRF_TOKEN=changed))
        # The last character of base64 has unused bits.
        assert got is False or place == len(token) - 1, place


@given(st.text(), st.binary(), st.text())
def test_nothing_a_client_sends_makes_an_exception(header: str, body: bytes, content_type: str) -> None:
    fresh = Site().browser()
    environ = with_body(body, content_type, HTTP_X_CSRF_TOKEN=header)
    assert fresh.call(check_csrf, environ) is False
    assert fresh.call(check_csrf, with_body(b"csrf_token=" + body.replace(b"&", b""))) is False


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_the_middleware_it_says_so_whatever_the_method(method: str) -> None:
    with pytest.raises(SessionMissing, match="SessionMiddleware"):
        check_csrf(make_environ(method=method))


def test_another_layers_session_has_no_tokens_to_check() -> None:
    assert check_csrf(make_environ(session={})) is True
    with pytest.raises(SessionMissing):
        check_csrf(make_environ(method="POST", session={}))


def test_an_outage_is_not_a_wrong_token() -> None:
    def look(environ: dict[str, Any]) -> None:
        with pytest.raises(StoreUnavailable):
            check_csrf(environ, "A" * 86)

    browser_in_an_outage().call(look, make_environ(method="POST"))
