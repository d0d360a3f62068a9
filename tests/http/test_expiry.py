"""Rule 10: the server decides when a session expires, by the current settings, even if nothing is swept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.support.site import ANN, BOB, SECRET, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER, SWEEPS
from wsgi_session import Session, SessionGone
from wsgi_session.stores import CLOCK_SKEW, TOMBSTONE_LIFE
from wsgi_session.testing.clock import FakeClock

DAY = 86_400.0
OLD_SECRET = "0" * 16 + "f4b9d2c7a1e85063"


def state(session: Session) -> str:
    return session.state


def visit_with(site: Site, browser: Browser) -> Browser:
    """Return the same visitor at ``site``: the same application, restarted with other settings."""
    other = site.browser()
    other.jar = dict(browser.jar)
    return other


def test_a_session_dies_idle(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(30 * DAY)
    assert browser.do(lambda session: (session.state, session.copy())).result == ("unknown", {})


def test_a_session_lives_to_the_last_moment(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(30 * DAY - 1)
    assert browser.do(lambda session: (session.state, session.copy())).result == ("live", {"a": 1})


def test_an_active_session_dies_at_the_absolute_timeout(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    for _ in range(89):
        clock.advance(DAY)
        assert browser.do(state).result == "live"
    clock.advance(DAY)
    assert browser.do(state).result == "unknown"


def test_writing_is_no_way_past_the_absolute_timeout(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    for day in range(89):
        clock.advance(DAY)
        browser.do(lambda session, day=day: session.update(day=day))  # type: ignore[misc]
    clock.advance(DAY)
    assert browser.do(read).result == {}


def test_a_login_starts_the_absolute_timeout_again_and_a_rotation_does_not(
    make_site: MakeSite, clock: FakeClock
) -> None:
    site = make_site(idle_timeout=900, absolute_timeout=1000)
    login, rotate = site.browser(), site.browser()
    login.do(put(a=1))
    rotate.do(put(a=1))
    clock.advance(600)
    login.do(log_in(ANN))
    rotate.do(lambda session: session.rotate())
    clock.advance(600)
    assert (login.do(state).result, rotate.do(state).result) == ("live", "unknown")


def test_without_an_absolute_timeout_activity_keeps_a_session_alive(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(absolute_timeout=None).browser()
    browser.do(put(a=1))
    for _ in range(60):
        clock.advance(29 * DAY)
        assert browser.do(state).result == "live"


@pytest.mark.parametrize("shorter", [{"idle_timeout": 2 * DAY}, {"absolute_timeout": 2 * DAY}])
def test_shorter_settings_end_sessions_that_are_there(
    site: Site, browser: Browser, make_site: MakeSite, clock: FakeClock, shorter: dict[str, float]
) -> None:
    browser.do(put(a=1))
    clock.advance(2 * DAY)
    assert visit_with(make_site(**shorter), browser).do(state).result == "unknown"
    assert browser.do(state).result == "live"


def test_longer_settings_do_not_bring_back_what_is_dead(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(idle_timeout=100).browser()
    browser.do(put(a=1))
    clock.advance(100)
    assert visit_with(make_site(), browser).do(state).result == "unknown"


def test_longer_settings_count_from_the_next_touch(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(idle_timeout=100, touch_interval=10).browser()
    browser.do(put(a=1))
    longer = visit_with(make_site(idle_timeout=1000, touch_interval=10), browser)
    clock.advance(50)
    longer.do(read)
    clock.advance(500)
    assert longer.do(state).result == "live"


def test_expires_is_what_it_will_be_after_this_request(site: Site, browser: Browser, clock: FakeClock) -> None:
    start = datetime.fromtimestamp(clock(), timezone.utc)
    browser.do(put(a=1))
    seen = []
    for _ in range(3):
        clock.advance(DAY / 2)
        seen.append(browser.do(lambda session: session.expires).result - start)
    assert seen == [timedelta(days=30), timedelta(days=31), timedelta(days=31)]


def test_expires_is_told_under_the_current_settings(browser: Browser, make_site: MakeSite, clock: FakeClock) -> None:
    browser.do(put(a=1))
    start = datetime.fromtimestamp(clock(), timezone.utc)
    shorter = visit_with(make_site(idle_timeout=5 * DAY, touch_interval=DAY), browser)
    assert shorter.do(lambda session: session.expires).result == start + timedelta(days=5)
    clock.advance(2 * DAY)
    assert shorter.do(lambda session: session.expires).result == start + timedelta(days=7)


@pytest.mark.needs(SERVER)
def test_a_write_extends_only_when_a_touch_is_due(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(DAY - 1)
    answer = browser.do(put(a=2))
    assert answer.cookie is None
    clock.advance(29 * DAY + 1)
    assert browser.do(state).result == "unknown"


def test_a_login_can_have_a_shorter_idle_timeout(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site().browser()
    browser.do(log_in(ANN, idle_timeout=timedelta(minutes=15)))
    for _ in range(5):
        clock.advance(800)
        assert browser.do(state).result == "live"
    clock.advance(900)
    assert browser.do(state).result == "unknown"


def test_a_login_never_has_a_longer_idle_timeout(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(idle_timeout=900).browser()
    browser.do(log_in(ANN, idle_timeout=timedelta(days=1)))
    clock.advance(900)
    assert browser.do(state).result == "unknown"


def test_an_active_visitor_with_a_shorter_idle_timeout_stays_whatever_the_touch_interval(
    make_site: MakeSite, clock: FakeClock
) -> None:
    browser = make_site(touch_interval=DAY).browser()
    browser.do(log_in(ANN, idle_timeout=timedelta(minutes=15)))
    for _ in range(10):
        clock.advance(300)
        assert browser.do(state).result == "live"


def test_a_shorter_idle_timeout_ends_with_the_next_login(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site().browser()
    browser.do(log_in(ANN, idle_timeout=900))
    browser.do(log_in(ANN))
    clock.advance(DAY)
    assert browser.do(state).result == "live"


def test_no_touch_does_not_count_as_activity(site: Site, browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    for _ in range(29):
        clock.advance(DAY)
        answer = browser.do(lambda session: (session.no_touch(), session.expires, session.copy()))
        assert answer.cookie is None
    assert "touch" not in site.calls.counts()
    clock.advance(DAY)
    assert browser.do(state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_no_touch_lets_a_write_through_and_extends_nothing(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(29 * DAY)
    answer = browser.do(lambda session: (session.no_touch(), session.update(a=2)))
    assert answer.cookie is None
    assert browser.copy().do(lambda session: (session.no_touch(), session["a"])).result[1] == 2
    clock.advance(DAY)
    assert browser.do(state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_a_write_that_takes_longer_than_the_idle_timeout_is_kept_where_others_kept_the_session_alive(
    make_site: MakeSite, clock: FakeClock
) -> None:
    """For example, an upload of ten minutes, in a login with an idle timeout of five."""
    site = make_site(touch_interval=10)
    browser = site.browser()
    browser.do(log_in(ANN, idle_timeout=300))

    def wait(session: Session) -> None:
        assert session["user"] == ANN
        for _ in range(3):
            clock.advance(200)
            assert browser.do(state).result == "live"

    browser.copy().do(lambda session: (wait(session), session.update(a=1)))
    browser.copy().do(lambda session: (wait(session), session.atomic(lambda data: data.update(b=2))))
    assert browser.do(read).result == {"user": ANN, "a": 1, "b": 2}


# A session that was live when the request loaded it stays live for that request.

QUARTER = 15 * 60


@pytest.fixture
def brief(make_site: MakeSite) -> Site:
    """A site whose sessions end after a quarter of an hour."""
    return make_site(idle_timeout=QUARTER)


@pytest.fixture
def visitor(brief: Site) -> Browser:
    browser = brief.browser()
    browser.do(put(a=1, cart=["bun"]))
    browser.do(log_in(ANN))
    return browser


def count(session: Session) -> None:
    session.atomic(lambda data: data.update(b=2))


SLOW: dict[str, tuple[Callable[[Session], Any], dict[str, Any]]] = {
    "write": (put(b=2), {"b": 2}),
    "nested write": (lambda session: session["cart"].append("pie"), {"cart": ["bun", "pie"]}),
    "read": (read, {}),
    "flash": (lambda session: session.flash("late"), {}),
    "atomic": (count, {"b": 2}),
    "rotation": (lambda session: session.rotate(), {}),
    "login": (log_in(ANN), {}),
    "write and read again": (lambda session: (put(b=2)(session), session.flashes()), {"b": 2}),
}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("slow", SLOW)
@pytest.mark.parametrize("after", [QUARTER, QUARTER + 4 * 60])
def test_a_request_that_outlasts_the_idle_timeout_keeps_the_session_and_what_it_wrote(
    brief: Site, visitor: Browser, clock: FakeClock, slow: str, after: float
) -> None:
    """For example, an upload, or a visitor who returns ten seconds before the timeout."""
    change, then = SLOW[slow]
    clock.advance(QUARTER - 10)
    visitor.do(lambda session: session.no_touch())

    def slowly(session: Session) -> None:
        assert session["user"] == ANN
        clock.advance(after)
        change(session)
        assert session["user"] == ANN

    assert visitor.do(slowly).cookie is not None, "the browser's cookie ends with the session's old end"
    assert brief.happened("dropped") == []
    expected = {"a": 1, "cart": ["bun"], "user": ANN} | then
    assert visitor.do(lambda session: (session.state, session.copy())).result == ("live", expected)
    clock.advance(QUARTER - 1)
    assert visitor.do(state).result == "live", "the new end is counted from the save"


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("slow", ["write", "read", "rotation", "flash"])
def test_an_hour_past_its_end_a_session_is_over_for_the_slowest_request(
    brief: Site, visitor: Browser, clock: FakeClock, slow: str
) -> None:
    def slowly(session: Session) -> None:
        session.get("user")
        clock.advance(QUARTER + 3600)
        SLOW[slow][0](session)

    assert visitor.do(slowly).cookie is None
    assert bool(brief.happened("dropped")) == (slow in ("write", "flash"))
    assert visitor.do(state).result == "unknown"


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("slow", SLOW)
def test_the_hour_counts_from_the_end_that_another_request_gave_the_session(
    brief: Site, visitor: Browser, clock: FakeClock, slow: str
) -> None:
    change, then = SLOW[slow]

    def slowly(session: Session) -> None:
        session.get("user")
        session.get("cart")
        clock.advance(QUARTER - 10)
        visitor.copy().do(state)
        clock.advance(3600 + QUARTER - 10)
        change(session)

    assert visitor.do(slowly).cookie is not None
    assert brief.happened("dropped") == []
    expected = {"a": 1, "cart": ["bun"], "user": ANN} | then
    assert visitor.do(lambda session: (session.state, session.copy())).result == ("live", expected)


@pytest.mark.needs(SERVER)
def test_atomic_says_that_the_session_is_gone_an_hour_past_its_end(visitor: Browser, clock: FakeClock) -> None:
    def slowly(session: Session) -> None:
        session.get("user")
        clock.advance(QUARTER + 3600)
        with pytest.raises(SessionGone):
            count(session)

    visitor.do(slowly)


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("slow", SLOW)
def test_the_absolute_limit_ends_a_session_also_within_a_request(
    make_site: MakeSite, clock: FakeClock, slow: str
) -> None:
    site = make_site(idle_timeout=QUARTER, absolute_timeout=60 * 60)
    browser = site.browser()
    browser.do(put(a=1, cart=["bun"]))
    browser.do(log_in(ANN))
    for _ in range(5):
        clock.advance(11 * 60 + 48)  # 59 minutes in all.
        assert browser.do(state).result == "live"

    def slowly(session: Session) -> None:
        assert session["user"] == ANN
        session.get("cart")
        clock.advance(60)
        if slow == "atomic":
            with pytest.raises(SessionGone):
                SLOW[slow][0](session)
        else:
            SLOW[slow][0](session)

    answer = browser.do(slowly)
    if slow == "login":  # A login begins another session, which has nothing of the old one.
        assert browser.do(read).result == {"user": ANN}
    else:
        assert answer.cookie is None
        assert browser.do(state).result == "unknown"


#: Functions of (site, visitor, handle) that end a session after its timeout, and how many sessions are left then.
LATE_ENDINGS: dict[str, tuple[Callable[[Site, Browser, str], object], int]] = {
    "logout": (lambda site, visitor, handle: visitor.do(log_out), 0),
    "login": (lambda site, visitor, handle: visitor.do(log_in(ANN)), 1),
    "revoke": (lambda site, visitor, handle: site.middleware.sessions.revoke(ANN, handle), 0),
    "revoke_all": (lambda site, visitor, handle: site.middleware.sessions.revoke_all(ANN), 0),
}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("slow", ["write", "read", "rotation", "flash", "nested write"])
@pytest.mark.parametrize("ending", LATE_ENDINGS)
def test_a_session_ended_after_its_idle_timeout_is_not_brought_back_by_a_request_that_looked_before(
    brief: Site, visitor: Browser, clock: FakeClock, slow: str, ending: str
) -> None:
    """The session has expired for the request that ends it, but must be ended anyway, because of the slow request."""
    other = visitor.copy()
    handle = visitor.do(lambda session: session.handle).result
    end, left = LATE_ENDINGS[ending]

    def slowly(session: Session) -> None:
        session.get("user")
        session.get("cart")
        clock.advance(QUARTER + 10)
        end(brief, other, handle)
        SLOW[slow][0](session)

    held = visitor.copy()
    assert held.do(slowly).cookie is None
    assert held.do(state).result in ("unknown", "rotated")
    assert brief.middleware.sessions.count() == left


@pytest.mark.needs(SERVER)
def test_a_slow_rotation_leaves_a_tombstone_that_lives_from_the_save_on(
    brief: Site, visitor: Browser, clock: FakeClock
) -> None:
    """Otherwise a request with the old cookie creates a session, whose cookie replaces the rotated one."""
    held = visitor.copy()

    def slowly(session: Session) -> None:
        session.get("user")
        clock.advance(QUARTER + 3 * 60)
        session.rotate()

    visitor.do(slowly)
    assert held.do(state).result == "rotated"
    clock.advance(TOMBSTONE_LIFE - 1)
    assert held.do(state).result == "rotated"
    clock.advance(1)
    assert held.do(state).result == "unknown"


def test_expires_is_not_extended_by_a_request_with_no_touch(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(2 * DAY)
    poll, visit = browser.do(lambda session: (session.no_touch(), session.expires)), browser.do(lambda s: s.expires)
    assert visit.result - poll.result[1] == timedelta(days=2)


@pytest.mark.needs(SERVER)
def test_a_failing_touch_never_harms_the_answer(site: Site, browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(2 * DAY)
    site.calls.fail("touch")
    answer = browser.do(read)
    assert (answer.code, answer.body, answer.result, answer.cookie) == (200, b"page", {"a": 1}, None)
    assert site.happened("touch_failed"), site.events
    site.calls.recover()
    assert browser.do(read).cookie is not None


@pytest.mark.needs(SERVER)
def test_a_touch_that_finds_the_session_gone_sends_no_cookie(site: Site, browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(2 * DAY)
    held = browser.copy()
    answer = held.do(lambda session: (session.get("a"), browser.do(lambda session: session.destroy())))
    assert (answer.code, answer.cookie) == (200, None)
    assert site.middleware.sessions.count() == 0


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("skew", [-60.0, 60.0])
def test_clocks_of_two_machines_may_differ_by_a_minute(make_site: MakeSite, skew: float) -> None:
    here, there = FakeClock(), FakeClock()
    there.advance(skew)
    one, two = make_site(clock=here, idle_timeout=900), make_site(clock=there, idle_timeout=900)
    browser = one.browser()
    browser.do(log_in(ANN))
    for step in range(20):
        at_other = visit_with(two, browser)
        assert at_other.do(lambda session: (session.state, session.update(two=1))).result[0] == "live", step
        assert browser.do(lambda session: (session.state, session.pop("two"))).result == ("live", 1), step
        here.advance(120)
        there.advance(120)
    assert two.middleware.sessions.revoke_all(ANN) == 1


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("rotations", [1, 3])
@pytest.mark.parametrize(("ending", "left"), [(log_out, 0), (log_in(BOB), 1)], ids=["logout", "login"])
def test_the_end_of_an_expired_session_finds_it_if_another_machine_has_just_rotated_it(
    make_site: MakeSite, ending: Callable[[Session], None], left: int, rotations: int
) -> None:
    """By the clock of that machine, it has not expired."""
    here, there = FakeClock(), FakeClock()
    there.advance(60)
    one, two = make_site(clock=here, idle_timeout=900), make_site(clock=there, idle_timeout=900)
    browser = one.browser()
    browser.do(log_in(ANN))
    for clock in (here, there):
        clock.advance(870)
    at_other = visit_with(two, browser)

    def rotate() -> None:
        for _ in range(rotations):
            browser.do(lambda session: session.rotate())

    two.calls.before["delete"] = rotate
    assert at_other.do(lambda session: (session.state, ending(session))).result[0] == "unknown"
    assert browser.do(state).result == "unknown"
    assert one.middleware.sessions.count() == left


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("first", [0, 1])
def test_a_logout_with_two_cookies_ends_the_session_that_has_expired_by_this_clock_too(
    make_site: MakeSite, first: int
) -> None:
    here, there = FakeClock(), FakeClock()
    there.advance(60)
    one, two = make_site(clock=here, idle_timeout=900), make_site(clock=there, idle_timeout=900)
    expired, live = one.browser(), one.browser()
    expired.do(log_in(ANN))
    for clock in (here, there):
        clock.advance(870)
    live.do(log_in(BOB))
    headers = [expired.header, live.header]
    both = f"{headers[first]}; {headers[1 - first]}"
    assert two.browser().do(lambda session: (session.owner, log_out(session)), HTTP_COOKIE=both).result[0] == "id:2"
    assert [visitor.do(state).result for visitor in (expired, live)] == ["unknown", "unknown"]


@pytest.mark.needs(SERVER)
def test_a_clock_that_is_behind_moves_nothing_back(make_site: MakeSite, clock: FakeClock) -> None:
    behind = FakeClock()
    site, late = (
        make_site(idle_timeout=900, touch_interval=1),
        make_site(idle_timeout=900, touch_interval=1, clock=behind),
    )
    browser = site.browser()
    browser.do(put(a=1))
    clock.advance(60)
    browser.do(read)
    visit_with(late, browser).do(put(a=2))
    clock.advance(899)
    assert browser.do(read).result == {"a": 2}


@pytest.mark.needs(SERVER)
def test_dead_sessions_are_not_counted_listed_or_revoked(site: Site, browser: Browser, clock: FakeClock) -> None:
    browser.do(log_in(ANN))
    clock.advance(30 * DAY)
    sessions = site.middleware.sessions
    assert (sessions.count(), sessions.of(ANN)) == (0, [])
    clock.advance(CLOCK_SKEW)  # By the clock of another machine it was live until now.
    assert sessions.revoke_all(ANN) == 0


# When Set-Cookie is sent.


def cookies_of(browser: Browser, *functions: Any) -> list[bool]:
    return [browser.do(function).cookie is not None for function in functions]


@pytest.mark.needs(SERVER)
def test_a_cookie_goes_out_when_the_token_is_new(browser: Browser) -> None:
    sent = cookies_of(
        browser, put(a=1), read, put(a=2), lambda session: session.rotate(), read, log_in(ANN), put(b=1), read
    )
    assert sent == [True, False, False, True, False, True, False, False]


def test_a_cookie_goes_out_when_a_persistent_cookies_life_moved(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(DAY)
    assert cookies_of(browser, read, read) == [True, False]


@pytest.mark.needs(SERVER)
def test_a_cookie_that_ends_with_the_browser_is_not_sent_again_for_a_touch(
    make_site: MakeSite, clock: FakeClock
) -> None:
    browser = make_site(cookie_persistent=False).browser()
    first = browser.do(put(a=1))
    assert first.cookie, first
    assert "max-age" not in first.cookie.attributes
    clock.advance(20 * DAY)
    assert cookies_of(browser, read, put(a=2)) == [False, False]
    clock.advance(20 * DAY)
    assert browser.do(read).result == {"a": 2}


def test_a_cookie_goes_out_when_persistence_changed(browser: Browser) -> None:
    browser.do(put(a=1))
    lives = []
    for remember in (False, True, None):
        answer = browser.do(log_in(ANN, remember=remember))
        assert answer.cookie, answer
        lives.append(answer.cookie.attributes.get("max-age"))
    assert lives == [None, str(int(30 * DAY)), str(int(30 * DAY))]


@pytest.mark.needs(SERVER)
def test_remember_holds_for_the_sessions_whole_life(browser: Browser, clock: FakeClock) -> None:
    browser.do(log_in(ANN, remember=False))
    clock.advance(2 * DAY)
    assert browser.do(read).cookie is None
    answer = browser.do(lambda session: session.rotate())
    assert answer.cookie, answer
    assert "max-age" not in answer.cookie.attributes


@pytest.mark.needs(SERVER)
def test_a_cookie_goes_out_when_the_signature_is_of_an_older_secret(make_site: MakeSite) -> None:
    before = make_site(secret=OLD_SECRET).browser()
    before.do(put(a=1))
    both = visit_with(make_site(secret=[SECRET, OLD_SECRET]), before)
    assert cookies_of(both, read, read) == [True, False]
    assert both.token.partition(".")[0] == before.token.partition(".")[0], "the token is another"
    after = visit_with(make_site(secret=SECRET), both)
    assert after.do(read).result == {"a": 1}
    assert visit_with(make_site(secret=SECRET), before).do(state).result == "tampered"


@pytest.mark.needs(SERVER)
def test_a_change_renews_the_cookie_of_an_older_secret_too(make_site: MakeSite) -> None:
    browser = make_site(secret=OLD_SECRET).browser()
    browser.do(put(a=1))
    renewed = visit_with(make_site(secret=(SECRET, OLD_SECRET)), browser)
    assert cookies_of(renewed, put(a=2), put(a=3)) == [True, False]


def test_max_age_is_what_is_left_and_at_most_400_days(make_site: MakeSite, clock: FakeClock) -> None:
    def max_age(browser: Browser, function: Any) -> str:
        cookie = browser.do(function).cookie
        assert cookie
        return str(cookie.attributes["max-age"])

    short = make_site(idle_timeout=900, absolute_timeout=1000).browser()
    assert max_age(short, put(a=1)) == "900"
    clock.advance(600)
    assert max_age(short, put(a=2)) == "400"
    long = make_site(idle_timeout=timedelta(days=1000), absolute_timeout=None).browser()
    assert max_age(long, put(a=1)) == str(int(400 * DAY))


def test_max_age_is_told_under_the_current_settings(browser: Browser, make_site: MakeSite, clock: FakeClock) -> None:
    browser.do(put(a=1))
    shorter = visit_with(make_site(idle_timeout=5 * DAY), browser)
    answer = shorter.do(lambda session: session.rotate())
    assert answer.cookie, answer
    assert answer.cookie.attributes["max-age"] == str(int(5 * DAY))


# Anonymous visitors.

ROBOTS = {"idle_timeout": 30 * DAY, "anonymous_timeout": 3600}


def max_age(browser: Browser) -> float | None:
    """Return the Max-Age of the cookie in the last response, if it set one."""
    found = [value for name, value in browser.answer.headers if name == "Set-Cookie" and "Max-Age=" in value]
    return float(found[0].partition("Max-Age=")[2].partition(";")[0]) if found else None


def test_an_anonymous_session_ends_sooner_and_so_does_its_cookie(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(**ROBOTS).browser()
    browser.do(put(cart=["tea"]))
    assert max_age(browser) == 3600
    assert browser.do(lambda session: session.expires).result == datetime.fromtimestamp(clock() + 3600, timezone.utc)
    clock.advance(3599)
    stale = browser.copy()
    assert browser.do(read).result == {"cart": ["tea"]}
    assert max_age(browser) == 3600, "the visit counts as activity"
    clock.advance(3599)
    assert browser.do(state).result == "live"
    if stale.header != browser.header:  # A cookie that holds the session ends by its own time.
        assert stale.do(state).result == "unknown"
    clock.advance(3600)
    assert browser.do(state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_what_robots_leave_is_neither_counted_nor_kept(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(**ROBOTS)
    for _ in range(5):
        site.browser().do(lambda session: session.csrf_token)
    ann = site.browser()
    ann.do(log_in(ANN))
    assert site.middleware.sessions.count() == 6
    clock.advance(3600)
    assert site.middleware.sessions.count() == 1
    assert ann.do(state).result == "live"


@pytest.mark.needs(SERVER, SWEEPS)
def test_a_sweep_removes_what_robots_left(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(**ROBOTS)
    for _ in range(5):
        site.browser().do(lambda session: session.csrf_token)
    site.browser().do(log_in(ANN))
    clock.advance(2 * 3600 + 1)
    assert site.middleware.sessions.sweep(100) == 5


def test_a_login_gives_the_whole_life_and_a_logout_takes_it_away(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(**ROBOTS).browser()
    browser.do(put(cart=["tea"]))
    browser.do(log_in(ANN))
    assert max_age(browser) == 30 * DAY
    clock.advance(29 * DAY)
    assert browser.do(read).result["cart"] == ["tea"]

    def leave(session: Session) -> None:
        log_out(session)
        session.flash("bye")

    browser.do(leave)
    assert max_age(browser) == 3600
    clock.advance(3600)
    assert browser.do(state).result == "unknown"


def test_a_rotation_gives_no_longer_life(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(**ROBOTS).browser()
    browser.do(put(cart=["tea"]))
    browser.do(lambda session: session.rotate())
    clock.advance(3600)
    assert browser.do(state).result == "unknown"


@pytest.mark.parametrize("before", [None, 7 * DAY, 600], ids=["none", "longer", "shorter"])
def test_the_current_anonymous_timeout_holds_for_what_is_stored(
    make_site: MakeSite, clock: FakeClock, before: float | None
) -> None:
    """And activity is recorded as often as the current one needs."""
    old = make_site(anonymous_timeout=before).browser()
    old.do(put(cart=["tea"]))
    browser = visit_with(make_site(**ROBOTS), old)
    for _ in range(5):
        clock.advance(590)
        assert browser.do(state).result == "live"
    clock.advance(3600)
    assert browser.do(state).result == "unknown"


def test_without_the_option_again_a_visitor_gets_the_whole_life(make_site: MakeSite, clock: FakeClock) -> None:
    old = make_site(**ROBOTS, touch_interval=60).browser()
    old.do(put(cart=["tea"]))
    browser = visit_with(make_site(touch_interval=60), old)
    clock.advance(3000)
    assert browser.do(state).result == "live"
    clock.advance(29 * DAY)
    assert browser.do(state).result == "live"


def test_an_own_idle_timeout_of_a_login_is_not_touched_by_it(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(**ROBOTS).browser()
    browser.do(log_in(ANN, idle_timeout=7200))
    clock.advance(7100)
    assert browser.do(state).result == "live"
    clock.advance(7200)
    assert browser.do(state).result == "unknown"
