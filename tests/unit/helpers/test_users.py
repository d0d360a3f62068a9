"""``get_session``, ``user_or_none``, ``login`` and ``logout``."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from tests.support.requests import browser_in_an_outage, make_environ, plain_data, session_in
from tests.support.site import ANN, BOB, Site
from wsgi_session import (
    ConfigError,
    SessionMissing,
    StoreUnavailable,
    get_session,
    login,
    logout,
    user_email_or_none,
    user_or_none,
)


def test_get_session_returns_the_session_and_looks_at_nothing_in_it() -> None:
    browser = Site().browser()

    def handler(environ: dict[str, Any]) -> None:
        assert get_session(environ) is environ["session"]

    browser.call(handler)
    assert "Vary" not in dict(browser.answer.headers)


@pytest.mark.parametrize("session", [None, {}, {"user": ANN}, "x"])
def test_get_session_gives_a_session_or_says_what_to_wrap(session: Any) -> None:
    with pytest.raises(SessionMissing, match="app = SessionMiddleware") as caught:
        get_session(make_environ(session=session))
    assert caught.value.key == "session"


@pytest.mark.parametrize(
    "helper",
    [get_session, user_or_none, user_email_or_none, logout, lambda request: login(request, ANN)],
)
def test_without_the_middleware_every_helper_says_so(helper: Any) -> None:
    with pytest.raises(SessionMissing, match=r"environ\['session'\] is missing"):
        helper(make_environ())


def test_under_another_environ_key_every_helper_finds_it() -> None:
    browser = Site(environ_key="other").browser()

    def handler(environ: dict[str, Any]) -> None:
        login(environ, ANN, key="other")
        assert user_or_none(environ, key="other") == ANN
        assert user_email_or_none(environ, key="other") == "ann@example.com"
        assert get_session(environ, key="other").owner == "id:1"
        logout(environ, key="other")
        assert user_or_none(environ, key="other") is None

    browser.call(handler)


@pytest.mark.parametrize("mapping", [dict, OrderedDict, UserDict])
def test_any_mapping_will_do_as_a_session(mapping: Any) -> None:
    environ = make_environ(session=mapping(user=mapping(ANN)))
    assert user_or_none(environ) == mapping(ANN)
    assert user_email_or_none(environ) == "ann@example.com"


class Text(str):
    """A subclass of ``str``."""


NO_USERS: list[Any] = [None, {}, [], "ann@example.com", 5, 0, "", b"ann", ["email"], True]
NO_EMAILS: list[Any] = [None, "", 0, 5, False, True, [], ["ann"], b"a@b", b"", {}]


@pytest.mark.parametrize(
    "session",
    [
        {},
        {"cart": [1]},
        *({"user": user} for user in NO_USERS),
        *({"user": {"email": email}} for email in NO_EMAILS),
        {"user": {"name": "Ann"}},
    ],
)
def test_the_email_is_a_text_or_none_and_never_another_falsy_value(session: dict[str, Any]) -> None:
    assert user_email_or_none(make_environ(session=session)) is None


def test_the_email_of_a_text_type_of_its_own_is_plain_text() -> None:
    email = user_email_or_none(make_environ(session={"user": {"email": Text("ann@example.com")}}))
    assert (type(email), email) == (str, "ann@example.com")


@pytest.mark.parametrize("user", [None, {}, [], "ann", 5, True, b"ann", ["id"]])
def test_a_user_that_is_not_a_mapping_is_not_logged_in(user: Any) -> None:
    assert user_or_none(make_environ(session={"user": user})) is None
    assert user_or_none(make_environ(session={})) is None


@given(plain_data)
def test_nothing_that_an_application_stored_makes_an_exception(user: Any) -> None:
    for session in ({"user": user}, {"user": {"email": user}}):
        email = user_email_or_none(make_environ(session=session))
        assert email is None or (type(email) is str and email)
        found = user_or_none(make_environ(session=session))
        assert found is None or found == session["user"]


def test_a_user_put_there_by_hand_is_logged_in() -> None:
    browser = Site().browser()
    browser.call(lambda environ: session_in(environ).update(user=ANN))
    assert browser.call(user_email_or_none) == "ann@example.com"
    assert browser.call(lambda environ: session_in(environ).owner) is None


def test_a_login_is_there_in_the_next_request_and_a_logout_ends_it() -> None:
    browser = Site().browser()
    assert browser.call(user_or_none) is None
    browser.call(lambda environ: login(environ, ANN))
    assert browser.call(user_or_none) == ANN
    assert browser.call(user_email_or_none) == "ann@example.com"
    assert browser.call(lambda environ: session_in(environ).owner) == "id:1"
    kept = browser.header
    browser.call(logout)
    assert browser.call(user_or_none) is None
    browser.header = kept
    assert browser.call(user_or_none) is None


def test_a_login_changes_the_token_and_keeps_what_was_collected_before() -> None:
    browser = Site().browser()
    browser.call(lambda environ: session_in(environ).update(cart=["book"]))
    before = browser.header
    browser.call(lambda environ: login(environ, ANN))
    assert browser.header not in ("", before)
    assert browser.call(lambda environ: session_in(environ).copy()) == {"cart": ["book"], "user": ANN}
    browser.call(lambda environ: login(environ, BOB))
    assert browser.call(lambda environ: session_in(environ).copy()) == {"user": BOB}


def test_what_is_changed_in_the_user_is_saved() -> None:
    browser = Site().browser()
    browser.call(lambda environ: login(environ, dict(ANN)))

    def rename(environ: dict[str, Any]) -> None:
        user: Any = user_or_none(environ)
        user["name"] = "Anna"

    browser.call(rename)
    assert browser.call(user_or_none) == {**ANN, "name": "Anna"}


@pytest.mark.parametrize("mapping", [OrderedDict, UserDict])
def test_any_mapping_can_log_in_and_is_kept_as_a_dict(mapping: Any) -> None:
    browser = Site().browser()
    browser.call(lambda environ: login(environ, mapping(ANN)))
    user = browser.call(user_or_none)
    assert type(user) is dict
    assert user == ANN


def test_the_user_of_a_login_is_the_object_that_was_given() -> None:
    def handler(environ: dict[str, Any]) -> None:
        user = dict(ANN)
        login(environ, user)
        assert user_or_none(environ) is user

    Site().browser().call(handler)


@pytest.mark.parametrize(
    ("remember", "persistent", "kept"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_remember_decides_whether_the_cookie_outlives_the_browser(
    remember: bool | None, persistent: bool, kept: bool
) -> None:
    browser = Site(cookie_persistent=persistent).browser()
    browser.call(lambda environ: login(environ, ANN, remember=remember))
    (cookie,) = browser.answer.cookies
    assert ("max-age" in cookie.attributes) == kept, cookie


@pytest.mark.parametrize("idle", [60, 60.0, timedelta(minutes=1)])
def test_a_login_can_be_given_a_shorter_life(idle: Any) -> None:
    browser = Site().browser()
    browser.call(lambda environ: login(environ, ANN, idle_timeout=idle))
    browser.site.clock.advance(59)
    assert browser.call(user_or_none) == ANN
    browser.site.clock.advance(61)
    assert browser.call(user_or_none) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"remember": 1}, "remember=1"),
        ({"remember": "yes"}, "remember='yes'"),
        ({"idle_timeout": 0}, "idle_timeout=0"),
        ({"idle_timeout": -1}, "idle_timeout=-1"),
        ({"idle_timeout": float("inf")}, "idle_timeout=inf"),
        ({"idle_timeout": float("nan")}, "idle_timeout=nan"),
        ({"idle_timeout": True}, "idle_timeout=True"),
        ({"idle_timeout": "15m"}, "idle_timeout='15m'"),
        ({"idle_timeout": timedelta(0)}, "idle_timeout="),
    ],
)
def test_a_login_with_a_wrong_option_is_refused_and_logs_nobody_in(options: Any, message: str) -> None:
    def handler(environ: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=message):
            login(environ, ANN, **options)
        assert user_or_none(environ) is None

    browser = Site().browser()
    browser.call(handler)
    assert browser.header == ""


@pytest.mark.parametrize("user", [{}, {"name": "Ann"}, None, "ann", [("id", 5)], {"email": ""}])
def test_a_login_without_id_and_email_is_refused(user: Any) -> None:
    def handler(environ: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            login(environ, user)
        assert user_or_none(environ) is None

    browser = Site().browser()
    browser.call(handler)
    assert browser.header == ""


def test_a_logout_without_a_user_does_no_harm() -> None:
    browser = Site().browser()
    browser.call(logout)
    assert browser.answer.status == "200 OK"


@pytest.mark.parametrize("helper", [user_or_none, user_email_or_none, logout, lambda request: login(request, ANN)])
def test_an_outage_does_not_log_the_visitor_out(helper: Any) -> None:
    def look(environ: dict[str, Any]) -> None:
        with pytest.raises(StoreUnavailable):
            helper(environ)

    browser = browser_in_an_outage()
    cookie = browser.header
    browser.call(look)
    assert browser.header == cookie
    assert browser.answer.cookies == []
