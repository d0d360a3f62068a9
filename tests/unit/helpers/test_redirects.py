"""Redirects to the login page and back, which never lead to another site."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from http.client import HTTPConnection
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from wsgiref.validate import validator

import pytest
from hypothesis import given

from tests.support.attacks import PAYLOADS, hostile, leaves
from tests.support.requests import browser_in_an_outage, make_environ, with_body
from tests.support.site import ANN, Site
from tests.support.url_parser import SITE, follow, needs_a_browsers_parser
from wsgi_session import ConfigError, SessionMissing, StoreUnavailable, next_url, redirect_if_anonymous
from wsgi_session.helpers.redirects import LoginRedirect


def location(path: str = "/profile", login_url: str = "/login", **environ: Any) -> str:
    """Return the ``Location`` for an anonymous visitor's request for ``path``."""
    response = redirect_if_anonymous(make_environ(path, session={}, **environ), login_url)
    assert response is not None
    assert response.location == dict(response.headerlist)["Location"]
    return str(response.location)


def test_a_logged_in_visitor_is_not_redirected() -> None:
    assert redirect_if_anonymous(make_environ(session={"user": ANN})) is None
    assert redirect_if_anonymous(make_environ(session={"user": MappingProxyType(ANN)})) is None
    assert redirect_if_anonymous(make_environ(other={"user": ANN}), key="other") is None


@pytest.mark.parametrize("user", [None, {}, [], "ann", 5, True, b"ann", ["id"], "absent"])
def test_having_a_session_is_not_being_logged_in(user: Any) -> None:
    session = {"cart": [1]} if user == "absent" else {"cart": [1], "user": user}
    assert redirect_if_anonymous(make_environ(session=session)) is not None


REDIRECTS = [
    ("GET", 302, "/login?next=/profile"),
    ("HEAD", 302, "/login"),
    ("POST", 303, "/login"),
    ("PUT", 303, "/login"),
    ("DELETE", 303, "/login"),
    ("get", 303, "/login"),
]


@pytest.mark.parametrize(
    ("method", "status", "location"), REDIRECTS, ids=[f"{method}-{status}" for method, status, _ in REDIRECTS]
)
def test_the_redirect_is_temporary_and_turns_other_methods_into_get(method: str, status: int, location: str) -> None:
    response = redirect_if_anonymous(make_environ("/profile", method=method, session={}))
    assert response is not None
    assert response.status_int == status
    assert response.location == location


def test_no_cache_keeps_the_redirect() -> None:
    response = redirect_if_anonymous(make_environ(session={}))
    assert response is not None
    headers = dict(response.headerlist)
    assert (headers["Cache-Control"], headers["Vary"]) == ("no-store", "Cookie")


@pytest.mark.parametrize(
    ("login_url", "expected"),
    [
        ("/login", "/login?next=/profile%3Fa%3D1%26b%3D%2520"),
        ("/", "/?next=/profile%3Fa%3D1%26b%3D%2520"),
        ("/login?lang=en", "/login?lang=en&next=/profile%3Fa%3D1%26b%3D%2520"),
        ("/login?", "/login?next=/profile%3Fa%3D1%26b%3D%2520"),
        ("/login?a=1&", "/login?a=1&next=/profile%3Fa%3D1%26b%3D%2520"),
        ("/login#form", "/login?next=/profile%3Fa%3D1%26b%3D%2520#form"),
        ("/login?a=1#form", "/login?a=1&next=/profile%3Fa%3D1%26b%3D%2520#form"),
        ("https://sso.example/login?app=x", "https://sso.example/login?app=x"),
        ("HTTP://sso.example", "HTTP://sso.example"),
    ],
)
def test_a_path_carries_where_the_visitor_wanted_to_go_and_an_absolute_url_goes_out_as_it_is(
    login_url: str, expected: str
) -> None:
    assert location("/profile", login_url, query="a=1&b=%20") == expected


@pytest.mark.parametrize(
    ("login_url", "expected"),
    [
        ("/login", "/app/login?next=/app/profile"),
        ("/app/login", "/app/login?next=/app/profile"),
        ("/application", "/app/application?next=/app/profile"),
        ("https://sso.example/", "https://sso.example/"),
    ],
)
def test_under_a_mount_point_both_paths_have_it(login_url: str, expected: str) -> None:
    assert location("/profile", login_url, script="/app") == expected


def test_a_target_of_over_two_thousand_bytes_is_left_out() -> None:
    assert location("/" + "x" * 1999) == "/login?next=/" + "x" * 1999
    assert location("/" + "x" * 2000) == "/login"
    assert location("/x", query="y" * 2000) == "/login"


@pytest.mark.parametrize(
    "login_url",
    [
        *(
            "",
            "login",
            "//evil.example",
            "/\\evil.example",
            "\\login",
            "/log in",
            "/login\r\nSet-Cookie: a=b",
            "/lögin",
        ),
        *(
            "javascript:alert(1)",
            "https:/x",
            "https://",
            "https:///x",
            "https:\\\\x",
            "ftp://x",
            "/a\x7f",
            "/a\x00",
            " /a",
        ),
        *(None, 5, b"/login"),
    ],
)
def test_a_login_url_that_no_header_should_hold_is_refused(login_url: Any) -> None:
    for session in ({}, {"user": ANN}):
        with pytest.raises(ConfigError, match="single slash in front"):
            redirect_if_anonymous(make_environ(session=session), login_url)


def run(response: LoginRedirect, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Call the response as a WSGI application under wsgiref's validator."""
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        seen[:] = [status, headers]
        return lambda data: None

    # The validator requires a dot in each key whose value is not text.
    dotted = {name: value for name, value in environ.items() if name != "session"}
    body: Any = validator(response)(dotted, start_response)
    try:
        content = b"".join(body)
    finally:
        body.close()
    return seen[0], seen[1], content


def test_the_answer_goes_out_as_it_is_whatever_host_was_asked_for() -> None:
    environ = make_environ("/profile", session={}, HTTP_HOST="evil.example", HTTP_REFERER="https://evil.example/")
    response = redirect_if_anonymous(environ)
    assert response is not None
    status, headers, body = run(response, environ)
    assert status == "302 Found"
    assert dict(headers)["Location"] == "/login?next=/profile"
    assert headers == [*response.headerlist, ("Content-Length", str(len(body)))]
    assert "evil" not in repr(headers) + repr(body)


def test_an_answer_made_of_the_status_and_the_headers_alone_is_complete() -> None:
    response = redirect_if_anonymous(make_environ("/profile", session={}))
    assert response is not None
    assert [name for name, _ in response.headerlist] == ["Location", "Cache-Control", "Vary", "Content-Type"]


def test_the_body_links_to_the_login_page_and_is_escaped() -> None:
    environ = make_environ("/profile", session={})
    response = redirect_if_anonymous(environ, "/login?a=1&b='>x")
    assert response is not None
    assert b'<a href="/login?a=1&amp;b=&#x27;&gt;x&amp;next=/profile">' in run(response, environ)[2]


def test_head_gets_the_headers_without_the_body() -> None:
    environ = make_environ(method="HEAD", session={})
    response = redirect_if_anonymous(environ)
    assert response is not None
    status, headers, body = run(response, environ)
    assert (status, dict(headers)["Location"], body) == ("302 Found", "/login", b"")


def test_the_answer_has_a_length_for_get_and_head_whatever_the_application_made_of_it() -> None:
    """Without a length, a server has to close the connection if a middleware wraps the body."""
    for method in ("GET", "HEAD", "POST"):
        environ = make_environ("/profile", method=method, session={})
        response = redirect_if_anonymous(environ)
        assert response is not None
        body = b"".join(response.app_iter)
        assert dict(run(response, environ)[1])["Content-Length"] == str(len(body))
        response.body = b"Please log in."
        assert [value for name, value in run(response, environ)[1] if name == "Content-Length"] == ["14"]
        # The length of an iterator is not known.
        response.app_iter = iter([b"Please ", b"log in."])
        assert "Content-Length" not in dict(run(response, environ)[1])


def test_a_redirect_behind_what_wraps_the_body_keeps_the_connection() -> None:
    """waitress knows the length of a list with one item, but not that of a generator."""
    waitress = pytest.importorskip("waitress.server", reason="pip install waitress")

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        environ["session"] = {}
        response = redirect_if_anonymous(environ)
        assert response is not None
        yield from response(environ, start_response)

    server = waitress.create_server(app, host="127.0.0.1", port=0)

    def serve() -> None:
        # Another thread closes the server, after which its loop may raise for a bad file descriptor.
        with suppress(OSError):
            server.run()

    thread = threading.Thread(target=serve)
    thread.start()
    connection = HTTPConnection("127.0.0.1", server.effective_port, timeout=20)
    try:
        for method in ("GET", "HEAD", "POST", "GET"):
            connection.request(method, "/profile")
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (302, 303)
            assert not answer.will_close
    finally:
        connection.close()
        server.close()
        thread.join()


def test_the_response_is_webobs_and_can_be_raised() -> None:
    from webob import Response

    response = redirect_if_anonymous(make_environ("/profile", session={}))
    assert isinstance(response, Response)
    with pytest.raises(LoginRedirect) as caught:
        raise response
    assert caught.value is response


@given(hostile, hostile, hostile)
def test_whatever_is_requested_the_visitor_stays_on_the_site(path: str, query: str, script: str) -> None:
    sent = location(path, query=query, script=script, HTTP_HOST="evil.example", HTTP_REFERER="//evil.example/")
    assert leaves(sent[: sent.find("?")] if "?" in sent else sent) == "", sent
    for name, target in parse_qsl(urlsplit(sent).query):
        assert name == "next"
        assert leaves(target) == "", target
        assert next_url(make_environ(query=urlsplit(sent).query), "nowhere") == target


@needs_a_browsers_parser
def test_a_browser_that_follows_a_redirect_stays_on_the_site_for_every_known_attack() -> None:
    payloads = [payload.encode(errors="replace").decode("latin-1") for payload in PAYLOADS]
    sent = [location(payload) for payload in payloads]
    sent += [location("/x", query=payload) for payload in payloads]
    sent += [location("/x", script=payload) for payload in payloads]
    sent += [next_url(make_environ(query=sent_to.partition("?")[2])) for sent_to in sent]
    strays = [
        (where, found)
        for where, found in zip(sent, follow(sent), strict=True)
        if found.origin != SITE or found.path.startswith("//")
    ]
    assert strays == []


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("next=/profile", "/profile"),
        ("next=%2Fprofile%3Fa%3D1%26b%3D2", "/profile?a=1&b=2"),
        ("lang=en&next=/a", "/a"),
        ("n%65xt=/a", "/a"),
        ("next=/a&next=//evil.example", "/a"),
        ("next=//evil.example&next=/a", "default"),
        ("next=/caf%C3%A9", "/caf%C3%A9"),
        ("next=/caf\xc3\xa9", "/caf%C3%A9"),
        ("next=/a%2520b", "/a%20b"),
        ("next=/a%20b", "default"),
        ("next=/a+b", "default"),
        ("next=/a%00", "default"),
        ("next=", "default"),
        ("next", "default"),
        ("", "default"),
        ("next=profile", "default"),
        ("next=https%3A%2F%2Fsite.example%2F", "default"),
        ("next=/%FF", "/%EF%BF%BD"),
        ("next=/\u1234", "/?"),
        ("next=/" + "x" * 2000, "default"),
    ],
)
def test_after_the_login_the_visitor_goes_to_a_path_on_this_site_or_the_default(query: str, target: str) -> None:
    assert next_url(make_environ(query=query), "default") == target


def test_no_known_open_redirect_gets_through_however_it_is_sent() -> None:
    for payload in PAYLOADS:
        for sent in (quote(payload, safe="", errors="replace"), payload.encode(errors="replace").decode("latin-1")):
            target = next_url(make_environ(query=f"next={sent}"))
            assert leaves(target) == "", (payload, target)
        if payload.encode(errors="ignore").decode() == payload:  # else no form can send it
            assert next_url(with_body(urlencode({"next": payload}).encode())) == "/", payload


def test_the_default_of_the_default_is_the_front_page() -> None:
    assert next_url(make_environ()) == "/"


def test_the_form_is_asked_after_the_query_and_stays_readable() -> None:
    environ = with_body(b"next=/from-the-form&x=1")
    assert next_url(environ) == "/from-the-form"
    assert environ["wsgi.input"].read() == b"next=/from-the-form&x=1"
    assert next_url(with_body(b"next=/from-the-form", QUERY_STRING="next=/from-the-query")) == "/from-the-query"
    assert next_url(with_body(b"next=/from-the-form", QUERY_STRING="next=//evil.example")) == "/"


def test_a_get_requests_body_is_left_alone() -> None:
    environ = with_body(b"next=/from-the-form", REQUEST_METHOD="GET")
    assert next_url(environ) == "/"
    assert environ["wsgi.input"].read(4) == b"next"


@given(hostile)
def test_no_parameter_leads_off_the_site_or_makes_an_exception(query: str) -> None:
    assert leaves(next_url(make_environ(query=f"next={query}"))) == ""
    next_url(make_environ(query=query))


def test_without_the_middleware_the_redirect_says_what_to_wrap() -> None:
    with pytest.raises(SessionMissing, match="SessionMiddleware"):
        redirect_if_anonymous(make_environ())


def test_the_redirect_only_looks_and_writes_nothing() -> None:
    browser = Site().browser()
    response = browser.call(redirect_if_anonymous, make_environ("/profile"))
    assert response.location == "/login?next=/profile"
    assert ("Vary", "Cookie") in browser.answer.headers
    assert browser.header == ""


def test_an_outage_does_not_log_the_visitor_out() -> None:
    def look(environ: dict[str, Any]) -> None:
        with pytest.raises(StoreUnavailable):
            redirect_if_anonymous(environ)

        browser_in_an_outage().call(look)


def test_the_package_can_be_imported_where_warnings_are_errors() -> None:
    """WebOb 1.8 imports cgi, which CPython 3.11 and 3.12 deprecate."""
    subprocess.run([sys.executable, "-W", "error", "-c", "import wsgi_session.helpers.redirects"], check=True)
