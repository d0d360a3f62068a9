"""Denial of service through the store."""

from __future__ import annotations

import inspect
import random
from datetime import timedelta

import pytest

from tests.security.cases import DAY, case
from tests.support.site import ANN, SECRET, Browser, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import SessionMiddleware
from wsgi_session.cookies.tokens import TokenSigner, new_token
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import plant
from wsgi_session.testing.clock import FakeClock


@case(46)
@pytest.mark.needs(SERVER)
def test_made_up_cookies_leave_nothing_in_the_store(site: Site) -> None:
    """A thousand visitors with forged cookies who only read create no record and get no cookie; a cookie with a wrong
    signature causes no store call.

    Case 46: CVE-2015-5143, Django: each request with a new made-up session key created a record.

    Not over cookie://: it has no store.
    """
    chance, keyring = random.Random(46), TokenSigner([SECRET.encode()], "sid")
    for number in range(1_000):
        # Every tenth has a valid signature, like a very old cookie, or one whose record was lost.
        value = keyring.sign(new_token()) if number % 10 == 0 else chance.randbytes(30).hex()
        answer = site.browser().do(read, HTTP_COOKIE=f"sid={value}")
        assert (answer.code, answer.result, answer.cookies) == (200, {}, []), answer
    assert site.calls.counts() == {"load": 100}
    assert site.middleware.sessions.count() == 0


@case(47)
@pytest.mark.needs(SERVER)
def test_logging_out_leaves_nothing_in_the_store(site: Site, browser: Browser) -> None:
    """However often visitors log out, with a valid cookie, an invalid one or none, no record is left.

    Case 47: CVE-2015-5963 and CVE-2015-5964 (Django), pyramid_session_redis#2: each logout created an empty record, or
    left an unused one.

    Not over cookie://: it has no store.
    """
    for _ in range(1_000):
        assert site.browser().do(log_out).cookies == []
    assert site.calls.counts() == {}
    for turn in range(250):
        browser.do(log_in(ANN) if turn % 2 else put(k=1))
        dead = browser.copy()
        browser.do(log_out)
        dead.do(log_out)
        browser.do(lambda session: (session.clear(), session.destroy(), session.destroy()))
    assert site.middleware.sessions.count() == 0


@case(48)
def test_sessions_end_and_memory_is_bounded_by_default() -> None:
    """By default, a session ends after 30 days without activity and after 90 days in total, and the memory store keeps
    at most 100,000 sessions.

    Case 48: CVE-2026-67430 (MCP Ruby SDK), vert-x3/vertx-web#322: sessions never expired by default and anyone could
    create them, until the memory was full.
    """
    defaults = {name: one.default for name, one in inspect.signature(SessionMiddleware).parameters.items()}
    assert (defaults["idle_timeout"], defaults["absolute_timeout"]) == (timedelta(days=30), timedelta(days=90))
    assert inspect.signature(MemoryStore).parameters["max_sessions"].default == 100_000


@case(48)
def test_a_flood_of_anonymous_visitors_logs_nobody_out(clock: FakeClock) -> None:
    """In memory, all anonymous visitors together count as one user, whose sessions are evicted before those of a user
    with fewer sessions: a crowd of twenty times the bound takes no more places than the bound, and logs nobody out.
    """
    store = MemoryStore(max_sessions=500)
    site = Site(store, clock)
    ann = site.browser()
    ann.do(log_in(ANN))
    for _ in range(10_000):
        plant(site.middleware, {"k": 1})
    assert site.middleware.sessions.count() == 500
    assert ann.do(read).result == {"user": ANN}
    clock.advance(31 * DAY)
    assert site.middleware.sessions.count() == 0
