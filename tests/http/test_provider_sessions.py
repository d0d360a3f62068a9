"""A logout at the identity provider ends the logins that were filed under the provider's session, over every store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.site import ANN, BOB, SECRET, Browser, MakeSite, Site, log_in, put
from tests.support.stores import SERVER
from wsgi_session import ConfigError, Session, SessionMiddleware, StoreUnavailable, Unsupported
from wsgi_session.testing import plant
from wsgi_session.testing.clock import FakeClock

pytestmark = pytest.mark.needs(SERVER)
DAY = 86_400.0


def enter(site: Site, provider_session: str | None, user: dict[str, Any] = ANN) -> Browser:
    browser = site.browser()
    browser.do(log_in(user, provider_session=provider_session))
    return browser


def state(session: Session) -> str:
    return session.state


def states(*browsers: Browser) -> list[str]:
    return [str(browser.do(state).result) for browser in browsers]


def test_a_logout_at_the_provider_ends_the_logins_of_that_provider_session_only(make_site: MakeSite) -> None:
    site, shop = make_site(), make_site(cookie_name="shop")
    ended = [enter(site, "sid-1"), enter(site, "sid-1"), enter(site, "sid-1", BOB)]
    kept = [enter(site, "sid-2"), enter(site, None), enter(shop, "sid-1")]
    assert site.middleware.sessions.revoke_provider_session("sid-1") == 3
    assert states(*ended, *kept) == ["unknown"] * 3 + ["live"] * 3
    bob = next(event["handle"] for event in site.happened("logged_in") if event["owner"] == "id:2")
    assert {(event["handle"], event["count"]) for event in site.happened("revoked")} == {(None, 2), (bob, 1)}
    assert site.middleware.sessions.revoke_provider_session("sid-1") == 0
    assert shop.middleware.sessions.revoke_provider_session("sid-1") == 1


def test_a_user_who_logs_in_again_and_again_does_not_make_the_logout_at_the_provider_slow(site: Site) -> None:
    """A provider logs a visitor in again without asking, so a script can do that thousands of times."""
    browsers = [enter(site, "sid-1") for _ in range(50)]
    site.forget()
    assert site.middleware.sessions.revoke_provider_session("sid-1") == 50
    assert site.calls.counts()["of_owner"] <= 3
    assert set(states(*browsers)) == {"unknown"}


def test_two_logouts_at_once_end_the_login_once(make_site: MakeSite) -> None:
    site = make_site()
    browser = enter(site, "sid-1")
    counts: list[int] = []
    site.calls.before["load"] = lambda: counts.append(site.middleware.sessions.revoke_provider_session("sid-1"))
    counts.append(site.middleware.sessions.revoke_provider_session("sid-1"))
    assert counts == [1, 0]
    assert states(browser) == ["unknown"]


def test_the_entry_of_a_provider_session_is_not_a_session(make_site: MakeSite) -> None:
    site = make_site()
    browser = enter(site, "sid-1")
    sessions = site.middleware.sessions
    assert sessions.count() == len(list(sessions.all())) == len(sessions.of(ANN)) == 1
    assert sessions.of("id:sid-1") == []
    assert sessions.of("email:sid-1") == []
    assert sessions.revoke_everyone() == 1
    assert states(browser) == ["unknown"]


def test_the_session_is_found_under_its_later_tokens_and_after_months(make_site: MakeSite, clock: FakeClock) -> None:
    for absolute in (90 * DAY, None):
        site = make_site(absolute_timeout=absolute)
        browser = site.browser()
        browser.do(put(cart=[1]))
        browser.do(log_in(ANN, provider_session="sid-1"))
        for _ in range(3):
            clock.advance(25 * DAY)
            browser.do(put(a=1))
        browser.do(lambda session: session.rotate())
        assert states(browser) == ["live"]
        assert site.middleware.sessions.revoke_provider_session("sid-1") == 1
        assert states(browser) == ["unknown"]


def test_a_later_login_in_the_same_browser_is_not_that_of_the_provider_session(make_site: MakeSite) -> None:
    site = make_site()
    browser = enter(site, "sid-1")
    browser.do(log_in(ANN))
    assert site.middleware.sessions.revoke_provider_session("sid-1") == 0
    assert states(browser) == ["live"]
    browser.do(lambda session: (log_in(ANN, provider_session="sid-1")(session), log_in(ANN)(session)))
    assert site.middleware.sessions.revoke_provider_session("sid-1") == 0
    assert states(browser) == ["live"]


def test_a_logout_at_the_provider_ends_a_login_of_a_request_that_is_still_running(site: Site) -> None:
    browser = site.browser()

    def enter_slowly(session: Session) -> None:
        log_in(ANN, provider_session="sid-1")(session)
        assert site.middleware.sessions.revoke_provider_session("sid-1") == 0

    assert browser.do(enter_slowly).code == 200
    assert states(browser) == ["unknown"]
    assert site.middleware.sessions.of(ANN) == []


def test_an_application_that_ignores_that_the_login_was_not_filed_has_no_login(site: Site) -> None:
    browser = site.browser()

    def enter_anyway(session: Session) -> None:
        site.calls.fail("create", times=1)
        with pytest.raises(StoreUnavailable):
            log_in(ANN, provider_session="sid-1")(session)

    browser.do(enter_anyway)
    assert site.middleware.sessions.of(ANN) == []


@pytest.mark.parametrize("anonymous", [False, True])
def test_a_logout_at_the_provider_meets_a_login_that_is_being_saved(make_site: MakeSite, anonymous: bool) -> None:
    site = make_site()
    browser = site.browser()
    if anonymous:
        browser.do(put(cart=[1]))
    counts = []

    def log_out_at_the_provider() -> None:
        counts.append(site.middleware.sessions.revoke_provider_session("sid-1"))

    def enter_slowly(session: Session) -> None:
        log_in(ANN, provider_session="sid-1")(session)
        # The next write is that of the session.
        site.calls.before["rotate" if anonymous else "create"] = log_out_at_the_provider

    browser.do(enter_slowly)
    assert counts == [0]
    assert states(browser) == ["unknown"]
    assert site.middleware.sessions.of(ANN) == []


def test_a_login_that_is_saved_at_the_second_attempt_ends_too(make_site: MakeSite) -> None:
    site = make_site()
    browser = site.browser()
    browser.do(put(cart=[1]))
    other = browser.copy()

    def interfere() -> None:
        other.do(put(other=1))
        site.middleware.sessions.revoke_provider_session("sid-1")

    site.calls.before["rotate"] = interfere
    assert browser.do(log_in(ANN, provider_session="sid-1")).code == 200
    assert states(browser) == ["unknown"]


def test_a_logout_at_the_provider_meets_a_session_that_is_being_rotated(make_site: MakeSite) -> None:
    site = make_site()
    browser = enter(site, "sid-1")
    site.calls.before["delete"] = lambda: browser.do(lambda session: session.rotate())
    assert site.middleware.sessions.revoke_provider_session("sid-1") == 1
    assert states(browser) == ["unknown"]


@pytest.mark.parametrize("method", ["of_owner", "load", "replace", "delete"])
def test_after_an_outage_the_logout_can_be_repeated(make_site: MakeSite, method: str) -> None:
    site = make_site()
    browser = enter(site, "sid-1")
    site.calls.fail(method, times=1)
    with pytest.raises(StoreUnavailable):
        site.middleware.sessions.revoke_provider_session("sid-1")
    assert site.middleware.sessions.revoke_provider_session("sid-1") == 1
    assert states(browser) == ["unknown"]


def test_a_login_that_cannot_be_filed_is_no_login(make_site: MakeSite) -> None:
    site = make_site()
    browser = site.browser()
    browser.do(put(cart=[1]))
    site.calls.fail("create", times=2)
    assert browser.do(log_in(ANN, provider_session="sid-1")).code == 503
    assert site.middleware.sessions.of(ANN) == []


@pytest.mark.parametrize("name", ["", None, 5, b"sid", ["sid"]], ids=repr)
def test_what_names_no_provider_session_is_refused(site: Site, name: Any) -> None:
    with pytest.raises(ConfigError, match="provider_session"):
        site.middleware.sessions.revoke_provider_session(name)

    def refused(session: Session) -> str:
        with pytest.raises(ConfigError, match="provider_session"):
            log_in(ANN, provider_session=name)(session)
        return session.state

    if name is not None:
        assert site.browser().do(refused).result == "new"


@pytest.mark.parametrize("name", ["id:1", "x" * 100_000, "sid\x00\r\n", "\udcff", " sid-1"], ids=range(5))
def test_a_forged_name_ends_nobody(make_site: MakeSite, name: str) -> None:
    site = make_site()
    browsers = [enter(site, "sid-1"), enter(site, None)]
    assert site.middleware.sessions.revoke_provider_session(name) == 0
    assert states(*browsers) == ["live", "live"]
    third = enter(site, name)
    assert site.middleware.sessions.revoke_provider_session(name) == 1
    assert states(third) == ["unknown"]


def test_sessions_in_the_cookie_cannot_be_filed() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        return []

    pytest.importorskip("cryptography", reason="pip install cryptography")
    middleware = SessionMiddleware(app, secret=SECRET, store="cookie://")
    plant(middleware, {"user": ANN})
    with pytest.raises(Unsupported, match="cookie://"):
        middleware.sessions.revoke_provider_session("sid-1")
