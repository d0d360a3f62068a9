"""A login at another site: what it has to remember is apart from the session, works once, and fits its state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support.site import ANN, Browser, MakeSite, Site, log_in, put, read
from tests.support.stores import SERVER
from wsgi_session import (
    ConfigError,
    HeadersAlreadySent,
    Session,
    SessionMissing,
    SessionTooLarge,
    UnsupportedValue,
    begin_transaction,
    check_csrf,
    end_transaction,
    login,
)
from wsgi_session.stores.cookie import CookieStore

DATA = {"saml_request": "id-77", "cart": ["tea"], "asked": timedelta(hours=1)}
# What a browser sends with the form that another site's page submits.
ANSWER = {"REQUEST_METHOD": "POST", "HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_SEC_FETCH_MODE": "navigate"}
HTTPS = {"wsgi.url_scheme": "https", "SERVER_PORT": "443"}


def begin(browser: Browser, data: dict[str, Any] = DATA, **options: Any) -> str:
    state = browser.call(lambda environ: begin_transaction(environ, data, **options))
    assert isinstance(state, str)
    return state


def end(browser: Browser, state: object, **environ: Any) -> Any:
    return browser.call(lambda environ: end_transaction(environ, state), environ)


def answering(browser: Browser) -> Browser:
    """Return the browser as it answers a form of another site: without the session's cookie, which is Lax."""
    other = browser.copy()
    other.jar = {name: value for name, value in browser.jar.items() if "-login-" in name}
    return other


def test_the_answer_of_another_site_finds_what_the_login_remembered(browser: Browser) -> None:
    browser.do(put(cart=["tea"]))
    before = dict(browser.jar)
    state = begin(browser)
    other = answering(browser)
    assert len(other.jar) == 1
    assert end(other, state, **ANSWER) == DATA
    assert other.jar == {}, "its cookie is removed"
    assert {name: browser.jar[name] for name in before} == before
    assert browser.do(read).result == {"cart": ["tea"]}


def test_it_stores_no_session_and_reads_none(browser: Browser) -> None:
    state = begin(browser)
    assert browser.site.calls.counts().get("load") is None
    assert end(browser, state) == DATA
    assert browser.do(lambda session: session.state).result == "new"


@pytest.mark.needs(SERVER)
def test_a_transaction_can_be_ended_once(browser: Browser) -> None:
    state = begin(browser)
    copied = browser.copy()
    assert end(browser, state) == DATA
    assert end(copied, state) is None


@pytest.mark.needs(SERVER)
def test_of_two_requests_that_end_it_at_once_one_gets_the_data(browser: Browser) -> None:
    state = begin(browser)
    second = browser.copy()
    results: list[Any] = []
    browser.site.calls.before["replace"] = lambda: results.append(end(second, state))
    results.append(end(browser, state))
    assert sorted(results, key=bool) == [None, DATA]


@pytest.mark.needs(SERVER)
def test_it_stays_ended_if_its_record_cannot_be_deleted(browser: Browser) -> None:
    state = begin(browser)
    copied = browser.copy()
    browser.site.calls.fail("delete")
    assert end(browser, state) == DATA
    browser.site.calls.recover()
    assert end(copied, state) is None


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_of_the_store_loses_no_transaction(browser: Browser, applied: bool) -> None:
    browser.site.calls.fail("create", applied=applied, lost=True, times=1)
    state = begin(browser)
    browser.site.calls.fail("replace", applied=applied, lost=True, times=1)
    assert end(browser, state) == DATA


def test_another_state_gets_nothing_and_ends_nothing(browser: Browser) -> None:
    first, second = begin(browser, {"number": 1}), begin(browser, {"number": 2})
    forged = first[:12] + second[12:]
    for state in (
        forged,
        first.swapcase(),
        first[:-1],
        first + "A",
        "",
        "é" * 43,
        None,
        5,
        b"x",
        [first],
        "x" * 100_000,
    ):
        assert end(browser, state) is None
    # Each tab has its own.
    assert end(browser, second) == {"number": 2}
    assert end(browser, first) == {"number": 1}


def test_a_cookie_that_somebody_planted_does_not_fit_the_answer_of_the_visitor(site: Site) -> None:
    attacker, victim = site.browser(), site.browser()
    theirs, ours = begin(attacker, {"user": "attacker"}), begin(victim, {"user": "victim"})
    planted = attacker.jar[f"sid-login-{theirs[:12]}"]
    # Under the attacker's name, and under the victim's, before the victim's own cookie.
    victim.jar = {f"sid-login-{theirs[:12]}": planted, **victim.jar}
    header = f"sid-login-{ours[:12]}={planted}; {victim.header}"
    assert end(victim, ours, HTTP_COOKIE=header) == {"user": "victim"}
    # Without the attacker's cookie, the attacker's state opens nothing.
    assert end(site.browser(), theirs) is None


def test_a_transaction_expires(browser: Browser, make_site: MakeSite) -> None:
    short, default = begin(browser, {}, max_age=60), begin(browser)
    browser.site.clock.advance(60)
    assert end(browser, short) is None
    assert end(browser, default) == DATA
    late = begin(browser)
    browser.site.clock.advance(600)
    assert end(browser, late) is None


def test_a_transaction_is_bound_to_its_middleware(make_site: MakeSite) -> None:
    shop, forum = make_site(cookie_name="shop").browser(), make_site(cookie_name="forum").browser()
    state = begin(shop)
    ((name, value),) = shop.jar.items()
    forum.jar = {name: value, name.replace("shop", "forum"): value}
    assert end(forum, state) is None
    assert end(shop, state) == DATA


@pytest.mark.needs(SERVER)
def test_its_cookie_opens_no_session_and_a_session_no_transaction(browser: Browser) -> None:
    state = begin(browser)
    value = browser.jar[f"sid-login-{state[:12]}"]
    thief = browser.site.browser()
    for planted in (value, f"{value}.{value}"):
        thief.jar = {"sid": planted}
        assert thief.do(lambda session: session.state).result == "tampered"
    ann = browser.site.browser()
    ann.do(log_in(ANN))
    token = ann.jar["sid"].partition(".")[0]
    thief.jar = {f"sid-login-{state[:12]}": token}
    assert end(thief, state) is None


@pytest.mark.needs(SERVER)
def test_it_is_not_counted_and_not_listed(browser: Browser) -> None:
    browser.do(log_in(ANN))
    begin(browser)
    assert browser.site.middleware.sessions.count() == 1
    assert len(browser.site.middleware.sessions.of(ANN)) == 1


@pytest.mark.needs(SERVER)
def test_the_store_has_neither_the_token_nor_the_state(browser: Browser) -> None:
    state = begin(browser)
    ((_, token),) = browser.jar.items()
    end(browser, state)
    assert token not in repr(browser.site.calls.seen)
    assert state not in repr(browser.site.calls.seen)


# The cookie.


def test_over_https_every_site_may_send_the_cookie(make_site: MakeSite) -> None:
    site = make_site(cookie_samesite="Strict", cookie_path="/shop")
    browser = site.browser(**HTTPS)
    state = begin(browser)
    cookie = browser.answer.cookie
    assert cookie is not None
    assert cookie.name == f"__Secure-sid-login-{state[:12]}"
    expected = {"path": "/shop", "httponly": True, "samesite": "None", "secure": True, "max-age": "600"}
    assert cookie.attributes == expected
    assert browser.answer.header("Vary") == "Cookie"
    assert browser.answer.header("Cache-Control") == "private"
    assert end(browser, state) == DATA


def test_behind_a_proxy_it_is_secure_too(make_site: MakeSite) -> None:
    browser = make_site(cookie_secure=True).browser()
    state = begin(browser)
    cookie = browser.answer.cookie
    assert cookie is not None
    assert (cookie.name, cookie.attributes["samesite"]) == (f"__Host-sid-login-{state[:12]}", "None")


def test_over_http_it_has_no_samesite_which_browsers_would_refuse_without_secure(browser: Browser) -> None:
    begin(browser)
    cookie = browser.answer.cookie
    assert cookie is not None
    assert cookie.attributes == {"path": "/", "httponly": True, "max-age": "600"}


def test_a_browser_has_four_of_them_and_a_fifth_replaces_the_oldest(browser: Browser) -> None:
    browser.do(put(cart=1))
    states = [begin(browser, {"number": number}) for number in range(6)]
    assert len(browser.jar) == 1 + 4
    assert [end(browser, state) for state in states] == [None, None, *({"number": number} for number in range(2, 6))]


def test_names_that_a_client_invents_are_not_repeated(browser: Browser) -> None:
    invented = [f"sid-login-{name}=1" for name in ("a", "b" * 12 + "\r", "c" * 11 + "é", "d" * 13, "e" * 11 + ",")]
    for header in (
        "; ".join(invented * 9),
        "sid-login-" + "x" * 70_000,
        "; ".join(f"{'sid-login-'}{n:012}=1" for n in range(9)),
    ):
        browser.call(lambda environ: begin_transaction(environ, {}), {"HTTP_COOKIE": header})
        removed = [cookie.name for cookie in browser.answer.cookies if cookie.removes]
        assert removed == ([f"sid-login-{number:012}" for number in range(6)] if "0000" in header else [])


def test_hundreds_of_planted_cookies_do_not_make_the_answer_long(browser: Browser) -> None:
    """Another host of the domain may set them, and a proxy would refuse the response with all their removals."""
    browser.jar = {f"sid-login-{number:012}": "1" for number in range(300)}
    state = begin(browser)
    assert sum(map(len, browser.answer.all("Set-Cookie"))) < 4096
    assert end(browser, state) == DATA


# Errors.


def test_invalid_data_is_refused(browser: Browser) -> None:
    for data, error in (
        ({"a": object()}, UnsupportedValue),
        ({"a": "x" * 2_000_000}, SessionTooLarge),
        ("x", ConfigError),
    ):
        with pytest.raises(error):
            begin(browser, data)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedValue):
        begin(browser, {5: 1})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="max_age"):
        begin(browser, max_age=0)
    with pytest.raises(SessionMissing):
        begin_transaction({"session": {}}, {})
    with pytest.raises(SessionMissing):
        end_transaction({}, "x")


def test_with_a_cookie_store_the_data_must_fit_into_one_cookie() -> None:
    browser = Site(CookieStore()).browser()
    with pytest.raises(SessionTooLarge) as caught:
        begin(browser, {"text": "x" * 5000})
    assert 2500 < caught.value.limit < 3000
    state = begin(browser, {"text": "x" * (caught.value.limit - 20)})
    assert end(browser, state) is not None


@pytest.mark.needs(SERVER)
def test_an_outage_is_a_503(browser: Browser) -> None:
    state = begin(browser)
    for method in ("load", "replace"):
        browser.site.calls.fail(method)
        end(browser, state)
        assert browser.answer.code == 503
        browser.site.calls.recover()
    assert end(browser, state) == DATA
    browser.site.calls.fail("create")
    assert browser.call(lambda environ: begin_transaction(environ, {})) is None
    assert browser.answer.code == 503


def test_it_needs_headers_that_were_not_sent(browser: Browser) -> None:
    def late(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])(b"x")
        for act in (lambda: begin_transaction(environ, {}), lambda: end_transaction(environ, "x")):
            with pytest.raises(HeadersAlreadySent):
                act()
        return []

    assert browser.visit(late, lint=False).code == 200


@pytest.mark.needs(SERVER)
def test_a_corrupt_record_is_no_transaction(browser: Browser) -> None:
    state = begin(browser)
    calls = browser.site.calls
    load = calls.load
    calls.load = lambda key, now: (found := load(key, now)) and found._replace(data=b"\xc1")  # type: ignore[method-assign]
    assert end(browser, state) is None
    assert browser.site.happened("corrupt") == [{"handle": None}]


# The session's own cookie.


def test_a_form_of_another_site_does_not_replace_the_session_that_it_came_without(browser: Browser) -> None:
    browser.do(put(cart=["tea"]))
    other = answering(browser)
    for change in (put(failed=True), lambda session: session.flash("Try again."), lambda session: session.csrf_token):
        answer = other.do(change, **ANSWER)
        assert (answer.code, answer.cookies) == (200, [])
    assert len(browser.site.happened("cross_site_write")) == 1
    assert browser.do(read).result == {"cart": ["tea"]}


def test_a_login_in_the_answer_of_another_site_works(browser: Browser) -> None:
    browser.do(put(cart=["tea"]))
    other = answering(browser)

    def log_in_there(session: Session) -> None:
        session["before"] = 1
        login({"session": session}, ANN)
        session["after"] = 1

    other.do(log_in_there, **ANSWER)
    assert other.do(read).result == {"user": ANN, "before": 1, "after": 1}


@pytest.mark.parametrize(
    "environ",
    [
        {"REQUEST_METHOD": "POST"},
        {"REQUEST_METHOD": "POST", "HTTP_SEC_FETCH_SITE": "same-origin"},
        {"REQUEST_METHOD": "POST", "HTTP_SEC_FETCH_SITE": "same-site"},
        {"REQUEST_METHOD": "POST", "HTTP_SEC_FETCH_SITE": "none"},
        {"REQUEST_METHOD": "POST", "HTTP_SEC_FETCH_SITE": "cross-site, same-origin"},
        {"REQUEST_METHOD": "GET", "HTTP_SEC_FETCH_SITE": "cross-site"},
    ],
)
def test_every_other_request_can_start_a_session(browser: Browser, environ: dict[str, str]) -> None:
    assert browser.do(put(cart=1), **environ).cookie is not None


def test_with_strict_a_click_on_a_link_comes_without_the_cookie_too(make_site: MakeSite) -> None:
    browser = make_site(cookie_samesite="Strict").browser()
    assert browser.do(put(cart=1), REQUEST_METHOD="GET", HTTP_SEC_FETCH_SITE="cross-site").cookies == []
    assert browser.do(put(cart=1), REQUEST_METHOD="GET", HTTP_SEC_FETCH_SITE="none").cookie is not None
    open_to_all = make_site(cookie_samesite="None", cookie_secure=True).browser()
    assert open_to_all.do(put(cart=1), **ANSWER).cookie is not None


def test_a_request_with_a_cookie_of_ours_is_served_as_ever(browser: Browser) -> None:
    browser.do(put(cart=1))
    browser.do(put(more=2), **ANSWER)
    assert browser.do(read).result == {"cart": 1, "more": 2}


def test_the_csrf_check_refuses_the_form_of_another_site_unless_its_origin_is_trusted(browser: Browser) -> None:
    check = lambda environ: check_csrf(environ, trusted_origins=["https://idp.example"])  # noqa: E731
    assert browser.call(check, {**ANSWER, "HTTP_ORIGIN": "https://idp.example"}) is True
    assert browser.call(check, {**ANSWER, "HTTP_ORIGIN": "https://evil.example"}) is False


def test_another_process_of_the_site_can_end_it(make_site: MakeSite) -> None:
    one, two = make_site().browser(), make_site().browser()
    state = begin(one)
    two.jar = dict(one.jar)
    assert end(two, state) == DATA
