"""Rule 11: no shared cache stores a response that belongs to one visitor."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.client import Answer, Application
from tests.support.site import ANN, Browser, Site, put, read
from tests.support.stores import SERVER
from wsgi_session import HeadersAlreadySent, Session, login
from wsgi_session.testing.clock import FakeClock

DAY = 86_400.0
Headers = list[tuple[str, str]]
CDN = [
    "CDN-Cache-Control",
    "Surrogate-Control",
    "Cloudflare-CDN-Cache-Control",
    "Vercel-CDN-Cache-Control",
    "Akamai-Cache-Control",
    "X-LiteSpeed-Cache-Control",
]
PUBLIC = ["public", "public, max-age=60", "s-maxage=60", "max-age=5, S-MaxAge=60", "PUBLIC"]


def saying(function: Any, *headers: tuple[str, str]) -> Application:
    """Return an application that calls ``function(session)`` and sends ``headers``."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        function(environ["session"])
        start_response("200 OK", [("Content-Type", "text/plain"), *headers])
        return [b"page"]

    return app


def cache_control(answer: Answer) -> set[str]:
    return {part.strip() for value in answer.all("Cache-Control") for part in value.split(",")}


@pytest.mark.parametrize("look", [read, put(a=1), lambda session: session.state, lambda session: "a" in session])
def test_reading_the_session_adds_cookie_to_vary(browser: Browser, look: Any) -> None:
    assert browser.do(look).header("Vary") == "Cookie"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (["Accept"], ["Accept, Cookie"]),
        (["Accept, Cookie"], ["Accept, Cookie"]),
        (["cookie"], ["cookie"]),
        (["COOKIE , Accept"], ["COOKIE , Accept"]),
        (["*"], ["*"]),
        (["Accept, *"], ["Accept, *"]),
        (["Accept", "Origin"], ["Accept", "Origin, Cookie"]),
        (["Accept", "Cookie"], ["Accept", "Cookie"]),
        (["X-Cookie"], ["X-Cookie, Cookie"]),
        ([""], ["Cookie"]),
    ],
)
def test_what_the_application_says_in_vary_is_kept(browser: Browser, given: list[str], sent: list[str]) -> None:
    answer = browser.visit(saying(read, *[("Vary", value) for value in given]))
    assert answer.all("Vary") == sent


def test_a_read_of_a_live_session_leaves_cache_control_alone(browser: Browser) -> None:
    browser.do(put(a=1))
    answer = browser.visit(saying(read, ("Cache-Control", "max-age=60, public"), ("CDN-Cache-Control", "max-age=9")))
    assert (answer.all("Cache-Control"), answer.all("CDN-Cache-Control")) == (["max-age=60, public"], ["max-age=9"])
    assert answer.header("Vary") == "Cookie"


def test_with_our_cookie_the_answer_is_private(site: Site, browser: Browser) -> None:
    answer = browser.do(put(a=1))
    assert (answer.header("Cache-Control"), site.happened("cache_overridden")) == ("private", [])


@pytest.mark.parametrize("directive", ["no-store", "no-cache", "max-age=60", "max-age=0, must-revalidate", "private"])
def test_with_our_cookie_other_directives_stay(site: Site, browser: Browser, directive: str) -> None:
    answer = browser.visit(saying(put(a=1), ("Cache-Control", directive)))
    assert cache_control(answer) == {*directive.split(", "), "private"}
    assert site.happened("cache_overridden") == []


@pytest.mark.parametrize(
    ("given", "kept", "dropped"),
    [
        ("public", {"private"}, ["public"]),
        ("Public, max-age=60", {"private", "max-age=60"}, ["Public"]),
        ("max-age=60, s-maxage=600, immutable", {"private", "max-age=60"}, ["s-maxage=600", "immutable"]),
    ],
)
def test_with_our_cookie_what_lets_shared_caches_in_is_dropped_with_an_event(
    site: Site, browser: Browser, given: str, kept: set[str], dropped: list[str]
) -> None:
    answer = browser.visit(saying(put(a=1), ("Cache-Control", given)))
    assert cache_control(answer) == kept
    assert site.happened("cache_overridden") == [{"dropped": dropped}]


@pytest.mark.parametrize("name", [*CDN, "X-Accel-Expires", "Edge-Control", "surrogate-control"])
def test_with_our_cookie_cdn_headers_are_dropped_with_an_event(site: Site, browser: Browser, name: str) -> None:
    answer = browser.visit(saying(put(a=1), (name, "max-age=600")))
    assert (answer.all(name), cache_control(answer)) == ([], {"private"})
    assert site.happened("cache_overridden") == [{"dropped": [name]}]


def test_headers_that_replace_others_after_the_commit_keep_shared_caches_out_too(site: Site, browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        environ["session"]["a"] = 1
        yield b""
        try:
            raise ValueError("half-way")
        except ValueError:
            start_response("410 Gone", [("Cache-Control", "public, max-age=60")], sys.exc_info())
        yield b"sorry"

    sent: list[list[tuple[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        sent.append(headers)
        return lambda data: None

    body = site.middleware(browser.request(app), start_response)
    assert b"".join(body) == b"sorry"
    body.close()  # type: ignore[attr-defined]
    assert ("Cache-Control", "max-age=60, private") in sent[-1]
    assert site.happened("cache_overridden") == [{"dropped": ["public"]}]


def test_the_removal_of_a_cookie_is_private_too(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    answer = browser.visit(saying(lambda session: session.destroy(), ("Cache-Control", "public, max-age=60")))
    assert cache_control(answer) == {"private", "max-age=60"}


def test_a_field_of_private_is_not_private(browser: Browser) -> None:
    answer = browser.visit(saying(put(a=1), ("Cache-Control", 'private="X-One, X-Two"')))
    assert answer.header("Cache-Control") == 'private="X-One, X-Two", private'


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize(
    "header", [("Cache-Control", value) for value in PUBLIC] + [(name, "max-age=60") for name in CDN]
)
def test_in_a_public_response_a_due_touch_waits_and_sends_no_cookie(
    site: Site, browser: Browser, clock: FakeClock, header: tuple[str, str]
) -> None:
    browser.do(put(a=1))
    clock.advance(2 * DAY)
    site.forget()
    answer = browser.visit(saying(read, header))
    assert (site.calls.counts(), answer.cookie, answer.all(header[0])) == ({"load": 1}, None, [header[1]])
    assert browser.do(read).cookie is not None


@pytest.mark.needs(SERVER)
def test_a_change_in_a_public_response_is_saved(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    answer = browser.visit(saying(put(a=2), ("Cache-Control", "public")))
    assert (answer.cookie, answer.header("Cache-Control"), answer.header("Vary")) == (None, "public", "Cookie")
    assert browser.do(read).result == {"a": 2}


@pytest.mark.parametrize(("comes_with_a_cookie", "seen"), [(True, 1), (False, None)], ids=["True", "False"])
def test_a_first_look_when_all_is_over_works_with_an_event(
    site: Site, browser: Browser, comes_with_a_cookie: bool, seen: int | None
) -> None:
    if comes_with_a_cookie:
        browser.do(put(a=1))
    kept: list[Session] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        kept.append(environ["session"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"page"]

    browser.visit(app)
    assert kept[0].get("a") == seen
    assert len(site.happened("late_access")) == 1


def looking_late(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), *environ.get("test.headers", [])])
    yield b"seen: "
    environ["test.seen"].append(environ["session"].get("a"))
    yield b"page"


def test_a_first_look_after_the_commit_works_with_an_event(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    seen: list[Any] = []
    answer = browser.visit(looking_late, **{"test.seen": seen})  # type: ignore[arg-type]
    assert (seen, answer.header("Vary"), len(site.happened("late_access"))) == ([1], None, 1)


@pytest.mark.parametrize(
    "header", [("Cache-Control", value) for value in PUBLIC] + [(name, "max-age=60") for name in CDN]
)
def test_a_first_look_after_the_commit_of_a_public_response_raises(browser: Browser, header: tuple[str, str]) -> None:
    browser.do(put(a=1))
    with pytest.raises(HeadersAlreadySent, match="public"):
        browser.visit(looking_late, **{"test.seen": [], "test.headers": [header]})  # type: ignore[arg-type]


def test_a_second_read_after_the_commit_is_not_a_late_read(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        session: Session = environ["session"]
        assert session["a"] == 1
        start_response("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "public")])
        yield b"page"
        assert session.copy() == {"a": 1}

    assert browser.visit(app).body == b"page"
    assert site.happened("late_access") == []


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([], ["private, no-store"]),
        (["max-age=60"], ["max-age=60, private, no-store"]),
        (["No-Store"], ["No-Store, private"]),
        (["public, max-age=60"], ["max-age=60, private, no-store"]),
    ],
)
def test_no_cache_keeps_the_answer_that_sets_the_cookie_of_a_login(
    browser: Browser, given: list[str], sent: list[str]
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        login(environ, ANN)
        start_response("303 See Other", [("Location", "/"), *(("Cache-Control", value) for value in given)])
        return []

    assert browser.visit(app, lint=False).all("Cache-Control") == sent
    assert browser.do(lambda session: session.rotate()).all("Cache-Control") == ["private"]
