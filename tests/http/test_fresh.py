"""Fresh logins: when and how the user last proved who they are, over every store."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from threading import Barrier, Thread
from typing import Any

import pytest

from tests.support.site import ANN, BOB, Browser, MakeSite, Site, log_in, put
from tests.support.stores import SERVER
from wsgi_session import (
    ConfigError,
    HeadersAlreadySent,
    Session,
    SessionMissing,
    confirm,
    login,
    logout,
    redirect_unless_fresh,
)
from wsgi_session.codec.packing import pack, split
from wsgi_session.request.confirmation import CONFIRMED
from wsgi_session.session import work_of

MINUTE = 60.0


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def is_fresh(browser: Browser, **options: Any) -> bool:
    return browser.do(lambda session: redirect_unless_fresh({"session": session}, **options) is None).result  # type: ignore[no-any-return]


def confirm_it(browser: Browser, method: str = "password") -> bool:
    return browser.do(lambda session: confirm({"session": session}, method)).result  # type: ignore[no-any-return]


def confirmed(browser: Browser) -> Any:
    return browser.do(lambda session: session.confirmed).result


def test_a_login_is_fresh_for_a_time_and_a_confirmation_makes_it_fresh_again(site: Site, browser: Browser) -> None:
    assert confirmed(browser) is None
    browser.do(log_in(ANN))
    start = site.clock()
    assert confirmed(browser) == (at(start), None)
    site.clock.advance(15 * MINUTE - 1)
    assert is_fresh(browser)
    site.clock.advance(1)
    assert not is_fresh(browser)
    assert is_fresh(browser, within=timedelta(hours=1))
    assert is_fresh(browser, within=901)
    assert confirm_it(browser) is True
    assert is_fresh(browser)
    assert confirmed(browser) == (at(start + 900), "password")
    assert confirmed(browser).method == "password"


def test_a_method_that_is_asked_for_must_have_been_used(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    assert not is_fresh(browser, method="password")
    confirm_it(browser, "password")
    site.clock.advance(10 * MINUTE)
    confirm_it(browser, "totp")
    assert is_fresh(browser, method="password")
    assert not is_fresh(browser, method="passkey")
    site.clock.advance(10 * MINUTE)
    assert (is_fresh(browser), is_fresh(browser, method="totp"), is_fresh(browser, method="password")) == (
        True,
        True,
        False,
    )
    assert confirmed(browser).method == "totp"


def test_a_confirmation_changes_the_token_and_nothing_else(browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.do(put(cart=["tea"]))
    seen = browser.do(lambda session: (session.copy(), session.handle, session.created, session.owner)).result
    cookie = browser.header
    confirm_it(browser)
    assert browser.header != cookie
    assert browser.do(lambda session: (session.copy(), session.handle, session.created, session.owner)).result == seen


@pytest.mark.needs(SERVER)
def test_the_token_from_before_a_confirmation_opens_nothing(browser: Browser) -> None:
    browser.do(log_in(ANN))
    stolen = browser.copy()
    confirm_it(browser)
    assert stolen.do(lambda session: (session.state, session.copy())).result == ("rotated", {})


def test_login_and_confirmation_in_one_request(browser: Browser) -> None:
    def both(session: Session) -> Any:
        login({"session": session}, ANN)
        return confirm({"session": session}, "passkey"), session.confirmed

    done, seen = browser.do(both).result
    assert (done, seen.method) == (True, "passkey")
    assert is_fresh(browser, method="passkey")


def test_any_other_login_forgets_the_confirmations(site: Site, browser: Browser) -> None:
    for user in (ANN, BOB, BOB):
        browser.do(log_in(user))
        assert not is_fresh(browser, method="password")
        confirm_it(browser)
        assert is_fresh(browser, method="password")

    def again(session: Session) -> None:
        confirm({"session": session})
        login({"session": session}, BOB)

    browser.do(again)
    assert not is_fresh(browser, method="password")


def test_a_stranger_is_sent_to_the_login_and_cannot_confirm(site: Site, browser: Browser) -> None:
    browser.do(put(cart=["tea"]))
    assert confirm_it(browser) is False
    response = browser.do(lambda session: redirect_unless_fresh({"session": session, "PATH_INFO": "/p"})).result
    assert response.location == "/login"
    assert confirmed(browser) is None
    assert Site().browser().do(lambda session: confirm({"session": session})).result is False


def test_a_stale_user_is_sent_to_the_confirmation_and_back(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    site.clock.advance(3600)

    def ask(environ: dict[str, Any], **options: Any) -> Any:
        return browser.call(lambda given: redirect_unless_fresh(given, **options), environ)

    page = {"REQUEST_METHOD": "GET", "PATH_INFO": "/password", "QUERY_STRING": "a=b"}
    response = ask(page)
    assert (response.status_int, response.location) == (302, "/confirm?next=/password%3Fa%3Db")
    assert ask({**page, "SCRIPT_NAME": "/app"}, confirm_url="/again").location.startswith("/app/again?next=/app/pass")
    assert ask({**page, "REQUEST_METHOD": "POST"}).status_int == 303
    script = ask({**page, "HTTP_SEC_FETCH_MODE": "cors"})
    assert (script.status_int, script.json) == (401, {"error": "confirmation_required", "login_url": "/confirm"})
    assert ask({**page, "HTTP_SEC_FETCH_MODE": "cors"}, navigation=True).status_int == 302


def test_a_user_who_was_put_there_by_hand_is_not_fresh_and_cannot_be_confirmed(browser: Browser) -> None:
    browser.do(put(user=ANN))
    assert confirmed(browser) is None
    assert not is_fresh(browser)

    def refused(session: Session) -> None:
        with pytest.raises(ConfigError, match=r"logged in with login\(\)"):
            confirm({"session": session})

    browser.do(refused)


def test_a_user_who_was_deleted_by_hand_is_confirmed_no_more(browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.do(lambda session: session.pop("user"))
    assert (confirmed(browser), confirm_it(browser)) == (None, False)


def test_a_logout_ends_the_confirmations(browser: Browser) -> None:
    browser.do(log_in(ANN))

    def leave(session: Session) -> Any:
        confirm({"session": session})
        logout({"session": session})
        return session.confirmed, confirm({"session": session})

    assert browser.do(leave).result == (None, False)
    assert confirmed(browser) is None


def test_a_request_that_fails_confirms_nothing(browser: Browser) -> None:
    browser.do(log_in(ANN))

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert confirm(environ)
        start_response("500 Oops", [("Content-Type", "text/plain")])
        return [b""]

    browser.visit(app)
    assert not is_fresh(browser, method="password")


@pytest.mark.needs(SERVER)
def test_a_request_that_fails_confirms_nothing_even_after_an_atomic(site: Site, browser: Browser) -> None:
    """Else a stolen token would be fresh, because the token was not changed."""
    browser.do(log_in(ANN))
    site.clock.advance(3600)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        session = environ["session"]
        assert confirm(environ)
        session.atomic(lambda data: data.update(tries=1))
        assert session.confirmed.method == "password"
        start_response("500 Oops", [("Content-Type", "text/plain")])
        return [b""]

    browser.visit(app, lint=False)
    assert browser.do(lambda session: session["tries"]).result == 1
    assert not is_fresh(browser)


@pytest.mark.needs(SERVER)
def test_a_confirmation_is_saved_although_an_atomic_came_first(browser: Browser) -> None:
    browser.do(log_in(ANN))
    token = browser.header
    browser.do(lambda session: (confirm({"session": session}), session.atomic(lambda data: data.update(tries=1))))
    assert is_fresh(browser, method="password")
    assert browser.header != token


@pytest.mark.needs(SERVER)
def test_a_login_that_fails_after_an_atomic_leaves_the_confirmations_of_the_session(browser: Browser) -> None:
    browser.do(log_in(ANN))
    confirm_it(browser)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        session = environ["session"]
        login(environ, ANN)
        confirm(environ, "passkey")
        session.atomic(lambda data: data.update(tries=1))
        start_response("500 Oops", [("Content-Type", "text/plain")])
        return [b""]

    browser.visit(app, lint=False)
    assert (is_fresh(browser, method="password"), is_fresh(browser, method="passkey")) == (True, False)


def test_a_confirmation_after_the_headers_is_refused(browser: Browser) -> None:
    browser.do(log_in(ANN))
    caught: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"page"
        with pytest.raises(HeadersAlreadySent) as error:
            confirm(environ)
        caught.append(error.value)

    browser.visit(app)
    assert caught
    assert not is_fresh(browser, method="password")


@pytest.mark.needs(SERVER)
def test_two_confirmations_at_once_leave_one_session_which_is_fresh(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    together = Barrier(2, timeout=60)
    tabs = [browser.copy(), browser.copy()]

    def meet(tab: Browser, method: str) -> None:
        def page(session: Session) -> None:
            assert session.owner
            together.wait()
            confirm({"session": session}, method)

        tab.do(page)

    threads = [Thread(target=meet, args=(tab, method)) for tab, method in zip(tabs, ("password", "totp"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alive = [tab for tab in tabs if tab.do(lambda session: session.state).result == "live"]
    assert len(alive) == 1
    assert len(site.middleware.sessions.of(ANN)) == 1
    assert is_fresh(alive[0], method="password") != is_fresh(alive[0], method="totp")


def test_it_is_in_the_record_and_not_among_the_users_keys(browser: Browser) -> None:
    browser.do(log_in(ANN))
    confirm_it(browser)
    keys = browser.do(lambda session: (list(session), work_of(session).writable().internal_keys())).result
    assert keys == (["user"], [b"owner", CONFIRMED])
    browser.do(lambda session: session.flash("hello"))
    assert browser.do(lambda session: [str(message) for message in session.flashes()]).result == ["hello"]
    assert is_fresh(browser, method="password")


def test_a_login_alone_writes_nothing_for_it(browser: Browser) -> None:
    browser.do(log_in(ANN))
    is_fresh(browser)
    assert browser.do(lambda session: work_of(session).load().internal_keys()).result == [b"owner"]


def test_only_the_newest_methods_are_kept(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    for number in range(12):
        site.clock.advance(1)
        confirm_it(browser, f"m{number}")
    kept = [number for number in range(12) if is_fresh(browser, method=f"m{number}")]
    assert kept == [4, 5, 6, 7, 8, 9, 10, 11]


def test_a_confirmation_that_another_machine_made_a_minute_ahead_counts(make_site: MakeSite, browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.site.clock.advance(50)
    confirm_it(browser)
    browser.site.clock.advance(-50)
    assert is_fresh(browser, method="password", within=30)
    browser.site.clock.advance(-11)
    assert not is_fresh(browser, method="password", within=30), "no clock that the rules allow is so far ahead"


@pytest.mark.needs(SERVER)
def test_an_older_process_keeps_what_it_does_not_know(browser: Browser) -> None:
    """It copies unknown internal keys as they are; and a newer one may store there what this one does not know."""
    browser.do(log_in(ANN))
    confirm_it(browser)

    def unknown(session: Session) -> None:
        work = work_of(session)
        data = work.writable()
        data.put(b"newer", 1, pack(1, "newer"))
        assert CONFIRMED in split(work.backend.settings.join(data.apply_to(data.stored)))

    browser.do(unknown)
    browser.do(put(cart=[]))
    assert is_fresh(browser, method="password")
    assert b"newer" in browser.do(lambda session: work_of(session).load().internal_keys()).result


@pytest.mark.parametrize("method", ["", "x" * 65, 5, b"password", "a\nb", "\udcff"])
def test_an_invalid_method_or_time_is_refused(method: Any) -> None:
    session = {"session": {"user": ANN}}
    with pytest.raises(ConfigError, match="method="):
        confirm(session, method)
    with pytest.raises(ConfigError, match="method="):
        redirect_unless_fresh(session, method=method)
    for within in (0, -1, float("nan"), "15m", None, True):
        with pytest.raises(ConfigError, match="within="):
            redirect_unless_fresh(session, within=within)  # type: ignore[arg-type]
    for url in ("confirm", "//evil.example"):
        with pytest.raises(ConfigError, match="single slash"):
            redirect_unless_fresh(session, url)
        with pytest.raises(ConfigError, match="single slash"):
            redirect_unless_fresh(session, login_url=url)


def test_another_layers_session_cannot_be_confirmed() -> None:
    for environ in ({"session": {"user": ANN}}, {}):
        with pytest.raises(SessionMissing):
            confirm(environ)
        with pytest.raises(SessionMissing):
            redirect_unless_fresh(environ)
    assert confirm({"session": {}}) is False
