"""Sequences that an attacker, bad timing or a careless application may cause, and their required results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.support.client import Server
from tests.support.damage import damage
from tests.support.site import ANN, BOB, SECRET, Browser, MakeSite, Site, log_in, log_out, page, put, read
from tests.support.stores import SERVER
from wsgi_session import HeadersAlreadySent, Session, StoreUnavailable, check_csrf
from wsgi_session.stores import Record
from wsgi_session.testing.clock import FakeClock

pytestmark = pytest.mark.needs(SERVER)
PLAIN = [("Content-Type", "text/plain")]
MINUTE = 60.0
OLDER = "0f2d5c1e9b7a4a66b1c3d8e2f4a59607"


# Replies of the store that come late, or never.


def test_a_create_that_is_applied_just_before_it_is_repeated_counts_once(site: Site) -> None:
    browser = site.browser()
    late: list[tuple[bytes, Record]] = []
    create, load = site.calls.inner.create, site.calls.inner.load

    def lose(key: bytes, record: Record, now: float) -> None:
        if not late:
            late.append((key, record))
            raise StoreUnavailable("timed out", answer_lost=True)
        create(*late[0], now)
        create(key, record, now)

    site.calls.inner.create = lose  # type: ignore[method-assign]
    answer = browser.do(put(a=1))
    assert answer.code == 200, answer
    assert load(late[0][0], site.clock()) is not None
    assert browser.do(read).result == {"a": 1}


def test_a_create_does_not_overwrite_another_visitors_session(site: Site) -> None:
    browser, other = site.browser(), Record(b"\x80", b"o" * 16, "other", 0.0, 0.0, 4e9)
    keys: list[bytes] = []
    create = site.calls.inner.create

    def lose(key: bytes, record: Record, now: float) -> None:
        keys.append(key)
        if len(keys) == 1:
            raise StoreUnavailable("timed out", answer_lost=True)
        create(key, other, now)
        create(key, record, now)

    site.calls.inner.create = lose  # type: ignore[method-assign]
    answer = browser.do(put(a=1))
    assert (answer.code, answer.cookies) == (503, [])
    assert site.calls.inner.load(keys[0], site.clock()) == other


def test_a_create_that_failed_for_certain_is_not_tried_again(site: Site, browser: Browser) -> None:
    site.calls.fail("create")
    assert browser.do(put(a=1)).code == 503
    assert site.calls.counts() == {"create": 1}


# What ended stays ended.


def test_a_logout_after_a_value_that_cannot_be_read_ends_the_session_too(site: Site) -> None:
    browser = site.browser()
    browser.do(put(prefs={"dark": True}))
    browser.do(log_in(ANN))
    damage(browser, value=b"\xc1", key="prefs")
    thief = browser.copy()
    assert thief.do(lambda session: session["user"]).result == ANN

    def leave(session: Session) -> None:
        assert session.get("prefs") is None
        log_out(session)

    answer = browser.do(leave)
    assert [cookie.removes for cookie in answer.cookies] == [True]
    assert thief.do(lambda session: session.get("user")).result is None
    assert site.middleware.sessions.of(ANN) == []


def test_a_logout_also_ends_a_session_that_only_a_csrf_token_needed(site: Site, browser: Browser) -> None:
    """Each logout from Django left an empty record (CVE-2015-5963)."""

    def leave(session: Session) -> None:
        assert session.csrf_token
        log_out(session)

    assert browser.do(leave).cookies == []
    assert site.middleware.sessions.count() == 0


def test_a_session_that_is_logged_out_of_twice_ends_once(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    damage(browser, value=b"\xc1")

    def twice(session: Session) -> None:
        assert session.get("a") is None
        log_out(session)
        log_out(session)

    browser.do(twice)
    assert len(site.happened("destroyed")) == 1, site.events


def test_a_renewed_signature_does_not_come_after_the_cookie_of_a_login(make_site: MakeSite) -> None:
    before = make_site(secret=OLDER).browser()
    before.do(put(cart=[1]))
    site = make_site(secret=[SECRET, OLDER])
    browser, slow = site.browser(), site.browser()
    browser.jar, slow.jar = dict(before.jar), dict(before.jar)

    def meanwhile(session: Session) -> None:
        assert session["cart"] == [1]
        browser.do(log_in(ANN))

    assert slow.do(meanwhile).cookies == []


def test_a_renewed_signature_that_atomic_earned_does_not_come_after_a_logout(make_site: MakeSite) -> None:
    before = make_site(secret=OLDER).browser()
    before.do(put(stock=1))
    site = make_site(secret=[SECRET, OLDER])
    browser, slow = site.browser(), site.browser()
    browser.jar, slow.jar = dict(before.jar), dict(before.jar)

    def meanwhile(session: Session) -> None:
        session.atomic(lambda data: data.update(stock=0))
        browser.do(log_out)

    assert slow.do(meanwhile).cookies == []


@pytest.mark.parametrize("change", [put(a=2), read], ids=["write", "read"])
def test_a_slow_request_does_not_revive_what_the_current_settings_ended(
    make_site: MakeSite, clock: FakeClock, change: Callable[[Session], Any]
) -> None:
    browser = make_site(idle_timeout=100 * MINUTE).browser()
    browser.do(put(a=1))
    site = make_site(idle_timeout=10 * MINUTE)
    slow = site.browser()
    slow.jar = dict(browser.jar)
    clock.advance(MINUTE)

    def slowly(session: Session) -> None:
        change(session)
        clock.advance(10 * MINUTE + 60 * MINUTE)  # Its timeout, and the hour for which a slow request may still save.

    assert slow.do(slowly).cookies == []
    assert slow.do(read).result == {}


# A request that failed.


def test_a_rotation_that_a_5xx_put_off_is_not_done_once_its_cookie_cannot_go_out(browser: Browser) -> None:
    browser.do(put(cart=[1]))
    refused: list[Exception] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        session = environ["session"]
        log_in(ANN)(session)
        start_response("500 Oops", list(PLAIN))
        yield b"oops"
        try:
            session.atomic(lambda data: data.update(errors=1))
        except HeadersAlreadySent as error:
            refused.append(error)

    browser.visit(app)
    assert browser.do(read).result == {"cart": [1]}
    assert refused


@pytest.mark.parametrize("lint", [True, False], ids=["linted", "bare"])
def test_late_changes_of_a_body_that_raises_are_not_saved(browser: Browser, lint: bool) -> None:
    browser.do(put(a=1))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b"pa"
        environ["session"]["a"] = 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        browser.visit(app, lint=lint)
    assert browser.do(read).result == {"a": 1}


def test_late_changes_of_a_body_that_the_client_did_not_wait_for_are_saved(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b"pa"
        environ["session"]["a"] = 2
        yield b"ge"

    body: Any = site.middleware(browser.request(app), lambda status, headers: lambda data: None)
    chunks = iter(body)
    assert [next(chunks), next(chunks)] == [b"pa", b"ge"]
    # Some servers drop the iterator before they close the body.
    chunks.close()
    body.close()
    assert browser.do(read).result == {"a": 2}


@pytest.mark.parametrize("method", ["load", "replace"])
def test_a_body_whose_close_raises_too_still_gives_a_503(site: Site, browser: Browser, method: str) -> None:
    browser.do(put(a=1))
    site.calls.fail(method)

    class Body:
        """A body that calls ``start_response`` at its first chunk, and whose ``close`` fails in the same outage."""

        def __init__(self, session: Session, start_response: Any) -> None:
            self.session = session
            self.start_response = start_response

        def __iter__(self) -> Any:
            self.session["a"] = 2
            self.start_response("200 OK", list(PLAIN))
            return iter([b"page"])

        def close(self) -> None:
            raise ZeroDivisionError("in close")

    answer = browser.visit(lambda environ, start: Body(environ["session"], start), lint=False)
    assert (answer.code, answer.header("Retry-After")) == (503, "7")


# Which user the data belongs to.


def test_data_of_a_user_put_there_by_hand_over_a_login_is_dropped_at_the_next_login(browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.do(put(user=BOB, secret="bob's"))
    browser.do(log_in(ANN))
    assert browser.do(read).result == {"user": ANN}


def test_a_new_login_of_the_same_user_keeps_the_data_though_the_user_was_changed_by_hand(browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.do(put(user={**ANN, "name": "Anna"}, cart=[1]))
    browser.do(log_in(ANN))
    assert browser.do(read).result == {"user": ANN, "cart": [1]}
    browser.do(put(user={"name": "Anna"}))
    browser.do(log_in(ANN))
    assert browser.do(read).result == {"user": ANN, "cart": [1]}


def test_a_new_login_of_the_same_user_repairs_a_user_that_cannot_be_read(browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.do(put(cart=[1]))
    damage(browser, value=b"\xc1", key="user")
    browser.do(log_in(ANN))
    assert browser.do(read).result == {"user": ANN, "cart": [1]}


def test_a_login_is_as_old_as_its_call_and_not_as_its_save(site: Site, browser: Browser, clock: FakeClock) -> None:
    def slowly(session: Session) -> Any:
        log_in(ANN)(session)
        clock.advance(5)
        return session.created

    told = browser.do(slowly).result
    assert browser.do(lambda session: session.created).result == told
    assert [info.created for info in site.middleware.sessions.of(ANN)] == [told]


def test_what_atomic_took_out_of_a_new_session_is_not_saved_at_the_commit(site: Site, browser: Browser) -> None:
    def use(session: Session) -> Any:
        session["code"] = 7
        return session.atomic(lambda data: data.pop("code"))

    answer = browser.do(use)
    assert (answer.result, answer.cookies) == (7, [])
    assert browser.do(read).result == {}


# Time and scheme.


@pytest.mark.parametrize(
    "late",
    [
        lambda session: session.update(n=len(session["cart"])),
        lambda session: session["cart"].append(1),
        lambda session: session.atomic(lambda data: data["cart"].append(1)),
    ],
    ids=["assigned", "nested", "atomic"],
)
def test_late_changes_do_not_keep_the_cookie_of_an_active_visitor_from_being_renewed(
    make_site: MakeSite, clock: FakeClock, late: Callable[[Session], Any]
) -> None:
    browser = make_site(idle_timeout=15 * MINUTE).browser()
    answer = browser.do(put(cart=[]))
    ends = clock() + 15 * MINUTE

    def stream(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        assert "cart" in environ["session"]
        start_response("200 OK", list(PLAIN))
        yield b"pa"
        clock.advance(MINUTE)
        late(environ["session"])
        yield b"ge"

    for _ in range(30):
        answer = browser.visit(stream)
        assert answer.code == 200
        if answer.cookie:
            ends = clock() - MINUTE + float(answer.cookie.attributes["max-age"])
        assert clock() < ends, "the browser has let go of the cookie by now"
    assert "cart" in browser.do(read).result


@pytest.mark.parametrize(
    ("first", "then", "name"), [("https", "http", "__Host-sid"), ("http", "https", "sid")], ids=["http", "https"]
)
def test_the_cookie_goes_by_the_scheme_at_the_first_look(browser: Browser, first: str, then: str, name: str) -> None:
    change: list[Callable[[Session], Any]] = [put(a=1), put(b=2), log_in(ANN), log_out]
    names: set[str] = set()

    for function in change:

        def app(environ: dict[str, Any], start_response: Any, function: Any = function) -> Iterable[bytes]:
            session = environ["session"]
            assert session.state
            environ["wsgi.url_scheme"] = then
            function(session)
            return page()(environ, start_response)

        request = browser.request(app, **{"wsgi.url_scheme": first})
        answer = Server([]).run(browser.site.middleware, request)
        browser.keep(answer, first)
        names |= {cookie.name for cookie in answer.cookies}
    assert browser.jar == {}
    assert names == {name}


def test_a_second_rotation_in_one_request_leaves_the_csrf_token_of_the_page_working(browser: Browser) -> None:
    browser.do(put(a=1))

    def twice(session: Session) -> str:
        session.rotate()
        token = session.csrf_token
        session.rotate()
        return token

    token = browser.do(twice).result
    assert browser.do(lambda session: check_csrf({"session": session, "REQUEST_METHOD": "POST"}, token)).result is True


# Caches.


@pytest.mark.parametrize("body", [list, iter], ids=["a list", "an iterator"])
def test_an_answer_after_a_look_that_failed_varies_by_the_cookie_too(
    make_site: MakeSite, body: Callable[[list[bytes]], Iterable[bytes]]
) -> None:
    def broken(session: Session) -> bool:
        raise ZeroDivisionError

    browser = make_site(validate=broken).browser()
    browser.do(log_in(ANN))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            greeting = environ["session"]["user"]["name"]
        except ZeroDivisionError:
            greeting = "stranger"
        start_response("200 OK", list(PLAIN))
        return body([greeting.encode()])

    answer = browser.visit(app, lint=False)
    assert (answer.body, answer.header("Vary")) == (b"stranger", "Cookie")


@pytest.mark.parametrize(
    "header",
    [
        ("CDN-Cache-Control", "no-store"),
        ("Cloudflare-CDN-Cache-Control", "max-age=0, private"),
        ("Surrogate-Control", "No-Store"),
        ("X-Accel-Expires", " 0"),
    ],
)
def test_activity_is_noted_under_answers_that_keep_a_cdn_out(
    make_site: MakeSite, clock: FakeClock, header: tuple[str, str]
) -> None:
    browser = make_site(idle_timeout=30 * MINUTE).browser()
    browser.do(put(a=1))
    for _ in range(4):
        clock.advance(10 * MINUTE)

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            environ["session"].get("a")
            return page([b"page"], "200 OK", header)(environ, start_response)

        browser.visit(app)
    assert browser.do(read).result == {"a": 1}


# Rare sequences.


def test_what_atomic_made_and_somebody_ended_sends_no_cookie(site: Site, browser: Browser) -> None:
    def change(session: Session) -> None:
        session.atomic(lambda data: data.update(a=1))
        for key, _ in list(site.calls.inner.scan(site.clock())):  # type: ignore[attr-defined]
            site.calls.inner.delete(key)
        session["b"] = 2

    assert browser.do(change).cookies == []
    assert site.happened("dropped"), site.events


def test_a_value_that_cannot_be_read_once_the_session_has_ended_is_no_event(site: Site, browser: Browser) -> None:
    browser.do(put(a=1, b=2))
    damage(browser, value=b"\xc1")
    site.forget()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        session = environ["session"]
        session["b"] = 3
        browser.copy().do(log_out)
        start_response("200 OK", list(PLAIN))
        yield b"late: "
        yield repr((session.get("a"), session.state)).encode()

    assert browser.visit(app).body == b"late: (None, 'unknown')"
    assert site.happened("dropped"), site.events
    assert site.happened("corrupt") == []


def test_an_answer_that_was_written_without_a_look_goes_out_once(browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))(b"pa")
        return [b"ge"]

    answer = browser.visit(app, lint=False)
    assert (answer.body, answer.headers) == (b"page", PLAIN)


def test_a_body_that_is_closed_twice_is_saved_once(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b"pa"
        environ["session"]["a"] = 2

    body: Any = site.middleware(browser.request(app), lambda status, headers: lambda data: None)
    assert b"".join(body) == b"pa"
    body.close()
    body.close()
    assert site.calls.counts()["replace"] == 1
