"""``session_key``: who has one, when it changes, and where it is not."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth import user_logged_in
from django.contrib.sessions.backends.base import UpdateError
from django.http import HttpRequest
from django.test import Client, override_settings

from tests.frameworks.django_site import SECRET, store
from tests.frameworks.django_visitor import again, client, cookie, log_in, page, seen_by, stored, user_id, visitor
from tests.support.stores import CountingStore
from wsgi_session.cookies.tokens import new_short_token
from wsgi_session.integrations.django import SessionStore, sessions

__all__ = ["client", "store"]

NEW_SECRET = "django-77e0c5b1d94f4a6ea0f2b8d3c6195e40"


def test_a_session_key_fits_into_a_column_of_40_characters_and_has_200_random_bits(client: Client) -> None:
    log_in(client)
    keys = {str(cookie(client).value), *(str(stored(number=number).session_key) for number in range(50))}
    assert {len(key) for key in keys} == {apps.get_model("sessions.Session")._meta.get_field("session_key").max_length}
    assert len(keys) == 51
    # Each place takes each of 32 characters, which are 5 bits, in one case: a column may ignore the case.
    drawn = [new_short_token().decode() for _ in range(1000)]
    alphabet = set("abcdefghijklmnopqrstuvwxyz234567")
    assert all({token[place] for token in drawn} == alphabet for place in range(40))


def test_cycle_key_is_one_rotation_with_the_save(store: CountingStore) -> None:
    session = stored(a=1)
    handle, key = session.handle, session.session_key
    session.cycle_key()
    session.cycle_key()
    assert session.session_key != key
    store.forget()
    session.save()
    assert store.counts() == {"rotate": 1}
    assert not SessionStore().exists(key)
    assert again(session).handle == handle
    assert dict(again(session).items()) == {"a": 1}


def test_other_code_of_the_request_sees_the_new_key_before_the_save_and_not_the_old_one(store: CountingStore) -> None:
    session = stored(a=1)
    old = session.session_key
    session["b"] = 2
    session.cycle_key()
    second = SessionStore(session.session_key)
    assert dict(second.items()) == {"a": 1, "b": 2}
    assert (second.exists(old), second.exists(session.session_key)) == (False, True)
    assert dict(SessionStore(old).items()) == {}
    second["c"] = 3
    second.save()
    session["d"] = 4
    session.save()
    assert dict(again(session).items()) == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_asynchronous_code_of_the_request_sees_the_new_key_before_the_save_too(store: CountingStore) -> None:
    session = stored(a=1)
    old = session.session_key

    async def look() -> tuple[bool, bool, int | None]:
        await session.acycle_key()
        second = SessionStore(session.session_key)
        return await second.aexists(str(old)), await second.aexists(str(session.session_key)), await second.aget("a")

    assert async_to_sync(look)() == (False, True, 1)


def test_ending_the_old_key_in_the_same_request_does_not_end_the_session(store: CountingStore) -> None:
    """As an application does that allows each user one session, and ends the user's other ones at a login."""
    session = stored(a=1)
    old = session.session_key
    session.cycle_key()
    SessionStore().delete(old)
    session.save()
    assert dict(again(session).items()) == {"a": 1}


def test_ending_the_new_key_in_the_same_request_ends_the_session(store: CountingStore) -> None:
    session = stored(a=1)
    session.cycle_key()
    SessionStore().delete(session.session_key)
    with pytest.raises(UpdateError):
        session.save()
    assert dict(again(session).items()) == {}


def test_a_new_visitors_new_key_opens_the_session_before_the_save(store: CountingStore) -> None:
    session = SessionStore()
    session["a"] = 1
    session.cycle_key()
    assert dict(SessionStore(session.session_key).items()) == {"a": 1}
    session["b"] = 2
    session.save()
    assert dict(again(session).items()) == {"a": 1, "b": 2}


def test_a_session_that_ends_before_its_new_key_is_asked_for_is_not_found_under_it(store: CountingStore) -> None:
    session = stored(a=1)
    parallel = again(session)
    assert parallel["a"] == 1
    session.cycle_key()
    parallel.flush()
    assert not SessionStore().exists(session.session_key)
    with pytest.raises(UpdateError):
        session.save()


def test_a_parallel_request_keeps_the_old_key_until_the_save(store: CountingStore) -> None:
    session = stored(a=1)
    old = session.session_key
    session.cycle_key()
    assert Context().run(lambda: dict(SessionStore(old).items())) == {"a": 1}
    session.save()
    assert Context().run(lambda: dict(SessionStore(old).items())) == {}


def test_the_visitor_of_a_failed_request_keeps_the_old_key_in_the_next_request_of_the_thread(client: Client) -> None:
    session = stored(a=1)
    client.cookies["sessionid"] = session.session_key  # type: ignore[assignment]
    session.cycle_key()  # The request fails here, and its traceback keeps the session alive.
    assert seen_by(client) == {"a": 1}
    # The request has noted the new key, and another one asks whether it is alive.
    assert not SessionStore().exists(session.session_key)
    assert seen_by(client) == {"a": 1}


def test_a_receiver_that_saves_a_login_before_ours_notes_the_key_that_the_visitor_gets(client: Client) -> None:
    noted: list[str | None] = []

    def note(request: HttpRequest, **kwargs: object) -> None:
        request.session.save()
        noted.append(request.session.session_key)

    ours = user_logged_in.receivers
    user_logged_in.receivers = []
    user_logged_in.connect(note)
    user_logged_in.receivers += ours
    try:
        log_in(client)
    finally:
        user_logged_in.receivers = ours
    assert noted == [cookie(client).value]
    assert len(sessions().of(user_id())) == 1
    assert SessionStore(cookie(client).value).is_fresh(900), "the user has just logged in"


def test_a_login_that_fails_leaves_the_visitor_the_old_session(client: Client) -> None:
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
    for value in (session.session_key, session.session_key[:-1] + "!", "somebody else's"):  # type: ignore[index]
        client.cookies["sessionid"] = value  # type: ignore[assignment]
        answer = client.get("/")
        assert (answer.json()["session"], "sessionid" in answer.cookies) == ({}, False), value
        assert client.get("/logout").cookies["sessionid"]["max-age"] == 0, value


def test_a_cookie_that_is_no_key_of_ours_costs_no_store_call(client: Client, store: CountingStore) -> None:
    client.cookies["sessionid"] = "A" * 43 + "." + "A" * 43
    assert seen_by(client) == {}
    assert store.counts() == {}


def test_where_every_request_saves_a_cookie_that_opens_nothing_makes_no_session(
    client: Client, store: CountingStore
) -> None:
    client.cookies["sessionid"] = "A" * 43 + "." + "A" * 43
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        answer = client.get("/")
    assert "sessionid" not in answer.cookies, "a login in a parallel request may just have set it"
    assert "Cookie" in answer["Vary"]
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


@pytest.mark.parametrize("create", [SessionStore.create, lambda session: session.save(must_create=True)])
def test_create_does_not_bring_back_the_key_that_cycle_key_replaced(
    create: Callable[[SessionStore], None], store: CountingStore
) -> None:
    session = stored(a=1)
    old = session.session_key
    session.cycle_key()
    create(session)
    session.save()
    assert Context().run(lambda: dict(SessionStore(old).items())) == {}
    assert dict(again(session).items()) == {"a": 1}


def test_no_key_is_at_rest(client: Client, store: CountingStore) -> None:
    log_in(client)
    anonymous = stored(a=1)
    for key in (str(cookie(client).value), str(anonymous.session_key)):
        assert key not in repr(store.seen)
        assert key not in repr(page(client))


def test_after_a_change_of_the_secret_nobody_has_to_log_in_again_while_django_knows_the_old_one(
    client: Client,
) -> None:
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
    assert page(client)["user"] == "", "it logged in with another secret, and Django forgets that login"
    assert seen_by(stranger) == {"cart": "tea"}
