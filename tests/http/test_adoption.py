"""Adopting sessions of other libraries: nobody is logged out by the move, once, and what has ended stays ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timezone
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from tests.support.foreign import KEY, OldLibrary, flask_cookie
from tests.support.interruptions import interrupted
from tests.support.site import ANN, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER, SWEEPS
from wsgi_session import ConfigError, Session, SessionMiddleware, confirm
from wsgi_session.codec.packing import pack
from wsgi_session.middleware import internals_of
from wsgi_session.moving import Adopt, FlaskCookie, Foreign, NotAdopted
from wsgi_session.moving.markers import make_marker, marker_key
from wsgi_session.moving.opaque import Opaque
from wsgi_session.moving.records import ADOPTED
from wsgi_session.request.confirmation import is_fresh
from wsgi_session.request.login import OWNER
from wsgi_session.session import work_of
from wsgi_session.stores.contract import CLOCK_SKEW
from wsgi_session.testing.clock import FakeClock

pytestmark = pytest.mark.needs(SERVER)

DAY = 86_400.0
CART = {"cart": ["bun", "pie"]}


@pytest.fixture
def old(clock: FakeClock) -> OldLibrary:
    """The other library, in which Ann is logged in for an hour."""
    old = OldLibrary()
    old.records["ann"] = Foreign(
        {"_user_id": "1", **CART}, clock() - 3 * DAY, clock() - 60.0, clock() + 3600.0, user_id="1"
    )
    return old


@pytest.fixture
def site(make_site: MakeSite, old: OldLibrary) -> Site:
    return make_site(adopt=old)


@pytest.fixture
def ann(site: Site) -> Browser:
    """A browser that has the other library's cookie."""
    browser = site.browser()
    browser.header = "old=ann"
    return browser


def owner(session: Any) -> str | None:
    return work_owner(session)


def work_owner(session: Any) -> str | None:
    value: str | None = work_of(session).peek(OWNER)
    return value


def state(session: Any) -> str:
    return str(session.state)


def refusals(site: Site) -> list[str]:
    return [data["reason"] for data in site.happened("not_adopted")]


# What comes over.


def test_a_visitor_of_the_other_library_keeps_the_data_the_user_and_the_times(
    site: Site, ann: Browser, old: OldLibrary, clock: FakeClock
) -> None:
    answer = ann.do(lambda s: (s.state, s.copy(), owner(s), s.created, s.handle))
    handle = answer.result[4]
    created = datetime.fromtimestamp(clock() - 3 * DAY, timezone.utc)
    assert answer.result == ("live", {"_user_id": "1", **CART}, "id:1", created, handle)
    assert site.happened("adopted") == [{"handle": handle, "owner": "id:1", "source": "old"}]
    assert [session.handle for session in site.middleware.sessions.of({"id": 1})] == [handle]
    assert ann.do(read).result == {"_user_id": "1", **CART}
    assert len(site.happened("adopted")) == 1


@pytest.mark.parametrize("created", [None, 60.0])
def test_a_session_that_is_adopted_just_now_is_not_fresh(
    make_site: MakeSite, old: OldLibrary, clock: FakeClock, created: float | None
) -> None:
    """A copied cookie of the other library could otherwise change the password within a quarter of an hour."""
    old.records["ann"] = Foreign({}, created and clock() - created, expires=clock() + 3600.0, user_id="1")
    browser = make_site(adopt=Adopt(old, user_id=lambda data: "1")).browser()
    browser.header = "old=ann"

    def freshness(session: Session) -> tuple[Any, bool]:
        return session.confirmed, is_fresh(work_of(session), 900.0, None)

    browser.do(lambda session: session.update(user=ANN))
    assert browser.do(freshness).result == (None, False)
    assert browser.call(lambda environ: confirm(environ)) is True
    assert browser.do(freshness).result[1] is True


def test_the_old_record_is_deleted_and_its_cookie_removed(ann: Browser, old: OldLibrary) -> None:
    ann.do(read)
    assert old.records == {}
    assert list(ann.jar) == ["sid"]


def test_the_last_activity_is_that_of_the_other_library_until_this_request_is_recorded(
    site: Site, ann: Browser, clock: FakeClock
) -> None:
    before = clock()
    ann.do(read)
    (listed,) = site.middleware.sessions.of({"id": 1})
    assert listed.created.timestamp() == before - 3 * DAY
    assert listed.last_seen.timestamp() == pytest.approx(before - 60.0)


def test_a_session_that_the_other_library_holds_for_active_is_not_ended_by_a_shorter_idle_timeout(
    make_site: MakeSite, old: OldLibrary, clock: FakeClock
) -> None:
    site = make_site(adopt=old, idle_timeout=30)
    browser = site.browser()
    browser.header = "old=ann"
    assert browser.do(read).result == {"_user_id": "1", **CART}
    clock.advance(29)
    assert browser.do(read).result == {"_user_id": "1", **CART}


def test_a_session_older_than_our_absolute_timeout_is_not_adopted(make_site: MakeSite, old: OldLibrary) -> None:
    site = make_site(adopt=old, absolute_timeout=DAY)
    browser = site.browser()
    browser.header = "old=ann"
    assert browser.do(read).result == {}
    assert refusals(site) == ["expired"]


def test_a_new_session_beside_a_foreign_one_is_not_touched(site: Site, ann: Browser, old: OldLibrary) -> None:
    own = site.browser()
    own.do(put(cart=["own"]))
    own.jar["old"] = "ann"
    assert own.do(read).result == {"cart": ["own"]}
    assert "adopted" not in dict(site.events)


def test_the_anonymous_are_adopted_without_an_owner(ann: Browser, old: OldLibrary, clock: FakeClock) -> None:
    old.records["ann"] = Foreign(CART)
    assert ann.do(lambda s: (s.copy(), owner(s))).result == (CART, None)


def test_a_user_under_our_own_key_is_the_owner(ann: Browser, old: OldLibrary) -> None:
    old.records["ann"] = Foreign({"user": ANN})
    assert ann.do(lambda s: s.owner).result == "id:1"


def test_a_user_without_an_id_stays_without_an_owner(ann: Browser, old: OldLibrary) -> None:
    old.records["ann"] = Foreign({"user": {"nickname": "Ann"}})
    assert ann.do(lambda s: (s["user"], owner(s))).result == ({"nickname": "Ann"}, None)


def test_a_function_of_yours_says_who_the_user_is(make_site: MakeSite, old: OldLibrary) -> None:
    site = make_site(adopt=Adopt(old, user_id=lambda data: 100 + int(data["_user_id"])))
    browser = site.browser()
    browser.header = "old=ann"
    assert browser.do(owner).result == "id:101"


def test_flashed_messages_are_adopted(ann: Browser, old: OldLibrary) -> None:
    old.records["ann"] = Foreign({}, flashes=[("info", "one"), ("error", "two")])
    found = ann.do(lambda s: [(message.category, str(message)) for message in s.flashes()]).result
    assert found == [("info", "one"), ("error", "two")]


def test_the_cookie_is_kept_for_as_long_as_the_other_librarys(ann: Browser, old: OldLibrary, clock: FakeClock) -> None:
    old.records["ann"] = Foreign(CART, persistent=False)
    (cookie,) = [cookie for cookie in ann.do(read).cookies if cookie.name == "sid"]
    assert "max-age" not in cookie.attributes


# What cannot be kept.


class Money:
    pass


def test_keys_that_cannot_be_stored_are_dropped_with_an_event(site: Site, ann: Browser, old: OldLibrary) -> None:
    old.records["ann"] = Foreign({"a": 1, "price": Money(), "b": [{"c": Money()}], 7: "seven"})
    handle = ann.do(lambda s: (s.copy(), s.handle)).result
    assert handle[0] == {"a": 1}
    dropped = {"price": "Money", "b": "Money", "int": "str"}
    assert site.happened("keys_dropped") == [{"handle": handle[1], "source": "old", "keys": dropped}]


def test_a_flashed_message_that_cannot_be_stored_is_dropped(site: Site, ann: Browser, old: OldLibrary) -> None:
    old.records["ann"] = Foreign(CART, flashes=[("info", Money())])
    assert ann.do(read).result == CART
    assert site.happened("keys_dropped")[0]["keys"] == {"flashed message": "Money"}


def test_a_session_with_such_a_key_is_refused_if_you_say_so(make_site: MakeSite, old: OldLibrary) -> None:
    old.records["ann"] = Foreign({"a": 1, "price": Money()})
    site = make_site(adopt=Adopt(old, unsupported="refuse"))
    browser = site.browser()
    browser.header = "old=ann"
    assert browser.do(read).result == {}
    assert site.happened("not_adopted") == [{"source": "old", "reason": "unsupported", "detail": "price: Money"}]
    assert "ann" in old.records


def test_a_value_that_contains_itself_is_dropped(ann: Browser, old: OldLibrary) -> None:
    knot: list[Any] = []
    knot += [knot, knot]
    old.records["ann"] = Foreign({"a": 1, "knot": knot})
    assert ann.do(read).result == {"a": 1}


def test_subclasses_of_plain_types_come_over_as_these(ann: Browser, old: OldLibrary) -> None:
    class Text(str):
        pass

    class Items(list[Any]):
        pass

    old.records["ann"] = Foreign({Text("a"): Text("b"), "c": Items([Text("d"), (Text("e"),), {Text("f")}])})
    assert ann.do(read).result == {"a": "b", "c": ["d", ("e",), {"f"}]}


# Once.


def test_who_logs_out_stays_logged_out_with_the_old_cookie_in_hand(
    site: Site, ann: Browser, old: OldLibrary, clock: FakeClock
) -> None:
    record = old.records["ann"]
    ann.do(read)
    ann.do(log_out)
    old.records["ann"] = record  # A backup, or a replica, that still has it.
    ann.header = "old=ann"
    assert ann.do(lambda s: (s.state, s.copy())).result == ("unknown", {})
    assert refusals(site) == ["ended"]


def test_who_logs_out_at_the_first_visit_stays_logged_out(site: Site, ann: Browser, old: OldLibrary) -> None:
    record = old.records["ann"]
    ann.do(log_out)
    assert ann.jar == {}
    old.records["ann"] = record
    ann.header = "old=ann"
    assert ann.do(read).result == {}


def test_after_a_login_of_ours_the_old_cookie_opens_nothing(site: Site, ann: Browser, old: OldLibrary) -> None:
    thief = ann.copy()
    record = old.records["ann"]
    ann.do(log_in(ANN))
    old.records["ann"] = record
    site.clock.advance(130)
    assert thief.do(read).result == {}
    assert ann.do(read).result == {"_user_id": "1", **CART, "user": ANN}


def test_a_login_ends_a_foreign_session_that_could_not_be_adopted(make_site: MakeSite, old: OldLibrary) -> None:
    site = make_site(adopt=Adopt(old, unsupported="refuse"))
    old.records["ann"] = Foreign({"price": Money()})
    browser = site.browser()
    browser.header = "old=ann"
    browser.do(log_in(ANN))
    old.records["ann"] = Foreign({"a": 1})
    browser.header = "old=ann"
    assert browser.do(read).result == {}


def test_the_second_of_two_requests_at_once_gets_the_same_session(site: Site, ann: Browser, old: OldLibrary) -> None:
    other = ann.copy()
    old.before["load"] = lambda: other.do(put(other=1))
    ann.do(put(first=1))
    assert ann.jar == other.jar
    assert ann.do(read).result == {"_user_id": "1", **CART, "other": 1, "first": 1}
    assert len(site.happened("adopted")) == 1
    assert len(list(site.middleware.sessions.of({"id": 1}))) == 1


def test_a_request_that_read_the_old_record_before_another_adopted_it_gets_the_same_session(
    site: Site, ann: Browser, old: OldLibrary
) -> None:
    other = ann.copy()
    old.after["load"] = lambda: other.do(put(other=1))
    assert ann.do(read).result == {"_user_id": "1", **CART, "other": 1}
    assert ann.jar == other.jar
    assert len(site.happened("adopted")) == 1
    assert len(list(site.middleware.sessions.of({"id": 1}))) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_adoption_during_a_logout_does_not_log_in_again(
    site: Site, ann: Browser, old: OldLibrary, when: str
) -> None:
    leaver = ann.copy()
    getattr(old, when)["load"] = lambda: leaver.do(log_out)
    assert ann.do(read).result == {}
    assert list(site.middleware.sessions.of({"id": 1})) == []
    ann.header = "old=ann"
    assert ann.do(read).result == {}


@pytest.mark.parametrize("step", ["load", "create"])
def test_an_adoption_at_every_store_call_of_a_logout_ends_logged_out(
    site: Site, ann: Browser, old: OldLibrary, step: str
) -> None:
    slow = ann.copy()
    site.calls.before[step] = lambda: slow.do(read)
    ann.do(log_out)
    slow.do(read)
    assert list(site.middleware.sessions.of({"id": 1})) == []
    for browser in (slow, ann):
        browser.header = "old=ann"
        assert browser.do(read).result == {}


def test_a_session_that_ends_is_remembered_until_the_other_library_would_have_ended_it(
    make_site: MakeSite, clock: FakeClock
) -> None:
    site = make_site(adopt=FlaskCookie(KEY, lifetime=DAY))
    value = flask_cookie({"_user_id": "1"}, clock() - DAY / 2)
    browser = site.browser()
    browser.header = f"session={value}"
    assert browser.do(owner).result == "id:1"
    browser.do(log_out)
    for reason in ("ended", "expired"):
        browser.header = f"session={value}"
        assert browser.do(read).result == {}
        assert refusals(site)[-1] == reason
        clock.advance(DAY / 2 + 2 + CLOCK_SKEW)


@pytest.mark.needs(SWEEPS)
def test_markers_are_swept_when_they_are_over(site: Site, ann: Browser, clock: FakeClock) -> None:
    ann.do(read)
    ann.do(log_out)
    clock.advance(2 * 3600 + CLOCK_SKEW + 3)
    assert site.calls.inner.sweep(10, clock()) == 1  # type: ignore[attr-defined]


def test_markers_are_not_sessions(site: Site, ann: Browser) -> None:
    ann.do(read)
    assert site.middleware.sessions.count() == 1


# Sessions in the cookie of which nobody is logged in.


@pytest.fixture
def in_cookie(make_site: MakeSite) -> Site:
    return make_site(adopt=FlaskCookie(KEY))


def test_anonymous_visitors_with_the_same_cookie_do_not_share_a_session(in_cookie: Site, clock: FakeClock) -> None:
    # Flask's cookie has nothing of the visitor: the same data, signed in the same second, is the same cookie.
    first, second = in_cookie.browser(), in_cookie.browser()
    first.header = second.header = f"session={flask_cookie({'lang': 'en'}, clock())}"
    first.do(put(address="Ann's"))
    assert second.do(read).result == {"lang": "en"}
    assert first.jar != second.jar
    assert first.do(read).result == {"lang": "en", "address": "Ann's"}


def test_two_requests_at_once_of_one_user_adopt_one_session_from_a_cookie(in_cookie: Site, clock: FakeClock) -> None:
    first, second = in_cookie.browser(), in_cookie.browser()
    first.header = second.header = f"session={flask_cookie({'_user_id': '1'}, clock())}"
    in_cookie.calls.before["create"] = lambda: second.do(put(other=1))
    first.do(put(first=1))
    assert first.jar == second.jar
    assert first.do(read).result == {"_user_id": "1", "other": 1, "first": 1}


def test_a_session_without_a_known_user_that_ends_is_not_adopted_again(in_cookie: Site, clock: FakeClock) -> None:
    # The application may have a user under a key that only it knows.
    header = f"session={flask_cookie({'account': 5}, clock())}"
    browser = in_cookie.browser()
    browser.header = header
    browser.do(read)
    browser.do(log_out)
    browser.header = header
    assert browser.do(read).result == {}


def test_the_end_of_a_damaged_session_leaves_no_marker(in_cookie: Site, clock: FakeClock) -> None:
    adoption = internals_of(in_cookie.middleware).backend.adoption  # type: ignore[attr-defined]
    adoption.end_adopted(make_marker(b"\xc1", clock(), clock() + 60, "sid"), clock())
    assert in_cookie.calls.counts() == {}


def test_after_a_login_and_a_logout_the_anonymous_cookie_may_be_adopted_again(
    in_cookie: Site, clock: FakeClock
) -> None:
    header = f"session={flask_cookie({'lang': 'en'}, clock())}"
    browser = in_cookie.browser()
    browser.header = header
    browser.do(read)
    browser.do(log_in(ANN))
    browser.do(log_out)
    browser.header = header
    assert browser.do(read).result == {"lang": "en"}


def test_an_anonymous_cookie_beside_a_session_of_ours_ends_nobody_elses(in_cookie: Site, clock: FakeClock) -> None:
    cookie = flask_cookie({"lang": "en"}, clock())
    own, other = in_cookie.browser(), in_cookie.browser()
    own.do(put(a=1))
    own.jar["session"] = other.jar["session"] = cookie
    assert own.do(read).result == {"a": 1}
    assert list(own.jar) == ["sid"]
    assert other.do(read).result == {"lang": "en"}


# Crashes, and outages.


class Crash(BaseException):
    pass


@pytest.mark.parametrize("step", ["load", "create", "second create", "delete", "answer"])
def test_a_crash_between_any_two_steps_logs_nobody_out(site: Site, ann: Browser, old: OldLibrary, step: str) -> None:
    def crash(*args: object) -> None:
        raise Crash

    if step == "load":
        old.after["load"] = crash
    elif step == "create":
        site.calls.before["create"] = crash
    elif step == "second create":
        site.calls.before["create"] = lambda: site.calls.before.update(create=crash)
    elif step == "delete":
        old.before["delete"] = crash
    page = crash if step == "answer" else read
    before = dict(ann.jar)
    with pytest.raises(Crash):
        ann.do(page)
    assert ann.jar == before
    assert ann.do(read).result == {"_user_id": "1", **CART}
    assert old.records == {}
    assert ann.do(read).result == {"_user_id": "1", **CART}


def test_an_unreachable_old_store_is_a_503_and_no_logout(site: Site, ann: Browser, old: OldLibrary) -> None:
    old.is_down = True
    answer = ann.do(read)
    assert answer.code == 503
    assert list(ann.jar) == ["old"]
    assert len(site.happened("unavailable")) == 1
    old.is_down = False
    assert ann.do(read).result == {"_user_id": "1", **CART}


def test_an_unreachable_old_store_is_an_empty_session_if_on_store_error_says_so(
    make_site: MakeSite, old: OldLibrary
) -> None:
    site = make_site(adopt=old, on_store_error="anonymous")
    old.is_down = True
    browser = site.browser()
    browser.header = "old=ann"
    assert browser.do(lambda s: (s.state, s.copy())).result == ("unavailable", {})
    assert list(browser.jar) == ["old"]


def test_an_old_store_that_goes_away_during_an_adoption_does_not_matter(
    site: Site, ann: Browser, old: OldLibrary
) -> None:
    old.after["load"] = lambda: setattr(old, "is_down", True)
    assert ann.do(read).result == {"_user_id": "1", **CART}
    assert len(site.happened("old_kept")) == 1
    ann.do(log_out)
    old.is_down = False
    ann.header = "old=ann"
    assert ann.do(read).result == {}


def test_a_site_whose_old_store_is_away_serves_its_own_sessions(site: Site, ann: Browser, old: OldLibrary) -> None:
    own = site.browser()
    own.do(put(a=1))
    own.jar["old"] = "ann"
    old.is_down = True
    assert own.do(read).result == {"a": 1}
    assert own.do(log_out).code == 200
    old.is_down = False
    own.header = "old=ann"
    assert own.do(read).result == {}


@pytest.mark.parametrize("applied", [False, True])
def test_a_lost_answer_of_our_store_is_asked_for_again(site: Site, ann: Browser, applied: bool) -> None:
    site.calls.fail("create", applied=applied, lost=True, times=1)
    assert ann.do(read).result == {"_user_id": "1", **CART}


def test_an_outage_of_our_store_while_the_marker_is_made_leaves_no_session(
    site: Site, ann: Browser, old: OldLibrary
) -> None:
    site.calls.before["create"] = lambda: None
    site.calls.fail("replace", times=1)
    first = site.calls.inner.create

    def create(*arguments: Any) -> None:
        first(*arguments)
        site.calls.fail("create", times=1)

    site.calls.inner.create = create  # type: ignore[method-assign,assignment]
    try:
        assert ann.do(read).code == 503
    finally:
        site.calls.inner.create = first  # type: ignore[method-assign]
    assert list(site.middleware.sessions.of({"id": 1})) == []
    site.calls.recover()
    assert ann.do(read).result == {"_user_id": "1", **CART}


def test_a_marker_that_vanishes_during_a_race_gives_an_empty_session(site: Site, ann: Browser, old: OldLibrary) -> None:
    other, marker = ann.copy(), marker_key("sid", "old/old/store", "ann")

    def overtake() -> None:
        other.do(read)
        site.calls.before["delete"] = lambda: site.calls.inner.delete(marker)

    old.after["load"] = overtake
    assert ann.do(read).result == {}
    assert refusals(site) == ["ended"]


def test_an_old_record_that_cannot_be_deleted_does_not_matter(site: Site, ann: Browser, old: OldLibrary) -> None:
    def fail() -> None:
        raise ValueError

    old.before["delete"] = fail
    assert ann.do(read).result == {"_user_id": "1", **CART}
    assert site.happened("old_kept") == [{"source": "old", "error": "ValueError"}]


def test_a_request_that_is_overtaken_by_a_login_sees_a_rotated_session(site: Site, ann: Browser) -> None:
    slow = ann.copy()
    ann.do(read)
    ann.do(log_in(ANN))
    answer = slow.do(lambda s: (s.state, s.copy()))
    assert answer.result == ("rotated", {})
    assert answer.cookies == []


def test_a_forged_cookie_of_ours_is_reported_as_before(site: Site) -> None:
    assert site.browser(HTTP_COOKIE="sid=forged").do(read).result == {}
    assert [name for name, _ in site.events] == ["tampered"]


def test_a_logout_ends_the_sessions_of_all_cookies_as_before(site: Site) -> None:
    first, second = site.browser(), site.browser()
    first.do(put(a=1))
    second.do(put(b=1))
    site.browser(HTTP_COOKIE=f"{first.header}; {second.header}; old=none").do(log_out)
    assert first.do(read).result == second.do(read).result == {}


# Bad input.


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("session=", "forged"),
        ("session=abc", "forged"),
        ("session=a.b.c", "forged"),
        ("session={cookie}x", "forged"),
        ("session={cut}", "forged"),
        ("session={other}", "forged"),
        ('session="{cookie}"', "forged"),
        ("session=\xe9\xff.{cookie}", "forged"),
        ("session={old}", "expired"),
        ("session={future}", "corrupt"),
        ("session={listed}", "corrupt"),
    ],
)
def test_a_bad_flask_cookie_is_an_empty_session_and_one_event(
    make_site: MakeSite, clock: FakeClock, header: str, reason: str
) -> None:
    good = flask_cookie({"_user_id": "1"}, clock())
    values = {
        "cookie": good,
        "cut": good[:-3],
        "other": flask_cookie({"_user_id": "1"}, clock(), "another key"),
        "old": flask_cookie({"_user_id": "1"}, clock() - 32 * DAY),
        "future": flask_cookie({"_user_id": "1"}, clock() + DAY),
        "listed": flask_cookie([1, 2], clock()),  # type: ignore[arg-type]
    }
    site = make_site(adopt=FlaskCookie(KEY))
    browser = site.browser(HTTP_COOKIE=header.format(**values))
    assert browser.do(read).result == {}
    assert refusals(site) == [reason]
    assert len(site.events) == 1


def test_two_cookies_of_the_name_are_tried_in_their_order(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(adopt=FlaskCookie(KEY))
    good = flask_cookie({"_user_id": "1"}, clock())
    browser = site.browser(HTTP_COOKIE=f"session=forged; session={good}")
    assert browser.do(owner).result == "id:1"


def test_no_more_than_three_foreign_cookies_are_looked_at(site: Site, old: OldLibrary) -> None:
    browser = site.browser(HTTP_COOKIE="; ".join(f"old=no{number}" for number in range(50)) + "; old=ann")
    assert browser.do(read).result == {}
    assert old.calls == ["load"] * 3


def test_a_header_over_64_kilobytes_is_ignored(site: Site, old: OldLibrary) -> None:
    assert site.browser(HTTP_COOKIE="old=ann; a=" + "x" * 70_000).do(read).result == {}
    assert old.calls == []


def test_an_overlong_id_is_not_looked_up(site: Site, old: OldLibrary) -> None:
    assert site.browser(HTTP_COOKIE="old=" + "x" * 20_000).do(read).result == {}
    assert old.calls == []


@pytest.mark.parametrize(
    "foreign",
    [
        Foreign([("a", 1)]),  # type: ignore[arg-type]
        Foreign({}, created=float("nan")),
        Foreign({}, touched="now"),  # type: ignore[arg-type]
        Foreign({}, expires=float("inf")),
        Foreign({}, created=-1.0),
        Foreign({}, touched=FakeClock.START + DAY),
        Foreign({}, user_id=["a", "list"]),
        Foreign({}, user_id=""),
        Foreign(dict.fromkeys(map(str, range(20_000)))),
        Foreign({"a": "x" * 2_000_000}),
        Foreign({"a": ["x" * 2_000_000]}),
        Foreign({"a": ["x" * 30_000] * 100}),
        Foreign({}, flashes=[("info", ["x" * 2_000_000])]),
        Foreign({}, flashes=[("info", ["x" * 30_000] * 100)]),
        Foreign({}, flashes=["no pair"]),  # type: ignore[list-item]
        Foreign({}, expires=FakeClock.START),
    ],
)
def test_a_record_that_is_no_session_is_an_empty_session_and_one_event(
    site: Site, ann: Browser, old: OldLibrary, foreign: Foreign
) -> None:
    old.records["ann"] = foreign
    assert ann.do(read).result == {}
    assert len(site.events) == len(site.happened("not_adopted")) == 1


def test_a_reader_that_fails_is_an_empty_session_and_its_error_is_not_shown(
    site: Site, ann: Browser, old: OldLibrary
) -> None:
    def fail() -> None:
        raise KeyError("a part of the session")

    old.before["load"] = fail
    assert ann.do(read).result == {}
    assert site.happened("not_adopted") == [{"source": "old", "reason": "corrupt", "detail": "KeyError"}]


def test_a_value_nested_too_deeply_is_dropped(ann: Browser, old: OldLibrary) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    old.records["ann"] = Foreign({"a": 1, "deep": deep})
    assert ann.do(read).result == {"a": 1}


def test_a_damaged_marker_opens_nothing(site: Site, ann: Browser, clock: FakeClock) -> None:
    for data in (b"", b"1", b"2", b"3" + bytes(32)):
        site.calls.inner.delete(marker_key("sid", "old/old/store", "ann"))
        site.calls.inner.create(
            marker_key("sid", "old/old/store", "ann"), make_marker(data, clock(), clock() + 60, "sid"), clock()
        )
        assert ann.do(read).result == {}


def test_a_forged_cookie_is_left_where_it_is(make_site: MakeSite) -> None:
    site = make_site(adopt=FlaskCookie(KEY))
    browser = site.browser()
    browser.header = "session=another.application.on-this-host"
    browser.do(put(a=1))
    browser.do(log_out)
    assert list(browser.jar) == ["session"]


def test_a_message_with_a_stand_in_and_keys_that_are_no_text_are_dropped(
    site: Site, ann: Browser, old: OldLibrary
) -> None:
    numbers = dict.fromkeys(range(100), "x")
    old.records["ann"] = Foreign({**CART, **numbers}, flashes=[("note", Opaque("Money")), ("note", "hello")])
    assert ann.do(lambda s: (s.copy(), s.flashes())).result[0] == CART
    assert site.happened("keys_dropped")[0]["keys"] == {"int": "str", "flashed message": "Money"}


# The two phases, and the end.


@pytest.fixture
def first(make_site: MakeSite, old: OldLibrary) -> Site:
    return make_site(adopt=Adopt(old, keep_old=True))


@pytest.fixture
def both(first: Site) -> Browser:
    """A browser that has both cookies, in the first phase."""
    browser = first.browser()
    browser.header = "old=ann"
    browser.do(read)
    assert list(browser.jar) == ["old", "sid"]
    return browser


def test_in_the_first_phase_the_old_session_stays_usable(both: Browser, old: OldLibrary) -> None:
    assert "ann" in old.records
    assert both.do(read).result == {"_user_id": "1", **CART}
    both.do(put(more=1))
    assert both.do(read).result == {"_user_id": "1", **CART, "more": 1}


def test_in_the_first_phase_a_logout_here_is_one_there(both: Browser, old: OldLibrary) -> None:
    both.do(log_out)
    assert old.records == {}
    assert both.jar == {}


def test_in_the_first_phase_a_logout_with_a_token_that_was_just_rotated_is_one_there(
    both: Browser, old: OldLibrary
) -> None:
    stale = both.copy()
    both.do(lambda session: session.rotate())
    assert stale.do(lambda session: (session.state, log_out(session))).result[0] == "rotated"
    assert old.records == {}
    assert both.do(read).result == {}


def test_in_the_first_phase_a_logout_with_the_old_cookie_alone_is_one_there_beside_a_rotation(
    first: Site, both: Browser, old: OldLibrary
) -> None:
    stale = first.browser()
    stale.header = "old=ann"
    both.do(lambda session: session.rotate())
    assert stale.do(lambda session: (session.state, log_out(session))).result[0] == "rotated"
    assert old.records == {}
    assert both.do(read).result == {}


@pytest.mark.parametrize("cookie_stays", [True, False])
def test_in_the_first_phase_a_logout_there_is_one_here(
    first: Site, both: Browser, old: OldLibrary, cookie_stays: bool
) -> None:
    del old.records["ann"]
    if not cookie_stays:
        del both.jar["old"]
    assert both.do(read).result == {}
    assert list(first.middleware.sessions.of({"id": 1})) == []


def test_in_the_first_phase_a_logout_there_also_ends_a_copied_cookie_that_is_sent_outside_of_its_path(
    make_site: MakeSite, old: OldLibrary
) -> None:
    site = make_site(adopt=Adopt(old, keep_old=True), cookie_path="/shop")
    browser, thief = site.browser(), site.browser()
    browser.header = "old=ann"
    browser.do(read)
    thief.header = f"sid={browser.jar['sid']}"
    del old.records["ann"]
    assert thief.do(read, SCRIPT_NAME="", PATH_INFO="/").result == {}
    assert browser.do(read).result == {}


def test_in_the_first_phase_another_login_there_is_one_here(first: Site, both: Browser, old: OldLibrary) -> None:
    old.records["ann"] = Foreign({"_user_id": "2"}, user_id="2")
    assert both.do(lambda s: (owner(s), s.copy())).result == ("id:2", {"_user_id": "2"})
    assert list(first.middleware.sessions.of({"id": 1})) == []
    assert both.do(owner).result == "id:2"


def test_in_the_first_phase_a_login_there_that_cannot_be_adopted_ends_the_session(
    first: Site, both: Browser, old: OldLibrary, clock: FakeClock
) -> None:
    old.records["ann"] = Foreign({"_user_id": "2"}, user_id="2", created=clock() - 400 * DAY)
    assert both.do(read).result == {}


def test_in_the_first_phase_a_login_of_ours_is_not_bound_to_the_other_library(both: Browser, old: OldLibrary) -> None:
    both.do(log_in({"id": 5}))
    old.records.clear()
    assert both.do(lambda s: s.owner).result == "id:5"


def test_in_the_first_phase_a_path_without_the_old_cookie_does_not_log_out(
    make_site: MakeSite, clock: FakeClock
) -> None:
    old = OldLibrary(cookie_path="/shop")
    old.records["ann"] = Foreign(CART)
    site = make_site(adopt=Adopt(old, keep_old=True))
    browser = site.browser()
    browser.header = "old=ann"
    browser.do(read, SCRIPT_NAME="", PATH_INFO="/shop/cart")
    del browser.jar["old"]
    assert browser.do(read, SCRIPT_NAME="", PATH_INFO="/").result == CART
    assert browser.do(read, SCRIPT_NAME="", PATH_INFO="/shop").result == {}


def test_in_the_first_phase_an_outage_of_the_old_store_is_no_logout(
    first: Site, both: Browser, old: OldLibrary
) -> None:
    old.is_down = True
    assert both.do(read).code == 503
    old.is_down = False
    assert both.do(read).result == {"_user_id": "1", **CART}


def test_in_the_first_phase_an_outage_of_the_old_store_fails_a_logout(
    first: Site, both: Browser, old: OldLibrary
) -> None:
    old.before["delete"] = lambda: setattr(old, "is_down", True)
    assert both.do(lambda s: None).code == 200
    assert both.do(log_out).code == 503
    old.is_down = False
    assert both.do(read).result == {}
    both.do(log_out)
    assert old.records == {}


def test_in_the_first_phase_a_stolen_old_cookie_opens_nothing_after_a_logout_there(
    both: Browser, old: OldLibrary
) -> None:
    thief = both.copy()
    del thief.jar["sid"]
    del old.records["ann"]
    assert thief.do(read).result == {}
    assert both.do(read).result == {}


def test_in_the_first_phase_a_record_that_cannot_be_deleted_does_not_fail_a_logout(
    first: Site, both: Browser, old: OldLibrary
) -> None:
    def fail() -> None:
        raise ValueError

    old.before["delete"] = fail
    assert both.do(log_out).code == 200
    assert refusals(first) == ["corrupt"]


@pytest.mark.parametrize(("applied", "lost", "code"), [(True, True, 200), (False, True, 200), (False, False, 503)])
def test_in_the_first_phase_a_lost_answer_does_not_lose_a_login_there(
    first: Site, both: Browser, old: OldLibrary, applied: bool, lost: bool, code: int
) -> None:
    old.records["ann"] = Foreign({"_user_id": "2"}, user_id="2")
    first.calls.fail("replace", applied=applied, lost=lost, times=1)
    assert both.do(read).code == code
    assert both.do(owner).result == "id:2"


def test_in_the_first_phase_a_crash_during_a_change_of_users_is_made_up_for(
    first: Site, both: Browser, old: OldLibrary
) -> None:
    def crash() -> None:
        raise Crash

    old.records["ann"] = Foreign({"_user_id": "2"}, user_id="2")
    first.calls.before["delete"] = crash
    with pytest.raises(Crash):
        both.do(read)
    assert both.do(owner).result == "id:2"
    assert len(list(first.middleware.sessions.of({"id": 2}))) == 1
    assert list(first.middleware.sessions.of({"id": 1})) == []


def test_in_the_first_phase_a_session_that_was_logged_out_does_not_come_back_beside_another(
    first: Site, both: Browser, old: OldLibrary
) -> None:
    record = old.records["ann"]
    both.do(log_out)
    old.records["ann"] = record  # Like a cookie, which cannot be revoked.
    old.records["thief"] = Foreign({"_user_id": "2"}, user_id="2")
    thief = first.browser()
    thief.header = "old=thief"
    assert thief.do(owner).result == "id:2"
    thief.jar["old"] = "ann"
    assert thief.do(lambda s: (owner(s), s.copy())).result == (None, {})


def test_in_the_first_phase_a_session_that_another_browser_adopted_is_not_taken_for_a_new_user(
    first: Site, both: Browser, old: OldLibrary
) -> None:
    old.records["shared"] = Foreign({"_user_id": "2"}, user_id="2")
    other = first.browser()
    other.header = "old=shared"
    assert other.do(owner).result == "id:2"
    old.records["shared"] = Foreign({"_user_id": "3"}, user_id="3")
    both.jar["old"] = "shared"
    assert both.do(owner).result is None


def test_in_the_first_phase_a_damaged_note_makes_the_session_one_of_our_own(both: Browser, old: OldLibrary) -> None:
    def damage(session: Any) -> None:
        (work_of(session).data or work_of(session).load()).put_packed(ADOPTED, b"\xc1")

    both.do(damage)
    old.records.clear()
    assert both.do(read).result == {"_user_id": "1", **CART}


def test_the_second_phase_takes_the_old_record_and_cookie_away(
    make_site: MakeSite, both: Browser, old: OldLibrary
) -> None:
    second = make_site(adopt=old).browser()
    second.jar = both.jar
    assert second.do(read).result == {"_user_id": "1", **CART}
    assert list(second.jar) == ["sid"]
    assert old.records == {}


def test_a_logout_in_an_old_process_counts_in_the_second_phase(
    make_site: MakeSite, both: Browser, old: OldLibrary
) -> None:
    # The last request of the first phase that a new process saw was before the logout.
    del old.records["ann"]
    del both.jar["old"]
    second = make_site(adopt=old)
    browser = second.browser()
    browser.jar = both.jar
    assert browser.do(read).result == {}
    assert list(second.middleware.sessions.of({"id": 1})) == []


def test_a_logout_in_an_old_process_counts_in_the_second_phase_with_the_old_cookie_alone(
    make_site: MakeSite, both: Browser, old: OldLibrary
) -> None:
    del old.records["ann"]
    browser = make_site(adopt=old).browser()
    browser.header = "old=ann"
    assert browser.do(read).result == {}


def test_another_login_in_an_old_process_counts_in_the_second_phase(
    make_site: MakeSite, both: Browser, old: OldLibrary
) -> None:
    old.records["ann"] = Foreign({"_user_id": "2"}, user_id="2")
    second = make_site(adopt=old)
    browser = second.browser()
    browser.jar = both.jar
    assert browser.do(owner).result == "id:2"
    assert old.records == {}
    assert list(browser.jar) == ["sid"]
    assert list(second.middleware.sessions.of({"id": 1})) == []


def test_while_the_second_phase_is_deployed_nobody_is_logged_out(
    first: Site, make_site: MakeSite, both: Browser, old: OldLibrary
) -> None:
    second = make_site(adopt=old).browser()
    second.jar = both.jar
    assert second.do(read).result == {"_user_id": "1", **CART}
    assert list(second.jar) == ["sid"]
    back = first.browser()
    back.jar = second.jar
    assert back.do(read).result == {"_user_id": "1", **CART}
    old.records["bob"] = Foreign({"_user_id": "2"}, user_id="2")
    bob = make_site(adopt=old).browser()
    bob.header = "old=bob"
    bob.do(read)
    back.jar = bob.jar
    assert back.do(owner).result == "id:2"


def test_a_first_phase_request_overtaken_by_the_second_phase_logs_nobody_out(
    make_site: MakeSite, both: Browser, old: OldLibrary
) -> None:
    second = make_site(adopt=old).browser()
    second.jar = both.copy().jar
    old.before["load"] = lambda: second.do(read)
    assert both.do(read).result == {"_user_id": "1", **CART}
    assert old.records == {}
    assert both.do(read).result == {"_user_id": "1", **CART}


@pytest.mark.parametrize("times", [1, 100])
def test_a_save_at_the_same_moment_does_not_keep_the_second_phase_from_its_work(
    first: Site, make_site: MakeSite, both: Browser, old: OldLibrary, times: int
) -> None:
    other, second = both.copy(), make_site(adopt=old)
    left = [times]

    def save() -> None:
        second.calls.before.clear()
        other.do(lambda s: s.__setitem__("n", left[0]))
        left[0] -= 1
        if left[0]:
            second.calls.before["replace"] = save

    second.calls.before["replace"] = save
    browser = second.browser()
    browser.jar = both.jar
    answer = browser.do(read)
    second.calls.before.clear()
    assert answer.code == (200 if times == 1 else 503)
    assert browser.do(read).result["n"] == 1
    assert old.records == {}


def test_the_second_phase_ends_no_session_that_is_rotated_at_the_same_moment(
    make_site: MakeSite, both: Browser, old: OldLibrary
) -> None:
    other, second = both.copy(), make_site(adopt=old)
    second.calls.before["replace"] = lambda: other.do(lambda s: s.rotate())
    browser = second.browser()
    browser.jar = both.copy().jar
    assert browser.do(state).result == "rotated"
    browser.jar = other.jar
    assert browser.do(read).result == {"_user_id": "1", **CART}
    assert list(browser.jar) == ["sid"]


def test_a_path_without_the_old_cookie_leaves_the_work_of_the_second_phase_to_the_next_request(
    make_site: MakeSite, clock: FakeClock
) -> None:
    old = OldLibrary(cookie_path="/shop")
    old.records["ann"] = Foreign(CART)
    browser = make_site(adopt=Adopt(old, keep_old=True)).browser()
    browser.header = "old=ann"
    browser.do(read, SCRIPT_NAME="", PATH_INFO="/shop/cart")
    second = make_site(adopt=old).browser()
    second.jar = {"sid": browser.jar["sid"]}
    assert second.do(read, SCRIPT_NAME="", PATH_INFO="/").result == CART
    second.jar["old"] = "ann"
    assert second.do(read, SCRIPT_NAME="", PATH_INFO="/shop").result == CART
    assert old.records == {}
    assert list(second.jar) == ["sid"]
    assert second.do(read, SCRIPT_NAME="", PATH_INFO="/shop").result == CART


def test_in_the_first_phase_a_login_of_the_same_user_is_not_bound_to_the_other_library(
    both: Browser, old: OldLibrary
) -> None:
    both.do(log_in({"id": 1}))
    old.records.clear()
    assert both.do(lambda s: s.owner).result == "id:1"


def test_after_a_revocation_of_all_sessions_an_older_one_is_not_adopted(
    site: Site, ann: Browser, old: OldLibrary, clock: FakeClock
) -> None:
    site.middleware.sessions.revoke_all({"id": 1})
    clock.advance(1)
    site.middleware.sessions.revoke_all("id:1")
    assert ann.do(read).result == {}
    assert refusals(site) == ["ended"]
    assert list(site.middleware.sessions.of({"id": 1})) == []
    # A session without times may be older, too. Another user's, and one that began later, may be adopted.
    for began, user, expected in ((None, "1", None), (clock(), "1", None), (clock(), "2", "id:2")):
        old.records["ann"] = Foreign({}, began, None if began is None else clock(), user_id=user)
        assert ann.do(owner).result == expected
    clock.advance(1)
    later = site.browser()
    later.header = "old=later"
    old.records["later"] = Foreign({}, clock(), clock(), user_id="1")
    assert later.do(owner).result == "id:1"


@pytest.mark.parametrize("data", [b"", b"\xc1", pack("a text", "revoked")], ids=repr)
def test_a_revocation_whose_time_cannot_be_read_keeps_every_session_from_being_adopted(
    site: Site, ann: Browser, clock: FakeClock, data: bytes
) -> None:
    site.calls.inner.create(
        marker_key("sid", "revoked", "users"), make_marker(data, clock(), clock() + DAY, "sid"), clock()
    )
    assert ann.do(read).result == {}
    assert refusals(site) == ["ended"]


@pytest.mark.parametrize("anonymous", [False, True])
def test_after_a_revocation_of_everybody_no_older_session_is_adopted(
    site: Site, ann: Browser, old: OldLibrary, clock: FakeClock, *, anonymous: bool
) -> None:
    old.records["guest"] = Foreign(CART, clock() - 60.0, clock() - 60.0)
    guest = site.browser()
    guest.header = "old=guest"
    site.middleware.sessions.revoke_everyone(anonymous=anonymous)
    assert ann.do(read).result == {}
    assert guest.do(read).result == ({} if anonymous else CART)
    assert refusals(site) == ["ended"] * (2 if anonymous else 1)
    clock.advance(1)
    later = site.browser()
    later.header = "old=later"
    old.records["later"] = Foreign({}, clock(), clock(), user_id="1")
    assert later.do(owner).result == "id:1"


@pytest.mark.parametrize("step", ["load", "create"])
def test_a_revocation_during_an_adoption_ends_the_session(site: Site, ann: Browser, old: OldLibrary, step: str) -> None:
    site.calls.before[step] = lambda: site.middleware.sessions.revoke_all({"id": 1})
    ann.do(read)
    assert ann.do(read).result == {}
    assert list(site.middleware.sessions.of({"id": 1})) == []


def test_the_id_of_a_signed_cookie_opens_nothing_as_an_unsigned_one(make_site: MakeSite, clock: FakeClock) -> None:
    unsigned = OldLibrary()
    unsigned.cookie_values = FlaskCookie(KEY).cookie_values  # type: ignore[method-assign]
    site = make_site(adopt=[FlaskCookie(KEY), unsigned])
    value = flask_cookie({"_user_id": "1"}, clock())
    browser = site.browser()
    browser.header = f"session={value}"
    assert browser.do(owner).result == "id:1"
    thief = site.browser()
    # The payload can be guessed: it is only signed.
    thief.header = f"session={value.rpartition('.')[0]}; old=x"
    assert thief.do(read).result == {}


def test_a_marker_outlives_the_foreign_session_by_the_difference_of_two_clocks(
    site: Site, ann: Browser, clock: FakeClock
) -> None:
    ann.do(log_out)
    marker = site.calls.inner.load(marker_key("sid", "old/old/store", "ann"), clock())
    assert marker is not None
    assert marker.expires == clock() + 3600 + CLOCK_SKEW


def test_nothing_is_adopted_from_the_given_date_on(make_site: MakeSite, old: OldLibrary, clock: FakeClock) -> None:
    day = date(2033, 5, 19)
    site = make_site(adopt=Adopt(old, until=day))
    clock.advance(datetime(2033, 5, 19, tzinfo=timezone.utc).timestamp() - clock())
    browser = site.browser()
    browser.header = "old=ann"
    for _ in range(2):
        assert browser.do(read).result == {}
        assert browser.do(log_out).code == 200
    assert old.calls == []
    assert [name for name, _ in site.events] == ["adoption_over"]


def test_a_marker_is_remembered_no_longer_than_sessions_are_adopted(
    make_site: MakeSite, old: OldLibrary, clock: FakeClock
) -> None:
    until = datetime.fromtimestamp(clock() + 60, timezone.utc)
    old.records["ann"] = Foreign(CART)
    site = make_site(adopt=Adopt(old, until=until))
    browser = site.browser()
    browser.header = "old=ann"
    browser.do(read)
    marker = site.calls.inner.load(marker_key("sid", "old/old/store", "ann"), clock())
    assert marker is not None
    assert marker.expires == clock() + 60 + CLOCK_SKEW


def test_a_foreign_cookie_of_the_same_name_is_replaced(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(adopt=FlaskCookie(KEY), cookie_name="session")
    browser = site.browser()
    browser.header = f"session={flask_cookie({'_user_id': '1'}, clock())}"
    answer = browser.do(owner)
    assert answer.result == "id:1"
    assert [cookie.removes for cookie in answer.cookies] == [False]
    assert [name for name, _ in site.events] == ["adopted"]
    assert browser.do(owner).result == "id:1"
    assert browser.do(owner).cookies == []


def test_outside_of_the_cookie_path_nothing_is_adopted(make_site: MakeSite, old: OldLibrary) -> None:
    site = make_site(adopt=old, cookie_path="/shop")
    browser = site.browser(HTTP_COOKIE="old=ann")
    assert browser.do(read, SCRIPT_NAME="", PATH_INFO="/").result == {}
    assert "ann" in old.records
    assert browser.do(read).result == {"_user_id": "1", **CART}


def test_a_rotated_token_is_no_reason_to_adopt(site: Site, ann: Browser, old: OldLibrary) -> None:
    own = site.browser()
    own.do(put(a=1))
    stale = own.copy()
    own.do(lambda session: session.rotate())
    stale.jar["old"] = "ann"
    assert stale.do(state).result == "rotated"
    assert "ann" in old.records


# Cost.


def test_a_request_without_a_foreign_cookie_makes_no_more_calls(site: Site, old: OldLibrary) -> None:
    browser = site.browser()
    browser.do(put(a=1))
    site.forget()
    browser.do(read)
    assert site.calls.counts() == {"load": 1}
    assert old.calls == []


def test_an_adoption_costs_one_load_there_and_three_looks_and_two_creates_here(
    site: Site, ann: Browser, old: OldLibrary
) -> None:
    ann.do(read)
    assert old.calls == ["load", "delete"]
    # The looks: was it adopted before, were the user's sessions revoked, were everybody's?
    assert site.calls.counts() == {"load": 3, "create": 2, "touch": 1}


# Options.


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adopt(),
        lambda: Adopt(*[OldLibrary()] * 9),
        lambda: Adopt("flask"),  # type: ignore[arg-type]
        lambda: Adopt(OldLibrary(), unsupported="ignore"),  # type: ignore[arg-type]
        lambda: Adopt(OldLibrary(), keep_old=1),  # type: ignore[arg-type]
        lambda: Adopt(OldLibrary(), until="2030-01-01"),  # type: ignore[arg-type]
        lambda: Adopt(OldLibrary(), until=datetime(2030, 1, 1)),
        lambda: Adopt(OldLibrary(), user_id="id"),  # type: ignore[arg-type]
        lambda: FlaskCookie(""),
        lambda: FlaskCookie([]),
        lambda: FlaskCookie(KEY, cookie_name="a b"),
    ],
)
def test_a_reader_refuses_invalid_options(make: Callable[[], object], clock: FakeClock) -> None:
    with pytest.raises(ConfigError):
        make()


def test_the_option_is_a_reader_or_several(make_site: MakeSite, old: OldLibrary) -> None:
    with pytest.raises(ConfigError):
        make_site(adopt=5)
    for adopt in (old, [old], Adopt(old)):
        make_site(adopt=adopt)


def test_the_first_phase_needs_a_cookie_name_of_our_own(make_site: MakeSite) -> None:
    with pytest.raises(ConfigError, match="cookie_name"):
        make_site(adopt=Adopt(FlaskCookie(KEY), keep_old=True), cookie_name="session")


def test_cookie_sessions_cannot_adopt(old: OldLibrary) -> None:
    with pytest.raises(ConfigError, match="remember"):
        SessionMiddleware(lambda environ, start: [], secret="0123456789abcdef" * 3, store="cookie://", adopt=old)


def test_a_reader_that_lists_nothing_says_so() -> None:
    from wsgi_session import Unsupported

    with pytest.raises(Unsupported):
        FlaskCookie(KEY).session_ids()


def test_a_refusal_says_why() -> None:
    assert NotAdopted("corrupt", "why").detail == "why"


# At every moment, and in real threads.


class Stop(BaseException):
    """As a signal handler raises it, anywhere."""


FILES = tuple(f"moving/{name}.py" for name in ("adopter", "adoption", "backend", "markers", "records", "reader"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="platform: the moments are found in newer bytecode")
@pytest.mark.parametrize("keep_old", [False, True])
def test_an_interruption_at_any_moment_of_an_adoption_logs_nobody_out(clock: FakeClock, keep_old: bool) -> None:
    number, more = 0, True
    while more:
        old = OldLibrary()
        old.records["ann"] = Foreign({"_user_id": "1", **CART}, user_id="1")
        site = Site(clock=clock, adopt=Adopt(old, keep_old=keep_old))
        ann = site.browser()
        ann.header = "old=ann"
        more = interrupted(FILES, number, partial(ann.do, read), limit=Stop)  # type: ignore[arg-type]
        assert ann.do(read).result == {"_user_id": "1", **CART}, number
        assert ("ann" in old.records) is keep_old, number
        number += 3
    assert number > 50


@pytest.mark.skipif(sys.version_info < (3, 11), reason="platform: the moments are found in newer bytecode")
def test_an_interruption_at_any_moment_of_a_logout_leaves_no_way_back_after_the_next(clock: FakeClock) -> None:
    number, more = 0, True
    while more:
        old = OldLibrary()
        old.records["ann"] = record = Foreign({"_user_id": "1", **CART}, user_id="1")
        site = Site(clock=clock, adopt=old)
        ann = site.browser()
        ann.header = "old=ann"
        more = interrupted(FILES, number, partial(ann.do, log_out), limit=Stop)  # type: ignore[arg-type]
        ann.do(log_out)
        old.records["ann"] = record
        ann.header = "old=ann"
        assert ann.do(read).result == {}, number
        number += 3
    assert number > 50


def at_once(*works: Callable[[], object]) -> None:
    """Run ``works`` in a thread each, let go together; whatever one raises is raised here."""
    barrier = Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait(timeout=60)
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(run, work) for work in works]:
            future.result()


def test_six_requests_at_once_adopt_one_session_and_lose_nothing(site: Site, old: OldLibrary) -> None:
    for turn in range(5):
        old.records["ann"] = Foreign(CART, user_id=str(turn))
        browsers = [site.browser() for _ in range(6)]
        for browser in browsers:
            browser.header = f"old=ann{turn}"
        old.records[f"ann{turn}"] = old.records.pop("ann")
        at_once(*[partial(browser.do, put(**{f"n{number}": 1})) for number, browser in enumerate(browsers)])
        assert len({browser.header for browser in browsers}) == 1
        assert browsers[0].do(read).result == {**CART, **{f"n{number}": 1 for number in range(6)}}
        assert len(list(site.middleware.sessions.of({"id": str(turn)}))) == 1


def test_a_logout_among_requests_at_once_ends_the_session_for_good(site: Site, old: OldLibrary) -> None:
    for turn in range(10):
        name = f"ann{turn}"
        old.records[name] = record = Foreign(CART, user_id=name)
        browsers = [site.browser() for _ in range(4)]
        for browser in browsers:
            browser.header = f"old={name}"
        at_once(*[partial(browser.do, read) for browser in browsers[1:]], partial(browsers[0].do, log_out))
        assert list(site.middleware.sessions.of({"id": name})) == []
        old.records[name] = record
        for browser in browsers:
            browser.jar["old"] = name
            assert browser.do(read).result == {}
