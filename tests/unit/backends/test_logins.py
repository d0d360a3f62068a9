"""A user's other logins, where the store cannot list them."""

from __future__ import annotations

from typing import Any

import pytest

from wsgi_session import SessionMiddleware
from wsgi_session.config.keygen import new_secret
from wsgi_session.middleware import internals_of

OWNER = b"o" * 32


def backend_of(url: str) -> Any:
    return internals_of(SessionMiddleware(lambda environ, start_response: [], secret=new_secret(), store=url)).backend


def test_a_store_that_cannot_list_a_users_sessions_knows_no_other_login() -> None:
    backend = backend_of("memory://")
    backend.store = object()
    assert backend.logins_of(OWNER, 0.0) == []


def test_sessions_in_the_cookie_are_in_other_browsers_and_cannot_be_ended() -> None:
    pytest.importorskip("cryptography", reason="pip install 'wsgi-session[crypto]'")
    backend = backend_of("cookie://")
    assert backend.logins_of(OWNER, 0.0) == []
    assert backend.end_logins(OWNER, ["handle"], 0.0) == 0
