"""How long a session of Django's lives: SESSION_COOKIE_AGE, ``set_expiry()``, ``clearsessions``."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest
from django.core.management import call_command
from django.test import Client, override_settings

from tests.frameworks.django_site import store
from tests.frameworks.django_visitor import DAY, again, client, clock, cookie, log_in, page, seen_by, stored, visitor
from tests.support.stores import CountingStore
from wsgi_session.integrations.django import SessionStore
from wsgi_session.stores import SWEEP_GRACE, Sweeps
from wsgi_session.testing import FakeClock

__all__ = ["client", "clock", "store"]


def test_a_session_ends_a_cookie_age_after_the_last_save(clock: FakeClock) -> None:
    session = stored(a=1)
    clock.advance(13 * DAY)
    other = again(session)
    other["b"] = 2
    other.save()
    clock.advance(13 * DAY)
    assert "a" in again(session), "a save prolongs it"
    clock.advance(DAY + 1)
    assert "a" not in again(session)


def test_a_visitor_who_is_not_logged_in_has_a_shorter_life(store: CountingStore, client: Client) -> None:
    clock = FakeClock(time.time())
    with override_settings(WSGI_SESSION_OPTIONS={"clock": clock, "anonymous_timeout": timedelta(hours=1)}):
        client.get("/put", {"key": "cart", "value": "tea"})
        assert cookie(client)["max-age"] == 3600
        clock.advance(3599)
        assert page(client)["session"] == {"cart": "tea"}
        clock.advance(1)
        assert page(client)["session"] == {}
        client.get("/put", {"key": "cart", "value": "tea"})
        log_in(client)
        assert cookie(client)["max-age"] == 14 * DAY
        clock.advance(13 * DAY)
        assert (page(client)["user"], page(client)["session"]) == ("ann", {"cart": "tea"})
        session = SessionStore()
        session.set_expiry(60)
        assert session.get_expiry_age() == 60


@pytest.mark.parametrize("age", [60, 400 * DAY], ids=["shorter", "longer"])
def test_set_expiry_in_seconds_counts_from_the_last_save(clock: FakeClock, age: int) -> None:
    session = stored(a=1)
    clock.advance(DAY)
    session = again(session)
    session.set_expiry(age)
    session.save()
    clock.advance(age - 1)
    other = again(session)
    assert other["a"] == 1
    other.save()
    clock.advance(age - 1)
    assert again(session).get("a") == 1, "a save without a change prolongs it too"
    clock.advance(2)
    assert "a" not in again(session)


def test_set_expiry_at_a_moment_holds_whatever_is_saved(clock: FakeClock) -> None:
    session = stored(a=1)
    session.set_expiry(datetime.fromtimestamp(clock() + 3600, timezone.utc))
    session.save()
    clock.advance(3599)
    session["b"] = 2
    session.save()
    assert again(session).get("a") == 1
    clock.advance(2)
    assert "a" not in again(session)


def test_a_long_session_whose_life_is_cut_short_is_saved_and_then_ends(clock: FakeClock) -> None:
    session = stored(a=1)
    clock.advance(DAY)
    session.set_expiry(10)
    session.save()
    assert again(session).get("a") == 1
    clock.advance(11)
    assert "a" not in again(session)


def test_one_sessions_short_life_is_none_of_anothers(clock: FakeClock) -> None:
    session, short = stored(a=1), stored(b=2)
    short.set_expiry(60)
    short.save()
    clock.advance(61)
    assert again(session).get("a") == 1


def test_a_session_may_end_with_the_browser(client: Client) -> None:
    session = stored(a=1)
    session.set_expiry(0)
    session.save()
    client.cookies["sessionid"] = session.session_key  # type: ignore[assignment]
    client.get("/put", {"key": "b", "value": "2"})
    assert cookie(client)["max-age"] == ""
    with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
        other = visitor()
        other.get("/put", {"key": "b", "value": "2"})
        assert cookie(other)["max-age"] == ""


def test_where_every_request_saves_every_request_prolongs(client: Client, clock: FakeClock) -> None:
    client.get("/put", {"key": "a", "value": "1"})
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        for _ in range(3):
            clock.advance(13 * DAY)
            answer = client.get("/nothing")
            assert answer.cookies["sessionid"]["max-age"] == 14 * DAY
    assert seen_by(client) == {"a": "1"}


def test_an_absolute_timeout_ends_it_whatever_happens(store: CountingStore) -> None:
    clock = FakeClock()
    with override_settings(WSGI_SESSION_OPTIONS={"clock": clock, "absolute_timeout": timedelta(days=20)}):
        session = stored(a=1)
        for _ in range(2):
            clock.advance(9 * DAY)
            session["b"] = clock()
            session.save()
        assert again(session).get("a") == 1
        clock.advance(3 * DAY)
        assert "a" not in again(session)


def test_a_subclass_may_have_another_cookie_age(clock: FakeClock) -> None:
    class Short(SessionStore):
        def get_session_cookie_age(self) -> int:
            return 60

    session = Short()
    session["a"] = 1
    session.save()
    clock.advance(61)
    assert "a" not in Short(session.session_key)


def test_clearsessions_removes_what_is_long_dead_and_nothing_else(store: CountingStore, clock: FakeClock) -> None:
    dead = stored(a=1)
    dead.set_expiry(60)
    dead.cycle_key()
    dead.save()
    shorter = stored(a=1)
    shorter.set_expiry(7 * DAY)
    shorter.save()
    clock.advance(14 * DAY + SWEEP_GRACE + 1)
    alive = stored(b=2)
    store.forget()
    call_command("clearsessions")
    if isinstance(store, Sweeps):
        assert store.counts() == {"sweep": 2}, "until nothing is left"
        assert isinstance(store.inner, Sweeps)
        assert store.inner.sweep(10, clock()) == 0
    else:
        assert store.counts() == {}
    assert again(alive).get("b") == 2


def test_a_store_whose_sweep_is_due_is_swept(store: CountingStore) -> None:
    store.sweep_due = True
    stored(a=1)
    assert not store.sweep_due
