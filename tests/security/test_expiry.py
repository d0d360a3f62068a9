"""Expiry."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.security.cases import DAY, case, opened_by, stored, with_cookies_of
from tests.support.damage import plain_store
from tests.support.records import make_record
from tests.support.site import ANN, SECRET, Browser, MakeSite, Site, log_in, put, read
from tests.support.stores import SERVER, SWEEPS
from wsgi_session.cookies import tokens
from wsgi_session.stores import Record, Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.testing.clock import FakeClock

IDLE = 30 * DAY


@case(21)
def test_a_cookie_that_is_sent_after_its_time_opens_nothing(site: Site, browser: Browser, clock: FakeClock) -> None:
    """The server decides when a session ends; a browser that keeps sending the cookie gets an empty session.

    Case 21: CVE-2018-1000814, aiohttp-session's EncryptedCookieStorage and NaCl: only the browser enforced expiry, so
    an expired cookie that was sent again still gave access to the session.
    """
    answer = browser.do(log_in(ANN))
    captured = browser.header
    assert [cookie.attributes["max-age"] for cookie in answer.cookies] == [str(int(IDLE))]
    clock.advance(IDLE + 1)
    assert opened_by(site, captured) == {}


@case(21)
def test_a_sealed_session_from_the_future_opens_nothing(clock: FakeClock, sealed: Site) -> None:
    """An encrypted cookie that is dated more than a minute in the future is refused."""
    ahead = FakeClock()
    ahead.advance(3600)
    browser = Site(CookieStore(), ahead).browser()
    browser.do(log_in(ANN))
    assert opened_by(sealed, browser.header) == {}
    clock.advance(3541)
    assert opened_by(sealed, browser.header) == {"user": ANN}


@case(22)
def test_no_reading_moves_the_absolute_limit(browser: Browser, clock: FakeClock) -> None:
    """However busy a visitor is, the session ends `absolute_timeout` after its login.

    Case 22: CVE-2024-35220, @fastify/session: loading a session renewed its expiry, so that no session ever expired.
    """
    browser.do(log_in(ANN))
    for _ in range(89):
        clock.advance(DAY)
        assert browser.do(read).result == {"user": ANN}
    clock.advance(DAY)
    assert browser.do(read).result == {}


@case(22)
@pytest.mark.needs(SERVER, SWEEPS)
def test_what_is_dead_goes_with_the_next_sweep(site: Site, browser: Browser, clock: FakeClock) -> None:
    """An expired record is swept.

    Not over cookie://: it has nothing to sweep. Redis deletes expired records itself.
    """
    browser.do(put(k=1))
    clock.advance(IDLE + 1)
    assert opened_by(site, browser.header) == {}
    clock.advance(3600)
    assert (site.middleware.sessions.sweep(100), site.middleware.sessions.sweep(100)) == (1, 0)


@case(23)
@pytest.mark.needs(SERVER)
def test_no_store_returns_what_has_expired(store: Store) -> None:
    """In every store, a record is invalid from its ``expires`` on, even if nothing is swept.

    Case 23: tower-sessions 0.4.3, PR #82: the memory stores did not keep the expiry, and returned expired sessions.

    Not over cookie://: it has no records; case 21 tests the same with its cookies.
    """
    now = FakeClock.START
    record = Record(b"data", b"v" * 16, "handle", now, now, now + 1, b"o" * 32)
    store.create(b"k" * 32, record, now)
    assert store.load(b"k" * 32, now + 0.5) == record
    assert [store.load(b"k" * 32, now + late) for late in (1, 2)] == [None, None]
    assert list(store.of_owner(b"o" * 32, now + 2)) == []  # type: ignore[attr-defined]
    assert store.touch(b"k" * 32, now + 2, now + 99, now + 2) is False


@case(24)
def test_the_settings_of_now_count_not_those_in_the_record(make_site: MakeSite, clock: FakeClock) -> None:
    """A session that was stored under longer limits ends at the current ones.

    Case 24: starsessions PR #87: the lifetime in the record overrode the one that the server was configured with.
    """
    years = timedelta(days=3650)
    longer = make_site(idle_timeout=years, absolute_timeout=None)
    browser = longer.browser()
    browser.do(log_in(ANN))
    now = with_cookies_of(make_site(), browser)
    assert now.do(read).result == {"user": ANN}
    clock.advance(IDLE + 1)
    assert opened_by(make_site(), now.header) == {}
    assert with_cookies_of(longer, browser).do(read).result == {"user": ANN}


@case(24)
@pytest.mark.needs(SERVER)
def test_a_record_with_a_longer_lifetime_ends_at_the_configured_limits(site: Site, clock: FakeClock) -> None:
    """A record or a login with a lifetime of ten years still ends at the configured limits.

    Not over cookie://: only someone with the secret can create a cookie there.
    """
    token = tokens.new_token()
    now = clock()
    planted = make_record(b"\x80", expires=now + 3650 * DAY, owner=None, idle=3650 * DAY)
    browser, asking = site.browser(), site.browser()
    plain_store(browser).create(tokens.store_key(token), planted, now)
    value = tokens.TokenSigner([SECRET.encode()], "sid").sign(token)
    browser.jar = {"sid": value}
    asking.do(log_in(ANN, idle_timeout=timedelta(days=3650)))
    states = [visitor.do(lambda session: session.state).result for visitor in (browser, asking)]
    clock.advance(IDLE + 1)
    states += [visitor.do(lambda session: session.state).result for visitor in (browser, asking)]
    assert states == ["live", "live", "unknown", "unknown"]


@case(25)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_cookie_and_record_agree_wherever_the_server_stands(
    site: Site, browser: Browser, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """A lifetime given at login is set in the cookie and in the record, and does not depend on the server's time zone.

    Case 25: tower-sessions #174, #175, #191, Werkzeug's SecureCookie: setting an expiry changed the cookie and not the
    record, or the reverse; sessions expired wrongly where local time is not UTC.
    """
    if not hasattr(time, "tzset"):
        pytest.skip("platform: the time zone of a process cannot be changed here")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        answer = browser.do(log_in(ANN, idle_timeout=900))
        (cookie,) = answer.cookies
        assert cookie.attributes["max-age"] == "900"
        created, expires = browser.do(lambda session: (session.created, session.expires)).result
        assert created == datetime.fromtimestamp(clock(), timezone.utc)
        assert expires - created == timedelta(seconds=900)
        record: Any = stored(site, browser)
        assert record is None or abs(record.expires - clock() - 900) <= 1
        clock.advance(899)
        assert opened_by(site, browser.header) == {"user": ANN}
        # The last request was activity, so the session lasts another 900 seconds, also for the visitor's older cookie.
        clock.advance(1)
        assert bool(opened_by(site, browser.header)) is (record is not None)
        clock.advance(901)
        assert opened_by(site, browser.header) == {}
    finally:
        monkeypatch.undo()
        time.tzset()
