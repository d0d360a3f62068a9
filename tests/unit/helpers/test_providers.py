"""``set_provider_session``: what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.site import ANN, Site
from wsgi_session import ConfigError, SessionMissing, login, set_provider_session


def test_it_needs_a_login_in_the_same_request_and_a_name() -> None:
    browser = Site().browser()

    def attempt(environ: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="after the login, in the same request"):
            set_provider_session(environ, "sid-1")
        login(environ, ANN)
        with pytest.raises(ConfigError, match="empty: give the text"):
            set_provider_session(environ, "")
        set_provider_session(environ, "sid-1")

    browser.call(attempt)
    browser.call(lambda environ: environ["session"].rotate())
    assert browser.site.middleware.sessions.revoke_provider_session("sid-1") == 1

    def too_late(environ: dict[str, Any]) -> None:
        login(environ, ANN)

    browser.call(too_late)
    with pytest.raises(ConfigError, match="after the login, in the same request"):
        browser.call(lambda environ: set_provider_session(environ, "sid-1"))


def test_it_needs_a_session_of_this_package() -> None:
    with pytest.raises(SessionMissing):
        set_provider_session({"session": {"user": ANN}}, "sid-1")
