"""The helpers."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from wsgiref.util import setup_testing_defaults

import pytest

from tests.security.cases import case
from tests.security.wire import Wire
from tests.support.attacks import PAYLOADS, leaves
from tests.support.site import ANN, Browser, Site, log_in, put
from tests.support.url_parser import SITE, follow, needs_a_browsers_parser
from wsgi_session import (
    SessionMissing,
    StoreUnavailable,
    next_url,
    redirect_if_anonymous,
    require_login,
    session_info,
    user_email_or_none,
    user_or_none,
)

#: More attacks, besides those of the helpers' own tests.
EVIL = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\\\evil.example",
    "/\t/evil.example",
    "/\r\n/evil.example",
    "https:evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "/%2f%2fevil.example",
    "/%09/evil.example",
    "/%5cevil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/x/..//evil.example",
    *PAYLOADS,
    "/.//..;@evil.example/",
    "/x/..//..;@evil.example/",
    "/.//..%3b@evil.example/",
    "/%2e//%2E%2e;a@evil.example/",
]


def bytes_of(text: str) -> str:
    """Return ``text`` in the form in which a server puts it into an environ."""
    return text.encode("utf-8", errors="surrogatepass").decode("latin-1")


def request(**environ: Any) -> dict[str, Any]:
    given = {"session": {}, "REQUEST_METHOD": "GET", **environ}
    setup_testing_defaults(given)
    return given


def requests_with(evil: str) -> list[dict[str, Any]]:
    """Return requests with ``evil`` in every place that a client can control, also through a dispatcher."""
    raw = bytes_of(evil)
    return [
        request(PATH_INFO=raw),
        request(PATH_INFO=bytes_of(unquote(evil))),
        request(PATH_INFO="/shop", SCRIPT_NAME=raw),
        request(PATH_INFO=raw, SCRIPT_NAME="/shop"),
        request(PATH_INFO="/shop", QUERY_STRING=raw),
        request(PATH_INFO="/shop", QUERY_STRING=f"next={quote(evil, errors='surrogatepass')}"),
        request(PATH_INFO="/shop", HTTP_HOST=raw, HTTP_X_FORWARDED_HOST=raw),
        request(PATH_INFO="/shop", HTTP_REFERER=raw, HTTP_X_ORIGINAL_URL=raw),
    ]


@case(55)
@needs_a_browsers_parser
def test_no_redirect_leads_off_the_site() -> None:
    """A browser that follows the redirect to the login and back stays on the site, whatever the path, mount point,
    query, Host or Referer contains.

    Case 55: CVE-2024-42353 and GHSA-fh3h-vg37-cc95 (WebOb), CVE-2021-32618 and CVE-2023-49438 (Flask-Security-Too),
    CVE-2021-32805 (Flask-AppBuilder), CVE-2021-23435 (Clearance), CVE-2026-40295 (Devise), CVE-2021-32806
    (isurlinportal), CVE-2025-57821 (google_sign_in), CVE-2023-39968 (jupyter-server), FlintUA/MeshCenter#130: the
    return address was trusted, and `//`, `/\\`, `https:host`, a tab, a newline, or the Referer led to another
    site.
    """
    locations: list[str] = []
    for evil in EVIL:
        for given in requests_with(evil):
            response = redirect_if_anonymous(given)
            assert response is not None
            assert response.location is not None
            assert "evil" not in response.location or "next=" in response.location or given["SCRIPT_NAME"]
            back = next_url(given, "/home")
            remembered = [value for name, value in parse_qsl(urlsplit(response.location).query) if name == "next"]
            locations += [response.location, back, *remembered]
            after = request(QUERY_STRING=urlsplit(response.location).query)
            locations.append(next_url(after, "/home"))
    assert [(text, leaves(text)) for text in locations if leaves(text)] == []
    away = [text for text, went in zip(locations, follow(locations), strict=True) if went.origin != SITE]
    assert away == []


@case(55)
def test_no_redirect_leads_off_the_site_over_the_wire(wire: Wire) -> None:
    """Through real servers, the redirect is a path with one slash, whatever request line and headers contain."""
    for target in (
        b"//evil.example",
        b"///evil.example/x",
        b"/%2f%2fevil.example",
        b"/%5cevil.example",
        b"/%09/evil.example",
        b"/\\evil.example",
        b"/%0d%0aSet-Cookie:%20a=b",
        b"/x/..//evil.example",
        b"/.//evil.example",
        b"/shop?next=//evil",
        b"http://evil.example//evil.example/x",
    ):
        reply = wire.get(target, b"X-Forwarded-Host: evil.example", b"Referer: https://evil.example/")
        assert reply.status in (302, 400), (target, reply)
        if reply.status == 302:
            (location,) = reply.all("Location")
            assert leaves(location) == "", (target, location)
            assert location.startswith("/login"), (target, location)
            assert reply.cookies == []


@case(56)
@pytest.mark.parametrize("user", ["absent", None, {}, [], "ann", 5, True])
def test_having_a_session_is_not_being_logged_in(site: Site, browser: Browser, user: Any) -> None:
    """A visitor with data in the session and no user is anonymous to every helper.

    Case 56: CVE-2023-48309, next-auth: a visitor with a session counted as logged in, so an encrypted value without a
    user passed the default middleware.
    """
    browser.do(put(cart=[1], **({} if user == "absent" else {"user": user})))

    def ask(session: Any) -> Any:
        request_of = request(session=session)
        return user_or_none(request_of), user_email_or_none(request_of), redirect_if_anonymous(request_of) is not None

    assert browser.do(ask).result == (None, None, True)
    guarded = require_login(lambda environ, start_response: [b"for members"])
    answer = browser.visit(guarded, PATH_INFO="/members", SCRIPT_NAME="")
    assert (answer.code, answer.header("Location")) == (302, "/login?next=/members")
    assert browser.visit(session_info()).body == b"{}"


EMAILS = ["", " ", 0, 1, False, True, [], ["a@b"], {}, b"", b"a@b", 1.5, None, (), {"a"}]


@case(57)
@pytest.mark.parametrize("email", EMAILS, ids=map(repr, EMAILS))
def test_the_address_is_a_str_or_none(site: Site, browser: Browser, email: Any) -> None:
    """``user_email_or_none`` returns a non-empty ``str`` or ``None``, never another falsy value; no session data makes
    it raise.

    Case 57: CVE-2022-24880, flask-session-captcha: a check returned `None` where its callers looked for `False`.
    """
    browser.do(log_in({"id": 1, "email": email}))
    found = browser.do(lambda session: user_email_or_none({"session": session})).result
    assert found is None or (type(found), found) == (str, email)
    assert found != ""
    for user in (email, {"email": {"email": email}}, None):
        browser.do(put(user=user))
        assert browser.do(lambda session: user_email_or_none({"session": session})).result is None
    browser.do(log_in(ANN))
    assert browser.do(lambda session: user_email_or_none({"session": session})).result == ANN["email"]


@case(57)
def test_an_outage_or_a_missing_middleware_is_no_anonymous_visitor(in_memory: Site) -> None:
    """Without the middleware it raises ``SessionMissing``, and in an outage ``StoreUnavailable``; it does not return
    ``None`` in these cases.
    """
    with pytest.raises(SessionMissing):
        user_email_or_none({})
    browser = in_memory.browser()
    browser.do(log_in(ANN))
    in_memory.calls.fail("load")

    def ask(session: Any) -> str:
        with pytest.raises(StoreUnavailable):
            user_email_or_none({"session": session})
        return "asked"

    assert browser.do(ask).result == "asked"
