"""Two requests of one visitor at once, through Django's own session middleware and ``django.contrib.auth``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import (
    alogin,
    get_user,
    get_user_model,
    login,
    logout,
    update_session_auth_hash,
    user_logged_in,
)
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from tests.frameworks.django_site import store
from tests.frameworks.django_visitor import again, clock, stored, user_id
from wsgi_session.integrations.django import SessionStore, sessions
from wsgi_session.testing import FakeClock

__all__ = ["clock", "store"]

BACKEND = "django.contrib.auth.backends.ModelBackend"
REMOVED = "removed"
HOW_THE_LOGIN_CAME = ("_auth_user_backend", "_auth_user_hash")
pytestmark = pytest.mark.usefixtures("store")


def begin(key: str | None) -> HttpRequest:
    """A request with that cookie, as a view gets it: the session is loaded by now."""
    request = RequestFactory().get("/")
    if key is not None:
        request.COOKIES[settings.SESSION_COOKIE_NAME] = key
    SessionMiddleware(lambda request: HttpResponse()).process_request(request)
    request.user = get_user(request)
    return request


def finish(request: HttpRequest) -> str | None:
    """Answer it; return the cookie that is set, or ``REMOVED``, or ``None``."""
    response = HttpResponse("page")
    SessionMiddleware(lambda request: response).process_response(request, response)
    assert "Cookie" in response["Vary"]
    morsel = response.cookies.get(settings.SESSION_COOKIE_NAME)
    if morsel is None:
        return None
    return REMOVED if morsel["max-age"] == 0 else morsel.value


def new_session(**values: Any) -> str:
    key = stored(**values).session_key
    assert key is not None
    return str(key)


def user(name: str) -> Any:
    return get_user_model().objects.get(username=name)


def logged_in(name: str = "ann") -> str:
    request = begin(None)
    login(request, user(name), BACKEND)
    key = finish(request)
    assert key is not None
    return key


def contents(key: str | None) -> dict[str, Any]:
    return {name: value for name, value in SessionStore(key).items() if name not in HOW_THE_LOGIN_CAME}


# Two logins at once.


def test_two_users_who_log_in_at_once_from_one_anonymous_session_get_a_session_each() -> None:
    key = new_session(cart=1)
    ann, bob = begin(key), begin(key)
    login(ann, user("ann"), BACKEND)
    login(bob, user("bob"), BACKEND)
    ann.session["of"] = "ann"
    first, second = finish(ann), finish(bob)
    assert contents(first) == {"cart": 1, "_auth_user_id": str(user("ann").pk), "of": "ann"}
    assert contents(second) == {"_auth_user_id": str(user("bob").pk)}, "only what its own request wrote"
    assert contents(key) == {}
    assert [len(sessions().of(user_id(name))) for name in ("ann", "bob")] == [1, 1]


def assign(session: SessionStore) -> None:
    session["otp_required"] = True


def set_default(session: SessionStore) -> None:
    session.setdefault("otp_required", True)


def set_default_asynchronously(session: SessionStore) -> None:
    async_to_sync(session.asetdefault)("otp_required", True)


def assign_and_save(session: SessionStore) -> None:
    session["otp_required"] = True
    session.save()


@pytest.mark.parametrize("before", ["anonymous", "logged in"])
@pytest.mark.parametrize("mark", ["before the login", "after the login"])
@pytest.mark.parametrize("how", [assign, set_default, set_default_asynchronously, assign_and_save])
def test_what_marks_a_fresh_login_is_in_both_of_two_logins_at_once(
    before: str, mark: str, how: Callable[[SessionStore], Any]
) -> None:
    """Else anybody with the password gets past the second factor by logging in twice at once."""
    key = logged_in() if before == "logged in" else new_session()
    request = begin(key)
    request.session["otp_required"] = True
    key = finish(request) or key
    requests = [begin(key), begin(key)]
    for request in requests:
        if mark == "before the login":
            how(request.session)  # type: ignore[arg-type]
        login(request, user("ann"), BACKEND)
        if mark == "after the login":
            how(request.session)  # type: ignore[arg-type]
    keys = [finish(request) for request in requests]
    assert len({key, *keys}) == 3
    for got in keys:
        assert contents(got) == {"_auth_user_id": str(user("ann").pk), "otp_required": True}
    assert len(sessions().of(user_id())) == 2


def test_an_asynchronous_login_is_not_dropped_either() -> None:
    key = logged_in()
    requests = [begin(key), begin(key)]
    ann = user("ann")

    async def log_in() -> None:
        for request in requests:
            await alogin(request, ann, BACKEND)

    async_to_sync(log_in)()
    for request in requests:
        assert "_auth_user_id" in contents(finish(request))


def test_a_login_that_crosses_a_logout_is_a_login() -> None:
    key = logged_in()
    slow, other = begin(key), begin(key)
    logout(other)
    assert finish(other) == REMOVED
    login(slow, user("ann"), BACKEND)
    assert contents(finish(slow)) == {"_auth_user_id": str(user("ann").pk)}


def test_a_login_without_a_session_of_ours_is_none_of_our_business() -> None:
    request = RequestFactory().get("/")
    request.session = {}  # type: ignore[assignment]
    user_logged_in.send(sender=None, request=request, user=user("ann"))


# A logout and a change of the key.


@pytest.mark.parametrize("change", ["cycle_key", "new password", "write"])
def test_a_logout_that_crosses_a_change_of_the_key_ends_the_session_that_it_became(change: str) -> None:
    key = logged_in()
    slow, other = begin(key), begin(key)
    if change == "cycle_key":
        other.session.cycle_key()
    elif change == "new password":
        other.user = user("ann")
        update_session_auth_hash(other, other.user)  # type: ignore[arg-type]
    else:
        other.session["a"] = 1
    changed = finish(other)
    logout(slow)
    assert finish(slow) == REMOVED
    assert (contents(changed), contents(key)) == ({}, {})
    assert sessions().of(user_id()) == []


def overtaken_by(end: str) -> HttpRequest:
    """Return a request of a logged-in user whose session another request has ended, or given another key, meanwhile."""
    key = logged_in()
    slow, other = begin(key), begin(key)
    if end == "logout":
        logout(other)
    else:
        other.session.cycle_key()
    finish(other)
    return slow


@pytest.mark.parametrize("end", ["logout", "cycle_key"])
@pytest.mark.parametrize("change", ["cycle_key", "write"])
def test_a_second_save_of_a_session_that_ended_meanwhile_makes_no_new_login(change: str, end: str) -> None:
    """As in a view that catches the error of its own save: the response is a 400, and has no cookie."""
    slow = overtaken_by(end)
    if change == "cycle_key":
        slow.session.cycle_key()
    else:
        slow.session["a"] = 1
    with pytest.raises(UpdateError):
        slow.session.save()
    slow.session["b"] = 1
    with pytest.raises(SessionInterrupted):
        finish(slow)
    assert len(sessions().of(user_id())) == (0 if end == "logout" else 1)


@pytest.mark.parametrize("create", [SessionStore.create, lambda session: session.save(must_create=True)])
@pytest.mark.parametrize("end", ["logout", "cycle_key"])
def test_a_new_session_after_a_refused_save_does_not_bring_back_the_login(
    create: Callable[[Any], None], end: str
) -> None:
    """As in pretalx, whose middleware calls ``create()`` when ``save()`` raises ``UpdateError``."""
    slow = overtaken_by(end)
    slow.session["a"] = 1
    with pytest.raises(UpdateError):
        slow.session.save()
    create(slow.session)
    new = finish(slow)
    assert new is not None
    assert SessionStore(new).exists(new)
    assert contents(new) == {}
    assert not get_user(begin(new)).is_authenticated
    assert len(sessions().of(user_id())) == (0 if end == "logout" else 1)


def test_what_is_written_after_a_delete_goes_into_the_session_that_create_stores() -> None:
    request = begin(logged_in())
    request.session.delete()
    request.session["a"] = 1
    request.session.create()
    assert contents(finish(request)) == {"a": 1}


# A cookie that opens nothing.


@pytest.mark.parametrize("every", [False, True], ids=["", "SESSION_SAVE_EVERY_REQUEST"])
@pytest.mark.parametrize("ended", ["deleted", "rotated", "tampered"])
def test_an_ended_cookie_that_crosses_a_login_leaves_the_logins_cookie(ended: str, every: bool) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=every):
        key = new_session(a=1)
        if ended == "deleted":
            SessionStore(key).delete()
        elif ended == "rotated":
            request = begin(key)
            login(request, user("ann"), BACKEND)
            finish(request)
        else:
            key = key[:-1] + "!"
        slow, other = begin(key), begin(key)
        login(other, user("ann"), BACKEND)
        new = finish(other)
        assert finish(slow) is None
        assert contents(new) == {"_auth_user_id": str(user("ann").pk)}


@pytest.mark.parametrize("every", [False, True], ids=["", "SESSION_SAVE_EVERY_REQUEST"])
def test_what_is_written_under_a_cookie_that_opens_nothing_is_in_a_session_of_its_own(every: bool) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=every):
        key = new_session(a=1)
        SessionStore(key).delete()
        request = begin(key)
        request.session["b"] = 2
        new = finish(request)
        assert (contents(new), contents(key)) == ({"b": 2}, {})
        emptied = begin(key)
        emptied.session["b"] = 2
        del emptied.session["b"]
        assert finish(emptied) is None


def test_a_logout_with_an_ended_cookie_removes_it_where_every_request_saves() -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        key = new_session(a=1)
        SessionStore(key).delete()
        request = begin(key)
        logout(request)
        assert finish(request) == REMOVED


# A request that outlasts the session.


@pytest.mark.parametrize("change", ["write", "nothing, and every request saves", "login", "new key"])
def test_what_was_live_when_the_request_looked_is_live_for_that_request(clock: FakeClock, change: str) -> None:
    session = stored(a=1)
    clock.advance(settings.SESSION_COOKIE_AGE - 5)
    with override_settings(SESSION_SAVE_EVERY_REQUEST=change.startswith("nothing")):
        request = begin(session.session_key)
        clock.advance(30)
        if change == "write":
            request.session["b"] = 2
        elif change == "login":
            login(request, user("ann"), BACKEND)
        elif change == "new key":
            request.session.cycle_key()
        key = finish(request)
    clock.advance(settings.SESSION_COOKIE_AGE - 5)
    assert contents(key)["a"] == 1, "the new end counts from the save"


def test_a_moment_of_expiry_ends_a_request_that_outlasts_it(clock: FakeClock) -> None:
    session = stored(a=1)
    session.set_expiry(datetime.fromtimestamp(clock() + 60, timezone.utc))
    session.save()
    clock.advance(55)
    request = begin(session.session_key)
    clock.advance(30)
    request.session["b"] = 2
    key = finish(request)
    assert contents(key) == {}, "the application has set it: the next request finds nothing"


def test_a_session_that_was_ended_meanwhile_is_not_saved_however_long_the_request_takes(clock: FakeClock) -> None:
    session = stored(a=1)
    request = begin(session.session_key)
    again(session).delete()
    clock.advance(settings.SESSION_COOKIE_AGE + 5)
    request.session["b"] = 2
    with pytest.raises(SessionInterrupted):
        finish(request)
