"""Caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.security.cases import DAY, case
from tests.support.client import Answer, Application
from tests.support.site import ANN, Browser, Site, log_in, log_out, page, put
from tests.support.stores import SERVER
from wsgi_session import (
    Session,
    check_csrf,
    redirect_if_anonymous,
    session_info,
    user_email_or_none,
    user_or_none,
)
from wsgi_session.testing.clock import FakeClock


def saying(function: Callable[[Session], object], *headers: tuple[str, str]) -> Application:
    """Return an application that calls ``function(session)`` and sends ``headers``."""

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        function(environ["session"])
        start_response("200 OK", [("Content-Type", "text/plain"), *headers])
        return [b"page"]

    return app


@case(43)
@pytest.mark.parametrize(
    ("given", "sent"), [([], ["Cookie"]), (["Accept"], ["Accept, Cookie"]), (["cookie"], ["cookie"]), (["*"], ["*"])]
)
def test_an_answer_that_refreshes_the_cookie_varies(
    browser: Browser, clock: FakeClock, given: list[str], sent: list[str]
) -> None:
    """Every response with our Set-Cookie has ``Vary: Cookie``, also if the cookie is only renewed; the application's
    own values stay.

    Case 43: CVE-2023-30861, Flask: ``Vary: Cookie`` was missing if the cookie was only renewed, and a proxy that cached
    the response gave one visitor's cookie to others.
    """
    browser.do(put(k=1))
    clock.advance(2 * DAY)
    answer = browser.visit(saying(lambda session: session.get("k"), *(("Vary", value) for value in given)))
    assert len(answer.cookies) == 1, "no refresh: nothing was tested"
    assert answer.all("Vary") == sent
    assert answer.all("Cache-Control") == ["private"]


def _from_request(helper: Callable[[Any], object]) -> Callable[[Session], object]:
    return lambda session: helper({"session": session, "REQUEST_METHOD": "POST", "wsgi.input": None})


LOOKS: dict[str, Callable[[Session], object]] = {
    "in": lambda session: "k" in session,
    "not in": lambda session: "other" not in session,
    "len": len,
    "iter": lambda session: list(session),
    "reversed": lambda session: list(reversed(session)),
    "keys": lambda session: list(session.keys()),
    "values": lambda session: list(session.values()),
    "items": lambda session: list(session.items()),
    "==": lambda session: session == {},
    "!=": lambda session: session != {},
    "bool": bool,
    "get": lambda session: session.get("k"),
    "[]": lambda session: session["k"] if session.get("k") else None,
    "setdefault": lambda session: session.setdefault("k", 1),
    "copy": lambda session: session.copy(),
    "dict()": dict,
    "**": lambda session: {**session},
    "|": lambda session: session | {},
    "is_new": lambda session: session.is_new,
    "state": lambda session: session.state,
    "handle": lambda session: session.handle,
    "owner": lambda session: session.owner,
    "created": lambda session: session.created,
    "expires": lambda session: session.expires,
    "flashes": lambda session: session.flashes(),
    "csrf_token": lambda session: session.csrf_token,
    "no_touch": lambda session: session.no_touch(),
    "rotate": lambda session: session.rotate(),
    "user_or_none": _from_request(user_or_none),
    "user_email_or_none": _from_request(user_email_or_none),
    "redirect_if_anonymous": _from_request(redirect_if_anonymous),
    "check_csrf": _from_request(lambda request: check_csrf(request, "x" * 86)),
    "session_info": _from_request(lambda request: session_info()({**request, "REQUEST_METHOD": "GET"}, print_nothing)),
}


def print_nothing(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
    return lambda data: None


@case(44)
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("visitor", ["with a session", "without one"])
def test_every_way_of_looking_makes_the_answer_vary(browser: Browser, look: str, visitor: str) -> None:
    """Every way of using the session adds ``Vary: Cookie``, even for a visitor without a cookie.

    Case 44: CVE-2026-27205, Flask below 3.1.3: some ways of using the session, such as ``in``, were not tracked, so
    ``Vary: Cookie`` was missing from responses that depended on the cookie.
    """
    if visitor == "with a session":
        browser.do(put(k=1))
    answer = browser.do(LOOKS[look])
    assert answer.all("Vary") == ["Cookie"]


@case(44)
def test_an_answer_that_has_nothing_to_do_with_the_session_does_not_vary(site: Site, browser: Browser) -> None:
    """A response whose request did not use the session has no header of ours, so that caches may store it."""
    browser.do(put(k=1))
    site.forget()
    answer = browser.visit(page((b"page",), "200 OK", ("Cache-Control", "public, max-age=60")))
    assert answer.headers == [("Content-Type", "text/plain"), ("Cache-Control", "public, max-age=60")]
    assert site.calls.counts() == {}


def is_public(answer: Answer) -> bool:
    text = ",".join(answer.all("Cache-Control")).lower()
    return "public" in text or "s-maxage" in text or bool(answer.all("CDN-Cache-Control"))


PUBLIC = [("Cache-Control", "public, max-age=99"), ("Cache-Control", "s-maxage=60"), ("CDN-Cache-Control", "max-age=9")]
CHANGES: dict[str, Callable[[Session], object]] = {
    "a write": put(k=2),
    "a login": log_in(ANN),
    "a rotation": lambda session: session.rotate(),
    "a logout": log_out,
    "a form's token": lambda session: session.csrf_token,
}


@case(45)
@pytest.mark.parametrize("header", PUBLIC)
def test_a_refresh_waits_where_the_answer_is_public(
    browser: Browser, clock: FakeClock, header: tuple[str, str]
) -> None:
    """If shared caches may store a response, the cookie is not renewed in it, but in the next one.

    Case 45: CVE-2024-26144 (Active Storage), CVE-2012-2671 (rack-cache), sidekiq#5936, auth0/nextjs-auth0#2100,
    vercel/next.js#96266, supabase/ssr#172: Set-Cookie was sent with responses that shared caches may store, and caches
    gave one visitor's session to others.
    """
    browser.do(put(k=1))
    clock.advance(2 * DAY)
    answer = browser.visit(saying(lambda session: session.get("k"), header))
    assert (answer.cookies, answer.all(header[0])) == ([], [header[1]])
    assert len(browser.do(lambda session: session.get("k")).cookies) == 1


@case(45)
@pytest.mark.parametrize("header", PUBLIC)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("visitor", ["new", "known"])
def test_no_public_answer_has_our_cookie(
    site: Site, browser: Browser, header: tuple[str, str], change: str, visitor: str
) -> None:
    """If our cookie must be sent, the response is made ``private``, whatever the application set, with the event
    ``cache_overridden``.
    """
    if visitor == "known":
        browser.do(put(k=1))
    answer = browser.visit(saying(CHANGES[change], header))
    assert not (answer.cookies and is_public(answer)), answer
    assert bool(answer.cookies) is bool(site.happened("cache_overridden")), (answer, site.events)
    if answer.cookies:
        assert "private" in answer.header("Cache-Control").split(", "), answer  # type: ignore[union-attr]


@case(45)
@pytest.mark.needs(SERVER)
def test_a_change_that_needs_no_cookie_leaves_a_public_answer_public(browser: Browser) -> None:
    """A change to an existing session sends no cookie, so the application's caching headers stay as they are.

    Not over cookie://: there, every change sends a cookie.
    """
    browser.do(put(k=1))
    answer = browser.visit(saying(put(k=2), PUBLIC[0]))
    assert (answer.cookies, answer.header("Cache-Control"), answer.header("Vary")) == ([], PUBLIC[0][1], "Cookie")
