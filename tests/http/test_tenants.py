"""``namespace=``: a cookie of one tenant opens nothing at another; owners, counts and transactions are apart."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.damage import damage
from tests.support.site import ANN, Browser, MakeSite, Site, log_in, page, put, read
from tests.support.stores import SERVER
from wsgi_session import (
    ConfigError,
    Session,
    SessionMiddleware,
    SessionTooLarge,
    Unsupported,
    begin_transaction,
    end_transaction,
    login,
)
from wsgi_session.admin import Sessions
from wsgi_session.moving import FlaskCookie


def host_of(environ: Mapping[str, Any]) -> str:
    return str(environ.get("HTTP_HOST", "none"))


@pytest.fixture
def tenants(make_site: MakeSite) -> Site:
    return make_site(namespace=host_of)


@pytest.fixture
def shop(tenants: Site) -> Browser:
    return tenants.browser(HTTP_HOST="shop.example")


@pytest.fixture
def forum(tenants: Site) -> Browser:
    return tenants.browser(HTTP_HOST="forum.example")


def test_a_cookie_of_one_tenant_opens_nothing_at_another(shop: Browser, forum: Browser) -> None:
    shop.do(log_in(ANN))
    forum.jar = dict(shop.jar)
    assert forum.do(lambda session: (session.state, session.copy())).result == ("tampered", {})
    assert shop.do(read).result == {"user": ANN}


@pytest.mark.needs(SERVER)
def test_each_tenant_has_its_own_owners_and_counts(tenants: Site, shop: Browser, forum: Browser) -> None:
    shop.do(log_in(ANN))
    forum.do(log_in(ANN))
    shop.copy().do(put(cart=1))
    forum_view, shop_view = (tenants.middleware.sessions.tenant(f"{name}.example") for name in ("forum", "shop"))
    assert [len(view.of(ANN)) for view in (forum_view, shop_view)] == [1, 1]
    assert forum_view.revoke_all(ANN) == 1
    assert [view.count() for view in (forum_view, shop_view)] == [0, 1]
    assert shop.do(read).result == {"user": ANN, "cart": 1}
    assert forum.do(read).result == {}


@pytest.mark.needs(SERVER)
def test_a_list_of_everybody_has_one_tenants_sessions(tenants: Site, shop: Browser, forum: Browser) -> None:
    shop.do(log_in(ANN))
    forum.do(log_in(ANN))
    tenants.browser(HTTP_HOST="forum.example").do(put(cart=1))
    view = tenants.middleware.sessions.tenant
    assert [info.owner for info in view("shop.example").all()] == ["id:1"]
    assert view("forum.example").revoke_everyone() == 2
    assert shop.do(read).result == {"user": ANN}
    assert forum.do(read).result == {}


@pytest.mark.needs(SERVER)
def test_a_logout_at_the_provider_ends_the_sessions_of_one_tenant(tenants: Site, shop: Browser, forum: Browser) -> None:
    for browser in (shop, forum):
        browser.call(lambda environ: login(environ, ANN, provider_session="p1"))
    assert tenants.middleware.sessions.tenant("shop.example").revoke_provider_session("p1") == 1
    assert (shop.do(read).result, forum.do(read).result) == ({}, {"user": ANN})


@pytest.mark.needs(SERVER)
def test_a_login_is_counted_and_known_at_its_own_tenant_only(make_site: MakeSite) -> None:
    site = make_site(namespace=host_of, max_sessions=1, describe=lambda environ: "a phone")
    shop, forum = (site.browser(HTTP_HOST=f"{name}.example") for name in ("shop", "forum"))
    for browser in (shop, forum, site.browser(HTTP_HOST="shop.example")):
        browser.do(log_in(ANN))
        site.clock.advance(1)
    assert [event["new_device"] for event in site.happened("logged_in")] == [True, True, False]
    assert forum.do(read).result == {"user": ANN}
    assert shop.do(read).result == {}


def test_a_transaction_of_one_tenant_does_not_open_at_another(shop: Browser, forum: Browser) -> None:
    state = shop.call(lambda environ: begin_transaction(environ, {"next": "/"}))
    forum.jar = dict(shop.jar)
    assert forum.call(lambda environ: end_transaction(environ, state)) is None
    assert shop.call(lambda environ: end_transaction(environ, state)) == {"next": "/"}


def test_every_host_that_a_client_invents_is_a_tenant_of_its_own(tenants: Site) -> None:
    hosts = ["x" * 5000, "x" * 5001, "sid@a", "a\tb", "\x00", "é", "a;b=c", "A.example", "a.example", " a.example"]
    for number, host in enumerate(hosts):
        visitor = tenants.browser(HTTP_HOST=host)
        visitor.do(put(number=number), lint=False)
        assert visitor.do(read, lint=False).result == {"number": number}
        for other in hosts:
            if other != host:
                thief = tenants.browser(HTTP_HOST=other)
                thief.jar = dict(visitor.jar)
                assert thief.do(read, lint=False).result == {}


@pytest.mark.needs(SERVER)
def test_many_invented_hosts_do_not_end_a_session(tenants: Site, shop: Browser) -> None:
    shop.do(put(cart=1))
    for number in range(1100):
        tenants.browser(HTTP_HOST=f"h{number}").visit(page(), lint=False)
    assert shop.do(read).result == {"cart": 1}


def test_no_long_name_that_a_client_invents_is_kept(tenants: Site) -> None:
    megabyte = 1_000_000
    tracemalloc.start()
    try:
        for number in range(20):
            tenants.middleware.sessions.tenant(f"{number}{'x' * megabyte}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * megabyte


@pytest.mark.parametrize("name", ["", None, b"a", 5])
def test_a_function_that_returns_no_name_is_an_error(make_site: MakeSite, name: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"The namespace is {name!r}, but the name of a tenant is")):
        make_site(namespace=lambda environ: name).browser().do(read)


def test_what_does_not_name_a_tenant_says_so(tenants: Site, site: Site) -> None:
    sessions = tenants.middleware.sessions
    needed: dict[str, tuple[Any, ...]] = {
        "of": (ANN,),
        "all": (),
        "revoke": (ANN, "x"),
        "revoke_all": (ANN,),
        "revoke_everyone": (),
        "revoke_provider_session": ("p1",),
        "update": (ANN, "x", dict),
        "count": (),
    }
    methods = {name for name in vars(Sessions) if not name.startswith("_")}
    assert methods - {"tenant", "sweep"} == set(needed)
    for name, arguments in needed.items():
        with pytest.raises((ConfigError, Unsupported), match=r"tenant|cannot|does not"):
            getattr(sessions, name)(*arguments)
    for wrong in ("", None, ["a"]):
        with pytest.raises(ConfigError, match="The namespace is"):
            sessions.tenant(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="There is no tenant 'a'"):
        site.middleware.sessions.tenant("a")
    with pytest.raises(ConfigError, match="namespace='a' cannot be called"):
        SessionMiddleware(page(), secret="q7" * 16, store="memory://", namespace="a")  # type: ignore[arg-type]


def test_sessions_of_another_library_do_not_open_at_every_tenant() -> None:
    reader = FlaskCookie("k" * 32)
    with pytest.raises(ConfigError, match="does not say to which tenant it belongs"):
        SessionMiddleware(page(), secret="q7" * 16, store="memory://", namespace=host_of, adopt=reader)


def test_a_sub_request_and_an_inner_middleware_know_the_tenants_of_the_outer_one(tenants: Site, shop: Browser) -> None:
    def outer(environ: dict[str, Any], start_response: Any) -> Any:
        environ["session"]["outer"] = 1
        inner = {**environ, "test.app": page()}
        tenants.middleware(inner, lambda status, headers, exc_info=None: lambda data: None)
        same_name = SessionMiddleware(page(), secret="q7" * 16, store="memory://", environ_key="other")
        with pytest.raises(ConfigError, match="has the same cookie_name"):
            same_name(environ, start_response)
        return page()(environ, start_response)

    assert shop.visit(outer, lint=False).code == 200
    assert shop.do(read).result == {"outer": 1}


# validate.


def test_validate_may_take_the_environ(make_site: MakeSite) -> None:
    seen: list[Any] = []

    def validate(session: Session, environ: Mapping[str, Any]) -> bool:
        seen.append((session["user"]["id"], environ["HTTP_HOST"], "session" in environ))
        return environ["HTTP_HOST"] != "closed.example"

    site = make_site(validate=validate)
    browser = site.browser(HTTP_HOST="open.example")
    browser.do(log_in(ANN))
    assert browser.do(lambda session: (session.copy(), session.reload())).result == ({"user": ANN}, True)
    assert set(seen) == {(1, "open.example", False)}
    sessions: list[Session] = []
    body = page()

    def keep(environ: dict[str, Any], start_response: Any) -> Any:
        sessions.append(environ["session"])
        return body(environ, start_response)

    browser.visit(keep, lint=False)
    assert sessions[0].get("user") == ANN, "a session that is first used after the response"
    assert browser.do(read, HTTP_HOST="closed.example").result == {}
    assert site.happened("invalid") != []


@pytest.mark.parametrize(
    "validate",
    [
        lambda session, strict=True: strict is True,
        lambda *all: len(all) == 1,
        lambda session, *, more=1: more == 1,
        bool,
    ],
    ids=["default", "star", "keyword", "written in C"],
)
def test_an_argument_that_need_not_be_given_is_not_given(make_site: MakeSite, validate: Any) -> None:
    browser = make_site(validate=validate).browser()
    browser.do(log_in(ANN))
    assert browser.do(read).result == {"user": ANN}


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def checked(make_site: MakeSite, asked: list[str]) -> Site:
    def validate(session: Session) -> bool:
        asked.append(session.handle or "")
        return "refused" not in asked

    return make_site(validate=validate, validate_every=60)


def test_validate_every_asks_at_most_so_often(checked: Site, asked: list[str]) -> None:
    ann = checked.browser()
    ann.do(log_in(ANN))
    for _ in range(3):
        assert ann.do(read).result == {"user": ANN}
    assert len(asked) == 1
    checked.clock.advance(59)
    ann.do(read)
    assert len(asked) == 1
    checked.clock.advance(1)
    ann.do(read)
    assert len(asked) == 2
    # A login is another session, which was not checked yet.
    ann.do(log_in(ANN))
    ann.do(read)
    assert len(asked) == 3
    asked.append("refused")
    checked.clock.advance(60)
    assert ann.do(read).result == {}


def test_a_request_that_failed_has_checked_nothing(checked: Site, asked: list[str]) -> None:
    ann = checked.browser()
    ann.do(log_in(ANN))

    def fail(environ: dict[str, Any], start_response: Any) -> Any:
        environ["session"].copy()
        return page((), "500 Oops")(environ, start_response)

    ann.visit(fail)
    ann.do(read)
    assert len(asked) == 2
    ann.do(read)
    assert len(asked) == 2


@pytest.mark.needs(SERVER)
def test_an_outage_when_only_the_time_of_the_check_is_stored_harms_no_answer(checked: Site, asked: list[str]) -> None:
    ann = checked.browser()
    ann.do(log_in(ANN))
    checked.calls.fail("replace")
    answer = ann.do(read)
    assert (answer.code, answer.result, checked.calls.counts()["replace"]) == (200, {"user": ANN}, 1)
    assert [event["handle"] for event in checked.happened("touch_failed")] == asked
    assert ann.do(put(cart=1)).code == 503
    checked.calls.recover()
    assert ann.do(read).result == {"user": ANN}
    assert len(asked) == 3


@pytest.mark.needs(SERVER)
def test_a_session_that_has_no_room_for_the_time_of_the_check_can_be_read(make_site: MakeSite) -> None:
    ann = make_site().browser()
    ann.do(log_in(ANN))
    smaller = make_site(max_size=20, validate=lambda session: True, validate_every=60).browser()
    smaller.jar = ann.jar
    assert smaller.do(read).result == {"user": ANN}
    with pytest.raises(SessionTooLarge):
        smaller.do(put(cart=1))
    with pytest.raises(SessionTooLarge):
        smaller.do(lambda session: session["user"].update(name="x" * 100))


@pytest.mark.needs(SERVER)
def test_a_damaged_time_of_the_check_makes_the_session_unknown_before_the_check(make_site: MakeSite) -> None:
    ann = make_site(validate=lambda session: session["user"]["id"] != 13, validate_every=60).browser()
    ann.do(log_in(ANN))
    ann.do(read)
    damage(ann, key=b"validated", value=b"\xc1")
    assert ann.do(lambda session: (session.copy(), session.state)).result == ({}, "unknown")


@pytest.mark.needs(SERVER)
def test_it_costs_one_write_an_interval(checked: Site) -> None:
    ann = checked.browser()
    ann.do(log_in(ANN))
    ann.do(read)
    checked.forget()
    ann.do(read)
    assert checked.calls.counts() == {"load": 1}


def test_validate_every_breaks_no_page_of_a_session_that_has_no_room_for_its_time(make_site: MakeSite) -> None:
    """Such as one that was stored under a larger max_size."""
    asked: list[Any] = []
    browser = make_site().browser()
    browser.do(log_in(ANN))
    browser.do(put(text="x" * 2000))
    small = make_site(validate=lambda session: not asked.append(session["user"]), validate_every=60, max_size=2000)
    visitor = small.browser()
    visitor.jar = browser.jar
    for times in (1, 2):
        assert visitor.do(lambda session: session["user"]).result == ANN
        assert (visitor.answer.code, len(asked)) == (200, times)
    assert small.happened("unsaved") == []
    for change in (lambda session: session["user"].update(note="x" * 2000), put(cart=1)):
        with pytest.raises(SessionTooLarge):
            visitor.do(change)
    asked.clear()
    visitor.do(lambda session: session.pop("text"))
    assert visitor.do(lambda session: session["user"]).result == ANN
    assert len(asked) == 1


def test_validate_every_needs_validate() -> None:
    with pytest.raises(ConfigError, match="validate_every=60 needs validate: give"):
        SessionMiddleware(page(), secret="q7" * 16, store="memory://", validate_every=60)
    with pytest.raises(ConfigError, match="validate_every=0: give"):
        SessionMiddleware(page(), secret="q7" * 16, store="memory://", validate=bool, validate_every=0)
