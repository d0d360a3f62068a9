"""A visitor of the Django site, and the session as one request after the other sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.cookies import Morsel
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client, override_settings

from tests.support.stores import CountingStore
from wsgi_session.integrations.django import SessionStore
from wsgi_session.testing import FakeClock

DAY = 86_400


@pytest.fixture
def client(store: CountingStore) -> Client:
    """A visitor who gets a server error as an answer, not as an exception."""
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
