"""The page with a script: it knows of a logout elsewhere without being loaded again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.system.browser.chromium import Page, expect
from tests.system.browser.conftest import Complaints
from tests.system.browser.visitor import log_in, log_out

Device = Callable[..., Page]

#: What is tried here is the same over http: test_visit.py tells the two apart.
pytestmark = pytest.mark.parametrize("shop", ["https"], indirect=True)

HERE = "Ann Archer is logged in."
GONE = "Nobody is logged in any more."
POLL = 10_000  # milliseconds, as in live.js


def said(page: Page, text: str) -> None:
    expect(page.locator("#said")).to_have_text(text)


def why(page: Page, text: str) -> None:
    expect(page.locator("#why")).to_have_text(text)


def mark(page: Page) -> None:
    """Leave a mark on the page, which is lost when it is loaded again."""
    page.evaluate("window.mark = true")


def marked(page: Page) -> bool:
    return bool(page.evaluate("window.mark === true"))


@pytest.fixture
def tabs(shop: str, device: Device) -> tuple[Page, Page]:
    """Two tabs of one browser, both on the live page, both logged in, the second with its clock stopped."""
    first = device(shop)
    first.goto("/login?next=/live")
    log_in(first)
    said(first, HERE)
    second = first.context.new_page()
    second.clock.install()
    second.goto("/live")
    said(second, HERE)
    why(second, "the page was opened")
    return first, second


def test_two_tabs_log_out_together(tabs: tuple[Page, Page]) -> None:
    first, second = tabs
    for tab in tabs:
        mark(tab)
    log_out(first)
    said(first, GONE)
    said(second, GONE)
    why(second, "another tab reported a change")
    for tab in tabs:
        assert marked(tab)
        expect(tab.get_by_role("button", name="Log out")).to_have_count(0)
        expect(tab.get_by_role("main").get_by_role("link", name="Log in")).to_be_visible()
    expect(first.get_by_role("main").get_by_role("link", name="Log in")).to_be_focused()


def test_what_the_login_said_goes_with_it(tabs: tuple[Page, Page]) -> None:
    first, _ = tabs
    greeting = first.get_by_text("you are logged in.")
    expect(greeting).to_be_visible()
    log_out(first)
    said(first, GONE)
    expect(greeting).to_be_hidden()


def test_two_tabs_log_in_together(tabs: tuple[Page, Page]) -> None:
    first, second = tabs
    log_out(first)
    said(second, GONE)
    first.get_by_role("main").get_by_role("link", name="Log in").click()
    log_in(first)
    said(second, HERE)
    log_out(second)
    said(first, GONE)


def test_a_logout_on_another_device_is_seen_within_ten_seconds(
    tabs: tuple[Page, Page], shop: str, device: Device
) -> None:
    first, second = tabs
    mark(second)
    other = device(shop)
    other.goto("/login?next=/devices")
    log_in(other)
    other.get_by_role("button", name="Sign out everywhere else").click()
    expect(other.get_by_role("status")).to_contain_text("Signed out everywhere else")
    said(second, HERE)
    second.clock.run_for(POLL)
    said(second, GONE)
    why(second, "ten seconds have passed")
    assert marked(second)
    said(first, GONE)


def test_a_tab_that_comes_to_the_front_asks_at_once(tabs: tuple[Page, Page]) -> None:
    first, second = tabs
    first.goto("/profile")
    log_out(first)  # on a page without a script: no tab is told
    expect(first.get_by_role("heading", level=1)).to_have_text("Hello, stranger.")
    said(second, HERE)
    second.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    said(second, GONE)
    why(second, "this tab became visible")


def test_no_answer_is_not_a_logout(tabs: tuple[Page, Page], complaints: Complaints) -> None:
    first, second = tabs
    complaints.expected += ["status of 503", "net::ERR_FAILED"]
    second.route("**/session.json", lambda route: route.fulfill(status=503))
    second.clock.run_for(POLL)
    why(second, "ten seconds have passed; but the request failed, so nothing changes")
    second.unroute("**/session.json")
    second.route("**/session.json", lambda route: route.abort())
    log_out(first)
    said(first, GONE)
    why(second, "another tab reported a change; but the request failed, so nothing changes")
    said(second, HERE)
    second.unroute("**/session.json")
    second.clock.run_for(POLL)
    said(second, GONE)


def test_a_logout_that_is_refused_shows_why(tabs: tuple[Page, Page], complaints: Complaints) -> None:
    first, second = tabs
    complaints.expected.append("status of 403")
    refusal = "<title>Refused</title><h1>This form was not accepted</h1>"
    second.route("**/logout", lambda route: route.fulfill(status=403, content_type="text/html", body=refusal))
    log_out(second)
    expect(second.get_by_role("heading", level=1)).to_have_text("This form was not accepted")
    said(first, HERE)


def test_the_page_runs_no_script_but_its_own(tabs: tuple[Page, Page], complaints: Complaints) -> None:
    first, _ = tabs
    complaints.expected.append("Content Security Policy")
    first.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.evil = 1'}))")
    assert first.evaluate("window.evil") is None
