"""The device list: ``describe``, what it says of a session, new devices, and ``max_sessions``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.damage import damage
from tests.support.site import ANN, BOB, SECRET, Browser, MakeSite, Site, log_in, put
from tests.support.stores import SERVER
from wsgi_session import ConfigError, Session, SessionMiddleware, describe_device
from wsgi_session.request.devices import ABOUT
from wsgi_session.testing.clock import FakeClock

pytestmark = pytest.mark.needs(SERVER)
LAPTOP = {"HTTP_USER_AGENT": "Firefox/140.0 (X11; Linux)", "REMOTE_ADDR": "192.0.2.1"}
PHONE = {"HTTP_USER_AGENT": "Safari/604.1 (iPhone)", "REMOTE_ADDR": "2001:db8::1"}


def state(session: Session) -> str:
    return session.state


def enter(site: Site, environ: dict[str, str], user: dict[str, Any] = ANN) -> Browser:
    browser = site.browser(**environ)
    browser.do(log_in(user))
    return browser


def abouts(site: Site) -> list[str | None]:
    return [info.about for info in site.middleware.sessions.of(ANN)]


def new_devices(site: Site) -> list[object]:
    return [event.get("new_device") for event in site.happened("logged_in")]


def live(*browsers: Browser) -> list[bool]:
    return [browser.do(state).result == "live" for browser in browsers]


def test_what_describe_says_is_kept_at_the_login_and_shown_in_the_list(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(describe=describe_device)
    enter(site, LAPTOP)
    clock.advance(1)
    phone = enter(site, PHONE)
    assert abouts(site) == ["Safari on iPhone, IPv6", "Firefox on Linux, IPv4"]
    assert [info.about for info in site.middleware.sessions.all() if info.owner == "id:1"] != []
    phone.do(put(a=1))
    phone.do(lambda session: session.rotate())
    assert abouts(site)[0] == "Safari on iPhone, IPv6"
    assert phone.do(lambda session: session.copy()).result == {"user": ANN, "a": 1}
    assert site.middleware.sessions.of(ANN)[0].data == {"user": ANN, "a": 1}


def test_the_list_says_which_session_is_the_one_that_asks(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site()
    laptop = enter(site, LAPTOP)
    clock.advance(1)
    enter(site, PHONE)
    sessions = site.middleware.sessions
    assert laptop.do(lambda session: [info.current for info in sessions.of(ANN, current=session)]).result == [
        False,
        True,
    ]
    handle = laptop.do(lambda session: session.handle).result
    assert [info.current for info in sessions.of(ANN, current=handle)] == [False, True]
    assert [info.current for info in sessions.of(ANN)] == [False, False]
    assert [info.about for info in sessions.of(ANN)] == [None, None]


def test_describe_sees_the_texts_of_the_request_and_no_credential(make_site: MakeSite) -> None:
    seen: list[dict[str, str]] = []
    site = make_site(describe=lambda environ: seen.append(environ))
    browser = site.browser(**LAPTOP, HTTP_AUTHORIZATION="Bearer x")
    browser.do(put(a=1))
    assert seen == []
    browser.do(log_in(ANN))
    (environ,) = seen
    assert {name: environ[name] for name in LAPTOP} == LAPTOP
    assert "HTTP_COOKIE" not in environ
    assert "HTTP_AUTHORIZATION" not in environ
    assert (abouts(site), new_devices(site)) == ([None], [None])


def test_a_long_description_is_cut_and_what_is_no_text_is_refused_at_the_login(make_site: MakeSite) -> None:
    site = make_site(describe=lambda environ: environ["HTTP_USER_AGENT"])
    enter(site, {"HTTP_USER_AGENT": "\xff" * 70_000})
    assert abouts(site) == ["\xff" * 200]
    wrong: Any = lambda environ: 5  # noqa: E731
    browser = make_site(describe=wrong).browser()

    def refused(session: Session) -> str:
        with pytest.raises(ConfigError, match="describe returned an object of type int"):
            log_in(BOB)(session)
        return session.state

    assert browser.do(refused).result == "new"


@pytest.mark.parametrize("describe", [lambda environ: environ["HTTP_USER_AGENT"], lambda environ: 5])
def test_a_login_whose_device_cannot_be_described_leaves_no_user_in_a_session_with_a_known_token(
    make_site: MakeSite, describe: Any
) -> None:
    """An application may catch the error and answer with a page."""
    site = make_site(describe=describe)
    browser = site.browser()
    browser.do(put(cart=["tea"]))
    planted = browser.copy()

    def careless(session: Session) -> None:
        with pytest.raises((KeyError, ConfigError)):
            log_in(ANN)(session)

    browser.do(careless)
    assert planted.do(lambda session: session.copy()).result == {"cart": ["tea"]}


def test_a_header_that_is_no_text_does_not_keep_a_visitor_from_logging_in(make_site: MakeSite) -> None:
    site = make_site(
        describe=lambda environ: environ["HTTP_USER_AGENT"].encode("latin-1").decode(errors="surrogateescape")
    )
    enter(site, {"HTTP_USER_AGENT": "Mozilla\xff"})
    assert abouts(site) == ["Mozilla?"]


def test_a_description_that_cannot_be_read_is_none(make_site: MakeSite) -> None:
    site = make_site(describe=describe_device)
    damage(enter(site, LAPTOP), value=b"\xc1", key=ABOUT)
    (info,) = site.middleware.sessions.of(ANN)
    assert (info.about, info.data) == (None, {"user": ANN})
    site.clock.advance(1)
    enter(site, LAPTOP)
    assert new_devices(site) == [True, True]


def test_a_description_belongs_to_one_login(make_site: MakeSite) -> None:
    described, plain = make_site(describe=describe_device), make_site()
    browser = enter(described, LAPTOP)
    other = plain.browser()
    other.jar = dict(browser.jar)
    other.do(log_in(ANN))
    assert abouts(plain) == [None]
    other.do(log_in(BOB))
    assert [info.about for info in plain.middleware.sessions.of(BOB)] == [None]


def test_a_login_says_whether_its_device_is_new_to_the_user(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(describe=describe_device)
    enter(site, LAPTOP, BOB)
    for environ in (LAPTOP, PHONE, LAPTOP):
        clock.advance(1)
        browser = enter(site, environ)
    assert new_devices(site) == [True, True, True, False]
    browser.do(log_in(ANN))
    for info in site.middleware.sessions.of(ANN)[1:]:
        site.middleware.sessions.revoke(ANN, info.handle)
    clock.advance(1)
    browser.do(log_in(ANN))
    assert new_devices(site)[4:] == [False, False]


def test_without_describe_the_event_says_nothing_of_devices_and_the_login_lists_nothing(site: Site) -> None:
    site.forget()
    enter(site, LAPTOP)
    assert [event["new_device"] for event in site.happened("logged_in")] == [None]
    assert site.calls.counts() == {"create": 1}


def test_one_login_more_than_max_sessions_ends_the_oldest(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(max_sessions=2)
    browsers = []
    bob = enter(site, LAPTOP, BOB)
    for _ in range(4):
        clock.advance(1)
        browsers.append(enter(site, LAPTOP))
    assert live(*browsers, bob) == [False, False, True, True, True]
    handles = [browser.do(lambda session: session.handle).result for browser in browsers[2:]]
    assert [event["by"] for event in site.happened("displaced")] == handles
    assert len({event["handle"] for event in site.happened("displaced")}) == 2


def test_of_logins_at_the_same_time_the_later_one_stays(make_site: MakeSite) -> None:
    site = make_site(max_sessions=1, describe=describe_device)
    for _ in range(3):
        old, new = enter(site, LAPTOP), enter(site, LAPTOP)
        assert live(old, new) == [False, True]
    assert new_devices(site) == [True, *[False] * 5]


def test_a_login_in_the_same_session_and_an_expired_one_take_no_place(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(max_sessions=2)
    first = enter(site, LAPTOP)
    clock.advance(1)
    second = enter(site, LAPTOP)
    second.do(log_in(ANN))
    assert live(first, second) == [True, True]
    clock.advance(15 * 86_400)
    second.do(put(a=1))
    clock.advance(16 * 86_400)
    third = enter(site, LAPTOP)
    assert live(first, second, third) == [False, True, True]
    assert site.happened("displaced") == []


class TickingClock(FakeClock):
    """Tells a later time at each call, as real clocks do."""

    def __call__(self) -> float:
        self.advance(0.001)
        return super().__call__()


def test_two_logins_at_once_leave_no_more_than_max_sessions(make_site: MakeSite) -> None:
    site = make_site(max_sessions=1, clock=TickingClock())
    first = site.browser()
    second = site.browser()
    # The second login is complete between the save of the first one and its look at the others.
    site.calls.before["of_owner"] = lambda: second.do(log_in(ANN))
    first.do(log_in(ANN))
    assert sorted(live(first, second)) == [False, True]


def test_many_logins_at_once_leave_exactly_max_sessions(make_site: MakeSite) -> None:
    site = make_site(max_sessions=2, clock=TickingClock())
    browsers = [site.browser() for _ in range(6)]
    together = threading.Barrier(len(browsers))

    def run(browser: Browser) -> Callable[[], None]:
        def log_in_together() -> None:
            together.wait(30)
            browser.do(log_in(ANN))

        return log_in_together

    threads = [threading.Thread(target=run(browser)) for browser in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(live(*browsers)) == len(site.middleware.sessions.of(ANN)) == 2


def test_a_displaced_session_is_ended_although_it_rotates_at_that_moment(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(max_sessions=1)
    old = enter(site, LAPTOP)
    clock.advance(1)
    site.calls.before["delete"] = lambda: old.do(lambda session: session.rotate())
    new = enter(site, LAPTOP)
    assert live(old, new) == [False, True]


def test_an_outage_after_the_login_was_saved_does_not_undo_it(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(max_sessions=1, describe=describe_device)
    old = enter(site, LAPTOP)
    clock.advance(1)
    site.calls.fail("of_owner")
    new = enter(site, PHONE)
    site.calls.recover()
    assert live(old, new) == [True, True]
    assert len(site.happened("unavailable")) == 1
    assert new_devices(site) == [True, None]
    clock.advance(1)
    last = enter(site, PHONE)
    assert live(old, new, last) == [False, False, True]


def test_a_limit_needs_a_store_that_lists_a_users_sessions() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        return []

    with pytest.raises(ConfigError, match=r"^max_sessions=3: this store cannot list a user's sessions"):
        SessionMiddleware(app, secret=SECRET, store="cookie://", max_sessions=3)
