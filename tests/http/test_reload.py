"""``session.reload()``: what a stream that lives long sees of other requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.site import ANN, BOB, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, StoreUnavailable
from wsgi_session.testing.clock import FakeClock


@pytest.mark.needs(SERVER)
def test_a_stream_sees_what_others_have_written_and_keeps_its_own_changes(browser: Browser) -> None:
    browser.do(put(a=1, b=[1]))
    tab = browser.copy()
    seen: list[Any] = []

    def stream(environ: dict[str, Any], start_response: Any) -> Any:
        session: Session = environ["session"]
        session["own"] = "first"
        start_response("200 OK", [("Content-Type", "text/plain")])
        session["b"].append(2)
        yield b"one"
        tab.do(put(a=2, c=3))
        session["own"] = "late"
        seen.append((session["a"], session.reload(), session.copy()))
        yield b"two"

    browser.visit(stream)
    assert seen == [(1, True, {"a": 2, "b": [1, 2], "c": 3, "own": "late"})]
    assert browser.do(read).result == {"a": 2, "b": [1, 2], "c": 3, "own": "late"}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("end", [log_out, log_in(BOB), lambda session: session.rotate()], ids=["out", "in", "rotated"])
def test_a_stream_learns_that_its_session_has_ended(site: Site, browser: Browser, end: Any) -> None:
    browser.do(log_in(ANN))
    tab = browser.copy()

    def page(session: Session) -> Any:
        session["a"] = 1
        tab.do(end)
        return session.reload(), session.get("user"), session.reload()

    assert browser.do(page).result == (False, None, False)
    assert "a" not in tab.do(read).result
    assert site.happened("dropped")[0]["keys"] == ["a"]


@pytest.mark.needs(SERVER)
def test_an_expired_session_is_no_longer_live(make_site: MakeSite, clock: FakeClock) -> None:
    browser = make_site(absolute_timeout=3600).browser()
    browser.do(put(a=1))
    assert browser.do(lambda session: (session.reload(), clock.advance(3600), session.reload())).result[::2] == (
        True,
        False,
    )


@pytest.mark.needs(SERVER)
def test_reload_calls_validate_again(make_site: MakeSite) -> None:
    answers = iter([True, True, False])
    site = make_site(validate=lambda session: next(answers))
    browser = site.browser()
    browser.do(log_in(ANN))
    assert browser.do(lambda session: (session.reload(), session.reload(), session.state)).result == (
        True,
        False,
        "destroyed",
    )
    assert site.middleware.sessions.of(ANN) == []


def test_a_new_session_is_not_live_and_one_in_the_cookie_stays_as_it_is(site: Site, browser: Browser) -> None:
    assert browser.do(lambda session: session.reload()).result is False
    browser.do(put(a=1))
    assert browser.do(lambda session: (session.reload(), session["a"])).result == (True, 1)
    assert browser.do(lambda session: (log_out(session), session.reload())).result[1] is False


@pytest.mark.needs(SERVER)
def test_an_outage_during_reload_does_not_end_the_session(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))

    def page(session: Session) -> None:
        assert session["a"] == 1
        site.calls.fail("load")
        with pytest.raises(StoreUnavailable):
            session.reload()

    browser.do(page)
    site.calls.recover()
    assert browser.do(read).result == {"a": 1}
