"""Pyramid: all that its documentation promises of a session, and all that the middleware promises, by one include."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from webob import Request as Client

pytest.importorskip("pyramid", reason="pip install pyramid pyramid_retry")

from pyramid.config import Configurator
from pyramid.csrf import (
    LegacySessionCSRFStoragePolicy,
    SessionCSRFStoragePolicy,
    check_csrf_token,
    get_csrf_token,
    new_csrf_token,
)
from pyramid.events import NewRequest, NewResponse
from pyramid.exceptions import ConfigurationConflictError
from pyramid.httpexceptions import HTTPConflict
from pyramid.interfaces import ICSRFStoragePolicy, ISession, ISessionFactory
from pyramid.request import Request
from pyramid.response import Response
from pyramid.scripting import prepare
from pyramid_retry import RetryableException, mark_error_retryable
from zope.interface.verify import verifyClass, verifyObject

from tests.frameworks.pyramid_site import ANN, SECRET, Browser, Site, View, count
from tests.support.leaks import as_shown, frames_of, is_ours
from wsgi_session import (
    ConfigError,
    HeadersAlreadySent,
    Session,
    StoreUnavailable,
    check_csrf,
    get_session,
    login,
    logout,
    redirect_if_anonymous,
    user_email_or_none,
)
from wsgi_session.codec.sealed import looks_sealed
from wsgi_session.integrations import pyramid as integration
from wsgi_session.integrations.pyramid import _session_of
from wsgi_session.integrations.pyramid_session import PyramidSession
from wsgi_session.session import work_of
from wsgi_session.testing import plant, read


def visiting(view: View, **settings: Any) -> Browser:
    """Return a browser that can visit a site with this one view."""
    return Site(view, **settings).browser()


# What Pyramid's chapter on sessions promises.


def test_a_session_is_an_isession() -> None:
    def page(request: Any) -> bool:
        return bool(verifyObject(ISession, request.session) and verifyObject(ISession, request.session))

    assert verifyClass(ISession, PyramidSession)
    assert visiting(page).see() == "True"


def test_the_documentations_first_example_does_what_it_says() -> None:
    def page(request: Any) -> str:
        session = request.session
        if "abc" in session:
            session["fred"] = "yes"
        session["abc"] = "123"
        return "Fred was in the session" if "fred" in session else "Fred was not in the session"

    browser = visiting(page)
    assert browser.see() == "'Fred was not in the session'"
    assert browser.see() == "'Fred was in the session'"


def test_a_session_has_every_method_of_a_dictionary() -> None:
    def page(request: Any) -> None:
        session = request.session
        known: dict[str, Any] = {}
        for mapping in (session, known):
            mapping["a"] = 1
            mapping.update({"b": 2}, c=3)
            mapping.setdefault("d", []).append(4)
            mapping |= {"e": 5}
            assert mapping.popitem() == ("e", 5)
            assert mapping.pop("a") == 1
            del mapping["b"]
        assert session == known == {"c": 3, "d": [4]}
        assert (list(session), list(reversed(session))) == (["c", "d"], ["d", "c"])
        assert (list(session.keys()), list(session.values())) == (["c", "d"], [3, [4]])
        assert list(session.items()) == [("c", 3), ("d", [4])]
        assert (session.get("c"), session.get("x", 9), len(session), "c" in session, "x" in session) == (
            3,
            9,
            2,
            True,
            False,
        )
        assert session.copy() == session | {} == {} | session == known
        assert "x" in session | {"x": 1}
        with pytest.raises(KeyError):
            session["x"]

    browser = visiting(page)
    browser.see()
    assert browser.session() == {"c": 3, "d": [4]}


def test_created_is_an_integer_and_stays_what_it_was() -> None:
    def page(request: Any) -> int:
        request.session["seen"] = True
        assert type(request.session.created) is int
        return int(request.session.created)

    browser = visiting(page)
    first = int(browser.see())
    assert first == int(browser.site.clock())
    browser.site.clock.advance(100)
    assert int(browser.see()) == first


def test_created_of_a_session_that_stores_nothing_is_this_request() -> None:
    browser = visiting(lambda request: (request.session.created, request.session.created))
    browser.site.clock.advance(100)
    now = int(browser.site.clock())
    assert browser.see() == f"({now}, {now})"


def test_new_is_true_until_there_is_something_stored() -> None:
    def page(request: Any) -> bool:
        was_new = request.session.new
        request.session["seen"] = True
        return bool(was_new)

    browser = visiting(page)
    assert [browser.see(), browser.see()] == ["True", "False"]


def test_a_change_inside_a_value_is_saved_with_changed_and_without() -> None:
    def page(request: Any) -> None:
        request.session.setdefault("cart", {}).setdefault("apple", []).append("red")
        if "changed" in request.GET:
            request.session.changed()

    browser = visiting(page)
    for path in ("/", "/", "/?changed"):
        browser.visit(path)
    assert browser.session() == {"cart": {"apple": ["red", "red", "red"]}}


def test_changed_alone_stores_nothing() -> None:
    browser = visiting(lambda request: request.session.changed())
    browser.see()
    assert (browser.cookies, browser.site.store.calls) == ({}, [])


def test_invalidate_dumps_all_data_and_leaves_a_session_to_use() -> None:
    def page(request: Any) -> None:
        request.session["old"] = 1
        request.session.flash("old")
        if "end" in request.GET:
            request.session.invalidate()
            assert dict(request.session) == {}
            assert request.session.peek_flash() == []
            assert request.session.new
            request.session["fresh"] = True

    browser = visiting(page)
    browser.visit()
    before = browser.cookie
    browser.visit("/?end")
    assert browser.session() == {"fresh": True}
    assert browser.cookie != before
    assert read(browser.site.middleware, before) == {}


def test_invalidate_takes_the_cookie_away_if_nothing_is_written_afterwards() -> None:
    def page(request: Any) -> None:
        request.session["a"] = 1
        if "end" in request.GET:
            request.session.invalidate()

    browser = visiting(page)
    browser.visit()
    assert browser.cookies
    browser.visit("/?end")
    assert browser.cookies == {}


# Flash messages.


def test_a_queue_is_popped_once() -> None:
    def page(request: Any) -> None:
        request.session.flash("info message")
        assert request.session.pop_flash() == ["info message"]
        assert request.session.pop_flash() == []

    browser = visiting(page)
    browser.see()
    assert browser.cookies == {}


def test_a_queue_can_be_peeked_at_any_number_of_times() -> None:
    def page(request: Any) -> None:
        request.session.flash("info message")
        assert request.session.peek_flash() == ["info message"]
        assert request.session.peek_flash() == ["info message"]
        assert request.session.pop_flash() == ["info message"]
        assert request.session.peek_flash() == []

    visiting(page).see()


def test_messages_wait_for_the_request_that_shows_them_in_their_order() -> None:
    def page(request: Any) -> None:
        for number in range(12):
            request.session.flash(f"message {number}")

    def show(request: Any) -> list[Any]:
        return list(request.session.pop_flash())

    browser = Site(page, show).browser()
    browser.visit()
    assert browser.see("/show") == repr([f"message {number}" for number in range(12)])
    assert browser.see("/show") == "[]"


def test_each_flash_queue_has_its_own_messages() -> None:
    def page(request: Any) -> None:
        session = request.session
        session.flash("one")
        session.flash("two", "errors")
        session.flash("three", queue="errors")
        assert session.pop_flash("errors") == ["two", "three"]
        assert session.peek_flash("nothing") == []
        assert session.pop_flash(queue="") == ["one"]

    visiting(page).see()


def test_a_duplicate_is_left_out_of_its_queue_where_that_is_asked_for() -> None:
    def page(request: Any) -> None:
        session = request.session
        session.flash("same")
        session.flash("same")
        session.flash("same", allow_duplicate=False)
        session.flash("same", "errors", allow_duplicate=False)
        session.flash("same", "errors", False)
        assert (session.peek_flash(), session.peek_flash("errors")) == (["same", "same"], ["same"])

    visiting(page).see()


@pytest.mark.parametrize("message", ["text", 5, None, {"level": "warning", "text": "x"}, ["a", "b"], ("a", 1), b"raw"])
def test_a_message_may_be_anything_that_a_session_keeps_and_is_not_modified(message: Any) -> None:
    def page(request: Any) -> None:
        request.session.flash(message)

    def show(request: Any) -> Any:
        (shown,) = request.session.pop_flash()
        assert type(shown) is type(message)
        return shown

    browser = Site(page, show).browser()
    browser.visit()
    assert browser.see("/show") == repr(message)


def test_a_translation_string_is_kept_as_its_text() -> None:
    from pyramid.i18n import TranslationString

    def page(request: Any) -> list[Any]:
        request.session.flash(TranslationString("Saved."))
        return [(type(message), message) for message in request.session.peek_flash()]

    assert visiting(page).see() == "[(<class 'str'>, 'Saved.')]"


def test_overlapping_requests_lose_no_message_of_each_others() -> None:
    def page(request: Any) -> None:
        request.session.flash("outer")
        if "inner" in request.GET:
            other = Client.blank("/other", headers={"Cookie": request.headers["Cookie"]})
            assert other.get_response(site.app).status_int == 200

    def other(request: Any) -> None:
        request.session.flash("inner")

    def show(request: Any) -> list[Any]:
        return sorted(request.session.pop_flash())

    site = Site(page, other, show)
    browser = site.browser()
    browser.visit()
    browser.visit("/?inner")
    assert browser.see("/show") == "['inner', 'outer', 'outer']"


def test_messages_and_the_helpers_messages_are_the_same() -> None:
    def page(request: Any) -> None:
        get_session(request).flash("from the helper", "errors")
        assert request.session.pop_flash("errors") == ["from the helper"]
        request.session.flash("from Pyramid", "errors")
        assert get_session(request).flashes("errors") == ["from Pyramid"]

    visiting(page).see()


def test_a_message_that_cannot_be_read_is_no_error_and_makes_the_session_unknown() -> None:
    def page(request: Any) -> Any:
        work_of(get_session(request)).writable().put(b"flash:broken", 5, b"\x05")
        return request.session.pop_flash(), request.session.state

    assert visiting(page).see() == "([], 'unknown')"


# CSRF tokens.


def token_page(request: Any) -> str:
    return str(get_csrf_token(request))


def new_token_page(request: Any) -> str:
    before = request.session.get_csrf_token()
    token = new_csrf_token(request)
    assert token not in (before, new_csrf_token(request))
    return str(get_csrf_token(request))


def check_page(request: Any) -> bool:
    return bool(check_csrf_token(request, raises=False))


def token_of(browser: Browser, path: str = "/") -> str:
    return browser.see(path).strip("'")


def test_the_token_stays_the_same_and_is_taken_as_a_field_and_as_a_header() -> None:
    browser = Site(token_page, check_page).browser()
    token = token_of(browser)
    assert token_of(browser) == token
    assert token.isascii()
    assert browser.see("/check_page", POST={"csrf_token": token}) == "True"
    assert browser.see("/check_page", method="POST", headers={"X-CSRF-Token": token}) == "True"


def test_no_token_of_another_visitor_no_missing_and_no_hostile_token_is_accepted() -> None:
    site = Site(token_page, check_page)
    browser, other = site.browser(), site.browser()
    token = token_of(browser)
    assert token != token_of(other)
    for given in (token_of(other), "", "x", "é" * 86, token[:-1], "A" * 86):
        assert browser.see("/check_page", POST={"csrf_token": given}) == "False", given


def test_a_token_that_pyramid_refuses_is_told_with_the_reason() -> None:
    told: list[Any] = []
    options: dict[str, Any] = {"on_event": lambda name, data: told.append((name, data.get("reason")))}
    browser = Site(token_page, check_page, **options).browser()
    assert browser.see("/check_page", POST={"csrf_token": "x"}) == "False"
    token_of(browser)
    for given in ("", "x"):
        assert browser.see("/check_page", POST={"csrf_token": given}) == "False"
    reasons = [reason for name, reason in told if name == "csrf_failed"]
    assert reasons == ["no_session", "no_token", "wrong_token"]


def test_a_form_of_this_site_needs_no_token_in_pyramids_own_check() -> None:
    browser = Site(token_page, check_page).browser()
    for site, allowed in (("same-origin", "True"), ("same-site", "False"), ("cross-site", "False"), ("none", "False")):
        assert browser.see("/check_page", POST={}, headers={"Sec-Fetch-Site": site}) == allowed
    assert browser.cookies == {}
    token = token_of(browser)
    # Pyramid has its own list of trusted origins.
    assert browser.see("/check_page", POST={"csrf_token": token}, headers={"Sec-Fetch-Site": "cross-site"}) == "True"


def test_a_token_that_is_not_text_is_a_wrong_token() -> None:
    """A file part is one, and the visitor's own token in it does not help."""
    browser = Site(token_page, check_page).browser()
    token = token_of(browser)
    for given in (("a.txt", b"x"), ("a.txt", token.encode())):
        assert browser.see("/check_page", POST={"csrf_token": given}) == "False", given
    policy = browser.site.registry.getUtility(ICSRFStoragePolicy)
    request = Request.blank("/", headers={"Cookie": f"sid={browser.cookies['sid']}"})
    supplied: list[object] = [token.encode(), None, 5, [token], object()]
    assert [policy.check_csrf_token(request, given) for given in supplied] == [False] * 5
    assert policy.check_csrf_token(request, token)


def test_no_local_variable_of_ours_shows_a_token_when_the_store_is_out_of_order() -> None:
    browser = Site(token_page, check_page).browser()
    token = token_of(browser)
    policy = browser.site.registry.getUtility(ICSRFStoragePolicy)
    browser.site.store.down = True
    for check in (policy.check_csrf_token, check_csrf):
        request = Request.blank("/", POST={}, headers={"Cookie": f"sid={browser.cookies['sid']}"})
        _session_of(request, browser.site.middleware)
        with pytest.raises(StoreUnavailable) as caught:
            check(request, token)
        ours = [frame.f_locals for frame in frames_of(caught.value) if is_ours(frame)]
        shown = [as_shown(value) for variables in ours for value in variables.values()]
        assert shown
        assert not any(secret in text for text in shown for secret in (token, browser.cookies["sid"][:43]))


def test_a_new_token_is_another_and_ends_the_old_one() -> None:
    browser = Site(token_page, new_token_page, check_page).browser()
    old, cookie = token_of(browser), browser.cookie
    new = token_of(browser, "/new_token_page")
    assert new not in (old, token_of(browser.site.browser()))
    assert token_of(browser) == new
    assert browser.see("/check_page", POST={"csrf_token": old}) == "False"
    assert browser.see("/check_page", POST={"csrf_token": new}) == "True"
    assert browser.cookie != cookie


def test_a_new_token_as_the_first_thing_makes_a_session_for_it() -> None:
    browser = Site(new_csrf_token, check_page).browser()
    token = token_of(browser)
    assert browser.see("/check_page", POST={"csrf_token": token}) == "True"


def test_a_new_token_that_comes_too_late_for_the_cookie_is_an_error() -> None:
    def page(request: Any) -> Any:
        count(request)

        def body() -> Iterator[bytes]:
            yield b"first "
            with pytest.raises(HeadersAlreadySent):
                request.session.new_csrf_token()
            yield b"second"

        return Response(app_iter=body(), content_type="text/plain")

    assert visiting(page).see() == "first second"


def test_logging_in_changes_the_token() -> None:
    def log_in(request: Any) -> str:
        login(request, ANN)
        return token_page(request)

    browser = Site(token_page, log_in, check_page).browser()
    before = token_of(browser)
    after = token_of(browser, "/log_in")
    assert browser.see("/check_page", POST={"csrf_token": before}) == "False"
    assert browser.see("/check_page", POST={"csrf_token": after}) == "True"


def test_a_view_that_requires_the_token_refuses_requests_without_one() -> None:
    def setup(config: Any) -> None:
        config.set_default_csrf_options(require_csrf=True)

    browser = Site(token_page, setup=setup).browser()
    token = token_of(browser)
    assert browser.visit(POST={"csrf_token": "wrong"}).status_int == 400
    assert browser.visit(POST={"csrf_token": token}).status_int == 200


def test_a_hostile_post_stores_nothing_and_gets_no_cookie() -> None:
    browser = Site(check_page).browser()
    assert browser.see(POST={"csrf_token": "x"}) == "False"
    assert (browser.cookies, browser.site.store.calls) == ({}, [])


def test_pyramids_tokens_and_ours_are_taken_by_either() -> None:
    def page(request: Any) -> tuple[str, str]:
        return get_csrf_token(request), get_session(request).csrf_token

    def check(request: Any) -> tuple[bool, bool]:
        return check_csrf_token(request, raises=False), check_csrf(request)

    browser = Site(page, check).browser()
    for token in eval(browser.see()):
        assert browser.see("/check", POST={"csrf_token": token}) == "(True, True)"


@pytest.mark.parametrize("policy", [SessionCSRFStoragePolicy(), LegacySessionCSRFStoragePolicy()])
def test_pyramids_own_csrf_policies_work_on_it(policy: Any) -> None:
    def setup(config: Any) -> None:
        config.set_csrf_storage_policy(policy)

    browser = Site(token_page, new_token_page, check_page, setup=setup).browser()
    token = token_of(browser)
    assert token_of(browser) == token
    assert browser.see("/check_page", POST={"csrf_token": token}) == "True"
    assert browser.see("/check_page", POST={"csrf_token": "x"}) == "False"
    assert token_of(browser, "/new_token_page" if isinstance(policy, LegacySessionCSRFStoragePolicy) else "/") != ""
    assert browser.site.registry.getUtility(ICSRFStoragePolicy) is policy


# What the middleware promises.


def test_a_request_that_does_not_look_costs_nothing() -> None:
    browser = Site(lambda_named("page", lambda request: "static"), count).browser()
    browser.see("/count")
    browser.site.store.calls.clear()
    answer = browser.visit()
    assert browser.site.store.calls == []
    assert answer.vary is None
    assert "Set-Cookie" not in answer.headers


def lambda_named(name: str, function: View) -> View:
    function.__name__ = name
    return function


def test_an_answer_that_depends_on_the_cookie_says_so() -> None:
    browser = visiting(lambda request: request.session.get("a"))
    assert browser.visit().vary == ("Cookie",)


def test_the_cookie_is_for_https_what_https_allows() -> None:
    browser = visiting(count)
    (line,) = browser.visit().headers.getall("Set-Cookie")
    assert line.startswith("sid=")
    assert line.endswith("; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax")
    (line,) = browser.visit(scheme="https").headers.getall("Set-Cookie")
    assert line.startswith("__Host-sid=")
    assert "; Secure" in line


def test_response_callbacks_finished_callbacks_and_subscribers_are_inside() -> None:
    def page(request: Any) -> None:
        request.add_response_callback(lambda request, response: request.session.update(callback=True))
        request.add_finished_callback(lambda request: request.session.update(finished=True))

    def setup(config: Any) -> None:
        config.add_subscriber(lambda event: event.request.session.update(arrived=True), NewRequest)
        config.add_subscriber(lambda event: event.request.session.update(left=True), NewResponse)

    browser = Site(page, setup=setup).browser()
    browser.see()
    assert browser.session() == {"arrived": True, "callback": True, "left": True, "finished": True}


def over_all_tween(handler: Callable[[Any], Any], registry: Any) -> Callable[[Any], Any]:
    def tween(request: Any) -> Any:
        request.session["before"] = True
        response = handler(request)
        request.session["after"] = True
        return response

    return tween


def test_tweens_are_inside_exception_views_too() -> None:
    def page(request: Any) -> None:
        request.session["view"] = True
        raise HTTPConflict

    def setup(config: Any) -> None:
        config.add_tween(f"{__name__}.over_all_tween")

    browser = Site(page, setup=setup).browser()
    assert browser.visit().status_int == 409
    assert browser.session() == {"before": True, "view": True, "after": True}


def failing(request: Any) -> None:
    count(request)
    raise ValueError("the view's own")


def test_a_view_that_raises_saves_nothing() -> None:
    browser = Site(count, failing).browser()
    browser.see()
    with pytest.raises(ValueError, match="the view's own"):
        browser.visit("/failing")
    assert browser.see() == "2"


def test_an_exception_view_that_answers_5xx_saves_nothing_and_one_that_answers_4xx_does() -> None:
    def setup(config: Any) -> None:
        def error_page(error: Exception, request: Any) -> Any:
            return Response("sorry", status=int(request.GET["status"]))

        config.add_exception_view(error_page, context=ValueError)

    browser = Site(count, failing, setup=setup).browser()
    browser.see()
    assert browser.visit("/failing?status=500").status_int == 500
    assert browser.session() == {"count": 1}
    assert browser.visit("/failing?status=422").status_int == 422
    assert browser.session() == {"count": 2}


def test_an_outage_is_a_503_whatever_exception_views_make_of_it() -> None:
    def setup(config: Any) -> None:
        config.add_exception_view(lambda error, request: Response("sorry", status=500), context=Exception)

    browser = Site(count, setup=setup).browser()
    browser.see()
    cookie = browser.cookie
    browser.site.store.down = True
    answer = browser.visit()
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "5")
    assert "sorry" not in answer.text
    assert browser.cookie == cookie
    browser.site.store.down = False
    assert browser.see() == "2"


def test_what_changes_while_the_body_streams_is_saved() -> None:
    def page(request: Any) -> Any:
        request.session["begun"] = True

        def body() -> Iterator[bytes]:
            yield b"first "
            request.session["streamed"] = True
            yield b"second"

        return Response(app_iter=body(), content_type="text/plain")

    browser = visiting(page)
    assert browser.see() == "first second"
    assert browser.session() == {"begun": True, "streamed": True}


def test_the_helpers_take_a_pyramid_request_and_its_session_is_theirs() -> None:
    def page(request: Any) -> str | None:
        login(request, ANN)
        assert request.session["user"] == ANN
        assert request.session.handle == get_session(request).handle
        assert request.session.owner == "id:1"
        return user_email_or_none(request)

    assert visiting(page).see() == "'ann@example.com'"


def test_logging_out_ends_the_session_also_for_who_kept_the_cookie() -> None:
    def page(request: Any) -> None:
        login(request, ANN)

    def log_out(request: Any) -> None:
        logout(request)

    browser = Site(page, log_out).browser()
    browser.visit()
    kept = browser.cookie
    browser.visit("/log_out")
    assert browser.cookies == {}
    assert read(browser.site.middleware, kept) == {}


def test_clearing_a_logged_in_session_ends_it() -> None:
    def page(request: Any) -> None:
        login(request, ANN)

    def clear(request: Any) -> None:
        request.session.clear()

    browser = Site(page, clear).browser()
    browser.visit()
    browser.visit("/clear")
    assert browser.cookies == {}


@pytest.mark.parametrize("how", ["returned", "raised"])
def test_the_redirect_to_the_login_can_be_returned_and_raised(how: str) -> None:
    def page(request: Any) -> Any:
        if response := redirect_if_anonymous(request):
            if how == "raised":
                raise response
            return response
        return "secret"

    answer = visiting(page).visit("/?a=b")
    assert (answer.status_int, answer.headers["Location"]) == (302, "/login?next=/%3Fa%3Db")
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_session_tells_about_itself_and_is_not_pickled() -> None:
    def page(request: Any) -> str:
        with pytest.raises(TypeError, match=r"session\.copy\(\)"):
            pickle.dumps(request.session)
        before = repr(request.session)
        request.session["a"] = 1
        return f"{before} {request.session!r}"

    assert visiting(page).see() == "'<Session, not loaded> <Session new, handle None, 1 keys>'"


def test_the_administrators_view_is_in_the_registry() -> None:
    def page(request: Any) -> None:
        login(request, ANN)

    def devices(request: Any) -> int:
        return len(request.registry["wsgi_session"].sessions.of(ANN))

    site = Site(page, devices)
    site.browser().visit()
    site.browser().visit()
    assert site.browser().see("/devices") == "2"


def test_everywhere_else_can_be_logged_out() -> None:
    def page(request: Any) -> None:
        login(request, ANN)

    def everywhere_else(request: Any) -> int:
        return request.registry["wsgi_session"].sessions.revoke_all(ANN, keep=request.session)

    def name(request: Any) -> Any:
        return request.session.owner

    site = Site(page, everywhere_else, name)
    here, there = site.browser(), site.browser()
    here.visit()
    there.visit()
    assert here.see("/everywhere_else") == "1"
    assert (here.see("/name"), there.see("/name")) == ("'id:1'", "None")


def test_a_planted_session_is_there_for_tests_of_an_application() -> None:
    browser = visiting(lambda request: user_email_or_none(request))
    name, _, value = plant(browser.site.middleware, {"user": ANN}).partition("=")
    browser.cookies[name] = value
    assert browser.see() == "'ann@example.com'"


# Sub-requests, and requests that came from no server.


def subrequest(request: Any, path: str, use_tweens: bool = False, **more: Any) -> Any:
    return request.invoke_subrequest(Request.blank(path, **more), use_tweens=use_tweens)


@pytest.mark.parametrize("use_tweens", [False, True])
def test_a_subrequest_made_from_nothing_has_the_session_that_its_cookie_opens(use_tweens: bool) -> None:
    def page(request: Any) -> Any:
        request.session["outer"] = True
        return subrequest(request, "/inner", use_tweens, headers={"Cookie": request.headers.get("Cookie", "")})

    def inner(request: Any) -> dict[str, Any]:
        request.session.setdefault("inner", []).append(1)
        return dict(request.session)

    browser = Site(page, inner).browser()
    # Of the first request, nothing is stored yet: the two are two visitors. The sub-response's cookie goes first.
    assert browser.see() == "{'inner': [1]}"
    browser.cookies.clear()
    browser.visit("/inner")
    assert browser.see() == "{'inner': [1, 1]}"
    assert browser.session() == {"inner": [1, 1], "outer": True}


def test_a_copied_request_shares_the_session() -> None:
    def page(request: Any) -> Any:
        request.session["outer"] = True
        copied = request.copy()
        copied.path_info = "/inner"
        return request.invoke_subrequest(copied)

    def inner(request: Any) -> dict[str, Any]:
        request.session["inner"] = True
        return dict(request.session)

    browser = Site(page, inner).browser()
    assert browser.see() == "{'outer': True, 'inner': True}"
    assert browser.session() == {"outer": True, "inner": True}


def test_the_helpers_work_in_a_subrequest_made_from_nothing() -> None:
    def page(request: Any) -> Any:
        return subrequest(request, "/inner", headers={"Cookie": request.headers.get("Cookie", "")})

    def inner(request: Any) -> str | None:
        return user_email_or_none(request)

    browser = Site(page, inner).browser()
    name, _, value = plant(browser.site.middleware, {"user": ANN}).partition("=")
    browser.cookies[name] = value
    assert browser.see() == "'ann@example.com'"


def test_an_outage_in_a_subrequest_is_its_503() -> None:
    def page(request: Any) -> Any:
        answer = subrequest(request, "/inner", use_tweens=True, headers={"Cookie": request.headers["Cookie"]})
        return answer.status, answer.headers["Retry-After"], answer.text

    def inner(request: Any) -> Any:
        try:
            return count(request)
        except StoreUnavailable:
            return Response("sorry", status=500)

    browser = Site(page, inner).browser()
    browser.visit("/inner")
    browser.site.store.down = True
    assert browser.see() == repr(
        ("503 Service Unavailable", "5", "The service is unavailable for the moment. Please try again.\n")
    )


def test_a_subrequest_that_raises_saves_nothing() -> None:
    def page(request: Any) -> str:
        with pytest.raises(ValueError, match="the view's own"):
            subrequest(request, "/failing")
        return "caught"

    browser = Site(page, failing).browser()
    assert browser.see() == "'caught'"
    assert (browser.cookies, browser.site.store.calls) == ({}, [])


def test_a_script_has_a_session_too() -> None:
    site = Site(count)
    with prepare(registry=site.registry) as env:
        session = env["request"].session
        assert (dict(session), session.new) == ({}, True)
        assert isinstance(get_session(env["request"]), Session)


# Configuration.


def include(**settings: Any) -> Any:
    config = Configurator(settings={f"wsgi_session.{name}": value for name, value in settings.items()})
    config.include("wsgi_session.integrations.pyramid")
    return config


def test_settings_are_those_of_a_deployment() -> None:
    config = include(secret=SECRET, store="memory://", idle_timeout="15m", cookie_name="shop", cookie_secure="true")
    settings = config.registry["wsgi_session"]._settings
    assert (settings.lifetime.idle, settings.namespace) == (900.0, "shop")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store": "memory://"}, r"wsgi_session\.secret is missing"),
        ({"secret": "0" * 40}, r"wsgi_session\.store is missing"),
        ({"secret": "0" * 40, "store": "memory://", "idle": "5"}, r"wsgi_session\.idle: no such option"),
        ({"secret": "short", "store": "memory://"}, "keygen"),
    ],
)
def test_a_mistake_in_the_settings_is_an_error_at_the_include(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        include(**settings)


def only_ann(session: Session) -> bool:
    return session["user"]["name"] == "Ann"


def test_functions_are_given_in_an_ini_file_by_their_dotted_names() -> None:
    def page(request: Any) -> None:
        login(request, {"id": 2, "name": request.GET["name"]})

    browser = Site(page, count, validate=f"{__name__}.only_ann").browser()
    browser.visit("/?name=Ann")
    assert "user" in browser.session()
    browser.visit("/?name=Bob")
    assert browser.session() == {}


def test_another_session_factory_in_one_application_is_a_conflict() -> None:
    config = include(secret=SECRET, store="memory://")
    config.include(lambda config: config.set_session_factory(lambda request: {}), route_prefix="other")
    with pytest.raises(ConfigurationConflictError):
        config.make_wsgi_app()


def test_another_environ_key_is_where_the_helpers_look() -> None:
    def page(request: Any) -> Any:
        request.session["a"] = 1
        return get_session(request, key="wsgi_session").copy(), "session" in request.environ

    assert visiting(page, environ_key="wsgi_session").see() == "({'a': 1}, False)"


def test_an_applications_own_execution_policy_stays() -> None:
    def policy(environ: dict[str, Any], router: Any) -> Any:
        with router.request_context(environ) as request:
            request.session["policy"] = user_email_or_none(request)
            request.add_finished_callback(lambda request: request.session.update(finished=True))
            return router.invoke_request(request)

    def setup(config: Any) -> None:
        config.set_execution_policy(policy)

    browser = Site(count, setup=setup).browser()
    browser.see()
    assert browser.session() == {"policy": None, "count": 1, "finished": True}


def trying(request: Any) -> Any:
    """Fails at the first attempt, when it has changed all sorts of things."""
    session = request.session
    session["attempts"] = session.get("attempts", 0) + 1
    session.flash("tried")
    session["seen"].append(request.environ["retry.attempt"])
    if request.environ["retry.attempt"] == 0:
        login(request, ANN)
        raise RetryableException
    return session.peek_flash()


def with_retries(config: Any) -> None:
    config.include("pyramid_retry")


def with_retries_too_late(config: Any) -> None:
    """Replace our execution policy, so that no middleware is around: each request has a session of its own then."""
    config.commit()
    config.include("pyramid_retry")


@pytest.mark.parametrize("setup", [with_retries, with_retries_too_late])
def test_an_attempt_that_pyramid_retry_gives_up_leaves_nothing_in_the_session(setup: Any) -> None:
    def begin(request: Any) -> None:
        request.session["seen"] = []

    browser = Site(begin, trying, setup=setup).browser()
    browser.see()
    assert browser.see("/trying") == "['tried']"
    assert browser.session() == {"seen": [1], "attempts": 1}


def test_an_attempt_that_did_not_look_is_tried_again_too() -> None:
    def page(request: Any) -> int:
        if request.environ["retry.attempt"] == 0:
            raise RetryableException
        return count(request)

    assert visiting(page, setup=with_retries).see() == "1"


@pytest.mark.parametrize("status", [200, 500])
def test_an_attempt_after_an_outage_asks_the_store_again(status: int) -> None:
    def page(request: Any) -> Any:
        site.store.down = request.environ["retry.attempt"] == 0
        try:
            return Response(str(count(request)), status=status)
        except StoreUnavailable as error:
            mark_error_retryable(error)
            raise

    site = Site(page, count, setup=with_retries)
    browser = site.browser()
    browser.visit("/count")
    answer = browser.visit()
    assert (answer.status_int, answer.text) == (status, "2")


def test_it_works_without_pyramid_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyramid_retry", None)
    alone = copy_of(integration, monkeypatch)
    assert alone.IBeforeRetry is None
    config = Configurator(settings={"wsgi_session.secret": SECRET, "wsgi_session.store": "memory://"})
    config.include(alone.includeme)
    config.commit()
    assert isinstance(config.registry.getUtility(ISessionFactory)(Request.blank("/")), alone.PyramidSession)


def copy_of(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module as imported anew, under another name."""
    assert module.__file__ is not None
    spec = importlib.util.spec_from_file_location("wsgi_session_pyramid_alone", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    copied = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, copied.__name__, copied)
    spec.loader.exec_module(copied)
    return copied


def test_the_option_encrypt_keeps_the_data_from_who_reads_the_store() -> None:
    site = Site(count, encrypt="true")
    browser = site.browser()
    assert [browser.see() for _ in range(3)] == ["1", "2", "3"]
    (stored,) = [record for _, record in site.store.scan(site.clock())]
    assert looks_sealed(stored.data)
    assert browser.session() == {"count": 3}
