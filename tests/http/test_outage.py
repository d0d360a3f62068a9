"""Rule 16: an outage is not a logout."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pytest
from webob import Response

from tests.support.site import ANN, Browser, MakeSite, Site, log_in, log_out, page, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, StoreUnavailable, begin_transaction, redirect_if_anonymous, user_email_or_none

pytestmark = pytest.mark.needs(SERVER)
PLAIN = [("Content-Type", "text/plain")]


@pytest.fixture
def ann(site: Site) -> Browser:
    """A browser in which Ann is logged in, at a site whose store is down now."""
    browser = site.browser()
    browser.do(log_in(ANN))
    site.calls.fail("load", "create", "replace", "rotate", "touch", "delete")
    site.forget()
    return browser


def swallowing(status: str, function: Any = read) -> Any:
    """Return an application that makes an answer of its own of ``StoreUnavailable``, as frameworks do."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            function(environ["session"])
            status_now = "200 OK"
        except StoreUnavailable:
            status_now = status
        start_response(status_now, [("Content-Type", "text/html"), ("Set-Cookie", "own=1")])
        return [b"<h1>framework's own page</h1>"]

    return app


@pytest.mark.parametrize(
    "look",
    [
        read,
        lambda session: session.get("user"),
        lambda session: session.state,
        lambda session: session.owner,
        put(a=1),
        log_in(ANN),
        log_out,
        lambda session: session.csrf_token,
        lambda session: user_email_or_none({"session": session}),
        lambda session: redirect_if_anonymous({"session": session, "REQUEST_METHOD": "GET"}),
    ],
)
def test_any_use_of_the_session_is_a_503_and_leaves_the_cookie(site: Site, ann: Browser, look: Any) -> None:
    answer = ann.do(look)
    assert (answer.status, answer.header("Retry-After")) == ("503 Service Unavailable", "7")
    assert (answer.header("Cache-Control"), answer.cookies) == ("no-store", [])
    assert answer.body
    site.calls.recover()
    assert ann.do(lambda session: session["user"]).result == ANN


def test_a_request_that_does_not_look_is_answered(ann: Browser) -> None:
    assert ann.visit(page()).code == 200


@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "504 Gateway Timeout"])
def test_a_5xx_that_the_framework_made_of_it_is_our_503(ann: Browser, status: str) -> None:
    answer = ann.visit(swallowing(status))
    assert (answer.status, answer.header("Retry-After"), answer.cookies) == ("503 Service Unavailable", "7", [])
    assert b"framework" not in answer.body


def test_a_503_that_the_application_made_of_it_is_its_own_page_with_our_headers_where_they_are_missing(
    ann: Browser,
) -> None:
    answer = ann.visit(swallowing("503 Own Words"))
    assert (answer.status, answer.body) == ("503 Own Words", b"<h1>framework's own page</h1>")
    assert (answer.header("Content-Type"), answer.header("Vary")) == ("text/html", "Cookie")
    assert (answer.header("Retry-After"), answer.header("Cache-Control")) == ("7", "no-store")
    assert [cookie.name for cookie in answer.cookies] == ["own"]


def test_a_503_of_its_own_keeps_the_headers_that_it_has(ann: Browser) -> None:
    given = [("Content-Type", "text/html"), ("retry-after", "60"), ("cache-control", "no-cache")]

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            environ["session"].get("a")
        except StoreUnavailable:
            start_response("503 Resting", given)
        return [b"<h1>The shop is resting</h1>"]

    answer = ann.visit(app)
    assert answer.status == "503 Resting"
    assert (answer.all("Retry-After"), answer.all("Cache-Control")) == (["60"], ["no-cache"])
    assert len(given) == 3, "the application's own list is its own"


# A page for all the rest: outage_page.


def shop_is_resting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    assert isinstance(environ["wsgi_session.outage"], StoreUnavailable)
    start_response("503 Resting", [("Content-Type", "application/json"), ("Access-Control-Allow-Origin", "*")])
    return [b'{"error": "resting"}']


@pytest.fixture
def shop(make_site: MakeSite) -> Browser:
    site = make_site(outage_page=shop_is_resting)
    browser = site.browser()
    browser.do(log_in(ANN))
    return browser


@pytest.mark.parametrize(
    "failing", [("load", read), ("replace", put(a=1)), ("delete", log_out)], ids=lambda failing: failing[0]
)
def test_an_outage_page_of_the_applications_own_is_the_answer_wherever_the_store_failed(
    shop: Browser, failing: Any
) -> None:
    method, change = failing
    shop.site.calls.fail(method)
    answer = shop.do(change)
    assert (answer.status, answer.body) == ("503 Resting", b'{"error": "resting"}')
    assert (answer.header("Access-Control-Allow-Origin"), answer.header("Retry-After")) == ("*", "7")
    assert (answer.header("Cache-Control"), answer.header("Vary"), answer.cookies) == ("no-store", "Cookie", [])
    shop.site.calls.recover()
    assert shop.do(lambda session: session["user"]).result == ANN


def test_an_outage_page_stands_in_for_what_a_framework_made_of_it_and_not_for_the_applications_own(
    shop: Browser,
) -> None:
    shop.site.calls.fail("load")
    assert shop.visit(swallowing("500 Internal Server Error")).status == "503 Resting"
    assert shop.visit(swallowing("503 Own Words")).status == "503 Own Words"
    assert shop.visit(swallowing("200 OK")).status == "200 OK"


def test_a_webob_response_is_an_outage_page_and_no_success(make_site: MakeSite) -> None:
    browser = make_site(outage_page=Response("<h1>Later</h1>")).browser()
    browser.do(put(a=1))
    browser.site.calls.fail("load")
    answer = browser.do(read)
    assert (answer.status, answer.body) == ("503 Service Unavailable", b"<h1>Later</h1>")
    assert browser.do(read, REQUEST_METHOD="HEAD").body == b""


def broken(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ["session"].get("a")  # The store is still away.
    raise AssertionError("not reached")


def silent(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return [b"without start_response"]


@pytest.mark.parametrize("page", [broken, silent])
def test_an_outage_page_that_fails_is_logged_and_the_client_gets_the_plain_one(
    make_site: MakeSite, page: Any, caplog: pytest.LogCaptureFixture
) -> None:
    browser = make_site(outage_page=page).browser()
    browser.do(put(a=1))
    browser.site.calls.fail("load")
    answer = browser.do(read)
    assert (answer.status, answer.header("Content-Type")) == ("503 Service Unavailable", "text/plain; charset=utf-8")
    assert answer.body
    assert "outage_page failed" in caplog.text


def test_what_an_outage_page_writes_and_closes_is_written_and_closed(make_site: MakeSite) -> None:
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def page(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("503 Resting", list(PLAIN))(b"one ")
        return Body([b"two"])

    browser = make_site(outage_page=page).browser()
    browser.do(put(a=1))
    browser.site.calls.fail("load")
    assert browser.do(read).body == b"one two"
    assert closed == [True]


@pytest.mark.parametrize("function", [log_out, lambda session: session.atomic(lambda data: None)])
def test_a_5xx_made_of_an_outage_that_came_after_the_load_is_our_503(site: Site, function: Any) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    site.calls.fail("delete", "replace")
    answer = browser.visit(swallowing("500 Oops", function))
    assert (answer.status, answer.cookies) == ("503 Service Unavailable", [])
    site.calls.recover()
    assert browser.do(lambda session: session["user"]).result == ANN


def test_another_answer_that_the_application_made_of_it_stands_and_varies(ann: Browser) -> None:
    answer = ann.visit(swallowing("200 OK"))
    assert (answer.code, answer.header("Vary")) == (200, "Cookie")
    assert [cookie.name for cookie in answer.cookies] == ["own"]


def test_one_request_asks_a_store_that_is_away_once(site: Site, ann: Browser) -> None:
    def look(session: Session) -> None:
        for _ in range(5):
            with pytest.raises(StoreUnavailable) as caught:
                session.get("user")
            assert caught.value.retry_after == 7

    ann.do(look)
    assert site.calls.counts() == {"load": 1}


def test_an_outage_is_one_event_and_one_error_line(site: Site, ann: Browser, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ann.do(read)
    assert len(site.happened("unavailable")) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_all_is_well_again_once_the_store_is_back(site: Site, ann: Browser) -> None:
    for _ in range(3):
        assert ann.do(put(a=1)).code == 503
    site.calls.recover()
    assert ann.do(put(a=1)).code == 200
    assert ann.do(read).result == {"user": ANN, "a": 1}


def test_a_failed_logout_is_no_logout_and_says_so(site: Site) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    site.calls.fail("delete")
    answer = browser.do(log_out)
    assert (answer.code, answer.cookies) == (503, [])
    site.calls.recover()
    assert browser.do(lambda session: session.owner).result == "id:1"


def test_a_failing_administrators_call_is_a_503_too(site: Site, ann: Browser) -> None:
    site.calls.fail("of_owner")
    answer = ann.do(lambda session: site.middleware.sessions.of(ANN))
    assert (answer.code, answer.header("Retry-After")) == (503, "7")


def test_what_atomic_did_before_the_outage_stays_done_and_its_cookie_goes_out(site: Site, browser: Browser) -> None:
    def change(session: Session) -> None:
        session.atomic(lambda data: data.update(a=1))
        session["b"] = 2
        site.calls.fail("replace")

    answer = browser.do(change)
    assert (answer.code, bool(answer.cookie)) == (503, True)
    site.calls.recover()
    assert browser.do(read).result == {"a": 1}


def test_a_removal_done_before_the_outage_rides_on_the_503(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))

    def change(session: Session) -> None:
        session.destroy()
        site.calls.fail("create")
        session["b"] = 2

    answer = browser.do(change)
    assert answer.cookie, answer
    assert (answer.code, answer.cookie.removes) == (503, True)


# on_store_error="anonymous"


@pytest.fixture
def lenient(make_site: MakeSite) -> Browser:
    """A browser in which Ann is logged in, at a site that serves its visitors as anonymous while the store is down."""
    site = make_site(on_store_error="anonymous")
    browser = site.browser()
    browser.do(log_in(ANN))
    site.calls.fail("load", "create", "replace", "rotate", "touch", "delete")
    site.forget()
    return browser


def test_anonymous_reads_see_an_empty_session(lenient: Browser) -> None:
    def look(session: Session) -> Any:
        return (
            session.state,
            session.copy(),
            len(session),
            session.get("user"),
            session.is_new,
            session.handle,
            session.owner,
            session.created,
            session.expires,
            session.flashes(),
            user_email_or_none({"session": session}),
        )

    answer = lenient.do(look)
    assert answer.result == ("unavailable", {}, 0, None, True, None, None, None, None, [], None)
    assert (answer.code, answer.body, answer.cookie, answer.header("Vary")) == (200, b"page", None, "Cookie")


@pytest.mark.parametrize(
    "change",
    [
        put(a=1),
        lambda session: session.clear(),
        lambda session: session.rotate(),
        lambda session: session.destroy(),
        lambda session: session.flash("x"),
        lambda session: session.atomic(lambda data: None),
        lambda session: session.csrf_token,
        log_in(ANN),
        log_out,
    ],
)
def test_anonymous_writes_are_a_503(lenient: Browser, change: Any) -> None:
    answer = lenient.do(change)
    assert (answer.code, answer.header("Retry-After"), answer.cookies) == (503, "7", [])
    lenient.site.calls.recover()
    assert lenient.do(lambda session: session["user"]).result == ANN


def test_anonymous_asks_a_store_that_is_away_once_and_tells_once(lenient: Browser) -> None:
    lenient.do(lambda session: (session.get("a"), session.get("b"), session.state))
    assert lenient.site.calls.counts() == {"load": 1}
    assert len(lenient.site.happened("unavailable")) == 1


def test_anonymous_reads_the_session_after_a_transaction_that_failed(lenient: Browser) -> None:
    def call(environ: dict[str, Any]) -> Any:
        with pytest.raises(StoreUnavailable):
            begin_transaction(environ, {})
        session = environ["session"]
        with pytest.raises(StoreUnavailable):
            session["cart"] = 1
        return session.state, user_email_or_none(environ)

    assert lenient.call(call) == ("unavailable", None)
    assert lenient.answer.code == 200
    assert lenient.site.calls.counts() == {"create": 1}


def test_anonymous_leaves_the_applications_own_5xx_alone(lenient: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        assert environ["session"].get("user") is None
        start_response("502 Bad Gateway", list(PLAIN))
        return [b"their own"]

    answer = lenient.visit(app)
    assert (answer.status, answer.body) == ("502 Bad Gateway", b"their own")


def test_anonymous_5xx_made_of_a_refused_write_is_our_503(lenient: Browser) -> None:
    assert lenient.visit(swallowing("500 Oops", put(a=1))).status == "503 Service Unavailable"


def test_an_outage_at_the_save_is_a_503_whatever_reads_get(make_site: MakeSite) -> None:
    browser = make_site(on_store_error="anonymous").browser()
    browser.do(put(a=1))
    browser.site.calls.fail("replace")
    assert browser.do(put(a=2)).code == 503


def test_a_visitor_without_a_cookie_is_served_in_an_outage(lenient: Browser) -> None:
    stranger = lenient.site.browser()
    assert stranger.do(lambda session: session.state).result == "new"
