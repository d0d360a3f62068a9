"""What Flask-Login promises, over our sessions, and what they add: every login and logout changes the token."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, flash, get_flashed_messages, request, session
from flask_login import (
    FlaskLoginClient,
    LoginManager,
    UserMixin,
    confirm_login,
    current_user,
    fresh_login_required,
    login_fresh,
    login_required,
    login_user,
    logout_user,
)

from tests.frameworks.flask_site import MakeApp, Visitor, clock, make_app, store
from tests.http.stores import CountingStore
from wsgi_session.testing import FakeClock

__all__ = ["clock", "make_app", "store"]
# Flask-Login 0.6.3 asks for the time in a way that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings(r"ignore:datetime.datetime.utcnow\(\):DeprecationWarning:flask_login")


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


USERS = {name: User(name) for name in ("ann", "bob")}


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return with_logins(make_app())


def with_logins(app: Flask) -> Flask:
    manager = LoginManager(app)
    manager.login_view = "log_in"
    manager.user_loader(USERS.get)
    app.add_url_rule("/login", "log_in", lambda: "Please log in: " + "; ".join(get_flashed_messages()))
    return app


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app)


def log_in(name: str = "ann", **options: Any) -> None:
    assert login_user(USERS[name], **options) is True


def who() -> str | None:
    return current_user.get_id()  # type: ignore[no-any-return]


def keys() -> set[str]:
    return set(session)


def test_a_login_lasts_until_the_logout(visitor: Visitor) -> None:
    assert visitor.do(who) is None
    visitor.do(log_in)
    assert visitor.do(who) == "ann"
    visitor.do(logout_user)
    assert visitor.do(who) is None
    assert visitor.do(keys) == set()


def test_a_view_behind_login_required_sends_to_the_login_with_a_message(visitor: Visitor) -> None:
    @login_required  # type: ignore[untyped-decorator]
    def profile() -> str:
        return "secret"

    answer = visitor.visit(profile, "/profile")
    assert (answer.status_code, answer.location) == (302, "/login?next=%2Fprofile")
    assert visitor.client.get("/login").text == "Please log in: Please log in to access this page."
    visitor.do(log_in)
    assert visitor.visit(profile, "/profile").text == "secret"


def test_a_login_changes_the_token_and_keeps_the_cart(visitor: Visitor) -> None:
    visitor.do(lambda: session.update(cart=["apple"]))
    planted = visitor.copy()
    visitor.do(log_in)
    assert planted.do(lambda: (who(), keys())) == (None, set())
    assert visitor.do(lambda: (who(), session["cart"])) == ("ann", ["apple"])


def test_a_logout_changes_the_token_and_keeps_what_flask_login_keeps(visitor: Visitor) -> None:
    visitor.do(lambda: (session.update(cart=["apple"]), log_in()))
    stolen = visitor.copy()
    visitor.do(lambda: (logout_user(), flash("Bye.")))
    assert stolen.do(lambda: (who(), keys())) == (None, set())
    assert visitor.do(lambda: (keys(), get_flashed_messages(), who())) == ({"cart"}, ["Bye."], None)


def test_a_slow_request_brings_no_login_back(visitor: Visitor) -> None:
    visitor.do(log_in)
    other = visitor.copy()

    def slow() -> None:
        session["seen"] = who()
        other.do(logout_user)

    visitor.do(slow)
    assert visitor.cookies == []
    assert [client.do(lambda: (who(), keys())) for client in (visitor, other)] == [(None, set())] * 2


def test_a_remembered_user_is_back_in_a_session_of_his_own_when_the_old_one_has_ended(
    visitor: Visitor, clock: FakeClock
) -> None:
    visitor.do(lambda: log_in(remember=True))
    assert sorted(cookie.name for cookie in visitor.cookies) == ["remember_token", "session"]
    first = visitor.client.get_cookie("session")
    clock.advance(timedelta(days=32))
    assert visitor.do(lambda: (who(), login_fresh())) == ("ann", False)
    assert visitor.client.get_cookie("session") != first
    visitor.client.delete_cookie("session")
    assert visitor.do(who) == "ann"
    visitor.do(logout_user)
    assert visitor.client.get_cookie("remember_token") is None
    assert visitor.do(lambda: (who(), keys())) == (None, set())


def test_being_remembered_changes_the_token_of_a_session_that_is_there(visitor: Visitor) -> None:
    visitor.do(lambda: log_in(remember=True))
    remembered = visitor.client.get_cookie("remember_token")
    assert remembered is not None
    other = Visitor(visitor.app)
    other.do(lambda: session.update(cart=["apple"]))
    planted = other.copy()
    other.client.set_cookie("remember_token", remembered.value)
    assert other.do(lambda: (who(), session["cart"])) == ("ann", ["apple"])
    assert planted.do(lambda: (who(), keys())) == (None, set())


def test_a_login_that_is_confirmed_is_fresh_again_under_another_token(visitor: Visitor) -> None:
    @fresh_login_required  # type: ignore[untyped-decorator]
    def password() -> str:
        return "change it"

    visitor.do(lambda: log_in(fresh=False))
    assert visitor.visit(password).status_code == 401
    stale = visitor.copy()
    visitor.do(confirm_login)
    assert visitor.visit(password).text == "change it"
    assert stale.do(who) is None


def test_strong_protection_ends_a_login_that_comes_from_another_browser(make_app: MakeApp) -> None:
    visitor = Visitor(with_logins(make_app(SESSION_PROTECTION="strong")))
    visitor.do(lambda: (session.update(cart=["apple"]), log_in()))
    assert visitor.do(who) == "ann"
    stolen = visitor.copy()
    assert stolen.do(who, headers={"User-Agent": "another"}) is None
    assert visitor.do(who) is None


def test_the_wanted_page_can_be_kept_in_the_session(make_app: MakeApp) -> None:
    visitor = Visitor(with_logins(make_app(USE_SESSION_FOR_NEXT=True)))
    assert visitor.visit(login_required(lambda: "secret"), "/profile?tab=2").location == "/login"
    assert visitor.do(lambda: session["next"]) == "/profile?tab=2"


def test_the_test_client_of_flask_login_is_logged_in(app: Flask) -> None:
    app.test_client_class = FlaskLoginClient
    client = app.test_client(user=USERS["bob"])
    answer = client.get("/", environ_overrides={"test.view": lambda: str(who())})
    assert answer.text == "bob"


def test_a_login_and_a_look_cost_what_they_have_to(visitor: Visitor, store: CountingStore) -> None:
    visitor.do(log_in)
    assert store.counts() == {"create": 1}
    store.forget()
    visitor.do(who)
    assert store.counts() == {"load": 1}
    store.forget()
    visitor.do(lambda: request.path)
    # Flask-Login asks after every request whether there is a remember cookie to write: a look.
    assert store.counts() == {"load": 1}


def test_two_applications_follow_their_own_logins(make_app: MakeApp) -> None:
    one, two = (Visitor(with_logins(make_app(SESSION_COOKIE_NAME=name))) for name in ("one", "two"))
    for visitor in (one, two):
        visitor.do(lambda: session.update(cart=[1]))
    before = one.copy()
    two.do(log_in)
    assert before.do(keys) == {"cart"}
    assert (one.do(who), two.do(who)) == (None, "ann")


def test_without_flask_login_sessions_work_all_the_same(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flask_login", None)
    visitor = Visitor(make_app())
    visitor.do(lambda: session.update(a=1))
    assert visitor.do(keys) == {"a"}
