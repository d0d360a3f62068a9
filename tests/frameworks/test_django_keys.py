"""``session_key``: who has one, when it changes, and where it is not."""

from __future__ import annotations

from django.test import Client, override_settings

from tests.frameworks.django_site import SECRET, store
from tests.frameworks.django_visitor import again, client, cookie, log_in, page, seen_by, stored, visitor
from tests.support.stores import CountingStore
from wsgi_session.integrations.django import SessionStore

__all__ = ["client", "store"]

NEW_SECRET = "django-77e0c5b1d94f4a6ea0f2b8d3c6195e40"


def test_cycle_key_is_one_rotation_that_kills_the_old_key_with_the_save(store: CountingStore) -> None:
    session = stored(a=1)
    handle, key = session.handle, session.session_key
    session.cycle_key()
    session.cycle_key()
    assert session.session_key != key
    assert SessionStore().exists(key)
    store.forget()
    session.save()
    assert store.counts() == {"rotate": 1}
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
    for value in (session.session_key, session.session_key[:-1] + "!", "somebody else's"):  # type: ignore[index]
        client.cookies["sessionid"] = value  # type: ignore[assignment]
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


def test_no_key_is_at_rest(client: Client, store: CountingStore) -> None:
    log_in(client)
    anonymous = stored(a=1)
    for key in (str(cookie(client).value), str(anonymous.session_key)):
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
