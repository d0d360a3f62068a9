"""A write whose reply was lost counts once; a token that is in use is never used for another session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.site import ANN, BOB, Browser, Site, log_in, put, read
from tests.support.stores import SERVER
from wsgi_session import KeyExists, Session

pytestmark = pytest.mark.needs(SERVER)
#: By method of the store: a change that calls it, and the session's data afterwards.
WRITES: dict[str, tuple[Any, dict[str, Any]]] = {
    "create": (put(a=1), {"a": 1}),
    "replace": (put(b=2), {"a": 1, "b": 2}),
    "rotate": (log_in(ANN), {"a": 1, "user": ANN}),
}


def ready(site: Site, method: str) -> Browser:
    browser = site.browser()
    if method != "create":
        browser.do(put(a=1))
    return browser


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not applied"])
def test_a_write_whose_answer_was_lost_counts_once(site: Site, method: str, applied: bool) -> None:
    browser = ready(site, method)
    change, then = WRITES[method]
    site.calls.fail(method, applied=applied, lost=True, times=1)
    answer = browser.do(change)
    assert answer.code == 200
    assert browser.do(read).result == then
    assert site.middleware.sessions.count() == 1


@pytest.mark.parametrize("method", WRITES)
def test_a_write_whose_answers_are_all_lost_is_a_503_and_no_cookie(site: Site, method: str) -> None:
    browser = ready(site, method)
    site.calls.fail(method, lost=True)
    answer = browser.do(WRITES[method][0])
    assert (answer.code, answer.cookies) == (503, [])


@pytest.mark.parametrize("method", ["replace", "rotate"])
def test_a_lost_reply_and_another_writer_are_a_503_because_the_outcome_is_unknown(site: Site, method: str) -> None:
    browser = ready(site, method)
    other = browser.copy()

    def meddle() -> None:
        site.calls.recover()
        other.do(put(a="other"))
        site.calls.fail(method, lost=True, times=1)

    site.calls.before[method] = meddle
    answer = browser.do(WRITES[method][0])
    assert (answer.code, answer.cookies) == (503, [])
    assert browser.do(read).result == {"a": "other"}


@pytest.mark.parametrize("method", ["create", "rotate"])
def test_a_token_that_is_taken_is_left_alone_and_another_one_drawn(site: Site, method: str) -> None:
    browser = ready(site, method)
    change, then = WRITES[method]
    site.calls.fail(method, error=KeyExists("taken"), times=3)
    site.calls.forget()
    assert browser.do(change).code == 200
    assert site.calls.log.count(method) >= 4
    assert browser.do(read).result == then


@pytest.mark.parametrize("method", ["create", "rotate"])
def test_a_random_generator_that_always_draws_the_same_is_a_503(site: Site, method: str) -> None:
    browser = ready(site, method)
    site.calls.fail(method, error=KeyExists("taken"))
    answer = browser.do(WRITES[method][0])
    assert (answer.code, answer.cookies) == (503, [])


def test_a_lost_answer_of_atomic_runs_the_function_once(site: Site, browser: Browser) -> None:
    browser.do(put(count=0))
    calls: list[int] = []

    def add(data: dict[str, Any]) -> None:
        calls.append(data["count"])
        data["count"] += 1

    site.calls.fail("replace", applied=True, times=1)
    browser.do(lambda session: session.atomic(add))
    assert (calls, browser.do(read).result) == ([0], {"count": 1})


def test_a_lost_logout_is_a_503_and_can_be_done_again(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    site.calls.fail("delete", applied=True, times=1)
    answer = browser.do(lambda session: session.destroy())
    assert (answer.code, answer.cookies) == (503, [])
    again = browser.do(lambda session: session.destroy())
    assert again.cookie, again
    assert again.cookie.removes


# Two logins in one request.


def test_two_logins_of_two_users_in_one_request_leave_the_second_ones_only(browser: Browser) -> None:
    def both(session: Session) -> None:
        log_in(ANN)(session)
        session["secret"] = "ann's"
        log_in(BOB)(session)
        session["own"] = "bob's"

    browser.do(both)
    assert browser.do(lambda session: (session.copy(), session.owner)).result == ({"user": BOB, "own": "bob's"}, "id:2")


def test_two_logins_of_one_user_in_one_request_are_one(site: Site, browser: Browser) -> None:
    browser.do(put(cart=[1]))
    browser.do(lambda session: (log_in(ANN)(session), session.update(x=1), log_in(ANN)(session)))
    assert browser.do(read).result == {"cart": [1], "x": 1, "user": ANN}
    assert len(site.middleware.sessions.of(ANN)) == 1


@pytest.mark.parametrize("by_hand", [{"name": "nobody knows"}, {"id": None}])
def test_a_login_deletes_the_data_of_a_user_without_id_and_email(browser: Browser, by_hand: dict[str, Any]) -> None:
    browser.do(put(user=by_hand, secret="theirs"))
    browser.do(log_in(ANN))
    assert browser.do(read).result == {"user": ANN}


def test_expires_and_created_of_a_login_are_told_before_its_save(browser: Browser) -> None:
    told = browser.do(lambda session: (log_in(ANN, idle_timeout=900)(session), session.created, session.expires)).result
    assert (told[2] - told[1]).total_seconds() == 900
    assert browser.do(lambda session: (session.created, session.expires)).result == told[1:]
