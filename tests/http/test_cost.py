"""Rules 1 and 2: an unused session costs nothing; a request makes at most one load and one write."""

from __future__ import annotations

import pytest

from tests.support.site import ANN, Browser, MakeSite, Site, log_in, page, put, read
from tests.support.stores import SERVER
from wsgi_session.testing.clock import FakeClock

pytestmark = pytest.mark.needs(SERVER)
DAY = 86_400.0


class Unreadable(str):
    """A Cookie header that fails the test if it is read."""

    __slots__ = ()

    def __contains__(self, part: object) -> bool:
        raise AssertionError("the Cookie header was parsed")

    def __bool__(self) -> bool:
        raise AssertionError("the Cookie header was looked at")

    def split(self, *arguments: object, **named: object) -> list[str]:
        raise AssertionError("the Cookie header was parsed")


def test_an_unused_session_costs_no_store_call_and_no_header(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    site.forget()
    answer = browser.visit(page())
    assert (site.calls.counts(), site.events) == ({}, [])
    assert answer.headers == [("Content-Type", "text/plain")]


def test_no_cookie_is_parsed_before_the_session_is_used(site: Site, browser: Browser) -> None:
    answer = browser.visit(page(), HTTP_COOKIE=Unreadable("sid=x"), lint=False)
    assert answer.code == 200
    with pytest.raises(AssertionError, match="Cookie header"):
        browser.do(read, HTTP_COOKIE=Unreadable("sid=x"), lint=False)


def test_the_repr_of_an_untouched_session_loads_nothing(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    site.forget()
    answer = browser.do(repr)
    assert (answer.result, site.calls.counts(), answer.header("Vary")) == ("<Session, not loaded>", {}, None)


def test_reading_is_one_store_call_however_often(site: Site, browser: Browser) -> None:
    browser.do(put(a=1, b=[2]))
    site.forget()
    answer = browser.do(lambda session: [session["a"], session["b"], len(session), dict(session), session.handle])
    assert (site.calls.counts(), answer.cookie) == ({"load": 1}, None)


def test_changing_is_two_store_calls_however_much(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    site.forget()
    answer = browser.do(lambda session: [session.update({key: 1}) for key in "bcdef"] + [session.pop("a")])
    assert (site.calls.counts(), answer.cookie) == ({"load": 1, "replace": 1}, None)


def test_a_new_session_is_one_store_call(site: Site, browser: Browser) -> None:
    browser.do(put(a=1, b=2))
    assert site.calls.counts() == {"create": 1}


@pytest.mark.parametrize(
    "unchanged",
    [
        put(a=[1]),
        lambda session: session["a"],
        lambda session: (session["a"].append(2), session["a"].pop()),
        lambda session: (session.update(b=1), session.pop("b")),
        lambda session: (session.pop("a"), session.update(a=[1])),
        lambda session: session.setdefault("a", []),
        lambda session: session.pop("nothing", None),
        lambda session: session.flashes(),
        lambda session: session.csrf_token,
        lambda session: session.copy()["a"].append(2),
    ],
)
def test_nothing_changed_is_nothing_written(site: Site, browser: Browser, unchanged: object) -> None:
    browser.do(put(a=[1]))
    site.forget()
    answer = browser.do(unchanged)  # type: ignore[arg-type]
    assert (site.calls.counts(), answer.cookie) == ({"load": 1}, None)
    assert browser.do(read).result == {"a": [1]}


@pytest.mark.parametrize(
    "nothing",
    [
        read,
        lambda session: session.get("user"),
        lambda session: session.clear(),
        lambda session: (session.update(a=1), session.pop("a")),
        lambda session: (session.clear(), session.update(a=1), session.pop("a")),
        lambda session: session.rotate(),
        lambda session: session.destroy(),
        lambda session: session.flashes(),
        lambda session: session.atomic(lambda data: data.get("user")),
        lambda session: session.no_touch(),
    ],
)
def test_a_visitor_whose_application_stores_nothing_gets_no_record_and_no_cookie(
    site: Site, browser: Browser, nothing: object
) -> None:
    answer = browser.do(nothing)  # type: ignore[arg-type]
    assert (site.calls.counts(), answer.cookie, browser.jar) == ({}, None, {})
    assert site.middleware.sessions.count() == 0


def test_a_due_touch_is_the_one_write_of_a_read_only_request(site: Site, browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(DAY)
    site.forget()
    for _ in range(3):
        browser.do(read)
    assert site.calls.counts() == {"load": 3, "touch": 1}


def test_a_touch_is_due_once_per_interval(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(idle_timeout=900, touch_interval=60)
    browser = site.browser()
    browser.do(put(a=1))
    site.forget()
    for _ in range(12):
        clock.advance(20)
        browser.do(read)
    assert site.calls.counts() == {"load": 12, "touch": 4}


@pytest.mark.parametrize(("idle", "interval"), [(900, 30.0), (30 * DAY, DAY)])
def test_the_touch_interval_is_a_thirtieth_of_the_idle_timeout(
    make_site: MakeSite, clock: FakeClock, idle: float, interval: float
) -> None:
    site = make_site(idle_timeout=idle)
    browser = site.browser()
    browser.do(put(a=1))
    site.forget()
    clock.advance(interval - 1)
    browser.do(read)
    assert site.calls.counts() == {"load": 1}
    clock.advance(1)
    browser.do(read)
    assert site.calls.counts() == {"load": 2, "touch": 1}


def test_a_due_touch_rides_on_a_change(site: Site, browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(DAY)
    site.forget()
    answer = browser.do(put(a=2))
    assert site.calls.counts() == {"load": 1, "replace": 1}
    assert answer.cookie, answer
    assert answer.cookie.attributes["max-age"] == str(int(30 * DAY))


def test_a_login_is_one_load_and_one_rotation(site: Site, browser: Browser) -> None:
    browser.do(put(cart=[1]))
    site.forget()
    browser.do(log_in(ANN))
    assert site.calls.counts() == {"load": 1, "rotate": 1}


def test_an_invalid_cookie_is_not_sent_back(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    stranger = site.browser()
    stranger.jar = {"sid": "x" * 43 + "." + "y" * 43}
    site.forget()
    answer = stranger.do(read)
    assert (site.calls.counts(), answer.cookie) == ({}, None)
