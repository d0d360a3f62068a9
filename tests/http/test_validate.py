"""``validate`` is called once per request for a logged-in session; False ends the session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.site import ANN, Browser, MakeSite, Site, log_in, page, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, SessionGone


class Judge:
    """A ``validate`` that returns what a test sets, and records the users of its calls."""

    def __init__(self) -> None:
        self.verdict: Any = True
        self.asked: list[dict[str, Any]] = []

    def __call__(self, session: Session) -> bool:
        self.asked.append(session.copy())
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if callable(self.verdict):
            return bool(self.verdict(session))
        return bool(self.verdict)


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def judged(make_site: MakeSite, judge: Judge) -> Site:
    return make_site(validate=judge)


@pytest.fixture
def ann(judged: Site, judge: Judge) -> Browser:
    browser = judged.browser()
    browser.do(log_in(ANN))
    assert judge.asked == [], "asked about a session that nobody has loaded"
    return browser


def test_validate_is_called_once_per_request(ann: Browser, judge: Judge) -> None:
    answer = ann.do(lambda session: (session["user"], session.copy(), session.state))
    assert (answer.result[2], judge.asked) == ("live", [{"user": ANN}])


def test_it_is_not_called_if_the_session_is_not_used(ann: Browser, judge: Judge) -> None:
    ann.visit(page())
    assert judge.asked == []


def test_it_is_not_asked_about_an_anonymous_session(judged: Site, judge: Judge) -> None:
    browser = judged.browser()
    browser.do(put(cart=[1], user={}))
    browser.do(read)
    assert judge.asked == []


def test_it_is_asked_about_a_user_put_there_by_hand(judged: Site, judge: Judge) -> None:
    browser = judged.browser()
    browser.do(put(user=ANN))
    browser.do(read)
    assert judge.asked == [{"user": ANN}]


@pytest.mark.needs(SERVER)
def test_false_ends_the_session_in_every_browser_and_removes_the_cookie(
    judged: Site, ann: Browser, judge: Judge
) -> None:
    held = ann.copy()
    judge.verdict = False
    answer = ann.do(lambda session: (session.state, session.copy(), session.owner, session.handle))
    assert answer.result == ("destroyed", {}, None, None)
    assert answer.cookie, answer
    assert answer.cookie.removes
    assert (len(judged.happened("invalid")), judged.middleware.sessions.count()) == (1, 0)
    judge.verdict = True
    assert held.do(lambda session: session.state).result == "unknown"


def test_what_is_written_after_it_said_false_starts_a_fresh_session(ann: Browser, judge: Judge) -> None:
    judge.verdict = False
    ann.do(put(fresh=1))
    assert ann.do(read).result == {"fresh": 1}


def test_it_can_end_and_change_the_session_itself(ann: Browser, judge: Judge) -> None:
    judge.verdict = lambda session: session.update(seen=1) or True
    assert ann.do(read).result == {"user": ANN, "seen": 1}
    judge.verdict = lambda session: session.destroy() or True
    assert ann.do(lambda session: session.state).result == "destroyed"


def test_its_own_exception_is_the_applications_and_nothing_is_taken_for_valid(
    judged: Site, ann: Browser, judge: Judge
) -> None:
    judge.verdict = ZeroDivisionError("its own")
    seen: list[Any] = []

    def look(session: Session) -> None:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                seen.append(session.get("user"))

    ann.do(look)
    assert seen == []
    judge.verdict = True
    assert ann.do(read).result == {"user": ANN}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_validate_that_raises_leaves_no_cookie_of_what_it_did_before(
    make_site: MakeSite, judge: Judge, scheme: str
) -> None:
    site = make_site(validate=judge)
    browser = site.browser(**{"wsgi.url_scheme": scheme})
    browser.do(log_in(ANN))

    def count_and_fail(session: Session) -> bool:
        session.atomic(lambda data: data.update(asked=1))
        raise ZeroDivisionError

    def look(session: Session) -> None:
        with pytest.raises(ZeroDivisionError):
            session.get("user")

    judge.verdict = count_and_fail
    site.clock.advance(timedelta(days=2))
    assert browser.do(look).cookies == [], "the cookie would be named as on http, and not be Secure"
    judge.verdict = True
    assert browser.do(read).result == {"user": ANN, "asked": 1}


@pytest.mark.needs(SERVER)
def test_after_a_validate_that_raised_the_next_use_of_the_session_begins_anew(
    judged: Site, ann: Browser, judge: Judge
) -> None:
    def end_elsewhere(session: Session) -> bool:
        judged.middleware.sessions.revoke_all(ANN)
        session.atomic(lambda data: data.update(asked=1))
        raise AssertionError("the session has ended")

    def look(session: Session) -> str:
        with pytest.raises(SessionGone):
            session.get("user")
        session["a"] = 1
        return session.state

    judge.verdict = end_elsewhere
    assert ann.do(look).result == "unknown"
    assert (ann.do(read).result, judged.happened("dropped")) == ({"a": 1}, [])


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize(("mode", "code", "seen"), [("fail", 503, None), ("anonymous", 200, ("unavailable", {}))])
def test_a_session_that_cannot_be_ended_in_an_outage_is_not_taken_for_valid(
    make_site: MakeSite, judge: Judge, mode: str, code: int, seen: object
) -> None:
    site = make_site(validate=judge, on_store_error=mode)
    browser = site.browser()
    browser.do(log_in(ANN))
    judge.verdict = False
    site.calls.fail("delete")
    answer = browser.do(lambda session: (session.state, session.copy()))
    assert (answer.code, answer.cookies, len(site.happened("unavailable"))) == (code, [], 1)
    assert answer.result == seen
    site.calls.recover()
    assert browser.do(lambda session: session.state).result == "destroyed"


@pytest.mark.needs(SERVER)
def test_a_read_after_the_headers_is_validated_too(judged: Site, ann: Browser, judge: Judge) -> None:
    judge.verdict = False
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"page"
        seen.append(environ["session"].get("user"))

    answer = ann.visit(app)
    assert (seen, answer.cookie, judged.middleware.sessions.count()) == ([None], None, 0)
