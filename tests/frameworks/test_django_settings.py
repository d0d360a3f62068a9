"""The settings of Django's engine."""

from __future__ import annotations

from pathlib import Path
from threading import Lock, Semaphore
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.frameworks.django_site import SECRET, set_up, store
from tests.frameworks.django_visitor import again, stored
from tests.support.stores import CountingStore
from wsgi_session import StoreUnavailable
from wsgi_session.codec.sealed import looks_sealed
from wsgi_session.integrations import django_site
from wsgi_session.integrations.django import SessionStore
from wsgi_session.integrations.django_site import backend
from wsgi_session.stores import Record
from wsgi_session.testing.harness import run_concurrently

__all__ = ["store"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"WSGI_SESSION_STORE": ""}, "WSGI_SESSION_STORE"),
        ({"WSGI_SESSION_STORE": "nosuch://"}, "nosuch"),
        ({"WSGI_SESSION_STORE": "cookie://"}, "cookie://"),
        ({"WSGI_SESSION_OPTIONS": {"idle_timeout": 60, "cookie_path": "/"}}, "cookie_path, idle_timeout"),
        ({"WSGI_SESSION_OPTIONS": {"absolut_timeout": 60}}, "absolut_timeout.* Did you mean absolute_timeout"),
        ({"WSGI_SESSION_OPTIONS": {"absolute_timeout": -1}}, "absolute_timeout"),
        # Django reads and sets the cookie itself.
        ({"WSGI_SESSION_OPTIONS": {"transport": "header"}}, "unknown options: transport"),
        ({"WSGI_SESSION_OPTIONS": {"namespace": str}}, "unknown options: namespace"),
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

    monkeypatch.setattr(django_site, "_lock", Door())
    with override_settings(WSGI_SESSION_STORE="memory://", WSGI_SESSION_OPTIONS=Options()):
        one, other = run_concurrently([backend, backend])
    assert one.store is other.store


@pytest.mark.parametrize(
    "other",
    [
        {"SECRET_KEY": "short"},
        {"SECRET_KEY": "short", "SECRET_KEY_FALLBACKS": [SECRET]},
        {"SESSION_COOKIE_NAME": "other"},
        {"WSGI_SESSION_OPTIONS": {"max_size": 4096}},
    ],
    ids=str,
)
def test_a_test_that_overrides_another_setting_neither_closes_the_store_nor_loses_it(other: dict[str, Any]) -> None:
    set_up()
    with override_settings(WSGI_SESSION_STORE="memory://"):
        session, opened = stored(a=1), backend().store
        with override_settings(**other):
            assert backend().store is opened
            within = stored(b=2)
            session["c"] = 3
            session.save()
            assert again(within).get("b") == 2
        assert backend().store is opened
        assert dict(again(session).items()) == {"a": 1, "c": 3}


def test_a_store_from_a_url_is_closed_when_a_test_puts_another_in_its_place(tmp_path: Path) -> None:
    set_up()
    with override_settings(WSGI_SESSION_STORE=f"sqlite:///{tmp_path}/sessions.db"):
        session = stored(a=1)
        opened = backend().store
    with pytest.raises(StoreUnavailable, match="closed"):
        opened.load(b"k" * 32, 0)
    with override_settings(WSGI_SESSION_STORE="memory://"):
        assert "a" not in again(session)


def test_the_option_encrypt_uses_djangos_secret_keys(store: CountingStore) -> None:
    old, new = settings.SECRET_KEY, "a newer key of Django: " + "k" * 30
    with override_settings(WSGI_SESSION_OPTIONS={"encrypt": True}):
        session = stored(cart=[1])
        session["cart"].append(2)
        session.save()
        records = [record for record in store.seen if isinstance(record, Record)]
        assert records
        assert all(looks_sealed(record.data) for record in records)
        assert dict(again(session).items()) == {"cart": [1, 2]}
    with override_settings(WSGI_SESSION_OPTIONS={"encrypt": True}, SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old]):
        rotated = again(session)
        rotated["seen"] = True
        rotated.save()
    with override_settings(WSGI_SESSION_OPTIONS={"encrypt": True}, SECRET_KEY=new):
        assert dict(again(session).items()) == {"cart": [1, 2], "seen": True}
    with override_settings(WSGI_SESSION_OPTIONS={"encrypt": True}):
        assert dict(again(session).items()) == {}, "the old key alone"


def test_a_short_secret_key_does_for_a_site_that_does_not_encrypt(store: CountingStore) -> None:
    with override_settings(SECRET_KEY="short"):
        assert dict(again(stored(a=1)).items()) == {"a": 1}
        with (
            override_settings(WSGI_SESSION_OPTIONS={"encrypt": True}),
            pytest.raises(ImproperlyConfigured, match="give at least 32"),
        ):
            stored(a=1)
