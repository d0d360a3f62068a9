"""``plant`` and ``read``, for the tests of applications."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.requests import make_environ, session_in
from tests.support.site import ANN, BOB, Site, log_in
from tests.support.values import keepable, shape, values
from wsgi_session import SessionMiddleware, StoreUnavailable, UnsupportedValue, user_or_none
from wsgi_session.config.keygen import new_secret
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import FakeClock, plant, read

SHARED = Site()


def test_a_planted_session_is_what_the_application_sees() -> None:
    browser = Site().browser()
    browser.header = plant(browser.site.middleware, {"cart": ["tea"], "user": ANN})
    assert browser.call(lambda environ: (dict(session_in(environ)), user_or_none(environ))) == (
        {"cart": ["tea"], "user": ANN},
        ANN,
    )


def test_what_the_application_wrote_can_be_read() -> None:
    browser = Site().browser()
    browser.call(lambda environ: session_in(environ).update(cart=["tea"]))
    assert read(browser.site.middleware, browser.header) == {"cart": ["tea"]}


@given(st.dictionaries(keepable.filter(lambda key: key != "user"), values, max_size=4))
def test_what_is_planted_is_read(data: dict[str, Any]) -> None:
    assert shape(read(SHARED.middleware, plant(SHARED.middleware, data))) == shape(data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"a": None},
        {"user": None, "a": None},
        {"user": {}},
        {"user": "ann"},
        {"user": ANN, "previous": ANN},
        {"user": ANN, "a": None},
    ],
    ids=repr,
)
def test_nothing_that_is_planted_is_left_out(data: dict[str, Any]) -> None:
    site = Site()
    cookie = plant(site.middleware, data)
    assert read(site.middleware, cookie) == data
    assert site.middleware.sessions.count() == 1


def test_a_planted_user_is_logged_in_as_login_does_it() -> None:
    site = Site()
    plant(site.middleware, {"user": ANN})
    by_hand = Site()
    by_hand.browser().do(log_in(ANN))
    (planted,), (logged_in,) = (one.middleware.sessions.of(ANN) for one in (site, by_hand))
    assert (planted.created, planted.expires, planted.data) == (logged_in.created, logged_in.expires, logged_in.data)
    assert site.middleware.sessions.revoke_all(ANN) == 1


def test_a_user_may_be_any_mapping() -> None:
    site = Site()
    cookie = plant(site.middleware, UserDict(user=UserDict(ANN)))
    assert read(site.middleware, cookie) == {"user": ANN}


def test_sessions_of_several_users_are_several() -> None:
    site = Site()
    cookies = [plant(site.middleware, {"user": user}) for user in (ANN, BOB, ANN)]
    assert len(set(cookies)) == 3
    assert [len(site.middleware.sessions.of(user)) for user in (ANN, BOB)] == [2, 1]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_is_the_one_of_the_scheme(scheme: str) -> None:
    browser = Site().browser()
    browser.header = plant(browser.site.middleware, {"a": 1}, scheme=scheme)
    assert browser.header.startswith({"http": "sid=", "https": "__Host-sid="}[scheme])
    assert read(browser.site.middleware, browser.header, scheme=scheme) == {"a": 1}
    environ = make_environ(**{"wsgi.url_scheme": scheme})
    assert browser.call(lambda environ: dict(session_in(environ)), environ) == {"a": 1}
    other = {"http": "https", "https": "http"}[scheme]
    assert read(browser.site.middleware, browser.header, scheme=other) == {}


@pytest.mark.parametrize("cookie", ["", "sid=", "sid=forged", "other=1", "\xff;;="], ids=repr)
def test_a_cookie_that_opens_nothing_reads_as_nothing(cookie: str) -> None:
    assert read(SHARED.middleware, cookie) == {}


def test_reading_is_no_activity_and_changes_nothing() -> None:
    clock = FakeClock()
    site = Site(clock=clock, idle_timeout=100)
    cookie = plant(site.middleware, {"a": [1]})
    clock.advance(99)
    read(site.middleware, cookie)["a"].append(2)
    assert read(site.middleware, cookie) == {"a": [1]}
    clock.advance(1)
    assert read(site.middleware, cookie) == {}


def test_what_no_session_keeps_cannot_be_planted() -> None:
    site = Site()
    with pytest.raises(UnsupportedValue, match=r"a\[0\]: object"):
        plant(site.middleware, {"a": [object()]})
    assert site.middleware.sessions.count() == 0


def test_the_application_itself_is_not_called() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise AssertionError("called")

    with SessionMiddleware(application, secret=new_secret(), store="memory://") as middleware:
        assert read(middleware, plant(middleware, {"a": 1})) == {"a": 1}


def test_an_outage_is_said_by_plant_and_read() -> None:
    store = MemoryStore()
    middleware = SessionMiddleware(lambda environ, start_response: [], secret=new_secret(), store=store)
    cookie = plant(middleware, {"a": 1})

    def away(*arguments: object) -> Any:
        raise StoreUnavailable("away")

    store.load = store.create = away  # type: ignore[assignment, method-assign]
    with pytest.raises(StoreUnavailable, match="store is down"):
        plant(middleware, {"a": 1})
    with pytest.raises(StoreUnavailable, match="store is down"):
        read(middleware, cookie)
