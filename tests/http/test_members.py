"""Every member of ``environ['session']``, row by row of the contract, over every store."""

from __future__ import annotations

import copy
import pickle
from collections.abc import MutableMapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.support.site import ANN, BOB, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, SessionTooLarge, UnsupportedValue, check_csrf
from wsgi_session.testing.clock import FakeClock

DAY = 86_400.0
POST = {"REQUEST_METHOD": "POST"}


def test_it_is_always_there_and_always_a_mutable_mapping(browser: Browser) -> None:
    answer = browser.do(lambda session: (isinstance(session, MutableMapping), session == {}, len(session)))
    assert answer.result == (True, True, 0)


VALUES: dict[str, Any] = {
    "str": "naïve \N{SNOWMAN}\x00",
    "int": 5,
    "big": 2**200,
    "negative": -(2**100),
    "float": 0.1,
    "inf": float("inf"),
    "true": True,
    "none": None,
    "bytes": b"\x00\xff",
    "list": [1, "a", [None]],
    "tuple": (1, (2,)),
    "empty": (),
    "dict": {"a": {1: True, b"k": 2, None: 3}},
    "set": {1, "a", (1,)},
    "frozenset": frozenset({b"x"}),
    "naive": datetime(2026, 3, 4, 5, 6, 7, 8),
    "aware": datetime(2026, 3, 4, tzinfo=timezone(timedelta(hours=5.5))),
    "date": date(2026, 3, 4),
    "time": time(1, 2, 3, 4),
    "timedelta": timedelta(-1, 2, 3),
    "uuid": UUID(int=1),
    "decimal": Decimal("1.10"),
    "sNaN": Decimal("-0"),
    "nested": [{"set": {1, 2}, "when": (date(2026, 1, 1),)}],
}


def test_each_value_comes_back_as_the_type_it_went_in(browser: Browser) -> None:
    browser.do(put(**VALUES))
    result = browser.do(read).result
    assert {key: (type(value), value) for key, value in result.items()} == {
        key: (type(value), value) for key, value in VALUES.items()
    }
    assert str(result["decimal"]) == "1.10"
    assert result["aware"].utcoffset() == timedelta(hours=5.5)
    assert result["naive"].tzinfo is None


@pytest.mark.needs(SERVER)
def test_reading_any_value_is_no_change(site: Site, browser: Browser) -> None:
    browser.do(put(**VALUES))
    site.forget()
    browser.do(dict)
    assert site.calls.counts() == {"load": 1}


def test_a_change_inside_any_nested_value_is_seen_and_saved(browser: Browser) -> None:
    browser.do(put(cart=[{"n": 1}], tags={1}, deep={"a": [{"b": {2}}]}, pair=([],)))

    def change(session: Session) -> None:
        session["cart"][0]["n"] += 1
        session["tags"].add(2)
        session["deep"]["a"][0]["b"].discard(2)
        session["pair"][0].append(3)

    browser.do(change)
    then = {"cart": [{"n": 2}], "tags": {1, 2}, "deep": {"a": [{"b": set()}]}, "pair": ([3],)}
    assert browser.do(read).result == then


def test_a_value_that_was_set_is_saved_as_it_is_at_the_end(browser: Browser) -> None:
    def change(session: Session) -> None:
        cart: list[int] = []
        session["cart"] = cart
        cart.append(1)
        assert session["cart"] is cart

    browser.do(change)
    assert browser.do(read).result == {"cart": [1]}


def test_a_copy_shares_no_value_with_the_session(browser: Browser) -> None:
    browser.do(put(cart=[[1]]))
    browser.do(lambda session: session.copy()["cart"][0].append(2))
    assert browser.do(read).result == {"cart": [[1]]}


# is_new, state, created, expires, handle, owner


def facts(session: Session) -> tuple[Any, ...]:
    return session.is_new, session.state, session.created, session.expires, session.handle, session.owner


def test_a_new_session_has_no_facts_yet(browser: Browser) -> None:
    assert browser.do(facts).result == (True, "new", None, None, None, None)
    assert browser.do(lambda session: (session.update(a=1), facts(session))).result[1][0] is True


def test_a_live_session_has_its_facts(browser: Browser, clock: FakeClock) -> None:
    now = datetime.fromtimestamp(clock(), timezone.utc)
    browser.do(put(a=1))
    is_new, state, created, expires, handle, owner = browser.do(facts).result
    assert (is_new, state, created, expires, owner) == (False, "live", now, now + timedelta(days=30), None)
    assert created.tzinfo is timezone.utc
    assert isinstance(handle, str)


def test_the_handle_stays_for_the_sessions_life(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    handles = set()
    for change in (read, put(b=1), lambda session: session.rotate(), lambda session: session.clear()):
        clock.advance(2 * DAY)
        browser.do(change)
        handles.add(browser.do(lambda session: session.handle).result)
    assert len(handles) == 1


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ({"id": 5}, "id:5"),
        ({"id": "abc", "email": "x@example.com"}, "id:abc"),
        ({"id": UUID(int=1)}, "id:00000000-0000-0000-0000-000000000001"),
        ({"email": "Ann@Example.com"}, "email:Ann@Example.com"),
    ],
)
def test_owner_is_the_logged_in_user(browser: Browser, user: dict[str, Any], owner: str) -> None:
    assert browser.do(lambda session: (log_in(user)(session), session.owner)).result[1] == owner
    assert browser.do(lambda session: session.owner).result == owner
    assert browser.do(lambda session: (session.pop("user"), session.owner)).result[1] is None
    assert browser.do(lambda session: (log_out(session), session.owner)).result[1] is None


@pytest.mark.needs(SERVER)
def test_a_user_who_was_put_there_without_login_is_not_the_owner(site: Site, browser: Browser) -> None:
    browser.do(put(user=ANN))
    assert browser.do(lambda session: session.owner).result is None
    assert site.middleware.sessions.of(ANN) == []


# repr, copying


def test_repr_shows_state_handle_and_number_of_keys(browser: Browser) -> None:
    browser.do(put(a=1, b=2))
    handle, shown = browser.do(lambda session: (session.handle, repr(session))).result
    assert "live" in shown
    assert handle in shown
    assert "2 keys" in shown


@pytest.mark.parametrize("make", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_itself_cannot_be_pickled_or_copied(browser: Browser, make: Any) -> None:
    def attempt(session: Session) -> None:
        with pytest.raises(TypeError, match=r"copy\(\)"):
            make(session)

    assert browser.do(attempt).code == 200


# flash


def test_a_flash_message_is_shown_once(browser: Browser) -> None:
    browser.do(lambda session: session.flash("saved"))
    assert browser.do(lambda session: session.flashes()).result == ["saved"]
    assert browser.do(lambda session: session.flashes()).result == []


def test_a_flash_message_can_be_shown_by_the_same_request(site: Site, browser: Browser) -> None:
    answer = browser.do(lambda session: (session.flash("saved"), session.flashes(), session.flashes()))
    assert answer.result == (None, ["saved"], [])
    assert (answer.cookie, site.calls.counts()) == (None, {})


def test_flash_messages_come_in_their_order_with_their_category(browser: Browser, clock: FakeClock) -> None:
    browser.do(lambda session: [session.flash(f"m{number}", ("even", "odd")[number % 2]) for number in range(5)])
    clock.advance(1)
    browser.do(lambda session: session.flash("last"))
    shown = browser.do(lambda session: [(message, message.category) for message in session.flashes()]).result
    assert shown == [("m0", "even"), ("m1", "odd"), ("m2", "even"), ("m3", "odd"), ("m4", "even"), ("last", "message")]


def test_flash_messages_of_one_category_leave_the_others(browser: Browser) -> None:
    browser.do(lambda session: (session.flash("a", "error"), session.flash("b"), session.flash("c", "error")))
    assert browser.do(lambda session: session.flashes("error")).result == ["a", "c"]
    assert browser.do(lambda session: session.flashes()).result == ["b"]


def test_flash_messages_are_outside_the_mapping(browser: Browser) -> None:
    browser.do(lambda session: session.flash("hidden"))
    assert browser.do(lambda session: (session.copy(), len(session), list(session), session == {})).result == (
        {},
        0,
        [],
        True,
    )


def test_a_flash_message_survives_a_login_and_a_redirect(browser: Browser) -> None:
    browser.do(lambda session: (session.flash("welcome"), log_in(ANN)(session)))
    assert browser.do(lambda session: session.flashes()).result == ["welcome"]


def test_two_equal_flash_messages_are_two(browser: Browser) -> None:
    browser.do(lambda session: (session.flash("x"), session.flash("x")))
    assert browser.do(lambda session: session.flashes()).result == ["x", "x"]


# csrf_token


def csrf(session: Session, token: str | None = None) -> bool:
    return check_csrf({"session": session, **POST}, token)


def test_a_csrf_token_matches_in_a_later_request(browser: Browser) -> None:
    browser.do(put(a=1))
    token = browser.do(lambda session: session.csrf_token).result
    assert browser.do(lambda session: csrf(session, token)).result is True


@pytest.mark.needs(SERVER)
def test_asking_for_a_csrf_token_makes_a_new_session(site: Site, browser: Browser) -> None:
    answer = browser.do(lambda session: session.csrf_token)
    assert (site.calls.counts(), bool(answer.cookie)) == ({"create": 1}, True)
    assert browser.do(lambda session: csrf(session, answer.result)).result is True


@pytest.mark.needs(SERVER)
def test_a_csrf_token_is_masked_anew_each_time_and_stores_nothing(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    site.forget()
    tokens = browser.do(lambda session: [session.csrf_token for _ in range(5)]).result
    assert (len(set(tokens)), site.calls.counts()) == (5, {"load": 1})
    assert browser.do(lambda session: [csrf(session, token) for token in tokens]).result == [True] * 5


def test_a_form_that_was_open_during_a_login_still_logs_in(browser: Browser) -> None:
    token = browser.do(lambda session: session.csrf_token).result
    held = browser.copy()
    browser.do(lambda session: (csrf(session, token), log_in(ANN)(session)))
    # The same form, sent twice: the second comes with the old cookie.
    assert held.do(lambda session: csrf(session, token)).result is True


def test_a_csrf_token_of_before_the_login_is_dead_after_it(browser: Browser) -> None:
    token = browser.do(lambda session: session.csrf_token).result
    browser.do(log_in(ANN))
    assert browser.do(lambda session: csrf(session, token)).result is False


def test_the_page_that_answers_a_login_has_a_token_that_works(browser: Browser) -> None:
    browser.do(put(a=1))
    token = browser.do(lambda session: (log_in(ANN)(session), session.csrf_token)).result[1]
    assert browser.do(lambda session: csrf(session, token)).result is True


def test_a_csrf_token_is_one_sessions_own(site: Site, browser: Browser) -> None:
    token = browser.do(lambda session: session.csrf_token).result
    other = site.browser()
    other.do(put(a=1))
    assert other.do(lambda session: csrf(session, token)).result is False
    assert site.browser().do(lambda session: csrf(session, token)).result is False


@pytest.mark.parametrize("token", ["", "x", "é", "A" * 86, "=" * 86, "\x00", "A" * 10_000])
def test_no_other_text_is_a_csrf_token(browser: Browser, token: str) -> None:
    browser.do(put(a=1))
    assert browser.do(lambda session: csrf(session, token)).result is False


# What cannot be kept.


class Money:
    pass


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Money(), "x"),
        ([{"price": Money()}], "x[0].price"),
        ({"a": {"b": [0, (1, Money())]}}, "x.a.b[1][1]"),
        ("\ud800", "x"),
        (["ok", "\udfff"], "x[1]"),
        ({(1, 2): 3}, "x"),
        (object, "x"),
    ],
)
def test_an_unsupported_value_is_refused_at_the_assignment_with_its_path(
    site: Site, browser: Browser, value: Any, path: str
) -> None:
    browser.do(put(x="old"))

    def attempt(session: Session) -> Any:
        with pytest.raises(UnsupportedValue) as caught:
            session["x"] = value
        with pytest.raises(TypeError):
            session.update(x=value)
        return caught.value.path, str(caught.value)

    given, message = browser.do(attempt).result
    assert given == path
    assert message.startswith(f"{path}: ")
    assert browser.do(read).result == {"x": "old"}


def test_a_cycle_is_refused(browser: Browser) -> None:
    loop: list[Any] = []
    loop.append(loop)

    def attempt(session: Session) -> None:
        with pytest.raises(UnsupportedValue, match="deep, or containing itself"):
            session["x"] = loop

    assert browser.do(attempt).code == 200


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_values_may_be_nested_64_levels_deep(browser: Browser) -> None:
    browser.do(put(x=nested(64)))
    assert browser.do(read).result == {"x": nested(64)}


def test_values_that_are_nested_deeper_are_refused(browser: Browser) -> None:
    def attempt(session: Session) -> None:
        with pytest.raises(UnsupportedValue):
            session["x"] = nested(65)

    assert browser.do(attempt).code == 200
    assert browser.do(read).result == {}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("form", ["list", "generator", "write"])
def test_what_cannot_be_saved_at_the_commit_fails_the_request_and_saves_nothing(
    site: Site, browser: Browser, form: str
) -> None:
    browser.do(put(cart=[{}], b=1))

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        sender = start_response("200 OK", [("Content-Type", "text/plain")])
        environ["session"]["b"] = 2
        environ["session"]["cart"][0]["price"] = Money()
        if form == "write":
            sender(b"page")
        return (chunk for chunk in [b"page"]) if form == "generator" else [b"page"]

    site.forget()
    with pytest.raises(UnsupportedValue, match=r"cart\[0\]\.price: Money"):
        browser.visit(app)
    assert site.calls.log == ["load"], "an answer went out"
    assert [event["error"].partition(" ")[0] for event in site.happened("unsaved")] == ["cart[0].price:"]
    assert browser.do(read).result == {"cart": [{}], "b": 1}


def test_data_over_max_size_fails_the_request_and_leaves_the_record(make_site: MakeSite) -> None:
    site = make_site(max_size=2000)
    browser = site.browser()
    browser.do(put(small="x" * 100, large="y" * 1500))
    with pytest.raises(SessionTooLarge) as caught:
        browser.do(put(more="z" * 600))
    error = caught.value
    assert (error.limit, [key for key, _ in error.largest]) == (2000, ["large", "more", "small"])
    assert error.size > 2000
    assert "large" in str(error)
    assert browser.do(lambda session: sorted(session)).result == ["large", "small"]
    assert len(site.happened("unsaved")) == 1


@pytest.mark.needs(SERVER)
def test_max_size_counts_what_is_stored_after_the_merge(make_site: MakeSite) -> None:
    browser = make_site(max_size=2000).browser()
    browser.do(put(start=1))

    def slow(session: Session) -> None:
        session["one"] = "x" * 1200
        browser.copy().do(put(two="y" * 1200))

    with pytest.raises(SessionTooLarge):
        browser.do(slow)
    assert browser.do(lambda session: sorted(session)).result == ["start", "two"]


def test_a_key_that_is_no_text_is_refused(browser: Browser) -> None:
    def attempt(session: Any) -> None:
        for key in (1, b"a", None, ("a",), "\ud800"):
            with pytest.raises(UnsupportedValue):
                session[key] = 1

    assert browser.do(attempt).cookie is None


@pytest.mark.needs(SERVER)
def test_a_user_with_neither_id_nor_email_cannot_log_in(site: Site, browser: Browser) -> None:
    def attempt(session: Session) -> None:
        for user in ({}, {"name": "Ann"}, {"id": None}, {"id": True}, {"id": ""}, {"email": ""}):
            with pytest.raises(ValueError, match="email"):
                log_in(user)(session)

    assert browser.do(attempt).cookie is None
    browser.do(log_in(BOB))
    assert len(site.middleware.sessions.of(BOB)) == 1
