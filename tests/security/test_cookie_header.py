"""Reading the Cookie header, writing headers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from tests.security.cases import DAY, FLOODS, HTTPS, case, opened_by
from tests.security.wire import Wire
from tests.support.site import SECRET, MakeSite, Site, put
from wsgi_session import ConfigError, SessionMiddleware, next_url, redirect_if_anonymous
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import plant
from wsgi_session.testing.clock import FakeClock

#: Headers, in which {a} and {b} stand for cookies' values, and the session that each must give access to.
NAMELESS = {"=__Host-sid={a}; __Host-sid={b}": "b", "=__Host-sid={a}": "", "; =__Host-sid={a};=": ""}
OTHER_NAMES = [
    "%5F%5FHost-sid={a}",
    '"__Host-sid"={a}',
    "..Host-sid={a}",
    " [_Host-sid={a}",
    "__host-sid={a}",
    "__HOST-SID={a}",
    "__Host-sid%20={a}",
    "__Host-sid ={a}",
    "__Host_sid={a}",
    "__Host.sid={a}",
    "\\__Host-sid={a}",
    "__Host-sid[]={a}",
    "__Host-s%69d={a}",
    "$__Host-sid={a}",
    "__Secure-sid={a}",
    "sid={a}",
]
SWALLOWED = {
    'a="x; __Host-sid={a}; b=y': "a",
    'a="x\\"; __Host-sid={a}': "a",
    "a=]__Host-sid={b}; __Host-sid={a}": "a",
    "a=1,__Host-sid={b}; __Host-sid={a}": "a",
    "a=1,__Host-sid={b}": "",
    "a=1 __Host-sid={b}": "",
    '__Host-sid="{b}"; __Host-sid={a}': "a",
    "a=\\073__Host-sid={b}; __Host-sid={a}": "a",
}
JUNK = ["null", '{"a":1}', "", ";;", "x y=1", "ü=\xe9", "=", "a=", "=b", "a=b=c", '"', "$Version=1", "a[0]=1", "@", ","]
NEIGHBOURS = {
    line: "a"
    for junk in JUNK
    for line in (
        f"{junk}; __Host-sid={{a}}".replace('{"a":1}', '{{"a":1}}'),
        f"__Host-sid={{a}}; {junk}".replace('{"a":1}', '{{"a":1}}'),
        f"{junk};__Host-sid={{a}};{junk}".replace('{"a":1}', '{{"a":1}}'),
    )
}


def check(site: Site, headers: dict[str, str]) -> None:
    """Check the session for each header, over https, where the cookie is `__Host-sid`."""
    values = {who: plant(site.middleware, {"who": who}, scheme="https").partition("=")[2] for who in "ab"}
    for header, who in headers.items():
        found = opened_by(site, header.format(**values), **HTTPS)
        assert found == ({"who": who} if who else {}), header


def check_over(wire: Wire, headers: dict[str, str]) -> None:
    """The same through a real server."""
    values = {who: wire.session(who=who) for who in "ab"}
    for header, who in headers.items():
        found = wire.opened_by(header.format(**values).encode("latin-1"))
        assert found == ({"who": who} if who else {}), header


@case(36)
def test_a_cookie_without_a_name_is_no_cookie_of_ours(site: Site) -> None:
    """`=__Host-sid=…`, which any neighbouring host can set, is not read as `__Host-sid`.

    Case 36: CVE-2023-23934, Werkzeug: a nameless cookie `=__Host-C=bad` was read as the cookie `__Host-C`.
    """
    check(site, NAMELESS)


@case(36)
def test_a_cookie_without_a_name_is_no_cookie_of_ours_over_the_wire(wire: Wire) -> None:
    """The same through real servers."""
    check_over(wire, NAMELESS)


@case(37)
def test_names_match_byte_for_byte(site: Site) -> None:
    """A name is never decoded, unquoted, trimmed of anything but spaces before it, or compared without regard to case.

    Case 37: CVE-2020-8184 (Rack), CVE-2021-41819 (Ruby's cgi), CVE-2020-7070 and CVE-2022-31629 (PHP), Werkzeug #1965:
    names were decoded or normalised, so that another name became `__Host-…`, which no neighbouring host may set.
    """
    check(site, dict.fromkeys(OTHER_NAMES, ""))


@case(37)
def test_names_match_byte_for_byte_over_the_wire(wire: Wire) -> None:
    """The same through real servers."""
    check_over(wire, dict.fromkeys(OTHER_NAMES, ""))


@case(38)
def test_no_cookie_swallows_or_smuggles_another(site: Site) -> None:
    """The header is split at `;` and at nothing else: quotes, commas, brackets and backslashes mean nothing.

    Case 38: CVE-2015-2156 (Netty, Play), CVE-2016-7401 (Django), tornado#1852: server and browser split the header at
    different places, so an unclosed quote swallowed the cookies after it, and one cookie's value set another.
    """
    check(site, SWALLOWED)


@case(38)
def test_no_cookie_swallows_or_smuggles_another_over_the_wire(wire: Wire) -> None:
    """The same through real servers. Servers join two Cookie headers in different ways: no combination gives access to
    a session that neither header contains, and none causes an error.
    """
    check_over(wire, SWALLOWED)
    ours = f"__Host-sid={wire.session(who='a')}".encode()
    for headers in ((b"a=b", ours), (ours, b"a=b"), (ours, ours), (b"a=1,", ours), (b"__Host-sid=x", ours)):
        assert wire.opened_by(*headers) in ({"who": "a"}, {}), headers


@case(39)
def test_junk_beside_our_cookie_costs_nobody_the_session(site: Site) -> None:
    """The session is found whatever other cookies are before or after ours in the Cookie header.

    Case 39: Beaker #231: `Cookie: null;beaker.session.id=…` made the standard library's parser drop the session's
    cookie.
    """
    check(site, NEIGHBOURS)


@case(39)
def test_junk_beside_our_cookie_costs_nobody_the_session_over_the_wire(wire: Wire) -> None:
    """The same through real servers."""
    check_over(wire, NEIGHBOURS)


@case(40)
@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("site_of", ["in_memory", "sealed"])
def test_a_long_header_takes_linear_time(request: pytest.FixtureRequest, site_of: str, flood: str) -> None:
    """A header of twice the length takes twice the time. 64 KB take under 50 ms, and a longer header is ignored.

    Case 40: CVE-2024-7592 (CPython), CVE-2024-52804 (Tornado), CVE-2025-27219 (Ruby's cgi), CVE-2023-22792 (Rails):
    parsing the header took quadratic time.
    """
    site: Site = request.getfixturevalue(site_of)

    def seconds(size: int) -> float:
        environ = site.browser().request(_looks, HTTP_COOKIE=FLOODS[flood](size))
        best = float("inf")
        for _ in range(9):
            # The CPU time of this thread, which does not depend on other load.
            started = time.thread_time()
            site.middleware(dict(environ), lambda status, headers: lambda data: None)
            best = min(best, time.thread_time() - started)
        return best

    quarter, whole = seconds(16 * 1024), seconds(64 * 1024)
    assert whole < 0.05, f"{whole * 1000:.1f} ms"
    # Quadratic would be 16 times the time.
    assert whole < 8 * max(quarter, 0.0002), (quarter, whole)
    header = plant(site.middleware, {"k": 1})
    padding = "a" * (64 * 1024 - len(header) - 2)
    assert opened_by(site, f"{padding}; {header}") == {"k": 1}
    assert opened_by(site, f"{padding}a; {header}") == {}


def _looks(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    assert environ["session"].get("k") is None
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


BAD = ["a;b", "a,b", "a b", "a\r\nb", "a\nb", "a\tb", "a\x00b", "é", "a=b" * 3 + ";", "\x7f"]


@case(41)
@pytest.mark.parametrize("bad", BAD)
def test_no_option_can_inject_an_attribute_or_a_header(bad: str) -> None:
    """A cookie's name, path or domain with ``;``, ``,``, white space, control characters or non-ASCII characters is
    refused at construction, and so is a ``__Host-`` name with a domain or a path.

    Case 41: CVE-2024-47764 (jshttp/cookie), koa's `cookies`, CVE-2016-9964 (Bottle), CVE-2012-2374 (Tornado),
    CVE-2018-1000164 (gunicorn): unchecked values added attributes to a cookie, or headers to a response.
    """
    host = {"cookie_name": "__Host-own", "cookie_secure": True}
    for options in (
        {"cookie_name": bad},
        {"cookie_path": "/" + bad},
        {"cookie_domain": bad},
        {"cookie_samesite": bad},
        {**host, "cookie_domain": "example.com"},
        {**host, "cookie_path": "/app"},
    ):
        with pytest.raises(ConfigError) as caught:
            SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=MemoryStore(), **options)
        assert isinstance(caught.value, ValueError)


@case(41)
@pytest.mark.parametrize("bad", ["/a\r\nSet-Cookie: a=b", "/a\nb", "/a b", "/é", "/a\x00"])
def test_no_redirect_can_inject_a_header(bad: str) -> None:
    """A login URL with CR, LF or a space is refused, and a ``next`` address that contains one of these is ignored."""
    environ: dict[str, Any] = {"session": {}, "PATH_INFO": bad, "QUERY_STRING": f"next={bad}", "SCRIPT_NAME": bad}
    setup_testing_defaults(environ)
    with pytest.raises(ConfigError):
        redirect_if_anonymous(environ, bad)
    response = redirect_if_anonymous(environ)
    assert response is not None
    assert response.location is not None
    for text in (response.location, next_url(environ, "/home")):
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text


@case(42)
@pytest.mark.parametrize("given", ["new", "refresh", "login twice"])
def test_the_applications_own_headers_stay_as_they_are(make_site: MakeSite, clock: FakeClock, given: str) -> None:
    """The list that the application passes is not changed, its cookies keep their order, and our cookie is added once,
    even if ``start_response`` is called twice.

    Case 42: CVE-2025-7339, on-headers, in express-session up to 1.18.2: the hook on the response's headers changed the
    arrays that the application had passed.
    """
    site = make_site()
    browser = site.browser()
    if given != "new":
        browser.do(put(k=1))
        clock.advance(2 * DAY)
    own = [("Content-Type", "text/plain"), ("set-cookie", "a=1"), ("X-Other", "x"), ("Set-Cookie", "b=2; Path=/")]
    before = list(own)

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        session = environ["session"]
        session.get("k") if given == "refresh" else session.update(k=2)
        if given == "login twice":
            session.rotate()
            start_response("200 OK", own)
            try:
                raise LookupError
            except LookupError as error:
                start_response("404 Not Found", own, (LookupError, error, error.__traceback__))
        else:
            start_response("200 OK", own)
        return [b"page"]

    for _ in range(2):
        answer = browser.visit(app)
        assert own == before
        assert [pair for pair in answer.headers if pair in own] == own, answer
        ours = [value for value in answer.all("Set-Cookie") if value.startswith("sid=")]
        assert len(ours) <= 1, answer
    assert len(browser.jar) == 3


@case(42)
def test_a_list_that_is_used_for_every_answer_does_not_grow_over_the_wire(wire: Wire) -> None:
    """Through real servers, a list that the application uses for all responses is the same in each of them."""
    for _ in range(6):
        reply = wire.get("/twice")
        assert [(cookie.name, cookie.value) for cookie in reply.cookies] == [("a", "1"), ("b", "2")], reply


@case(42)
def test_a_body_is_the_applications_own(site: Site) -> None:
    """The middleware passes the application's own body object to the server.

    (A new session may be swept after: then it is a copy of the list, with an end.)
    """
    body = [b"page"]

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        environ["session"].get("k")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    environ = site.browser().request(app, **{"wsgi.input": BytesIO()})
    assert site.middleware(environ, lambda status, headers: lambda data: None) is body
