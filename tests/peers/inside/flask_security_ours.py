"""A plugin for pytest: Flask-Security's tests read our sessions, in place of the cookie in which Flask's own are."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flask.testing import FlaskClient
from flask_ours import middlewares
from werkzeug.http import parse_cookie

from wsgi_session.testing import read


def get_session(response: Any) -> dict[str, Any] | None:
    """Return the session of a response, or ``None``: in the cookie that it sets, or that its request had."""
    values = [parse_cookie(cookie).get("session") for cookie in response.headers.getlist("Set-Cookie")]
    given = [value for value in values if value is not None]
    return _read(given[0] if given else response.request.cookies.get("session"))


def get_existing_session(client: FlaskClient) -> dict[str, Any] | None:
    """Return the session whose cookie the client has, or ``None``."""
    cookie = client.get_cookie("session")
    return None if cookie is None else _read(cookie.value)


def _read(value: str | None) -> dict[str, Any] | None:
    return read(middlewares[-1], f"session={value}") if value else None


# Before its test modules import them from there.
vars(import_module("tests.test_utils")).update(get_session=get_session, get_existing_session=get_existing_session)
