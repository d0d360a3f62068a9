"""``middleware.sessions`` and what visitors see of it, over every store."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.support.site import ANN, BOB, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER, SWEEPS
from wsgi_session import ConfigError, Session, SessionGone, StoreUnavailable, UnsupportedValue
from wsgi_session.cookies import tokens
from wsgi_session.testing import plant
from wsgi_session.testing import read as read_planted
from wsgi_session.testing.clock import FakeClock

pytestmark = pytest.mark.needs(SERVER)
DAY = 86_400.0


def logged_in(site: Site, user: dict[str, Any], **data: Any) -> Browser:
    browser = site.browser()
    browser.do(lambda session: (log_in(user)(session), session.update(data)))
    return browser


def handle(browser: Browser) -> str:
    return str(browser.do(lambda session: session.handle).result)


def state(session: Session) -> str:
    return session.state


def test_of_lists_a_users_sessions_newest_login_first(site: Site, clock: FakeClock) -> None:
    start = datetime.fromtimestamp(clock(), timezone.utc)
    phone = logged_in(site, ANN, device="phone")
    clock.advance(100)
    laptop = logged_in(site, ANN, device="laptop")
    logged_in(site, BOB)
    clock.advance(2 * DAY)
    phone.do(read)
    first, second = site.middleware.sessions.of(ANN)
    assert [first.data["device"], second.data["device"]] == ["laptop", "phone"]
    assert [first.handle, second.handle] == [handle(laptop), handle(phone)]
    assert [first.created - start, second.created - start] == [timedelta(seconds=100), timedelta(0)]
    assert first.last_seen - start == timedelta(seconds=100)
    assert second.last_seen - start == timedelta(days=2, seconds=100)
    assert second.expires - second.last_seen == timedelta(days=30)


@pytest.mark.parametrize("user", [ANN, "id:1", {"id": 1}, {"id": "1"}])
def test_a_user_is_the_mapping_or_the_owner(site: Site, user: Any) -> None:
    logged_in(site, ANN)
    assert len(site.middleware.sessions.of(user)) == 1


def test_data_is_a_decoded_copy(site: Site) -> None:
    ann = logged_in(site, ANN, cart=[1])
    ann.do(lambda session: session.flash("not shown here"))
    (info,) = site.middleware.sessions.of(ANN)
    assert info.data == {"user": ANN, "cart": [1]}
    info.data["cart"].append(2)
    assert ann.do(read).result["cart"] == [1]


def test_revoke_ends_one_session_of_that_user_at_once(site: Site) -> None:
    phone, laptop = logged_in(site, ANN), logged_in(site, ANN)
    assert site.middleware.sessions.revoke(ANN, handle(phone)) is True
    assert (phone.do(state).result, laptop.do(state).result) == ("unknown", "live")
    assert site.middleware.sessions.revoke(ANN, "no such handle") is False


def test_revoke_ends_no_session_of_another_user(site: Site) -> None:
    logged_in(site, ANN)
    bob = logged_in(site, BOB)
    assert site.middleware.sessions.revoke(ANN, handle(bob)) is False
    assert bob.do(state).result == "live"


def test_revoke_all_ends_them_all_and_a_later_login_lives(site: Site) -> None:
    devices = [logged_in(site, ANN) for _ in range(4)]
    bob = logged_in(site, BOB)
    assert site.middleware.sessions.revoke_all(ANN) == 4
    later = logged_in(site, ANN)
    assert [browser.do(state).result for browser in devices] == ["unknown"] * 4
    assert (later.do(state).result, bob.do(state).result) == ("live", "live")


def test_revoke_all_can_keep_the_session_it_is_called_from(site: Site) -> None:
    here, there = logged_in(site, ANN), logged_in(site, ANN)
    assert here.do(lambda session: site.middleware.sessions.revoke_all(ANN, keep=session)).result == 1
    assert (here.do(state).result, there.do(state).result) == ("live", "unknown")
    third = logged_in(site, ANN)
    assert site.middleware.sessions.revoke_all(ANN, keep=handle(here)) == 1
    assert (here.do(state).result, third.do(state).result) == ("live", "unknown")


@pytest.mark.parametrize("change", [lambda session: session.rotate(), log_in(ANN)], ids=["rotate", "login"])
def test_revoke_all_keeps_a_session_that_rotates_in_the_same_request(site: Site, change: Any) -> None:
    here, there = logged_in(site, ANN, cart=[1]), logged_in(site, ANN)

    def change_the_password(session: Session) -> int:
        change(session)
        return site.middleware.sessions.revoke_all(ANN, keep=session)

    assert here.do(change_the_password).result == 1
    assert here.do(read).result == {"user": ANN, "cart": [1]}
    assert there.do(state).result == "unknown"


def test_a_revocation_meets_a_session_that_is_being_rotated(site: Site) -> None:
    ann = logged_in(site, ANN)
    site.calls.before["delete"] = lambda: ann.do(lambda session: session.rotate())
    assert site.middleware.sessions.revoke_all(ANN) == 1
    assert ann.do(lambda session: (session.state, session.copy())).result == ("unknown", {})
    assert site.middleware.sessions.count() == 0


def test_what_a_revoked_request_still_wants_to_save_is_dropped(site: Site) -> None:
    ann = logged_in(site, ANN)
    answer = ann.do(lambda session: (session.update(a=1), site.middleware.sessions.revoke_all(ANN)))
    assert (answer.code, answer.cookie, site.middleware.sessions.count()) == (200, None, 0)
    assert [event["keys"] for event in site.happened("dropped")] == [["a"]]


def test_a_logged_out_session_is_not_listed(site: Site) -> None:
    ann = logged_in(site, ANN)
    ann.do(lambda session: session.destroy())
    assert site.middleware.sessions.of(ANN) == []


def test_a_login_of_another_user_is_listed_for_that_user_only(site: Site) -> None:
    browser = logged_in(site, ANN)
    browser.do(log_in(BOB))
    assert (len(site.middleware.sessions.of(ANN)), len(site.middleware.sessions.of(BOB))) == (0, 1)


# Everybody.


def test_all_lists_everybody_with_the_owner_and_no_other_cookie_names_sessions(make_site: MakeSite) -> None:
    site, shop = make_site(), make_site(cookie_name="shop")
    ann, visitor = logged_in(site, ANN), site.browser()
    visitor.do(put(cart=[1]))
    logged_in(shop, BOB)
    listed = {info.handle: info.owner for info in site.middleware.sessions.all()}
    assert listed == {handle(ann): "id:1", handle(visitor): None}
    assert [info.owner for info in shop.middleware.sessions.all()] == ["id:2"]
    assert [info.owner for info in site.middleware.sessions.of(ANN)] == ["id:1"]
    by_handle = {info.handle: info.data for info in site.middleware.sessions.all()}
    assert by_handle == {handle(ann): {"user": ANN}, handle(visitor): {"cart": [1]}}


def test_all_lists_what_a_visitor_could_still_use_under_the_current_timeouts(
    make_site: MakeSite, clock: FakeClock
) -> None:
    site = make_site()
    logged_in(site, ANN)
    site.browser().do(put(cart=[1]))
    clock.advance(2 * DAY)
    strict = make_site(anonymous_timeout=DAY)
    assert [info.owner for info in strict.middleware.sessions.all()] == ["id:1"]
    assert len(list(site.middleware.sessions.all())) == 2
    assert list(make_site(idle_timeout=DAY).middleware.sessions.all()) == []


def test_who_is_online_is_who_was_active_within_some_minutes(make_site: MakeSite, clock: FakeClock) -> None:
    site = make_site(touch_interval=60)
    ann, bob = logged_in(site, ANN), logged_in(site, BOB)
    clock.advance(1000)
    ann.do(read)
    clock.advance(59)
    ann.do(read)
    assert [info.owner for info in site.middleware.sessions.all(active_within=60)] == ["id:1"]
    bob.do(read)
    online = site.middleware.sessions.all(active_within=timedelta(minutes=5))
    assert {info.owner for info in online} == {"id:1", "id:2"}


def test_who_is_online_cannot_be_told_more_exactly_than_activity_is_recorded(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"^active_within=300 is shorter than touch_interval \(86400 s\)"):
        site.middleware.sessions.all(active_within=300)
    bad: list[Any] = [0, -1, "5m", True]
    for value in bad:
        with pytest.raises(ConfigError, match="active_within"):
            site.middleware.sessions.all(active_within=value)


def test_revoke_everyone_ends_each_session_of_this_cookie_name(make_site: MakeSite) -> None:
    site, shop = make_site(), make_site(cookie_name="shop")
    here = [logged_in(site, ANN), logged_in(site, BOB), site.browser()]
    here[2].do(put(cart=[1]))
    there = logged_in(shop, ANN)
    assert site.middleware.sessions.revoke_everyone() == 3
    later = logged_in(site, ANN)
    assert [browser.do(state).result for browser in here] == ["unknown"] * 3
    assert (later.do(state).result, there.do(state).result) == ("live", "live")
    assert [event["count"] for event in site.happened("revoked")] == [3]
    assert make_site(cookie_name="none").middleware.sessions.revoke_everyone() == 0


def test_revoke_everyone_can_spare_one_session_and_those_who_are_not_logged_in(site: Site) -> None:
    here, there, visitor = logged_in(site, ANN), logged_in(site, BOB), site.browser()
    visitor.do(put(cart=[1]))
    sessions = site.middleware.sessions
    ended = here.do(lambda session: sessions.revoke_everyone(keep=session, anonymous=False)).result
    assert ended == 1
    assert [one.do(state).result for one in (here, there, visitor)] == ["live", "unknown", "live"]
    assert sessions.revoke_everyone(keep=handle(here)) == 1
    assert [one.do(state).result for one in (here, visitor)] == ["live", "unknown"]
    no: Any = "no"
    with pytest.raises(ConfigError, match="anonymous"):
        sessions.revoke_everyone(anonymous=no)


@pytest.mark.parametrize("anonymous", [False, True])
def test_revoke_everyone_meets_a_session_that_is_being_rotated(site: Site, anonymous: bool) -> None:
    browser = site.browser()
    browser.do(put(cart=[1]) if anonymous else log_in(ANN))
    site.calls.before["delete"] = lambda: browser.do(lambda session: session.rotate())
    assert site.middleware.sessions.revoke_everyone() == 1
    assert browser.do(state).result == "unknown"
    assert site.middleware.sessions.count() == 0


def test_revoke_everyone_ends_what_a_machine_with_a_fast_clock_stored(make_site: MakeSite, clock: FakeClock) -> None:
    fast = make_site(clock=FakeClock(clock() + 60))
    ann = logged_in(fast, ANN)
    assert make_site().middleware.sessions.revoke_everyone() == 1
    assert ann.do(state).result == "unknown"


def test_count_counts_live_sessions(site: Site, clock: FakeClock) -> None:
    for _ in range(3):
        site.browser().do(put(a=1))
    clock.advance(29 * DAY)
    logged_in(site, ANN)
    assert site.middleware.sessions.count() == 4
    clock.advance(DAY)
    assert site.middleware.sessions.count() == 1


@pytest.mark.needs(SWEEPS)
def test_sweep_removes_what_has_been_dead_for_over_an_hour_and_nothing_else(site: Site, clock: FakeClock) -> None:
    for _ in range(5):
        site.browser().do(put(a=1))
    clock.advance(29 * DAY)
    alive = logged_in(site, ANN)
    clock.advance(DAY + 3600)
    assert site.middleware.sessions.sweep(10) == 0
    clock.advance(1)
    assert [site.middleware.sessions.sweep(3) for _ in range(3)] == [3, 2, 0]
    assert alive.do(state).result == "live"


def test_the_events_of_a_visit_name_the_handle(site: Site) -> None:
    ann = logged_in(site, ANN)
    name = handle(ann)
    ann.do(lambda session: session.rotate())
    ann.do(lambda session: session.destroy())
    told = [(event, data["handle"]) for event, data in site.events if event in ("logged_in", "rotated", "destroyed")]
    assert told == [("logged_in", name), ("rotated", name), ("destroyed", name)]


def test_a_planted_session_is_a_visitors_like_any_other(site: Site) -> None:
    cookie = plant(site.middleware, {"user": ANN, "cart": [1]})
    browser = site.browser()
    answer = browser.do(lambda session: (session.copy(), session.owner), HTTP_COOKIE=cookie)
    assert answer.result == ({"user": ANN, "cart": [1]}, "id:1")
    assert len(site.middleware.sessions.of(ANN)) == 1
    assert read_planted(site.middleware, cookie) == {"user": ANN, "cart": [1]}


# A user who was put into the session without login().


def test_a_user_who_was_put_into_the_session_without_login_is_reported(site: Site) -> None:
    browser = site.browser()
    browser.do(put(user=ANN))
    (told,) = site.happened("unfiled_user")
    assert (told["handle"], "login(request, user)" in told["advice"]) == (handle(browser), True)
    assert site.middleware.sessions.revoke_all(ANN) == 0


@pytest.mark.parametrize(
    "assign",
    [
        put(user=ANN),
        lambda session: session.atomic(lambda data: data.update(user=ANN)),
        put(user={"name": "no id"}),
    ],
)
def test_each_way_of_putting_a_user_into_the_session_is_reported_once(site: Site, assign: Any) -> None:
    browser = site.browser()
    browser.do(put(a=1))
    for _ in range(2):
        browser.do(lambda session: (assign(session), session.update(b=session.get("b", 0) + 1)))
    site.browser().do(put(user=BOB))
    assert len(site.happened("unfiled_user")) == 1


def test_replacing_the_logged_in_user_is_reported_and_changing_that_user_is_not(site: Site) -> None:
    ann = logged_in(site, ANN)
    ann.do(put(user=ANN | {"name": "Anna"}))
    ann.do(lambda session: session["user"].update(name="Anne"))
    assert site.happened("unfiled_user") == []
    ann.do(put(user=BOB))
    assert len(site.happened("unfiled_user")) == 1


@pytest.mark.parametrize("value", [None, {}, "ann", 5])
def test_a_value_that_is_not_a_user_is_not_reported(site: Site, value: Any) -> None:
    site.browser().do(put(user=value))
    assert site.happened("unfiled_user") == []


def ahead_of(make_site: MakeSite, clock: FakeClock) -> Site:
    """Return the same site on another machine, whose clock is 60 s ahead."""
    return make_site(idle_timeout=900, touch_interval=1, clock=lambda: clock() + 60)


def end_by_handle(site: Site, handle: str) -> int:
    return int(site.middleware.sessions.revoke(ANN, handle))


def end_all(site: Site, handle: str) -> int:
    return site.middleware.sessions.revoke_all(ANN)


@pytest.mark.parametrize("end", [end_by_handle, end_all])
def test_a_machine_whose_clock_is_ahead_ends_a_session_with_a_moment_left(
    make_site: MakeSite, clock: FakeClock, end: Any
) -> None:
    browser = logged_in(make_site(idle_timeout=900, touch_interval=1), ANN)
    name = handle(browser)
    clock.advance(900 - 30)
    ahead = ahead_of(make_site, clock)
    assert ahead.middleware.sessions.of(ANN) == [], "by that clock it is over, and not shown"
    assert end(ahead, name) == 1
    assert browser.do(state).result == "unknown"


@pytest.mark.parametrize("user", [None, ANN])
def test_a_logout_at_a_machine_whose_clock_is_ahead_follows_a_rotation(
    make_site: MakeSite, clock: FakeClock, user: Any
) -> None:
    here, ahead = make_site(idle_timeout=900, touch_interval=1), ahead_of(make_site, clock)
    browser = here.browser()
    browser.do(put(a=1) if user is None else log_in(user))
    held = ahead.browser()
    held.jar = dict(browser.jar)

    def slow(session: Session) -> None:
        dict(session)
        browser.do(lambda session: session.rotate())
        clock.advance(900 - 30)
        log_out(session)

    held.do(slow)
    assert browser.do(state).result == "unknown"
    assert here.middleware.sessions.count() == 0


@pytest.mark.parametrize("end", [end_by_handle, end_all])
def test_a_slow_request_does_not_save_a_session_that_was_revoked_after_its_time(
    make_site: MakeSite, clock: FakeClock, end: Any
) -> None:
    site = make_site(idle_timeout=900, touch_interval=1)
    browser = logged_in(site, ANN)
    name = handle(browser)

    def slow(session: Session) -> None:
        session["late"] = 1
        clock.advance(900 + 120)
        assert end(site, name) == 0, "nobody was logged in by then"

    assert browser.do(slow).code == 200
    assert browser.do(state).result == "unknown"
    assert site.middleware.sessions.of(ANN) == []


def test_an_account_with_thousands_of_sessions_is_ended_and_others_are_not(site: Site) -> None:
    store, now = site.calls.inner, site.clock()
    ann, bob = logged_in(site, ANN), logged_in(site, BOB)
    name = handle(ann)
    key = tokens.store_key(ann.token.partition(".")[0].encode())
    record = store.load(key, now)
    assert record is not None
    for _ in range(1050):
        store.create(os.urandom(32), record._replace(handle=os.urandom(8).hex(), version=os.urandom(16)), now)
    assert len(site.middleware.sessions.of(ANN)) == 1051
    assert site.middleware.sessions.revoke(ANN, "no such handle") is False
    assert site.middleware.sessions.revoke_all(ANN, keep=name) == 1050
    assert [info.handle for info in site.middleware.sessions.of(ANN)] == [name]
    assert site.middleware.sessions.revoke(ANN, name)
    assert bob.do(lambda session: session.owner).result == "id:2"


def test_listing_and_ending_sessions_reads_no_data(site: Site) -> None:
    ann, other = logged_in(site, ANN), logged_in(site, ANN, secret="x" * 999)
    site.forget()
    first, _ = site.middleware.sessions.of(ANN)
    assert site.calls.counts() == {"of_owner": 1}
    assert first.data["user"] == ANN
    assert first.data is first.data
    assert site.calls.counts() == {"of_owner": 1, "load": 1}
    site.forget()
    assert site.middleware.sessions.revoke(ANN, handle(other))
    assert site.middleware.sessions.revoke_all(ANN) == 1
    assert site.calls.counts().get("load", 0) == 1, "that of the request that was asked for its handle"
    assert ann.do(state).result == "unknown"


def test_the_data_of_a_session_that_has_ended_meanwhile_is_empty_and_of_one_that_moved_is_found(site: Site) -> None:
    ann, other = logged_in(site, ANN, device="phone"), logged_in(site, ANN, device="laptop")
    listed = {info.handle: info for info in site.middleware.sessions.of(ANN)}
    name, gone = handle(ann), handle(other)
    ann.do(lambda session: session.rotate())
    other.do(log_out)
    assert listed[name].data["device"] == "phone"
    assert listed[gone].data == {}
    ann.do(log_in(ANN))
    assert site.middleware.sessions.of(ANN)[0].handle != name
    assert listed[name].data["device"] == "phone", "it was loaded once"


def test_revoking_reports_a_user_without_sessions(site: Site) -> None:
    site.browser().do(put(user=ANN))
    assert site.middleware.sessions.revoke_all(ANN) == 0
    assert site.middleware.sessions.revoke(ANN, "a handle") is False
    assert [told["handle"] for told in site.happened("nothing_revoked")] == [None, "a handle"]


def test_revoking_all_but_the_only_session_is_not_reported(site: Site) -> None:
    ann = logged_in(site, ANN)
    assert site.middleware.sessions.revoke_all(ANN, keep=handle(ann)) == 0
    assert site.middleware.sessions.revoke(ANN, "of nobody") is False
    assert site.happened("nothing_revoked") == []


# Writing from outside of a request.


def test_update_changes_a_session_outside_of_a_request(site: Site) -> None:
    ann = logged_in(site, ANN, count=1)

    def add(data: dict[str, Any]) -> int:
        data["count"] += 1
        data["user"]["plan"] = "pro"
        return int(data["count"])

    before = ann.do(lambda session: (session.expires, session.created)).result
    assert site.middleware.sessions.update(ANN, handle(ann), add) == 2
    assert site.middleware.sessions.update("id:1", handle(ann), add) == 3
    assert ann.do(read).result == {"user": {**ANN, "plan": "pro"}, "count": 3}
    assert ann.do(lambda session: (session.expires, session.created)).result == before


def test_an_update_by_an_administrator_is_not_activity(site: Site, clock: FakeClock) -> None:
    ann = logged_in(site, ANN)
    name = handle(ann)
    clock.advance(20 * DAY)
    site.middleware.sessions.update(ANN, name, lambda data: data.update(a=1))
    clock.advance(10 * DAY)
    assert ann.do(state).result == "unknown"


def test_update_finds_no_session_of_another_user_nor_one_that_has_ended(site: Site, clock: FakeClock) -> None:
    ann, bob = logged_in(site, ANN), logged_in(site, BOB)
    name = handle(bob)

    def refused(user: Any, handle: str) -> None:
        with pytest.raises(SessionGone, match="no live session with this handle") as caught:
            site.middleware.sessions.update(user, handle, lambda data: data.update(a=1))
        assert caught.value.handle == handle

    refused(ANN, name)
    refused(ANN, "")
    refused({"id": 3}, name)
    bob.do(log_out)
    refused(BOB, name)
    name = handle(ann)
    clock.advance(30 * DAY)
    refused(ANN, name)
    with pytest.raises(ConfigError, match="is not an owner"):
        site.middleware.sessions.update("ann", name, lambda data: None)


def test_update_goes_by_the_current_timeouts(make_site: MakeSite, clock: FakeClock) -> None:
    ann = logged_in(make_site(), ANN)
    name = handle(ann)
    clock.advance(3600)
    with pytest.raises(SessionGone):
        make_site(idle_timeout=3600).middleware.sessions.update(ANN, name, lambda data: data.update(a=1))
    assert make_site().middleware.sessions.update(ANN, name, lambda data: len(data)) == 1


def test_update_does_not_lose_what_a_request_writes_at_the_same_time(site: Site) -> None:
    ann = logged_in(site, ANN)
    name = handle(ann)
    calls: list[int] = []

    def add(data: dict[str, Any]) -> None:
        if not calls:
            ann.do(put(count=10))
        calls.append(1)
        data["count"] = data.get("count", 0) + 1

    site.middleware.sessions.update(ANN, name, add)
    assert (ann.do(read).result["count"], len(calls)) == (11, 2)


def test_update_follows_a_session_that_gets_a_new_token_meanwhile(site: Site) -> None:
    ann = logged_in(site, ANN)
    name = handle(ann)
    calls: list[int] = []

    def add(data: dict[str, Any]) -> None:
        if not calls:
            ann.do(lambda session: session.rotate())
        calls.append(1)
        data["a"] = 1

    site.middleware.sessions.update(ANN, name, add)
    assert (ann.do(read).result["a"], len(calls)) == (1, 2)


@pytest.mark.parametrize("end", [log_out, log_in(BOB)], ids=["logout", "login of another"])
def test_update_brings_back_no_session_that_ends_meanwhile(site: Site, end: Any) -> None:
    ann = logged_in(site, ANN)
    name = handle(ann)

    def write(data: dict[str, Any]) -> None:
        ann.do(end)
        data["a"] = 1

    with pytest.raises(SessionGone):
        site.middleware.sessions.update(ANN, name, write)
    assert site.middleware.sessions.of(ANN) == []
    assert "a" not in ann.do(read).result


def test_what_update_cannot_store_is_refused(site: Site) -> None:
    ann = logged_in(site, ANN)
    with pytest.raises(UnsupportedValue):
        site.middleware.sessions.update(ANN, handle(ann), lambda data: data.update(a=object()))
    assert "a" not in ann.do(read).result


def test_an_outage_is_no_end_for_update(site: Site) -> None:
    ann = logged_in(site, ANN)
    name = handle(ann)
    site.calls.fail("replace")
    with pytest.raises(StoreUnavailable):
        site.middleware.sessions.update(ANN, name, lambda data: data.update(a=1))
