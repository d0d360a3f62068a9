"""Events that one can audit by: who, which session, and why it ended. (``Site`` checks the keys of every event.)"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgpack import packb

from tests.support.site import ANN, BOB, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, SessionGone, UnsupportedValue, check_csrf, confirm
from wsgi_session.testing import FakeClock

QUARTER = 15 * 60
HOUR = 3600
POST = {"REQUEST_METHOD": "POST"}


def handle_of(session: Any) -> Any:
    return session.handle


def test_a_login_and_a_logout_name_the_session_and_its_owner(site: Site) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    handle = browser.do(handle_of).result
    browser.do(log_out)
    told = {"handle": handle, "owner": "id:1"}
    assert site.events == [
        ("logged_in", {**told, "new_device": None}),
        ("created", told),
        ("destroyed", {**told, "reason": "application"}),
    ]


def test_a_login_that_cannot_be_saved_names_the_user(site: Site) -> None:
    def log_in_badly(session: Session) -> None:
        log_in(ANN)(session)
        session["cart"] = [{}]
        session["cart"][0]["price"] = object()

    with pytest.raises(UnsupportedValue):
        site.browser().do(log_in_badly)
    assert [event["owner"] for event in site.happened("unsaved")] == ["id:1"]


def test_the_session_of_a_stranger_has_no_owner(site: Site) -> None:
    browser = site.browser()
    browser.do(put(a=1))
    assert site.events == [("created", {"handle": browser.do(handle_of).result, "owner": None})]


def test_an_owner_without_an_id_is_named_by_the_email(site: Site) -> None:
    site.browser().do(log_in({"email": "ann@example.com"}))
    assert [event["owner"] for event in site.happened("logged_in")] == ["email:ann@example.com"]


def test_a_session_that_validate_refuses_says_so(make_site: MakeSite) -> None:
    site = make_site(validate=lambda session: False)
    browser = site.browser()
    browser.do(log_in(ANN))
    (created,) = site.happened("created")
    browser.do(read)
    assert site.happened("invalid") == [{**created, "reason": "validate"}]


@pytest.mark.needs(SERVER)
def test_a_revocation_names_the_owner_and_what_was_revoked(site: Site) -> None:
    site.browser().do(log_in(ANN))
    (created,) = site.happened("created")
    assert site.middleware.sessions.revoke(ANN, created["handle"]) is True
    assert site.happened("revoked") == [{**created, "reason": "revoked", "count": 1}]


@pytest.mark.needs(SERVER)
def test_a_change_that_comes_after_the_logout_names_the_owner_whose_change_was_dropped(site: Site) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    (created,) = site.happened("created")
    other = browser.copy()

    def slowly(session: Any) -> None:
        session["late"] = 1
        other.do(log_out)

    browser.do(slowly)
    assert site.happened("dropped") == [{**created, "keys": ["late"]}]


def test_a_confirmation_names_the_session_its_owner_and_the_method(site: Site) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    (created,) = site.happened("created")
    browser.do(lambda session: confirm({"session": session}, "totp"))
    assert site.happened("confirmed") == [{**created, "method": "totp"}]
    browser.do(put(a=1))
    browser.do(lambda session: session.rotate())
    assert len(site.happened("confirmed")) == 1


def test_a_login_with_a_confirmation_reports_both_for_the_new_session(site: Site) -> None:
    browser = site.browser()
    browser.do(lambda session: (log_in(ANN)(session), confirm({"session": session}, "passkey")))
    assert [name for name, _ in site.events] == ["logged_in", "confirmed", "created"]
    assert len({data["handle"] for _, data in site.events}) == 1


@pytest.mark.parametrize(
    "undo",
    [log_in(BOB), log_in(ANN), log_out, lambda session: (log_out(session), session.update(cart=[1]))],
    ids=["login of another user", "login again", "logout", "logout and a new session"],
)
def test_a_confirmation_that_its_own_request_takes_back_is_not_reported(site: Site, undo: Any) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    browser.do(lambda session: (confirm({"session": session}), undo(session)))
    assert site.happened("confirmed") == []


@pytest.mark.needs(SERVER)
def test_a_confirmation_that_a_logout_overtakes_is_not_reported(site: Site) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    other = browser.copy()
    browser.do(lambda session: (confirm({"session": session}), other.do(log_out)))
    assert site.happened("confirmed") == []


@pytest.mark.needs(SERVER)
def test_a_change_by_an_administrator_names_the_session_and_its_owner(site: Site) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    (created,) = site.happened("created")
    site.middleware.sessions.update(ANN, created["handle"], lambda data: data.update(role="editor"))
    with pytest.raises(SessionGone):
        site.middleware.sessions.update(BOB, created["handle"], lambda data: data.update(role="admin"))
    assert site.happened("updated") == [created]


# Expiry, as it is noticed.


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"idle_timeout": QUARTER, "absolute_timeout": 2 * HOUR}, "idle"),
        ({"idle_timeout": 2 * HOUR, "absolute_timeout": QUARTER}, "absolute"),
    ],
    ids=["idle", "absolute"],
)
@pytest.mark.parametrize("after", [0, 4 * 60])
def test_a_visitor_who_returns_after_the_end_is_told_to_have_expired_with_the_reason(
    make_site: MakeSite, clock: FakeClock, options: dict[str, Any], reason: str, after: int
) -> None:
    site = make_site(**options)
    browser = site.browser()
    browser.do(log_in(ANN))
    (created,) = site.happened("created")
    clock.advance(QUARTER + after)
    site.calls.forget()
    assert browser.do(lambda session: (session.state, dict(session))).result == ("unknown", {})
    assert site.happened("expired") == [{**created, "reason": reason}]
    assert set(site.calls.counts().values()) <= {1}, "noticing it costs no further call of the store"


@pytest.mark.needs(SERVER)
def test_a_session_whose_last_moment_passes_during_a_request_is_told_to_have_expired(
    make_site: MakeSite, clock: FakeClock
) -> None:
    site = make_site(idle_timeout=HOUR, absolute_timeout=timedelta(seconds=QUARTER))
    browser = site.browser()
    browser.do(log_in(ANN))
    (created,) = site.happened("created")

    def slowly(session: Any) -> None:
        session["late"] = 1
        clock.advance(QUARTER)

    browser.do(slowly)
    assert site.happened("expired") == [{**created, "reason": "absolute"}]
    assert site.happened("dropped") == [{**created, "keys": ["late"]}]


@pytest.mark.needs(SERVER)
def test_a_token_that_was_rotated_away_is_no_expired_session(site: Site, clock: FakeClock) -> None:
    browser = site.browser()
    browser.do(put(a=1))
    old = browser.copy()
    browser.do(log_in(ANN))
    for advance, state in ((0, "rotated"), (120, "unknown"), (QUARTER, "unknown")):
        clock.advance(advance)
        assert old.do(lambda session: session.state).result == state
    assert site.happened("expired") == []


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("data", [b"\xc1", b"", packb([1]), packb({b"owner": b"\xc1"}), packb({b"owner": packb(5)})])
def test_an_expired_session_that_cannot_be_read_either_has_no_owner_in_the_event(
    make_site: MakeSite, clock: FakeClock, data: bytes
) -> None:
    site = make_site(idle_timeout=QUARTER)
    browser = site.browser()
    browser.do(log_in(ANN))
    (created,) = site.happened("created")
    (key,) = {argument for argument in site.calls.seen if isinstance(argument, bytes) and len(argument) == 32}
    record = site.middleware.store.load(key, clock())
    assert record is not None
    site.calls.inner.replace(key, record._replace(data=data, version=b"v" * 16), record.version, clock())
    clock.advance(QUARTER)
    assert browser.do(lambda session: session.state).result == "unknown"
    assert site.happened("expired") == [{**created, "owner": None, "reason": "idle"}]


# CSRF.


@pytest.mark.parametrize(
    ("given", "reason"), [("", "no_token"), ("made-up", "wrong_token"), ("of another session", "wrong_token")]
)
def test_a_failed_csrf_check_names_the_session_its_owner_and_the_reason(site: Site, given: str, reason: str) -> None:
    browser, other = site.browser(), site.browser()
    browser.do(log_in(ANN))
    (created,) = site.happened("created")
    if given == "of another session":
        given = other.do(lambda session: session.csrf_token).result
    assert browser.call(check_csrf, {**POST, "HTTP_X_CSRF_TOKEN": given}) is False
    assert site.happened("csrf_failed") == [{**created, "reason": reason}]
    if given:
        assert given not in repr(site.events)


def test_a_failed_csrf_check_of_a_visitor_without_a_session_says_so(site: Site) -> None:
    assert site.browser().call(check_csrf, {**POST, "HTTP_X_CSRF_TOKEN": "made-up"}) is False
    assert site.happened("csrf_failed") == [{"handle": None, "owner": None, "reason": "no_session"}]


def test_a_form_that_comes_after_the_session_has_ended_fails_for_want_of_a_session(
    make_site: MakeSite, clock: FakeClock
) -> None:
    site = make_site(idle_timeout=QUARTER)
    browser = site.browser()
    token = browser.do(lambda session: session.csrf_token).result
    clock.advance(QUARTER)
    assert browser.call(check_csrf, {**POST, "HTTP_X_CSRF_TOKEN": token}) is False
    assert [event["reason"] for event in site.happened("csrf_failed")] == ["no_session"]


def test_a_csrf_check_that_succeeds_is_no_event(site: Site) -> None:
    browser = site.browser()
    token = browser.do(lambda session: session.csrf_token).result
    site.events.clear()
    assert browser.call(check_csrf, {**POST, "HTTP_X_CSRF_TOKEN": token}) is True
    assert browser.call(check_csrf) is True
    assert site.events == []


# The store.


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize(
    ("operation", "change"), [("create", put(a=1)), ("replace", put(b=2)), ("rotate", log_in(ANN))]
)
def test_a_write_that_is_repeated_is_told(site: Site, operation: str, change: Any) -> None:
    browser = site.browser()
    if operation != "create":
        browser.do(put(a=1))
    site.calls.fail(operation, lost=True, times=1)
    browser.do(change)
    assert site.happened("retried") == [{"operation": operation, "error": "the engine does not answer"}]


@pytest.mark.needs(SERVER)
def test_each_store_call_is_reported_with_its_time_if_asked_for(make_site: MakeSite) -> None:
    site = make_site(report_store_calls=True)
    browser = site.browser()
    for change in (put(a=1), put(a=2), log_in(ANN), log_out):
        browser.do(change)
    calls = site.happened("store_call")
    assert [call["operation"] for call in calls] == [name for name in site.calls.log if name != "answer"]
    assert {call["outcome"] for call in calls} == {"ok"}
    assert all(0 <= call["seconds"] < 60 for call in calls)
    browser.do(put(a=1))
    site.forget()
    site.calls.fail("load")
    assert browser.do(read).code == 503
    (call,) = site.happened("store_call")
    assert (call["operation"], call["outcome"]) == ("load", "unavailable")


def test_no_store_call_is_reported_unless_asked_for(site: Site) -> None:
    browser = site.browser()
    browser.do(put(a=1))
    browser.do(read)
    assert site.happened("store_call") == []
