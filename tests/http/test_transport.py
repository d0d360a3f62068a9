"""``transport=``: the token in a header that the client sets itself, in place of the cookie; every rule still holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.apps import AppClient
from tests.support.client import Client
from tests.support.site import ANN, BOB, MakeSite, Site, log_in, log_out, page, put, read
from tests.support.stores import SERVER
from wsgi_session import (
    ConfigError,
    Session,
    SessionMiddleware,
    begin_transaction,
    check_csrf,
    end_transaction,
    protect_from_csrf,
    redirect_if_anonymous,
    redirect_unless_fresh,
    session_info,
)
from wsgi_session.moving import FlaskCookie
from wsgi_session.testing import plant
from wsgi_session.testing import read as read_planted

SECRET = "q7" * 16
OTHER = "z3" * 16

pytestmark = pytest.mark.needs(SERVER)


@pytest.fixture(params=["header", "both", "header X-Token", "both X-Token"])
def options(request: pytest.FixtureRequest) -> dict[str, str]:
    """The options of a site, each as it may be."""
    transport, _, header = request.param.partition(" ")
    return {"transport": transport, "transport_header": header or "Authorization"}


@pytest.fixture
def app(make_site: MakeSite, options: dict[str, str]) -> AppClient:
    return AppClient(make_site(**options), options["transport_header"])


@pytest.fixture
def both(make_site: MakeSite) -> Site:
    return make_site(transport="both")


def state_and_data(session: Session) -> tuple[str, dict[str, Any]]:
    return session.state, session.copy()


# Tokens come in one header, go out in one header, and no cookie goes out.


def test_a_login_is_answered_with_a_token_that_opens_the_session(app: AppClient) -> None:
    answer = app.do(log_in(ANN))
    assert answer.cookies == []
    assert answer.header("Session-Token") == app.bearer
    assert len(app.bearer or "") == 87
    for _ in range(2):
        answer = app.do(read)
        assert answer.result == {"user": ANN}
        # The client has this token already.
        assert (answer.header("Session-Token"), answer.cookies) == (None, [])
    assert app.copy().do(put(cart=1)).header("Session-Token") is None
    assert app.do(read).result == {"user": ANN, "cart": 1}


def test_a_first_write_is_answered_with_a_token_and_a_client_that_stores_nothing_gets_none(app: AppClient) -> None:
    assert app.do(read).header("Session-Token") is None
    assert app.site.middleware.sessions.count() == 0
    app.do(put(cart=1))
    assert app.bearer is not None
    assert app.do(read).result == {"cart": 1}


def test_a_login_and_a_rotation_change_the_token_and_the_old_one_is_dead(app: AppClient) -> None:
    app.do(put(cart=1))
    old = app.copy()
    for change in (log_in(ANN), Session.rotate):
        app.do(change)
        assert old.do(state_and_data).result == ("rotated", {})
        # A request that was under way gets no token, and what it writes is dropped.
        assert old.do(put(cart=2)).header("Session-Token") is None
        assert app.do(read).result == {"user": ANN, "cart": 1}
        old = app.copy()


def test_a_client_that_lost_the_answer_to_its_login_logs_in_again(app: AppClient) -> None:
    app.do(put(cart=1))
    lost = app.copy()
    app.do(log_in(ANN))
    assert lost.do(read).result == {}
    assert lost.do(log_in(ANN)).header("Session-Token") not in (None, app.bearer)
    assert lost.do(read).result == {"user": ANN}
    assert app.do(read).result == {"user": ANN, "cart": 1}


def test_a_logout_ends_the_session_and_a_later_write_starts_another(app: AppClient) -> None:
    app.do(log_in(ANN))
    stolen = app.copy()
    answer = app.do(log_out)
    assert (answer.header("Session-Token"), answer.cookies) == (None, [])
    assert stolen.do(state_and_data).result == ("unknown", {})
    app.do(put(cart=1))
    assert app.bearer != stolen.bearer
    assert app.do(read).result == {"cart": 1}
    assert stolen.do(read).result == {}


def test_overlapping_requests_keep_each_others_changes(app: AppClient) -> None:
    app.do(put(cart=1))
    other = app.copy()

    def write_meanwhile(session: Session) -> None:
        session["mine"] = 1
        other.do(put(theirs=2))

    app.do(write_meanwhile)
    assert app.do(read).result == {"cart": 1, "mine": 1, "theirs": 2}


def test_a_session_ends_after_the_idle_timeout_and_activity_extends_it(make_site: MakeSite) -> None:
    app = AppClient(make_site(transport="header", idle_timeout=3600))
    app.do(log_in(ANN))
    for _ in range(5):
        app.site.clock.advance(3000)
        answer = app.do(read)
        assert answer.result == {"user": ANN}
        # Nothing to renew: the token has no date.
        assert answer.header("Session-Token") is None
    app.site.clock.advance(3601)
    assert app.do(state_and_data).result == ("unknown", {})


def test_a_new_secret_gives_a_new_signature_in_the_next_answer(make_site: MakeSite) -> None:
    site = make_site(transport="header", secret=SECRET)
    app = AppClient(site)
    app.do(log_in(ANN))
    app.app = make_site(transport="header", secret=[OTHER, SECRET]).middleware
    before = app.bearer
    assert app.do(read).result == {"user": ANN}
    assert app.bearer not in (None, before)
    app.app = make_site(transport="header", secret=OTHER).middleware
    assert app.do(read).result == {"user": ANN}


def test_a_request_costs_as_many_store_calls_as_with_a_cookie(app: AppClient) -> None:
    app.visit(page())
    assert app.site.calls.counts() == {}
    app.do(put(cart=1))
    app.site.forget()
    app.do(read)
    assert app.site.calls.counts() == {"load": 1}
    app.do(put(cart=2))
    assert app.site.calls.counts() == {"load": 2, "replace": 1}


def test_users_devices_are_listed_and_ended_whatever_they_send(both: Site) -> None:
    app, browser = AppClient(both), both.browser()
    app.do(log_in(ANN))
    browser.do(log_in(ANN))
    sessions = both.middleware.sessions
    assert len(sessions.of(ANN)) == sessions.count() == 2
    assert sessions.revoke(ANN, app.do(lambda session: session.handle).result)
    assert (app.do(read).result, browser.do(read).result) == ({}, {"user": ANN})


def test_tenants_are_apart(make_site: MakeSite) -> None:
    def host_of(environ: Mapping[str, Any]) -> str:
        return str(environ.get("HTTP_HOST", "none"))

    for transport in ("header", "both"):
        site = make_site(transport=transport, namespace=host_of)
        shop, forum = (AppClient(site, HTTP_HOST=f"{name}.example") for name in ("shop", "forum"))
        shop.do(log_in(ANN))
        forum.bearer = shop.bearer
        assert forum.do(state_and_data).result == ("tampered", {})
        assert shop.do(read).result == {"user": ANN}


# Which kind a request is, and tokens of both kinds.


def test_a_browser_without_the_header_has_its_cookie_as_before(both: Site) -> None:
    browser = both.browser()
    answer = browser.do(log_in(ANN))
    assert (len(answer.cookies), answer.header("Session-Token")) == (1, None)
    for more in ({}, {"HTTP_AUTHORIZATION": "Basic YW5uOng="}, {"HTTP_AUTHORIZATION": ""}):
        assert browser.do(read, **more).result == {"user": ANN}


@pytest.mark.parametrize("sent", ["new", "", "x", "the token of another client", "the token of the cookie"])
def test_a_script_with_both_never_gets_what_the_cookie_opens(both: Site, sent: str) -> None:
    """A script of the page must not get the token of its HttpOnly cookie, nor use the session without a CSRF token."""
    browser, app = both.browser(), AppClient(both)
    browser.do(log_in(ANN))
    app.do(log_in(BOB))
    token = {"the token of another client": app.bearer, "the token of the cookie": browser.jar["sid"]}.get(sent, sent)
    answer = browser.do(read, HTTP_AUTHORIZATION=f"Bearer {token}")
    assert answer.result == ({"user": BOB} if token == app.bearer else {})
    for change in (put(cart=1), Session.rotate, log_out):
        answer = browser.do(change, HTTP_AUTHORIZATION=f"Bearer {token}")
        assert answer.cookies == []
    assert browser.do(read).result == {"user": ANN}


def test_a_token_of_one_kind_is_not_accepted_as_the_other(both: Site) -> None:
    browser, app = both.browser(), AppClient(both)
    browser.do(log_in(ANN))
    app.do(log_in(BOB))
    browser.jar, app.bearer = {"sid": app.bearer or ""}, browser.jar["sid"]
    assert browser.do(state_and_data).result == ("tampered", {})
    assert app.do(state_and_data).result == ("tampered", {})


def test_with_the_header_alone_no_cookie_is_read(make_site: MakeSite) -> None:
    site = make_site(transport="header")
    app = AppClient(site)
    app.do(log_in(ANN))
    browser = site.browser(HTTP_COOKIE=f"sid={app.bearer}; __Host-sid={app.bearer}")
    assert browser.do(state_and_data).result == ("new", {})


# What clients send.


@pytest.mark.parametrize(
    "value",
    [
        "Bearer {a}, Bearer {a}",
        "Bearer {a},Bearer {b}",
        "Bearer {a}, Basic x",
        "Basic x, Bearer {a}",
        "Bearer {a} {b}",
        "Bearer {a};",
        "Bearer {a}=",
        'Bearer "{a}"',
        "Bearer\t{a}",
        "Bearer={a}",
        "Bearer{a}",
        "Bearer token={a}",
        "Token {a}",
        "{a}",
        "Bearer {a}\x00",
        "Bearer \xa0{a}",
        "Bearer {a}é",
        "Bearer {swapped}",
        "Bearer {cut}",
        "Bearer " + "A" * 43 + "." + "A" * 43,
        "Bearer " + "A" * 1_000_000,
        "Bearer " + " " * 1_000_000,
        "Bearer null",
        "Bearer undefined",
        "bearer",
        " ",
        "",
    ],
)
def test_anything_but_one_whole_token_opens_nothing_and_costs_no_store_call(make_site: MakeSite, value: str) -> None:
    for transport in ("header", "both"):
        site = make_site(transport=transport)
        app, other = AppClient(site), AppClient(site)
        app.do(log_in(ANN))
        other.do(log_in(BOB))
        a, b = app.bearer or "", other.bearer or ""
        app.site.forget()
        sent = value.format(a=a, b=b, swapped=a.swapcase(), cut=a[:-1])
        answer = app.do(state_and_data, HTTP_AUTHORIZATION=sent)
        assert answer.code == 200
        assert answer.result in (("new", {}), ("tampered", {}))
        assert (app.site.calls.counts(), answer.header("Session-Token")) == ({}, None)
        assert all(a not in str(event) for event in app.site.events)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("space", [" ", "   "])
def test_the_scheme_is_read_as_http_has_it(make_site: MakeSite, scheme: str, space: str) -> None:
    app = AppClient(make_site(transport="header"))
    app.do(log_in(ANN))
    assert app.do(read, HTTP_AUTHORIZATION=f"{scheme}{space}{app.bearer} ").result == {"user": ANN}


def test_a_forged_token_is_reported_without_the_token(app: AppClient) -> None:
    app.bearer = "A" * 43 + "." + "B" * 43
    app.do(read)
    assert app.site.happened("tampered") == [{"cookies": 0}]


def test_a_token_that_a_client_chose_is_never_used(app: AppClient) -> None:
    app.bearer = chosen = "A" * 43 + "." + "B" * 43
    app.do(put(cart=1))
    assert app.bearer != chosen
    assert app.do(read).result == {"cart": 1}


# Caches.


@pytest.mark.parametrize(
    ("options", "vary"),
    [
        ({"transport": "header"}, "Authorization"),
        ({"transport": "both"}, "Cookie, Authorization"),
        ({"transport": "header", "transport_header": "X-Token"}, "X-Token"),
        ({"transport": "both", "transport_header": "X-Token"}, "Cookie, X-Token"),
    ],
)
def test_an_answer_depends_on_what_the_client_may_send(make_site: MakeSite, options: dict[str, str], vary: str) -> None:
    site = make_site(**options)
    app = AppClient(site, options.get("transport_header", "Authorization"))
    for client in (app, site.browser()):
        assert client.do(read).header("Vary") == vary
        assert client.visit(page()).header("Vary") is None

        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            environ["session"].get("user")
            return page((b"page",), "200 OK", ("Vary", "Accept, cookie"))(environ, start_response)

        wanted = [name for name in vary.split(", ") if name != "Cookie"]
        assert client.visit(answer).header("Vary") == ", ".join(["Accept, cookie", *wanted])


def test_an_answer_with_a_token_is_kept_by_no_cache(app: AppClient) -> None:
    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        environ["session"]["cart"] = 1
        headers = [("Cache-Control", "public, max-age=60"), ("CDN-Cache-Control", "max-age=60")]
        return page((b"page",), "200 OK", *headers)(environ, start_response)

    answered = app.visit(answer)
    assert app.bearer is not None
    assert answered.header("Cache-Control") == "max-age=60, private, no-store"
    assert answered.header("CDN-Cache-Control") is None
    assert app.site.happened("cache_overridden") != []


@pytest.mark.parametrize("transport", ["header", "both"])
def test_the_answer_to_a_login_at_another_site_depends_on_the_cookie(make_site: MakeSite, transport: str) -> None:
    """The transaction is in a cookie: a cache that leaves it out would repeat "no such login" to everybody."""
    app = AppClient(make_site(transport=transport))
    answers = [app.call(lambda environ: end_transaction(environ, "A" * 43)) for _ in range(2)]
    assert answers == [None, None]
    vary = ", ".join(app.answer.all("Vary"))
    assert sorted(vary.split(", ")) == ["Authorization", "Cookie"]
    state = app.call(lambda environ: begin_transaction(environ, {"next": "/cart"}))
    assert "Cookie" in ", ".join(app.answer.all("Vary"))
    assert app.call(lambda environ: end_transaction(environ, state)) == {"next": "/cart"}
    assert "Cookie" in ", ".join(app.answer.all("Vary"))


# No CSRF check, no redirect.


def test_a_request_that_no_browser_sends_by_itself_needs_no_csrf_token(app: AppClient) -> None:
    app.do(log_in(ANN))
    theirs = {"REQUEST_METHOD": "POST", "HTTP_ORIGIN": "https://front.example", "HTTP_SEC_FETCH_SITE": "cross-site"}
    for more in ({"REQUEST_METHOD": "POST"}, theirs):
        assert app.call(lambda environ: check_csrf(environ), dict(more)) is True
        assert app.visit(protect_from_csrf(page()), lint=False, **more).code == 200
    assert app.site.happened("cross_origin") == app.site.happened("csrf_failed") == []


def test_a_browser_of_the_same_site_still_needs_it(both: Site) -> None:
    browser = both.browser(REQUEST_METHOD="POST", HTTP_SEC_FETCH_SITE="cross-site")
    browser.do(log_in(ANN))
    assert browser.call(lambda environ: check_csrf(environ)) is False


def test_a_front_end_of_another_site_can_have_a_cart(app: AppClient) -> None:
    """With a cookie, such a write would be dropped, because it could replace the visitor's session."""
    app.do(put(cart=1), REQUEST_METHOD="POST", HTTP_SEC_FETCH_SITE="cross-site")
    assert app.do(read).result == {"cart": 1}
    assert app.site.happened("cross_site_write") == []


def test_an_anonymous_app_is_refused_and_never_redirected(make_site: MakeSite, options: dict[str, str]) -> None:
    app = AppClient(make_site(**options), options["transport_header"], HTTP_ACCEPT="*/*")
    scheme = "Bearer" if options["transport_header"] == "Authorization" else "X-Token"
    for helper in (redirect_if_anonymous, redirect_unless_fresh):
        answer: Any = app.call(helper)
        assert (answer.status_int, answer.headers["WWW-Authenticate"]) == (401, f'{scheme} realm="login"')
        assert answer.json["error"] == "login_required"
    forced: Any = app.call(lambda environ: redirect_if_anonymous(environ, navigation=True))
    assert forced.status_int == 302
    if options["transport"] == "both":
        browser: Any = app.site.browser().call(lambda environ: redirect_if_anonymous(environ))
        assert (browser.status_int, browser.location) == (302, "/login?next=/")


# Outages, streams, and what an application does late.


def test_an_outage_does_not_log_the_visitor_out(app: AppClient) -> None:
    app.do(log_in(ANN))
    app.site.calls.fail("load", times=1)
    answer = app.do(read)
    assert (answer.code, answer.header("Session-Token")) == (503, None)
    assert app.do(read).result == {"user": ANN}
    app.site.calls.fail("replace", times=1)
    assert app.do(put(cart=1)).code == 503


def test_a_first_look_after_the_response_finds_the_session(app: AppClient) -> None:
    app.do(log_in(ANN))
    sessions: list[Session] = []

    def keep(environ: dict[str, Any], start_response: Any) -> Any:
        sessions.append(environ["session"])
        return page()(environ, start_response)

    app.visit(keep, lint=False)
    assert sessions[0].get("user") == ANN


def test_describe_does_not_see_the_token(make_site: MakeSite, options: dict[str, str]) -> None:
    seen: list[Mapping[str, Any]] = []

    def describe(environ: Mapping[str, Any]) -> str:
        seen.append(dict(environ))
        return "a phone"

    app = AppClient(make_site(describe=describe, **options), options["transport_header"])
    app.do(put(cart=1))
    old = app.bearer or ""
    app.do(log_in(ANN))
    assert len(seen) == 1
    assert old not in str(seen)


def test_the_csrf_token_of_session_info_and_a_post_that_keeps_logged_in(make_site: MakeSite) -> None:
    for transport in ("cookie", "header", "both"):
        site = make_site(transport=transport, idle_timeout=3600)
        client = site.browser() if transport == "cookie" else AppClient(site)
        client.do(log_in(ANN))
        info = session_info()
        site.clock.advance(600)
        first = json.loads(client.visit(info, lint=False).body)
        site.clock.advance(600)
        assert json.loads(client.visit(info, lint=False).body) == first
        own = {"HTTP_SEC_FETCH_SITE": "same-origin"}
        kept = json.loads(client.visit(info, lint=False, REQUEST_METHOD="POST", **own).body)
        assert kept["expires"] > first["expires"]
        assert json.loads(client.visit(info, lint=False).body) == kept


# Tests of applications.


def test_a_planted_session_is_sent_as_the_app_sends_it(make_site: MakeSite, options: dict[str, str]) -> None:
    app = AppClient(make_site(**options), options["transport_header"])
    more = {app.key: app.sent("new")} if options["transport"] == "both" else {}
    value = plant(app.site.middleware, {"user": ANN}, environ=more)
    assert app.do(read, **{app.key: value}).result == {"user": ANN}
    found = read_planted(app.site.middleware, value, environ={app.key: value} if more else {})
    assert found == {"user": ANN}
    if more:
        cookie = plant(app.site.middleware, {"user": BOB})
        assert read_planted(app.site.middleware, cookie) == {"user": BOB}


# Options.


def test_what_does_not_go_together_says_what_to_give() -> None:
    def make(**options: Any) -> None:
        SessionMiddleware(page(), **{"secret": SECRET, "store": "memory://", **options})

    for transport in ("header", "both"):
        with pytest.raises(ConfigError, match="transport: cookie:// keeps the session in the cookie"):
            make(transport=transport, store="cookie://")
    with pytest.raises(ConfigError, match="which transport='header' does not read"):
        make(transport="header", adopt=FlaskCookie("k" * 32))
    make(transport="both", adopt=FlaskCookie("k" * 32))
    with pytest.raises(ConfigError, match="transport_header='X-Token' has no effect with transport='cookie'"):
        make(transport_header="X-Token")


@pytest.mark.parametrize(
    "name",
    [
        *("Accept", "Accept-Language", "Content-Language", "Content-Type", "Range", "Last-Event-ID", "Width", "DPR"),
        *("Cookie", "Host", "Origin", "Referer", "User-Agent", "Date", "DNT", "TE"),
        *("Cache-Control", "If-None-Match", "Sec-Fetch-Site", "Secure-Session-Response", "X-Requested-With"),
        *("Via", "Forwarded", "X-Forwarded-For", "x-real-ip", "Proxy-Authorization", "HX-Request", "X-CSRF-Token"),
    ],
)
def test_a_header_that_browsers_or_proxies_send_by_themselves_has_no_token(name: str) -> None:
    """A request with the header skips the CSRF check, and pages of other sites may set some of these."""
    for transport in ("header", "both"):
        with pytest.raises(ConfigError, match="that no browser and no proxy sends by itself"):
            SessionMiddleware(page(), secret=SECRET, store="memory://", transport=transport, transport_header=name)


@pytest.mark.parametrize(("outer", "inner"), [("both", "both"), ("header", "both"), ("both", "header")])
def test_of_two_middlewares_around_each_other_only_one_answers_with_tokens(outer: str, inner: str) -> None:
    def make(app: Any, name: str, transport: str) -> SessionMiddleware:
        options: Any = {"cookie_name": name, "environ_key": name, "transport": transport}
        return SessionMiddleware(app, secret=SECRET, store="memory://", **options)

    nested = make(make(page(), "inner", inner), "outer", outer)
    with pytest.raises(ConfigError, match="two tokens in Session-Token"):
        Client(nested).open("/", lint=False)
    assert Client(make(make(page(), "inner", inner), "outer", "cookie")).open("/", lint=False).code == 200
