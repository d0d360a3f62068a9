"""Our promises through Django's API, and what Django promises of ``request.session``, users and messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.cookies import Morsel
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user, get_user_model
from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe

from tests.frameworks.django_site import SECRET, set_up, store
from tests.http.stores import CountingStore
from wsgi_session import (
    Session,
    SessionMissing,
    StoreUnavailable,
    UnsupportedValue,
    get_session,
    user_email_or_none,
)
from wsgi_session.integrations import django_site
from wsgi_session.integrations.django import HelpersMiddleware, SessionStore, sessions
from wsgi_session.integrations.django_site import backend
from wsgi_session.stores import SWEEP_GRACE, Sweeps
from wsgi_session.testing import FakeClock
from wsgi_session.testing.harness import at_once

__all__ = ["store"]

NEW_SECRET = "django-77e0c5b1d94f4a6ea0f2b8d3c6195e40"
DAY = 86_400


@pytest.fixture
def client(store: CountingStore) -> Client:
    """A visitor, to whom a server's error is an answer."""
    return visitor()


@pytest.fixture
def clock(store: CountingStore) -> Iterator[FakeClock]:
    clock = FakeClock(time.time())
    with override_settings(WSGI_SESSION_OPTIONS={"clock": clock}):
        yield clock


def visitor() -> Client:
    return Client(raise_request_exception=False)


def cookie(client: Client) -> Morsel[str]:
    morsel: Morsel[str] = client.cookies["sessionid"]
    return morsel


def stored(**values: Any) -> SessionStore:
    session = SessionStore()
    session.update(values)
    session.save()
    return session


def again(session: SessionStore) -> SessionStore:
    """The session as another request sees it."""
    return SessionStore(session.session_key)


def log_in(client: Client, name: str = "ann") -> dict[str, Any]:
    assert client.get("/login", {"name": name}).status_code == 200
    return page(client)


def page(client: Client) -> dict[str, Any]:
    shown: dict[str, Any] = client.get("/").json()
    return shown


def seen_by(client: Client) -> dict[str, Any]:
    session: dict[str, Any] = page(client)["session"]
    return session


def user_id(name: str = "ann") -> dict[str, int]:
    return {"id": get_user_model().objects.get(username=name).pk}


# Nothing is lost.


def test_two_requests_that_overlap_keep_each_others_keys(store: CountingStore) -> None:
    session = stored(cart=["tea"])
    one, other = again(session), again(session)
    one["colour"] = "red"
    other["size"] = 7
    assert other.get("colour") is None
    del other["cart"]
    one.save()
    other.save()
    assert dict(again(session).items()) == {"colour": "red", "size": 7}


def test_a_change_inside_a_value_is_saved_without_saying_so(client: Client) -> None:
    session = stored(list=[])
    client.cookies["sessionid"] = session.session_key
    client.get("/append", {"value": "apple"})
    client.get("/append", {"value": "pear"})
    assert seen_by(client) == {"list": ["apple", "pear"]}


def test_a_request_that_reads_writes_nothing(client: Client, store: CountingStore) -> None:
    client.get("/put", {"key": "a", "value": "1"})
    store.forget()
    assert seen_by(client) == {"a": "1"}
    assert store.counts() == {"load": 1}


def test_a_write_is_one_load_and_one_save_and_a_login_one_rotation(client: Client, store: CountingStore) -> None:
    client.get("/put", {"key": "a", "value": "1"})
    store.forget()
    client.get("/put", {"key": "a", "value": "2"})
    assert store.counts() == {"load": 1, "replace": 1}
    store.forget()
    log_in(client)
    # The second load is of the page that shows it; what is created is the tombstone.
    assert store.counts() == {"load": 2, "rotate": 1, "create": 1}


def test_a_request_that_does_not_look_costs_nothing(client: Client, store: CountingStore) -> None:
    log_in(client)
    store.forget()
    answer = client.get("/nothing")
    assert store.counts() == {}
    assert "Cookie" not in answer.get("Vary", "")
    assert "sessionid" not in answer.cookies


def test_who_stores_nothing_gets_no_session(client: Client, store: CountingStore) -> None:
    assert seen_by(client) == {}
    assert client.cookies == {}
    assert store.counts() == {}


def test_a_session_that_is_emptied_stays(client: Client) -> None:
    session = stored(a=1)
    del session["a"]
    assert not session.is_empty()
    session.save()
    assert again(session).exists(session.session_key)
    assert dict(again(session).items()) == {}


def test_clear_drops_what_others_add_meanwhile_and_keeps_the_session(store: CountingStore) -> None:
    session = stored(a=1)
    other = again(session)
    other["b"] = 2
    session.clear()
    other.save()
    session["c"] = 3
    session.save()
    assert dict(again(session).items()) == {"c": 3}


def test_a_failed_request_saves_nothing(client: Client) -> None:
    client.get("/put", {"key": "a", "value": "1"})
    client.get("/put", {"key": "a", "value": "2", "status": "500"})
    assert seen_by(client) == {"a": "1"}


# What has ended does not come back.


@pytest.mark.parametrize("end", [SessionStore.delete, SessionStore.flush], ids=["delete", "flush"])
def test_a_slow_write_does_not_bring_back_a_session_that_has_ended(
    store: CountingStore, end: Callable[[SessionStore], None]
) -> None:
    session = stored(a=1)
    slow = again(session)
    slow["b"] = 2
    end(again(session))
    with pytest.raises(UpdateError):
        slow.save()
    assert not slow.exists(session.session_key)


def test_a_save_that_changes_nothing_does_not_bring_back_a_session_either(store: CountingStore) -> None:
    session = stored(a=1)
    slow = again(session)
    assert slow["a"] == 1
    again(session).flush()
    with pytest.raises(UpdateError):
        slow.save()


def test_what_was_deleted_cannot_be_saved_and_what_was_flushed_begins_anew(store: CountingStore) -> None:
    session = stored(a=1)
    session.delete()
    with pytest.raises(UpdateError):
        session.save()
    session = stored(a=1)
    key = session.session_key
    session.flush()
    session["b"] = 2
    session.save()
    assert session.session_key not in (key, None)
    assert dict(again(session).items()) == {"b": 2}


def test_a_session_ends_also_between_its_new_key_and_the_save(store: CountingStore) -> None:
    session = stored(a=1)
    key = session.session_key
    session.cycle_key()
    session.delete(session.session_key)
    assert not SessionStore().exists(key)


def test_a_key_that_is_being_replaced_opens_nothing_any_more(store: CountingStore) -> None:
    session = stored(a=1)
    key = session.session_key
    session.cycle_key()
    assert not session.exists(key)
    assert session.exists(stored(b=2).session_key)


def test_another_session_ends_by_its_key(store: CountingStore) -> None:
    one, other = stored(a=1), stored(b=2)
    one.delete(other.session_key)
    one.delete("no key of ours")
    one.delete(one.session_key[:-1] + "!")
    assert one.exists(one.session_key)
    assert not one.exists(other.session_key)


# The key.


def test_cycle_key_is_one_rotation_that_kills_the_old_key_with_the_save(store: CountingStore) -> None:
    session = stored(a=1)
    handle, key = session.handle, session.session_key
    session.cycle_key()
    session.cycle_key()
    assert session.session_key != key
    assert SessionStore().exists(key)
    store.forget()
    session.save()
    assert store.counts() == {"rotate": 1, "create": 1}
    assert not SessionStore().exists(key)
    assert again(session).handle == handle
    assert dict(again(session).items()) == {"a": 1}


def test_a_login_that_fails_leaves_the_visitor_the_session_he_had(client: Client) -> None:
    client.get("/put", {"key": "cart", "value": "tea"})
    assert client.get("/login", {"name": "ann", "status": "500"}).status_code == 500
    shown = page(client)
    assert (shown["user"], shown["session"]) == ("", {"cart": "tea"})


def test_who_comes_with_a_key_just_replaced_keeps_the_cookie_and_writes_nothing(client: Client) -> None:
    client.get("/put", {"key": "cart", "value": "tea"})
    late = visitor()
    late.cookies["sessionid"] = cookie(client).value
    log_in(client)
    answer = late.get("/")
    assert answer.json()["session"] == {}
    assert "sessionid" not in answer.cookies, "it would replace the cookie that the login has just set"
    answer = late.get("/put", {"key": "a", "value": "1"})
    assert (answer.status_code, "sessionid" in answer.cookies) == (400, False)
    answer = late.get("/logout")
    assert (answer.status_code, "sessionid" in answer.cookies) == (200, False)
    assert page(client)["user"] == "ann"
    assert log_in(late)["user"] == "ann"


def test_a_cookie_that_opens_nothing_stays_until_the_logout(client: Client, store: CountingStore) -> None:
    session = stored(a=1)
    session.delete()
    for value in (session.session_key, session.session_key[:-1] + "!", "somebody else's"):
        client.cookies["sessionid"] = value
        answer = client.get("/")
        assert (answer.json()["session"], "sessionid" in answer.cookies) == ({}, False), value
        assert client.get("/logout").cookies["sessionid"]["max-age"] == 0, value


def test_a_key_that_we_did_not_sign_costs_no_store_call(client: Client, store: CountingStore) -> None:
    client.cookies["sessionid"] = "A" * 43 + "." + "A" * 43
    assert seen_by(client) == {}
    assert store.counts() == {}


def test_where_every_request_saves_a_cookie_that_opens_nothing_makes_no_session(
    client: Client, store: CountingStore
) -> None:
    client.cookies["sessionid"] = "A" * 43 + "." + "A" * 43
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        assert client.get("/").cookies["sessionid"]["max-age"] == 0
    assert store.counts() == {}


def test_the_client_never_chooses_the_key(client: Client) -> None:
    client.cookies["sessionid"] = "chosen-by-the-client"
    client.get("/put", {"key": "a", "value": "1"})
    assert cookie(client).value != "chosen-by-the-client"
    assert seen_by(client) == {"a": "1"}


def test_create_stores_a_second_session_and_leaves_the_first(store: CountingStore) -> None:
    session = stored(a=1)
    first = session.session_key
    session["b"] = 2
    session.create()
    assert dict(again(session).items()) == {"a": 1, "b": 2}
    assert dict(SessionStore(first).items()) == {"a": 1}


def test_no_key_is_at_rest(client: Client, store: CountingStore) -> None:
    log_in(client)
    anonymous = stored(a=1)
    for key in (cookie(client).value, anonymous.session_key):
        token, signature = key.split(".")
        for part in (token, signature):
            assert part not in repr(store.seen)
            assert part not in repr(page(client))


def test_after_a_change_of_the_secret_nobody_has_to_log_in_again(client: Client) -> None:
    log_in(client)
    stranger = visitor()
    stranger.get("/put", {"key": "cart", "value": "tea"})
    late = visitor()
    late.cookies["sessionid"] = cookie(client).value
    with override_settings(SECRET_KEY=NEW_SECRET, SECRET_KEY_FALLBACKS=[SECRET]):
        assert page(client)["user"] == "ann"
        assert page(late)["user"] == "", "Django has changed the key with the secret"
        assert seen_by(stranger) == {"cart": "tea"}
    with override_settings(SECRET_KEY=NEW_SECRET):
        assert page(client)["user"] == "ann"
        assert seen_by(stranger) == {"cart": "tea"}
    assert seen_by(stranger) == {}


# Users.


def test_a_login_keeps_the_cart_and_has_another_key(client: Client) -> None:
    client.get("/put", {"key": "cart", "value": "tea"})
    before = cookie(client).value
    shown = log_in(client)
    assert (shown["user"], shown["session"]) == ("ann", {"cart": "tea"})
    assert cookie(client).value != before
    assert not SessionStore().exists(before)


def test_another_user_gets_nothing_of_the_first_ones(client: Client) -> None:
    log_in(client)
    client.get("/put", {"key": "secret", "value": "ann's"})
    shown = log_in(client, "bob")
    assert (shown["user"], shown["session"]) == ("bob", {})
    assert sessions().of(user_id("ann")) == []
    assert [info.handle for info in sessions().of(user_id("bob"))] == [shown["handle"]]


def test_a_logout_ends_the_session_everywhere_and_removes_the_cookie(client: Client) -> None:
    log_in(client)
    copy = visitor()
    copy.cookies["sessionid"] = cookie(client).value
    client.get("/logout")
    assert cookie(client)["max-age"] == 0
    assert page(copy)["user"] == ""
    assert sessions().of(user_id()) == []


def test_a_users_devices_are_listed_and_logged_out_one_by_one_or_all(client: Client) -> None:
    phone, laptop = visitor(), visitor()
    handles = [log_in(device)["handle"] for device in (client, phone, laptop)]
    log_in(visitor(), "bob")
    listed = sessions().of(user_id())
    assert {info.handle for info in listed} == set(handles)
    assert sessions().revoke(user_id(), handles[1])
    assert [page(device)["user"] for device in (client, phone, laptop)] == ["ann", "", "ann"]
    assert sessions().revoke_all(user_id(), keep=handles[0]) == 1
    assert [page(device)["user"] for device in (client, phone, laptop)] == ["ann", "", ""]
    assert len(sessions().of(user_id("bob"))) == 1


def test_a_new_password_logs_out_all_devices_but_this_one(client: Client) -> None:
    user = get_user_model().objects.create_user("eve", "eve@example.com", "eve")
    try:
        other = visitor()
        log_in(client, "eve")
        handle = log_in(other, "eve")["handle"]
        client.get("/password", {"password": "another"})
        assert page(client)["user"] == "eve"
        assert page(other)["user"] == ""
        assert handle not in {info.handle for info in sessions().of({"id": user.pk})}
    finally:
        user.delete()


def test_a_user_who_was_put_there_by_hand_is_found_too(store: CountingStore) -> None:
    session = stored(a=1)
    key = session.session_key
    session["_auth_user_id"] = "77"
    session.save()
    assert [info.handle for info in sessions().of({"id": 77})] == [session.handle]
    assert not SessionStore().exists(key), "a login has another key"


def test_a_login_in_a_test_client_is_one(client: Client) -> None:
    client.force_login(get_user_model().objects.get(username="ann"))
    assert page(client)["user"] == "ann"
    assert len(sessions().of(user_id())) == 1
    client.logout()
    assert page(client)["user"] == ""


@pytest.mark.parametrize("storage", ["session.SessionStorage", "cookie.CookieStorage", "fallback.FallbackStorage"])
def test_messages_are_shown_once(client: Client, storage: str) -> None:
    with override_settings(MESSAGE_STORAGE=f"django.contrib.messages.storage.{storage}"):
        client.get("/say", {"text": "Saved."})
        client.get("/say", {"text": "Sent."})
        assert client.get("/said").json() == ["Saved.", "Sent."]
        assert client.get("/said").json() == []


def test_an_asynchronous_login_is_one_too(store: CountingStore) -> None:
    user = get_user_model().objects.get(username="ann")

    async def visit() -> list[str]:
        client = AsyncClient()
        await client.aforce_login(user)
        before = await client.get("/")
        await client.alogout()
        return [answer.json()["user"] for answer in (before, await client.get("/"))]

    assert async_to_sync(visit)() == ["ann", ""]


def test_what_happens_is_told(store: CountingStore) -> None:
    told: list[str] = []
    with override_settings(WSGI_SESSION_OPTIONS={"on_event": lambda name, data: told.append(name)}):
        client = visitor()
        client.cookies["sessionid"] = "A" * 87
        client.get("/put", {"key": "a", "value": "1"})
        client.get("/login", {"name": "ann"})
        client.get("/logout")
    assert told == ["tampered", "created", "logged_in", "rotated", "destroyed"]


# How long it lives.


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
    client.cookies["sessionid"] = session.session_key
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


def test_a_store_that_wants_to_be_swept_is(store: CountingStore) -> None:
    store.sweep_due = True
    stored(a=1)
    assert not store.sweep_due


# Values.


def test_values_come_back_as_what_they_were(store: CountingStore) -> None:
    values = {"tuple": (1, 2), "date": datetime(2026, 11, 23, tzinfo=timezone.utc), "bytes": b"\0", "map": {1: {2, 3}}}
    assert dict(again(stored(**values)).items()) == values


@pytest.mark.parametrize("value", [lazystr("later"), mark_safe("<b>"), object()], ids=["lazy", "safe", "object"])
def test_what_cannot_be_kept_is_a_type_error_where_it_is_assigned(store: CountingStore, value: object) -> None:
    session = SessionStore()
    with pytest.raises(UnsupportedValue, match=r"cart\[0\]") as caught:
        session["cart"] = [value]
    assert isinstance(caught.value, TypeError)


def test_what_cannot_be_kept_inside_a_value_is_named_and_nothing_is_saved(store: CountingStore) -> None:
    session = again(stored(list=[]))
    session["list"].append(object())
    with pytest.raises(UnsupportedValue, match=r"list\[0\]"):
        assert session.modified
    with pytest.raises(UnsupportedValue, match=r"list\[0\]"):
        session.save()
    assert again(session)["list"] == []


def test_a_record_that_cannot_be_read_is_an_empty_session(client: Client, store: CountingStore) -> None:
    session = stored(a=1, _session_expiry=60)
    bearer = session._open(session.session_key)
    assert bearer is not None
    record = store.load(bearer.key, time.time())
    assert record is not None
    for data in (record.data.replace(b"\x3c", b"\xc1"), record.data[:-1]):
        broken = record._replace(data=data, version=data[:16])
        store.delete(bearer.key)
        store.create(bearer.key, broken, time.time())
        client.cookies["sessionid"] = session.session_key
        assert seen_by(client) == {}


# An outage.


@pytest.mark.parametrize("call", ["load", "replace"])
def test_an_outage_is_a_server_error_and_costs_nobody_the_session(
    client: Client, store: CountingStore, call: str
) -> None:
    log_in(client)
    store.fail(call)
    answer = client.get("/put", {"key": "a", "value": "1"})
    assert (answer.status_code, "sessionid" in answer.cookies) == (500, False)
    store.recover()
    shown = page(client)
    assert (shown["user"], shown["session"]) == ("ann", {})


# The helpers.


def test_the_helpers_know_djangos_user(client: Client) -> None:
    assert page(client)["helpers"] == [None, None]
    answer = client.get("/profile", {"tab": "1"})
    assert (answer.status_code, answer["Location"]) == (302, "/login?next=/profile%3Ftab%3D1")
    assert answer["Cache-Control"] == "no-store"
    log_in(client)
    assert page(client)["helpers"] == [{**user_id(), "name": "ann", "email": "ann@example.com"}, "ann@example.com"]
    assert client.get("/profile").content == b"ann@example.com"


def test_the_helpers_take_a_users_full_name_and_any_user_model(store: CountingStore) -> None:
    class Minimal:
        pk, is_authenticated = 7, True

        def get_username(self) -> str:
            return "min"

        def get_email_field_name(self) -> str:
            return "mail"

    request = prepared()
    visitor = request.META["session"]
    assert visitor.get("user", "nobody") == "nobody"
    request.user = Minimal()
    assert visitor.get("user") == {"id": 7, "name": "min", "email": None}
    request.user = get_user_model()(first_name="Ann", last_name="Lee", username="al", email="al@example.com", pk=8)
    assert visitor.get("user") == {"id": 8, "name": "Ann Lee", "email": "al@example.com"}


def test_without_users_the_helpers_see_the_session(store: CountingStore) -> None:
    request = prepared()
    del request.user
    assert user_email_or_none(request) is None
    request.session["user"] = {"email": "ann@example.com"}
    assert user_email_or_none(request) == "ann@example.com"
    with pytest.raises(SessionMissing):
        get_session(request)


def prepared() -> Any:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    request.user = get_user(request)
    HelpersMiddleware(lambda request: None).process_request(request)  # type: ignore[arg-type,return-value]
    return request


def test_around_all_of_django_our_middleware_serves_all_helpers(store: CountingStore) -> None:
    request = RequestFactory().get("/")
    session = request.META["session"] = Session(backend(), request.META)
    HelpersMiddleware(lambda request: None).process_request(request)  # type: ignore[arg-type,return-value]
    assert get_session(request) is session


# The settings.


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"WSGI_SESSION_STORE": ""}, "WSGI_SESSION_STORE"),
        ({"WSGI_SESSION_STORE": "nosuch://"}, "nosuch"),
        ({"WSGI_SESSION_STORE": "cookie://"}, "cookie://"),
        ({"SECRET_KEY": "too short"}, "SECRET_KEY"),
        ({"WSGI_SESSION_OPTIONS": {"idle_timeout": 60, "cookie_path": "/"}}, "cookie_path, idle_timeout"),
        ({"WSGI_SESSION_OPTIONS": {"absolute_timeout": -1}}, "absolute_timeout"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], named: str) -> None:
    set_up()
    with override_settings(**wrong), pytest.raises(ImproperlyConfigured, match=named):
        SessionStore()


def test_a_cookie_name_with_a_prefix_is_djangos_business(store: CountingStore) -> None:
    with override_settings(SESSION_COOKIE_NAME="__Host-sessionid"):
        assert again(stored(a=1)).get("a") == 1


def test_sites_with_two_cookie_names_share_nothing_in_one_store(store: CountingStore) -> None:
    session = stored(a=1)
    with override_settings(SESSION_COOKIE_NAME="other"):
        assert "a" not in again(session)


def test_threads_that_come_first_make_one_store_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up()
    lock, arrived = Lock(), Semaphore(0)

    class Door:
        def __enter__(self) -> None:
            arrived.release()
            lock.acquire()

        def __exit__(self, *error: object) -> None:
            lock.release()

    class Options(dict[str, Any]):
        def keys(self) -> Any:
            assert all(arrived.acquire(timeout=30) for _ in range(2)), "the other thread never came to the door"
            return super().keys()

    monkeypatch.setattr(django_site, "_making", Door())
    with override_settings(WSGI_SESSION_STORE="memory://", WSGI_SESSION_OPTIONS=Options()):
        one, other = at_once([backend, backend])
    assert one.store is other.store


def test_a_store_from_a_url_is_closed_when_a_test_puts_another_in_its_place(tmp_path: Path) -> None:
    set_up()
    with override_settings(WSGI_SESSION_STORE=f"sqlite:///{tmp_path}/sessions.db"):
        session = stored(a=1)
        opened = backend().store
    with pytest.raises(StoreUnavailable, match="closed"):
        opened.load(b"k" * 32, 0)
    with override_settings(WSGI_SESSION_STORE="memory://"):
        assert "a" not in again(session)
