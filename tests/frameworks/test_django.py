"""Our promises through Django's ``request.session``: nothing is lost, what has ended does not come back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.db import models
from django.test import Client
from django.utils.datastructures import MultiValueDict
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe

from tests.frameworks.django_site import store
from tests.frameworks.django_visitor import again, client, log_in, page, seen_by, stored
from tests.support.stores import CountingStore
from wsgi_session import UnsupportedValue
from wsgi_session.integrations.django import SessionStore
from wsgi_session.integrations.django_site import backend

__all__ = ["client", "store"]

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
    client.cookies["sessionid"] = session.session_key  # type: ignore[assignment]
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
    # The second load is of the page that shows it.
    assert store.counts() == {"load": 2, "rotate": 1}


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
    one.delete(one.session_key[:-1] + "!")  # type: ignore[index]
    assert one.exists(one.session_key)
    assert not one.exists(other.session_key)


# Values.


def test_values_come_back_as_what_they_were(store: CountingStore) -> None:
    values = {"tuple": (1, 2), "date": datetime(2026, 11, 23, tzinfo=timezone.utc), "bytes": b"\0", "map": {1: {2, 3}}}
    assert dict(again(stored(**values)).items()) == values


class Size(models.TextChoices):
    LARGE = "L"


def test_values_of_djangos_own_types_come_back_as_with_its_json(store: CountingStore) -> None:
    post = MultiValueDict({"a": ["1", "2"]})
    session = stored(post=post, safe=mark_safe("<b>"), size=Size.LARGE)
    assert session["post"] is post
    values = dict(again(session).items())
    assert values == {"post": {"a": "2"}, "safe": "<b>", "size": "L"}
    assert [type(value) for value in values.values()] == [dict, str, str]


@pytest.mark.parametrize("value", [lazystr("later"), object()], ids=["lazy", "object"])
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
    credential = backend().credential_of(session.session_key)
    assert credential is not None
    record = store.load(credential.key, time.time())
    assert record is not None
    for data in (record.data.replace(b"\x3c", b"\xc1"), record.data[:-1]):
        broken = record._replace(data=data, version=data[:16])
        store.delete(credential.key)
        store.create(credential.key, broken, time.time())
        client.cookies["sessionid"] = session.session_key  # type: ignore[assignment]
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
