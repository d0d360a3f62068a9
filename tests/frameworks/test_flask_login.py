"""What Flask-Login promises, over our sessions, and what they add: an owner to every login, an end to every logout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, Response, flash, get_flashed_messages, request, session, stream_with_context
from flask.globals import request_ctx
from flask.sessions import SessionMixin
from flask_login import (
    FlaskLoginClient,
    UserMixin,
    confirm_login,
    current_user,
    fresh_login_required,
    login_fresh,
    login_required,
    login_user,
    logout_user,
)

from tests.frameworks.flask_logins import USERS, User, with_logins
from tests.frameworks.flask_site import MakeApp, Visitor, clock, make_app, store
from tests.support.stores import CountingStore
from wsgi_session import (
    ConfigError,
    HeadersAlreadySent,
    StoreUnavailable,
    confirm,
    describe_device,
    get_session,
    login,
    logout,
    redirect_if_anonymous,
    redirect_unless_fresh,
    require_login,
    set_provider_session,
    user_email_or_none,
    user_or_none,
)
from wsgi_session.admin import Sessions
from wsgi_session.session import work_of
from wsgi_session.testing import FakeClock

__all__ = ["clock", "make_app", "store"]


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return with_logins(make_app())


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


def test_a_remembered_user_gets_a_new_session_when_the_old_one_has_ended(visitor: Visitor, clock: FakeClock) -> None:
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


# Whose session it is.


class Account(UserMixin):  # type: ignore[misc]
    def __init__(self, number: int) -> None:
        self.id, self.name, self.email, self.password = number, "Ann", "ann@example.com", b"secret"


@pytest.fixture
def ann(make_app: MakeApp) -> Visitor:
    """A visitor who is logged in as a user with a number, as most are."""
    visitor = Visitor(with_logins(make_app()))
    visitor.app.login_manager.user_loader(lambda name: Account(int(name)))  # type: ignore[attr-defined]
    visitor.do(lambda: login_user(Account(7)))
    return visitor


def sessions_of(visitor: Visitor) -> Sessions:
    sessions: Sessions = visitor.app.extensions["wsgi_session"].sessions
    return sessions


def test_a_login_describes_its_device_and_displaces_the_oldest(make_app: MakeApp) -> None:
    app = with_logins(make_app(describe=describe_device, max_sessions=1))
    phone, laptop = Visitor(app), Visitor(app)
    phone.do(log_in)
    laptop.client.environ_base["HTTP_USER_AGENT"] = "Firefox/140.0 (X11; Linux)"
    laptop.do(log_in)
    (info,) = sessions_of(laptop).of({"id": "ann"})
    assert info.about == "Firefox on Linux, IPv4"
    assert (phone.do(who), laptop.do(who)) == (None, "ann")


def test_a_logout_at_the_identity_provider_ends_the_login_that_was_filed(visitor: Visitor) -> None:
    def too_early() -> None:
        with pytest.raises(ConfigError, match="after the login, in the same request"):
            set_provider_session(request, "sid-1")

    visitor.do(too_early)
    visitor.do(lambda: (log_in(), set_provider_session(request, "sid-1")))
    assert visitor.do(who) == "ann"
    assert sessions_of(visitor).revoke_provider_session("sid-1") == 1
    assert visitor.do(who) is None


@pytest.mark.parametrize("user", [{"id": 7}, {"id": "7"}, "id:7"], ids=str)
def test_the_sessions_of_a_user_are_found_and_revoked(ann: Visitor, user: Any) -> None:
    phone = Visitor(ann.app)
    handle = phone.do(lambda: (login_user(Account(7)), get_session(request).handle)[1])
    ann.do(lambda: session.update(a=1))
    assert len(sessions_of(ann).of(user)) == 2
    assert sessions_of(ann).revoke(user, handle)
    assert (ann.do(who), phone.do(who)) == ("7", None)
    assert sessions_of(ann).revoke_all(user) == 1
    assert ann.do(lambda: (who(), keys())) == (None, set())


def test_a_session_tells_its_owner_from_the_login_to_the_logout(ann: Visitor) -> None:
    assert ann.do(lambda: get_session(request).owner) == "id:7"
    assert ann.do(lambda: (logout_user(), get_session(request).owner)[1]) is None
    assert ann.do(lambda: get_session(request).owner) is None
    assert ann.do(lambda: (login_user(Account(8)), get_session(request).owner)[1]) == "id:8"


def test_a_login_is_as_old_as_it_is_and_not_as_the_visit(visitor: Visitor, clock: FakeClock) -> None:
    visitor.do(lambda: session.update(cart=["apple"]))
    clock.advance(timedelta(days=1))
    created = visitor.do(lambda: (log_in(), get_session(request).created)[1])
    assert created.timestamp() == clock()


def test_a_login_by_the_remember_cookie_has_an_owner_too(visitor: Visitor) -> None:
    visitor.do(lambda: log_in(remember=True))
    assert sessions_of(visitor).revoke_all({"id": "ann"}) == 1
    assert visitor.do(who) == "ann", "the remember cookie is Flask-Login's own"
    assert len(sessions_of(visitor).of({"id": "ann"})) == 1


def test_a_login_is_validated_as_our_own_is(make_app: MakeApp) -> None:
    asked = []

    def validate(session: Any) -> bool:
        asked.append(session.owner)
        return len(asked) < 2

    visitor = Visitor(with_logins(make_app(validate=validate)))
    visitor.do(log_in)
    assert [visitor.do(who), visitor.do(who), visitor.do(who)] == ["ann", None, None]
    assert asked == ["id:ann"] * 2
    assert sessions_of(visitor).of({"id": "ann"}) == []


def helpers() -> tuple[Any, ...]:
    return user_or_none(request), user_email_or_none(request), redirect_if_anonymous(request) is None


def test_the_helpers_see_who_is_logged_in(ann: Visitor) -> None:
    seen = {"id": "7", "name": "Ann", "email": "ann@example.com"}, "ann@example.com", True
    assert ann.do(helpers) == seen
    assert ann.do(lambda: (helpers(), keys()))[1] == {"_user_id", "_fresh", "_id"}, "nothing of it is in the session"
    ann.do(logout_user)
    assert ann.do(helpers) == (None, None, False)
    assert Visitor(ann.app).do(lambda: (login_user(Account(7)), helpers())[1]) == seen


def test_the_helpers_see_the_same_user_as_flask_login(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor.do(lambda: log_in(remember=True))
    session_cookie = visitor.client.get_cookie("session")
    assert session_cookie is not None
    visitor.client.delete_cookie("session")
    assert visitor.do(helpers) == ({"id": "ann"}, None, True), "by the remember cookie"
    monkeypatch.delitem(USERS, "ann")
    assert visitor.do(helpers) == (None, None, False), "the user loader finds nobody"


def test_a_login_is_fresh_and_a_remember_cookie_is_not(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wsgi_session")

    def fresh() -> bool:
        return redirect_unless_fresh(request) is None

    assert not visitor.do(fresh), "nobody is logged in"
    visitor.do(lambda: log_in(remember=True))
    assert visitor.do(fresh)
    visitor.client.delete_cookie("session")
    assert visitor.do(lambda: (who(), fresh(), get_session(request).confirmed)) == ("ann", False, None)
    assert not visitor.do(fresh), "in the session that the remember cookie has made"
    visitor.do(confirm_login)
    assert visitor.do(lambda: (fresh(), getattr(get_session(request).confirmed, "method", None))) == (
        True,
        "confirm_login",
    )
    assert visitor.do(lambda: confirm(request, "totp")) is True
    assert visitor.do(lambda: redirect_unless_fresh(request, method="totp") is None)
    handle = visitor.do(lambda: get_session(request).handle)
    told = [line for line in caplog.messages if line.startswith("confirmed")]
    assert told == [
        f"confirmed handle={handle!r} owner='id:ann' method={method!r}" for method in ("confirm_login", "totp")
    ]
    visitor.do(logout_user)
    assert not visitor.do(fresh)
    assert visitor.do(lambda: (confirm(request), confirm_login())[0]) is False


def test_a_login_that_flask_login_takes_for_not_fresh_is_not_fresh(visitor: Visitor) -> None:
    def fresh() -> bool:
        return redirect_unless_fresh(request) is None

    visitor.do(lambda: log_in(fresh=False))
    assert visitor.do(lambda: (who(), fresh(), get_session(request).confirmed)) == ("ann", False, None)
    visitor.do(log_in)
    assert visitor.do(fresh)
    # Its protection "basic" marks a login as not fresh if another browser comes with its cookie.
    stolen = visitor.copy()
    assert stolen.do(lambda: (who(), fresh()), headers={"User-Agent": "another"}) == ("ann", False)
    assert not visitor.do(fresh)
    # A confirmation counts, also one that leaves Flask-Login's marks as they are.
    for prove in (lambda: confirm(request), confirm_login):
        moved = visitor.copy()
        assert moved.do(lambda: (who(), fresh())) == ("ann", False)
        moved.do(lambda: (who(), prove()), headers={"User-Agent": "a newer version"})  # noqa: B023
        for _ in range(2):
            assert moved.do(lambda: (who(), fresh()), headers={"User-Agent": "a newer version"}) == ("ann", True)
        visitor.do(log_in)
        visitor.copy().do(lambda: (who(), fresh()), headers={"User-Agent": "another"})


def test_a_login_with_our_login_stays_fresh_beside_flask_login(visitor: Visitor) -> None:
    """Flask-Login takes a session without its keys for one of another browser."""
    visitor.do(lambda: login(request, {"id": 7}))
    assert visitor.do(lambda: (who(), redirect_unless_fresh(request) is None)[1])
    assert len(sessions_of(visitor).of({"id": 7})) == 1


def test_a_user_of_the_remember_cookie_alone_is_not_confirmed(visitor: Visitor) -> None:
    """The session has just ended, so the remember cookie makes no other one in this request."""
    visitor.do(lambda: log_in(remember=True))
    sessions_of(visitor).revoke_all({"id": "ann"})
    assert visitor.do(lambda: (who(), confirm(request))) == ("ann", True)
    in_flight = visitor.copy()
    visitor.do(lambda: get_session(request).rotate())
    assert in_flight.do(lambda: (who(), confirm(request))) == ("ann", False)


def test_a_user_loader_may_ask_the_helpers(visitor: Visitor) -> None:
    asked = []

    def load(name: str) -> User:
        asked.append(user_or_none(request))
        return User(name)

    visitor.app.login_manager.user_loader(load)  # type: ignore[attr-defined]
    visitor.do(log_in)
    assert visitor.do(helpers) == ({"id": "ann"}, None, True)
    assert asked == [{"id": "ann"}]


def test_between_the_middleware_and_flask_a_login_is_known_by_the_session(make_app: MakeApp) -> None:
    app = with_logins(make_app())
    middleware = app.extensions["wsgi_session"]
    middleware.app = require_login(middleware.app, login_url="/login")
    visitor = Visitor(app)
    assert visitor.client.get("/").status_code == 302
    visitor.visit(lambda: str(log_in()), "/login/here")
    visitor.visit(lambda: str(log_in()), "/login")
    assert visitor.client.get("/login").status_code == 200


@pytest.mark.parametrize("own", ["ann", {"nick": "Annie"}, {}], ids=str)
def test_a_user_of_the_applications_own_in_the_session_stays(ann: Visitor, own: Any) -> None:
    ann.do(lambda: session.update(user=own))
    assert ann.do(lambda: session["user"]) == own
    assert ann.do(lambda: get_session(request).owner) == "id:7"
    assert ann.do(helpers)[2]
    ann.do(lambda: (login_user(Account(7)), logout_user()))
    assert ann.do(lambda: (session["user"], get_session(request).owner)) == (own, None)


def test_a_permanent_session_stays_permanent_through_login_and_logout(visitor: Visitor) -> None:
    def make_permanent() -> None:
        session["cart"] = ["apple"]
        session.permanent = True

    visitor.do(make_permanent)
    for step in (log_in, logout_user):
        visitor.do(step)
        assert visitor.do(lambda: session.permanent)
        assert visitor.client.get_cookie("session").max_age  # type: ignore[union-attr]


# Races.

RACES: dict[str, Callable[[], Any]] = {
    "confirmed": confirm_login,
    "made permanent": lambda: setattr(session, "permanent", True),
    "rotated": lambda: get_session(request).rotate(),
    "written": lambda: session.update(seen=1),
}


@pytest.fixture(params=RACES)
def race(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return RACES[request.param]


def test_a_logout_that_crosses_a_change_of_the_token_ends_the_session_that_it_became(
    visitor: Visitor, race: Callable[[], Any]
) -> None:
    """Else the visitor reads "you are logged out", and stays logged in."""
    visitor.do(lambda: log_in(remember=True))
    other = visitor.copy()

    def slow_logout() -> None:
        assert who() == "ann"
        other.do(race)
        logout_user()
        flash("You are logged out.")

    visitor.do(slow_logout)
    assert visitor.client.get_cookie("remember_token") is None
    other.client.delete_cookie("remember_token")
    assert other.do(lambda: (who(), keys())) == (None, set())
    assert visitor.do(lambda: (who(), get_flashed_messages())) == (None, ["You are logged out."])
    assert sessions_of(visitor).of({"id": "ann"}) == []


def test_protection_that_crosses_a_change_of_the_token_ends_the_session_too(make_app: MakeApp) -> None:
    visitor = Visitor(with_logins(make_app(SESSION_PROTECTION="strong")))
    visitor.do(log_in)
    stolen = visitor.copy()

    def slow() -> str | None:
        assert session["_user_id"] == "ann"
        visitor.do(lambda: get_session(request).rotate())
        return who()

    assert stolen.do(slow, headers={"User-Agent": "another"}) is None
    assert visitor.do(who) is None


@pytest.mark.parametrize("before", ["anonymous", "logged in"])
def test_of_two_logins_at_once_both_are_logged_in(visitor: Visitor, before: str) -> None:
    visitor.do(lambda: (session.update(cart=["apple"]), before == "logged in" and log_in()))
    other = visitor.copy()

    def log_in_slowly() -> None:
        assert session["cart"] == ["apple"]
        other.do(lambda: (session.update(mfa_pending=True), log_in()))
        session["mfa_pending"] = True
        log_in()

    visitor.do(log_in_slowly)
    for browser in (visitor, other):
        assert browser.do(lambda: (who(), login_fresh(), session["mfa_pending"])) == ("ann", True, True)
    assert len(sessions_of(visitor).of({"id": "ann"})) == 2


def test_being_remembered_while_the_token_changes_leaves_the_browser_its_new_cookie(visitor: Visitor) -> None:
    """In it is all that was in the session: a second session would have none of that, and the last cookie wins."""
    visitor.do(lambda: (session.update(cart=["apple"]), log_in(remember=True)))
    late = visitor.copy()
    visitor.do(confirm_login)
    assert late.do(who) == "ann"
    assert late.cookies == []
    assert visitor.do(lambda: (who(), session["cart"])) == ("ann", ["apple"])


def test_a_logout_stays_done_when_its_request_fails(visitor: Visitor) -> None:
    visitor.do(log_in)
    copy = visitor.copy()

    def failing() -> Any:
        logout_user()
        return "no", 500

    visitor.visit(failing)
    assert [browser.do(who) for browser in (visitor, copy)] == [None, None]


def test_a_login_whose_request_fails_does_not_count(visitor: Visitor) -> None:
    visitor.visit(lambda: (str(log_in()), 500))
    assert visitor.do(who) is None
    assert sessions_of(visitor).of({"id": "ann"}) == []


def test_a_login_whose_request_fails_after_atomic_does_not_count(visitor: Visitor) -> None:
    """What ``atomic`` saved at the call stays, under the token that the visitor has."""
    visitor.do(lambda: session.update(cart=["apple"]))

    def failing() -> Any:
        log_in()
        get_session(request).atomic(lambda data: data.update(count=1))
        return "no", 500

    visitor.visit(failing)
    assert visitor.do(lambda: (who(), session["cart"], session["count"])) == (None, ["apple"], 1)
    assert sessions_of(visitor).of({"id": "ann"}) == []

    def succeeding() -> None:
        log_in()
        get_session(request).atomic(lambda data: data.update(count=2))

    visitor.do(succeeding)
    assert visitor.do(lambda: (who(), session["cart"], session["count"])) == ("ann", ["apple"], 2)
    assert len(sessions_of(visitor).of({"id": "ann"})) == 1


def test_nothing_of_a_login_is_stored_by_atomic_before_it_is(visitor: Visitor) -> None:
    visitor.do(lambda: session.update(cart=["apple"]))
    seen = []

    def failing() -> Any:
        login_user(User("ann"), remember=True)
        get_session(request).atomic(lambda data: (seen.append({*data}), data.update(count=1)))
        return "no", 500

    visitor.visit(failing)
    assert {"_user_id", "_fresh", "_id", "_remember"} <= seen[0], "the function sees all of it"
    assert visitor.do(lambda: {*session}) == {"cart", "count"}


@pytest.mark.parametrize("order", [1, -1])
def test_nothing_of_two_logins_in_one_request_is_stored_by_atomic_before_they_are(visitor: Visitor, order: int) -> None:
    visitor.do(lambda: session.update(cart=["apple"]))
    seen = []

    def failing() -> Any:
        for login_of_one in [log_in, lambda: login(request, {"id": "ann"})][::order]:
            login_of_one()
        get_session(request).atomic(lambda data: (seen.append({*data}), data.update(count=1)))
        return "no", 500

    visitor.visit(failing)
    assert {"_user_id", "user"} <= seen[0], "the function sees both"
    assert visitor.do(lambda: (keys(), user_or_none(request), who())) == ({"cart", "count"}, None, None)


def test_a_login_whose_device_cannot_be_described_is_no_login(make_app: MakeApp) -> None:
    visitor = Visitor(with_logins(make_app(describe=lambda environ: environ["HTTP_NO_SUCH_HEADER"])))
    visitor.do(lambda: session.update(cart=["apple"]))

    def careless() -> None:
        with pytest.raises(KeyError):
            log_in()

    visitor.do(careless)
    assert visitor.do(lambda: (who(), session["cart"])) == (None, ["apple"])


def test_an_event_names_the_user_and_the_stores_calls_are_told_on_request(make_app: MakeApp) -> None:
    told: list[tuple[str, Any]] = []
    options = {"on_event": lambda name, data: told.append((name, dict(data))), "WSGI_SESSION_REPORT_STORE_CALLS": "on"}
    Visitor(with_logins(make_app(**options))).do(log_in)
    assert [data["owner"] for name, data in told if name == "logged_in"] == ["id:ann"]
    assert [data["operation"] for name, data in told if name == "store_call"] == ["create"]


def test_a_user_put_beside_a_login_is_not_told_of_before_the_login_is_stored(make_app: MakeApp) -> None:
    told: list[str] = []
    visitor = Visitor(with_logins(make_app(on_event=lambda name, data: told.append(name))))
    visitor.do(lambda: session.update(cart=["apple"]))

    def log_in_beside() -> None:
        log_in()
        session["user"] = {"id": "ann"}
        get_session(request).atomic(lambda data: data.update(count=1))

    visitor.do(log_in_beside)
    assert len(sessions_of(visitor).of({"id": "ann"})) == 1
    assert "unfiled_user" not in told


def test_a_logout_while_the_body_streams_ends_the_session(visitor: Visitor) -> None:
    visitor.do(lambda: (session.update(cart=["apple"]), log_in()))

    def stream() -> Response:
        def body() -> Iterator[str]:
            yield "first"
            logout_user()
            yield "second"

        assert who() == "ann"
        return Response(stream_with_context(body()))

    assert visitor.visit(stream).text == "firstsecond"
    assert visitor.do(lambda: (who(), keys())) == (None, set())


def test_a_login_that_comes_too_late_for_its_cookie_leaves_nobody_logged_in(visitor: Visitor) -> None:
    visitor.do(lambda: session.update(cart=["apple"]))

    def stream() -> Response:
        def body() -> Iterator[str]:
            yield "first"
            with pytest.raises(HeadersAlreadySent):
                log_in()
            yield "second"

        assert who() is None
        return Response(stream_with_context(body()))

    assert visitor.visit(stream).text == "firstsecond"
    assert visitor.do(who) is None


def test_a_logout_in_an_outage_is_a_503_and_the_visitor_stays_logged_in(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.do(log_in)

    def fail(*args: object) -> None:
        raise StoreUnavailable("the engine does not answer")

    def slow_logout() -> str:
        assert who() == "ann"
        with monkeypatch.context() as patch:
            patch.setattr(visitor.app.extensions["wsgi_session"].store, "delete", fail)
            logout_user()
        return "You are logged out."

    assert visitor.visit(slow_logout).status_code == 503
    assert visitor.do(who) == "ann"


def test_what_a_view_holds_of_the_session_is_still_the_sessions_after_the_logout(visitor: Visitor) -> None:
    visitor.do(lambda: (session.update(cart=["apple"]), log_in()))

    def view() -> None:
        cart = session["cart"]
        logout_user()
        cart.append("pear")

    visitor.do(view)
    assert visitor.do(lambda: session["cart"]) == ["apple", "pear"]


@pytest.mark.parametrize("key", ["cart", "user"])
def test_a_logout_of_a_session_that_cannot_be_read_ends_it(visitor: Visitor, store: CountingStore, key: str) -> None:
    visitor.do(lambda: (session.update(cart=["apple"], user={"theme": "dark"}), log_in()))

    def slow_logout() -> None:
        assert who() == "ann"
        # A corrupt page of the disk: the key is there, its value is not MessagePack.
        work_of(session).open().data._current[key] = b"\xc1"  # type: ignore[union-attr]
        logout_user()

    visitor.do(slow_logout)
    assert visitor.do(lambda: (who(), keys())) == (None, set())
    assert sessions_of(visitor).of({"id": "ann"}) == []


def test_a_copy_of_the_session_in_its_place_is_left_alone(visitor: Visitor) -> None:
    """Flask-SocketIO puts one there for its events."""

    class Copy(dict[str, Any], SessionMixin):
        pass

    def event() -> str | None:
        context = request_ctx._get_current_object()  # type: ignore[attr-defined]
        context._session = Copy(session)
        for step in (log_in, confirm_login, logout_user, log_in):
            step()
        return who()

    assert visitor.do(event) == "ann"
    assert (visitor.do(who), sessions_of(visitor).count()) == (None, 0)

    def event_of_another_browser() -> str | None:
        context = request_ctx._get_current_object()  # type: ignore[attr-defined]
        context._session = Copy(_user_id="ann", _id="another")
        return who()

    assert visitor.do(event_of_another_browser) == "ann"
    assert (visitor.do(who), sessions_of(visitor).count()) == (None, 0)


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
    # Flask-Login asks after every request whether there is a remember cookie to write: that does not load the session.
    assert store.counts() == {}
    assert "Vary" not in visitor.answer.headers


def test_an_outage_costs_a_page_that_needs_no_session_nothing(visitor: Visitor, store: CountingStore) -> None:
    visitor.do(log_in)
    store.fail("load")
    assert visitor.visit(lambda: "static").status_code == 200


def test_a_remember_cookie_that_a_stream_asked_for_comes_with_the_next_look(visitor: Visitor) -> None:
    def stream() -> Response:
        def body() -> Iterator[str]:
            yield "first"
            session["_remember"] = "set"

        return Response(stream_with_context(body()))

    visitor.do(log_in)
    visitor.do(who)
    visitor.visit(lambda: (who(), stream())[1])
    visitor.do(who)
    assert visitor.client.get_cookie("remember_token") is not None


def test_two_applications_follow_their_own_logins(make_app: MakeApp) -> None:
    one, two = (Visitor(with_logins(make_app(SESSION_COOKIE_NAME=name))) for name in ("one", "two"))
    for visitor in (one, two):
        visitor.do(lambda: session.update(cart=[1]))
    before = one.copy()
    two.do(log_in)
    assert before.do(keys) == {"cart"}
    assert (one.do(who), two.do(who)) == (None, "ann")


def test_sessions_work_without_flask_login(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flask_login", None)
    visitor = Visitor(make_app())
    visitor.do(lambda: session.update(a=1))
    assert visitor.do(keys) == {"a"}


# A copy of Flask-Login inside of an application, as Calibre-Web has one: it stores the same keys, and sends no signal.


def log_in_without_signal(*, fresh: bool = True) -> None:
    session.update(_user_id="ann", _fresh=fresh)


def log_out_without_signal() -> None:
    for key in ("_user_id", "_fresh"):
        session.pop(key)


def test_a_login_by_a_copy_of_flask_login_changes_the_token_and_is_found(visitor: Visitor) -> None:
    visitor.do(lambda: session.update(cart=["apple"]))
    planted = visitor.copy()
    visitor.do(log_in_without_signal)
    assert planted.do(lambda: (who(), keys())) == (None, set())
    assert visitor.do(lambda: (who(), session["cart"])) == ("ann", ["apple"])
    assert visitor.do(lambda: redirect_unless_fresh(request) is None)
    assert sessions_of(visitor).revoke_all({"id": "ann"}) == 1
    assert visitor.do(who) is None


def test_a_logout_by_a_copy_of_flask_login_ends_the_session_and_keeps_the_cart(visitor: Visitor) -> None:
    visitor.do(lambda: (session.update(cart=["apple"]), log_in_without_signal()))
    stolen = visitor.copy()
    visitor.do(log_out_without_signal)
    assert stolen.do(lambda: (who(), keys())) == (None, set())
    assert visitor.do(lambda: (who(), keys() - {"_fresh"})) == (None, {"cart"})
    assert sessions_of(visitor).of({"id": "ann"}) == []


def test_a_copys_login_with_atomic_in_the_same_request_has_another_token(visitor: Visitor) -> None:
    visitor.do(lambda: session.update(cart=["tea"]))
    planted = visitor.copy()
    visitor.do(lambda: (log_in_without_signal(), get_session(request).atomic(lambda data: data.update(logins=1))))
    assert visitor.do(lambda: (who(), session["cart"], session["logins"])) == ("ann", ["tea"], 1)
    assert planted.do(who) is None
    assert len(sessions_of(visitor).of({"id": "ann"})) == 1


def test_logout_ends_a_login_with_the_remember_cookie_for_good(visitor: Visitor) -> None:
    """Otherwise that cookie would log the visitor in again with the next request."""
    visitor.do(lambda: log_in(remember=True))
    visitor.do(lambda: logout(request))
    assert (visitor.do(who), sessions_of(visitor).count()) == (None, 0)
    assert {cookie.key for cookie in (visitor.client._cookies or {}).values()} == set()
    # As with Flask's own sessions, clear() leaves it.
    visitor.do(lambda: log_in(remember=True))
    visitor.do(lambda: session.clear())
    assert visitor.do(who) == "ann"
    visitor.do(lambda: (get_session(request).destroy(), log_in(name="bob", remember=True)))
    visitor.client.delete_cookie("session")
    assert visitor.do(who) == "bob"


def test_logout_user_ends_a_login_with_login_too(visitor: Visitor) -> None:
    """Before, the user was moved into the new session: still logged in, and not found by revoke_all()."""
    visitor.do(lambda: (session.update(cart=["tea"]), login(request, {"id": 7})))
    visitor.do(logout_user)
    assert visitor.do(lambda: (user_or_none(request), session["cart"])) == (None, ["tea"])


def test_a_login_of_another_user_replaces_the_user_of_login(visitor: Visitor) -> None:
    visitor.do(lambda: login(request, {"id": 7, "email": "eve@example.com"}))
    visitor.do(log_in)
    assert visitor.do(lambda: (user_or_none(request) or {}).get("id")) == "ann"
    visitor.do(lambda: session.update(user={"theme": "dark"}))
    visitor.do(log_in)
    assert visitor.do(lambda: session["user"]) == {"theme": "dark"}, "the application's own value stays"


def test_of_a_login_and_another_user_in_one_request_the_last_owns_the_session(visitor: Visitor) -> None:
    """An administrator may take another user's place so, in the request in which the remember cookie logs them in."""
    visitor.do(lambda: log_in(remember=True))
    sessions_of(visitor).revoke_all({"id": "ann"})
    visitor.do(lambda: (who(), session.update(_user_id="bob", _fresh=True)))
    visitor.client.delete_cookie("remember_token")
    assert visitor.do(lambda: (who(), get_session(request).owner)) == ("bob", "id:bob")
    assert [len(sessions_of(visitor).of({"id": name})) for name in ("ann", "bob")] == [0, 1]
    visitor.do(lambda: (log_in(), log_out_without_signal()))
    assert visitor.do(lambda: (who(), get_session(request).owner)) == (None, None)
    assert [len(sessions_of(visitor).of({"id": name})) for name in ("ann", "bob")] == [0, 0]


def test_an_id_of_flask_login_after_login_leaves_the_user_of_login(visitor: Visitor) -> None:
    visitor.do(lambda: (login(request, {"email": "ann@example.com"}), log_in_without_signal()))
    assert visitor.do(lambda: user_or_none(request)) == {"email": "ann@example.com"}
    assert visitor.do(lambda: (who(), get_session(request).owner)) == ("ann", "email:ann@example.com")


def test_a_login_by_a_copys_remember_cookie_is_not_fresh(visitor: Visitor) -> None:
    visitor.do(lambda: log_in_without_signal(fresh=False))
    assert visitor.do(lambda: (who(), redirect_unless_fresh(request) is None)) == ("ann", False)


def test_a_login_by_a_copy_that_crosses_another_login_has_a_session_of_its_own(visitor: Visitor) -> None:
    visitor.do(lambda: session.update(cart=["apple"]))
    other = visitor.copy()

    def slow() -> None:
        assert keys() == {"cart"}
        other.do(log_in)

    visitor.do(lambda: (slow(), log_in_without_signal()))
    assert other.do(who) == "ann"
    assert len(sessions_of(visitor).of({"id": "ann"})) == 2, "both have logged in"
    assert visitor.do(lambda: (who(), keys() - {"_user_id", "_fresh"})) == ("ann", set())


def test_a_login_by_a_copy_that_comes_too_late_for_its_cookie_leaves_nobody_logged_in(visitor: Visitor) -> None:
    def stream() -> Response:
        def body() -> Iterator[str]:
            yield "first"
            log_in_without_signal()

        assert keys() == {"cart"}
        return Response(stream_with_context(body()))

    visitor.do(lambda: session.update(cart=["apple"]))
    visitor.visit(stream)
    assert visitor.do(lambda: (who(), session["cart"])) == (None, ["apple"])


def test_a_user_without_an_owner_who_is_removed_again_ends_nothing(visitor: Visitor) -> None:
    visitor.do(lambda: session.update(cart=["apple"]))
    # The id is saved at once, so it is not a login of ours.
    visitor.do(lambda: get_session(request).atomic(lambda data: data.update(_user_id="ann")))
    same = visitor.copy()
    assert visitor.do(who) == "ann"
    visitor.do(lambda: session.pop("_user_id"))
    assert same.do(lambda: (who(), keys() - {"_fresh"})) == (None, {"cart"})
