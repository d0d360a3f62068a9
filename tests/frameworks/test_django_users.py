"""``django.contrib.auth`` and messages over our engine, and who the visitor is to our helpers."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user, get_user_model, login
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from tests.frameworks.django_site import store
from tests.frameworks.django_visitor import client, clock, cookie, log_in, page, seen_by, stored, user_id, visitor
from tests.support.stores import CountingStore
from wsgi_session import (
    Session,
    SessionMissing,
    confirm,
    describe_device,
    get_session,
    redirect_unless_fresh,
    user_email_or_none,
)
from wsgi_session.integrations.django import HelpersMiddleware, SessionStore, sessions
from wsgi_session.integrations.django_site import backend
from wsgi_session.request.work import Work
from wsgi_session.testing import FakeClock

__all__ = ["client", "clock", "store"]


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


def test_a_login_is_fresh_for_a_time_and_can_be_confirmed(
    client: Client, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wsgi_session")
    assert client.get("/secret").headers["Location"] == "/login?next=/secret"
    assert client.get("/confirm", {"method": "totp"}).json() == {"done": False}
    log_in(client)
    assert client.get("/secret").json() == {"confirmed": None}
    clock.advance(900)
    assert client.get("/secret").headers["Location"] == "/confirm?next=/secret"
    before, handle = cookie(client).value, page(client)["handle"]
    assert client.get("/confirm", {"method": "totp"}).json() == {"done": True}
    assert cookie(client).value != before
    assert not SessionStore().exists(before)
    assert page(client)["handle"] == handle
    owner = f"id:{user_id('ann')['id']}"
    told = [line for line in caplog.messages if line.startswith("confirmed")]
    assert told == [f"confirmed handle={handle!r} owner={owner!r} method='totp'"]
    assert client.get("/secret", {"method": "totp"}).json() == {"confirmed": "totp"}
    assert client.get("/secret", {"method": "password"}).status_code == 302
    log_in(client)
    assert client.get("/secret", {"method": "totp"}).status_code == 302


def test_a_login_describes_its_device_and_displaces_the_oldest(store: CountingStore) -> None:
    events: list[tuple[str, Any]] = []
    options = {
        "describe": describe_device,
        "max_sessions": 1,
        "on_event": lambda name, data: events.append((name, data.get("new_device"))),
    }
    with override_settings(WSGI_SESSION_OPTIONS=options):
        phone, laptop = visitor(), visitor()
        phone.get("/login", {"name": "ann"}, headers={"user-agent": "Safari/604.1 (iPhone)"})
        shown = log_in(laptop)
        (info,) = sessions().of(user_id("ann"), current=shown["handle"])
        assert (info.about, info.current) == ("A browser, IPv4", True)
        assert page(phone)["user"] == ""
    assert [name for name, _ in events if name == "displaced"] == ["displaced"]
    assert [new for name, new in events if name == "logged_in"] == [True, True]


def test_a_login_whose_device_cannot_be_described_is_no_login(client: Client) -> None:
    client.get("/put", {"key": "cart", "value": "tea"})
    with override_settings(WSGI_SESSION_OPTIONS={"describe": lambda environ: environ["HTTP_NO_SUCH_HEADER"]}):
        assert client.get("/login", {"name": "ann"}).status_code == 500
        assert page(client)["session"] == {"cart": "tea"}
        request = RequestFactory().get("/")
        request.session = SessionStore(cookie(client).value)  # type: ignore[attr-defined]
        user = get_user_model().objects.get(username="ann")
        with pytest.raises(KeyError):
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        request.session.save()
        assert get_user(request).is_anonymous
    assert page(client)["user"] == ""
    assert sessions().of(user_id("ann")) == []


def test_a_logout_at_the_identity_provider_ends_the_login_that_was_filed(client: Client) -> None:
    assert client.get("/login", {"name": "ann", "provider_session": "sid-1"}).status_code == 200
    assert page(client)["user"] == "ann"
    assert sessions().revoke_provider_session("sid-1") == 1
    assert page(client)["user"] == ""


def test_a_session_of_another_engine_cannot_be_confirmed(client: Client) -> None:
    from django.contrib.sessions.backends.signed_cookies import SessionStore as Cookies

    request = RequestFactory().get("/")
    request.session, request.user = Cookies(), get_user_model().objects.get(username="ann")
    HelpersMiddleware(lambda request: HttpResponse()).process_request(request)
    for helper in (confirm, redirect_unless_fresh):
        with pytest.raises(SessionMissing):
            helper(request)


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
    user = get_user_model().objects.create_user("eve", "eve@example.com", "eve")  # type: ignore[attr-defined]
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
    # When they have proved who they are is not known.
    assert (session.confirmed, session.is_fresh(900)) == (None, False)
    session.create()
    assert (session["_auth_user_id"], session.is_fresh(900)) == ("77", False)


def test_a_user_who_is_put_there_again_by_hand_after_a_clear_gets_another_key(store: CountingStore) -> None:
    session = stored(_auth_user_id="77")
    session.clear()
    session.save()
    planted = session.session_key
    session["_auth_user_id"] = "77"
    session.save()
    assert not SessionStore().exists(planted)
    assert [info.handle for info in sessions().of({"id": 77})] == [session.handle]


def test_a_login_in_a_test_client_logs_in(client: Client) -> None:
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


def test_an_asynchronous_login_counts_as_a_login(store: CountingStore) -> None:
    user = get_user_model().objects.get(username="ann")

    async def visit() -> list[str]:
        client = AsyncClient()
        await client.aforce_login(user)
        before = await client.get("/")
        await client.alogout()
        return [answer.json()["user"] for answer in (before, await client.get("/"))]

    assert async_to_sync(visit)() == ["ann", ""]


def test_events_are_reported(store: CountingStore) -> None:
    told: list[str] = []
    with override_settings(WSGI_SESSION_OPTIONS={"on_event": lambda name, data: told.append(name)}):
        client = visitor()
        client.cookies["sessionid"] = "A" * 87
        client.get("/put", {"key": "a", "value": "1"})
        client.get("/login", {"name": "ann"})
        client.get("/logout")
    assert told == ["tampered", "created", "logged_in", "rotated", "destroyed"]


def test_an_event_names_the_user_and_the_stores_calls_are_told_on_request(store: CountingStore) -> None:
    told: list[tuple[str, Any]] = []
    options = {"on_event": lambda name, data: told.append((name, dict(data))), "report_store_calls": True}
    with override_settings(WSGI_SESSION_OPTIONS=options):
        client = visitor()
        client.get("/login", {"name": "ann"})
    (login,) = [data for name, data in told if name == "logged_in"]
    assert login["owner"] == f"id:{get_user_model().objects.get(username='ann').pk}"
    assert "create" in [data["operation"] for name, data in told if name == "store_call"]


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
    HelpersMiddleware(lambda request: HttpResponse()).process_request(request)  # type: ignore[arg-type,return-value]
    return request


def test_around_all_of_django_our_middleware_serves_all_helpers(store: CountingStore) -> None:
    request = RequestFactory().get("/")
    session = request.META["session"] = Session(Work(backend(), request.META))
    HelpersMiddleware(lambda request: HttpResponse()).process_request(request)  # type: ignore[arg-type,return-value]
    assert get_session(request) is session


@pytest.mark.parametrize("name", [None, "ann"])
def test_the_answer_of_another_site_finds_what_the_login_remembers_and_keeps_the_session(
    client: Client, name: str | None
) -> None:
    client.get("/put", {"key": "cart", "value": "tea"})
    before = client.cookies.pop("sessionid")
    state = client.get("/to-other-site").json()["state"]
    (ours,) = client.cookies.values()
    assert ours.key == f"sessionid-login-{state[:12]}"
    assert (ours["path"], ours["max-age"], ours["samesite"], ours["httponly"]) == ("/", "600", "", True)
    form = {"state": state} if name is None else {"state": state, "name": name}
    for expected in ({"next": "/cart"}, None):
        answer = client.post("/from-other-site", form, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.json() == {"found": expected}
        assert "Cookie" in answer.headers["Vary"]
    assert str(client.cookies[ours.key]["max-age"]) == "0"
    if name is None:
        assert "sessionid" not in client.cookies
        client.cookies["sessionid"] = before.value
        assert seen_by(client) == {"cart": "tea"}
    else:
        assert page(client)["user"] == name


def test_over_https_every_site_may_send_the_cookie_of_a_transaction(client: Client) -> None:
    with override_settings(SESSION_COOKIE_SECURE=True):
        client.get("/to-other-site", secure=True)
    (ours,) = client.cookies.values()
    assert ours.key.startswith("__Host-sessionid-login-")
    assert (ours["samesite"], ours["secure"]) == ("None", True)
