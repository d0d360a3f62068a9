"""The drop-in for Beaker: its sessions keep Beaker's rules, and lose nothing where Beaker's do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.frameworks.beaker_site import SECRET, BeakerSite, Visitor
from tests.support.stores import CountingStore, counting
from wsgi_session import (
    ConfigError,
    HeadersAlreadySent,
    StoreUnavailable,
    Unsupported,
    confirm,
    describe_device,
    login,
    user_or_none,
)
from wsgi_session.integrations.beaker import SessionMiddleware
from wsgi_session.stores import MemoryStore

ANN = {"id": 1, "name": "Ann", "email": "ann@example.com"}
MakeSite = Callable[..., BeakerSite]


@pytest.fixture
def make_site() -> Iterator[MakeSite]:
    sites: list[BeakerSite] = []

    def make(**options: Any) -> BeakerSite:
        sites.append(BeakerSite(**options))
        return sites[-1]

    yield make
    for site in sites:
        site.middleware.close()


@pytest.fixture
def site(make_site: MakeSite) -> BeakerSite:
    return make_site()


@pytest.fixture
def visitor(site: BeakerSite) -> Visitor:
    return site.visitor()


def put(**values: Any) -> Callable[[Any], None]:
    """Return a page that stores ``values`` and saves."""

    def page(session: Any) -> None:
        session.update(values)
        session.save()

    return page


def content(session: Any) -> dict[str, Any]:
    return dict(session)


# What is saved, and when.


def test_what_was_not_saved_is_not_kept_and_sets_no_cookie(visitor: Visitor) -> None:
    visitor.do(lambda session: session.update(cart=["tea"]))
    assert visitor.answer.cookies == []
    assert visitor.do(content) == {}


def test_save_keeps_the_changes_before_and_after_it(visitor: Visitor) -> None:
    def page(session: Any) -> None:
        session["before"] = 1
        session.save()
        session["after"] = 2

    visitor.do(page)
    assert visitor.do(content) == {"before": 1, "after": 2}


def test_without_save_neither_keys_nor_nested_values_nor_deletions_change(visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"], name="Ann"))

    def page(session: Any) -> dict[str, Any]:
        session["cart"].append("milk")
        session["colour"] = "red"
        del session["name"]
        return dict(session)

    assert visitor.do(page) == {"cart": ["tea", "milk"], "colour": "red"}
    assert visitor.do(content) == {"cart": ["tea"], "name": "Ann"}


def test_unsaved_changes_stay_visible_until_the_response_is_complete(make_site: MakeSite) -> None:
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        session = environ["beaker.session"]
        session["scratch"] = "note"
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        seen.append(session["scratch"])

    with SessionMiddleware(app, {"session.secret": SECRET}) as middleware:
        Visitor(middleware, "http").open("/")
    assert seen == ["note"]


def test_a_save_while_the_body_streams_keeps_the_changes(make_site: MakeSite) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        session = environ["beaker.session"]
        session["count"] = session.get("count", 0) + 1
        if session["count"] == 1:
            session.save()
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield str(session["count"]).encode()
        session.save()

    with SessionMiddleware(app, {"session.secret": SECRET}) as middleware:
        visitor = Visitor(middleware, "http")
        assert [visitor.open("/").text for _ in range(3)] == ["1", "2", "3"]


def test_a_new_session_that_is_saved_empty_is_there_under_its_id(visitor: Visitor) -> None:
    def page(session: Any) -> str:
        session.save()
        return str(session.id)

    first = visitor.do(page)
    assert visitor.do(lambda session: (session.id, session.is_new)) == (first, False)


def test_with_auto_every_change_is_saved(make_site: MakeSite) -> None:
    visitor = make_site(auto="true").visitor()
    visitor.do(lambda session: session.update(cart=["tea"]))
    visitor.do(lambda session: session["cart"].append("milk"))
    assert visitor.do(content) == {"cart": ["tea", "milk"]}


def test_with_auto_a_visitor_whose_session_is_only_read_gets_none(make_site: MakeSite) -> None:
    site = make_site(auto=True)
    visitor = site.visitor()
    visitor.do(lambda session: session.get("cart"))
    assert visitor.answer.cookies == []
    assert site.middleware.sessions.count() == 0


def test_with_auto_a_session_whose_id_was_read_keeps_that_id(make_site: MakeSite) -> None:
    visitor = make_site(auto=True).visitor()
    first = visitor.do(lambda session: session.id)
    assert visitor.do(lambda session: session["_id"]) == first


def test_with_auto_persist_creates_an_empty_session(make_site: MakeSite) -> None:
    visitor = make_site(auto=True).visitor()
    visitor.do(lambda session: session.persist())
    assert visitor.answer.cookie is not None
    assert not visitor.do(lambda session: session.is_new)


def test_without_auto_a_read_id_stores_nothing(site: BeakerSite, visitor: Visitor) -> None:
    visitor.do(lambda session: session.id)
    assert site.middleware.sessions.count() == 0
    assert visitor.answer.cookies == []


def test_the_id_of_a_new_session_is_the_one_it_is_stored_under(visitor: Visitor) -> None:
    def page(session: Any) -> str:
        found = str(session.id)
        session["cart"] = ["tea"]
        session.save()
        return found

    first = visitor.do(page)
    assert visitor.do(lambda session: session.id) == first


def test_a_request_that_fails_saves_nothing(visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"]))
    visitor.do(put(cart=[]), **{"test.status": "500 Oops"})
    assert visitor.do(content) == {"cart": ["tea"]}


def test_persist_saves_immediately(make_site: MakeSite) -> None:
    store = counting(MemoryStore())
    site = make_site(store=store)
    visitor = site.visitor()

    def page(session: Any) -> None:
        session["cart"] = ["tea"]
        session.save()
        store.forget()
        session.persist()
        assert store.log == ["create"]

    visitor.do(page)
    # The touch makes sure that no other request has ended the session before its cookie goes out.
    assert store.log == ["create", "touch"]
    assert visitor.do(content) == {"cart": ["tea"]}


def test_persist_without_save_saves_nothing(visitor: Visitor) -> None:
    def page(session: Any) -> None:
        session["cart"] = ["tea"]
        session.persist()

    visitor.do(page)
    assert visitor.do(content) == {}


def test_what_was_persisted_stays_although_the_request_fails(visitor: Visitor) -> None:
    visitor.do(put(step=1))

    def page(session: Any) -> None:
        session["step"] = 2
        session.save()
        session.persist()
        session["step"] = 3

    visitor.do(page, **{"test.status": "500 Oops"})
    assert visitor.do(content) == {"step": 2}


def test_persist_sets_no_cookie_for_a_session_that_another_request_has_ended(site: BeakerSite) -> None:
    visitor = site.visitor()

    def page(session: Any) -> None:
        session["cart"] = ["tea"]
        session.save()
        session.persist()
        assert session.get_by_id(session.id).delete() is None

    visitor.do(page)
    assert visitor.answer.cookies == []


def test_persist_while_the_body_streams_waits_for_its_end() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        session = environ["beaker.session"]
        session["count"] = session.get("count", 0) + 1
        session.save()
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield str(session["count"]).encode()
        session["count"] += 1
        session.persist()

    with SessionMiddleware(app, {"session.secret": SECRET}) as middleware:
        visitor = Visitor(middleware, "http")
        assert [visitor.open("/").text for _ in range(2)] == ["1", "3"]


def test_an_outage_in_persist_is_a_503_also_if_the_framework_makes_it_a_500(make_site: MakeSite) -> None:
    store = counting(MemoryStore())
    visitor = make_site(store=store).visitor()
    visitor.do(put(cart=[]))

    def page(session: Any) -> None:
        session["cart"] = ["tea"]
        session.save()
        store.fail("replace")
        with pytest.raises(StoreUnavailable):
            session.persist()

    visitor.do(page, **{"test.status": "500 Oops"})
    assert visitor.answer.code == 503
    store.recover()
    assert visitor.do(content) == {"cart": []}


def test_dirty_and_accessed_say_what_the_request_has_done(visitor: Visitor) -> None:
    visitor.do(put(cart=[]))

    def page(session: Any) -> list[bool]:
        seen = [session.accessed(), session.dirty()]
        session["cart"] = ["tea"]
        seen += [session.accessed(), session.dirty()]
        session.save()
        return [*seen, session.dirty()]

    assert visitor.do(page) == [False, False, True, False, True]
    assert visitor.do(lambda session: (session.delete(), session.dirty())[1])


# Nothing is lost, and nothing comes back.


def test_overlapping_requests_keep_each_others_keys(site: BeakerSite, visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"]))
    meeting = threading.Barrier(2, timeout=20)

    def page(key: str) -> Callable[[Any], None]:
        def run(session: Any) -> None:
            assert "cart" in session
            meeting.wait()
            session[key] = "kept"
            session.save()

        return run

    others = [site.visitor(), site.visitor()]
    threads = []
    for other, key in zip(others, ("left", "right"), strict=True):
        other.jar = dict(visitor.jar)
        threads.append(threading.Thread(target=other.do, args=(page(key),)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert visitor.do(content) == {"cart": ["tea"], "left": "kept", "right": "kept"}


@pytest.mark.parametrize("end", ["delete", "invalidate"])
def test_a_slow_save_does_not_bring_back_a_session_that_was_ended(site: BeakerSite, visitor: Visitor, end: str) -> None:
    visitor.do(put(user="ann"))
    slow = site.visitor()
    slow.jar = dict(visitor.jar)

    def page(session: Any) -> None:
        session["seen"] = True
        session.save()
        visitor.do(lambda other: getattr(other, end)())

    slow.do(page)
    assert site.middleware.sessions.count() == 0
    assert slow.do(content) == {}
    assert visitor.jar == {}


def test_a_save_after_delete_creates_no_empty_session(site: BeakerSite, visitor: Visitor) -> None:
    visitor.do(put(user="ann"))
    visitor.do(lambda session: (session.delete(), session.save()))
    assert (visitor.jar, site.middleware.sessions.count()) == ({}, 0)


def test_data_that_is_saved_after_delete_is_in_a_new_session(visitor: Visitor) -> None:
    visitor.do(put(user="ann"))
    visitor.do(lambda session: (session.delete(), put(notice="bye")(session)))
    assert visitor.do(content) == {"notice": "bye"}


def test_what_is_saved_after_invalidate_is_a_new_session_with_another_id(visitor: Visitor) -> None:
    visitor.do(put(user="ann"))
    before = visitor.do(lambda session: session.id)

    def page(session: Any) -> str:
        session.invalidate()
        session["notice"] = "bye"
        session.save()
        return str(session.id)

    after = visitor.do(page)
    assert after != before
    assert visitor.do(lambda session: (dict(session), session.id)) == ({"notice": "bye"}, after)


def test_regenerate_id_keeps_the_data_and_ends_the_old_cookie(site: BeakerSite, visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"]))
    old = site.visitor()
    old.jar = dict(visitor.jar)

    def page(session: Any) -> tuple[str, str]:
        before = session.id
        session.regenerate_id()
        return before, session.id

    before, after = visitor.do(page)
    assert before != after
    assert visitor.do(lambda session: (dict(session), session.id)) == ({"cart": ["tea"]}, after)
    assert old.do(content) == {}


def test_regenerate_id_without_save_drops_the_unsaved_changes(visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"]))

    def page(session: Any) -> None:
        session["scratch"] = 1
        session.regenerate_id()

    visitor.do(page)
    assert visitor.do(content) == {"cart": ["tea"]}


def test_regenerate_id_gives_a_new_session_another_id(visitor: Visitor) -> None:
    def page(session: Any) -> tuple[str, str]:
        before = session.id
        session.regenerate_id()
        session.save()
        return before, session.id

    before, after = visitor.do(page)
    assert before != after
    assert visitor.do(lambda session: session.id) == after


def test_revert_shows_what_was_loaded_and_save_keeps_only_what_follows(visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"], name="Ann"))

    def page(session: Any) -> dict[str, Any]:
        session.revert()
        session["cart"].append("milk")
        del session["name"]
        session.revert()
        seen = dict(session)
        session["colour"] = "red"
        session.save()
        return seen

    assert visitor.do(page) == {"cart": ["tea"], "name": "Ann"}
    assert visitor.do(content) == {"cart": ["tea"], "name": "Ann", "colour": "red"}


def test_revert_discards_a_login_so_that_no_data_is_stored_under_another_user(site: BeakerSite) -> None:
    visitor = site.visitor()

    def log_in(user: dict[str, Any], *, then: Callable[[Any], object] = lambda session: None) -> None:
        def page(environ: dict[str, Any]) -> None:
            login(environ, user, key="beaker.session")
            then(environ["beaker.session"])

        visitor.visit(page)

    log_in(ANN)
    log_in({"id": 2}, then=lambda session: session.revert())
    assert visitor.do(lambda session: (session["user"], session.owner)) == (ANN, "id:1")
    sessions = site.middleware.sessions
    assert ([info.owner for info in sessions.of("id:1")], sessions.of("id:2")) == (["id:1"], [])


def test_revert_discards_a_confirmation_and_reports_none(site: BeakerSite) -> None:
    visitor = site.visitor()
    visitor.visit(lambda environ: login(environ, ANN, key="beaker.session"))
    visitor.visit(lambda environ: (confirm(environ, "totp", "beaker.session"), environ["beaker.session"].revert()))
    assert visitor.do(lambda session: session.confirmed.method) is None
    assert [name for name, _ in site.events if name == "confirmed"] == []


@pytest.mark.parametrize("auto", [True, False])
def test_validate_is_called_once_in_its_time_without_save_too(make_site: MakeSite, auto: bool) -> None:
    seen: list[Any] = []

    def validate(session: Any) -> bool:
        seen.append(session.owner)
        return True

    options = {"session.validate": validate, "session.validate_every": 60, "session.auto": auto}
    site = make_site(**options, store=(store := counting(MemoryStore())))
    visitor = site.visitor()
    visitor.visit(lambda environ: login(environ, ANN, key="beaker.session"))
    for _ in range(3):
        assert visitor.do(lambda session: (session.update(a=1) if auto else None, session["user"])[1]) == ANN
    assert seen == ["id:1"]
    visitor.do(lambda session: session.update(unsaved=1))
    assert ("unsaved" in visitor.do(content)) is auto
    site.clock.advance(61)
    store.fail("replace")
    assert visitor.do(lambda session: session["user"]) == ANN, "a failure does not harm the request"
    assert len(seen) == 2


def test_an_id_of_one_tenant_finds_nothing_at_another(make_site: MakeSite) -> None:
    site = make_site(**{"session.namespace": lambda environ: environ["HTTP_HOST"]})
    visitor = site.visitor()
    visitor.do(put(cart=["tea"]), HTTP_HOST="red.example")
    found = visitor.do(lambda session: session.id, HTTP_HOST="red.example")
    for host, expected in (("red.example", ["tea"]), ("blue.example", None)):
        other = site.visitor().do(lambda session: session.get_by_id(found), HTTP_HOST=host)
        assert (other and other["cart"]) == expected

    def keep(environ: dict[str, Any]) -> Any:
        detached = environ["beaker.get_session"]()
        detached.save()
        return environ["beaker.session"].get_by_id(detached.id)

    assert visitor.visit(keep, HTTP_HOST="red.example").result is not None, "it belongs to no tenant"


def load_again(session: Any) -> None:
    session.get("cart")
    session.load()


def test_a_session_that_is_loaded_again_knows_as_much_of_the_request(make_site: MakeSite) -> None:
    site = make_site(**{"session.describe": describe_device})
    visitor, key = site.visitor(), "beaker.session"
    device = {"HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "REMOTE_ADDR": "192.0.2.1"}
    visitor.visit(lambda environ: (load_again(environ[key]), login(environ, ANN, key=key)), **device)
    assert [info.about for info in site.middleware.sessions.of(ANN)] == ["Firefox on Linux, IPv4"]
    # The browser left the cookie out: a new session would replace the visitor's.
    theirs = {"REQUEST_METHOD": "POST", "HTTP_SEC_FETCH_SITE": "cross-site"}
    other = site.visitor()
    other.visit(lambda environ: (load_again(environ[key]), put(cart=1)(environ[key])), **theirs)
    assert other.jar == {}


def test_load_discards_unsaved_changes_and_shows_what_others_have_stored(site: BeakerSite, visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"]))
    other = site.visitor()
    other.jar = dict(visitor.jar)

    def page(session: Any) -> dict[str, Any]:
        session.load()
        session["scratch"] = 1
        other.do(put(cart=["milk"]))
        session.load()
        return dict(session)

    assert visitor.do(page) == {"cart": ["milk"]}
    assert visitor.do(content) == {"cart": ["milk"]}


def test_load_does_not_bring_back_a_session_that_the_request_has_ended(make_site: MakeSite) -> None:
    for kind in ("memory", "cookie"):
        visitor = make_site(type=kind).visitor()
        visitor.do(put(user="ann"))

        def page(session: Any) -> dict[str, Any]:
            session.delete()
            session.load()
            return dict(session)

        assert visitor.do(page) == {}
        assert visitor.jar == {}


def test_load_of_a_session_in_the_cookie_discards_the_changes(make_site: MakeSite) -> None:
    visitor = make_site(type="cookie").visitor()
    visitor.do(put(cart=["tea"]))

    def page(session: Any) -> dict[str, Any]:
        session["cart"] = []
        session.load()
        return dict(session)

    assert visitor.do(page) == {"cart": ["tea"]}


# Sessions outside of the request.


def test_get_by_id_finds_changes_and_ends_another_session(site: BeakerSite, visitor: Visitor) -> None:
    def page(session: Any) -> str:
        session["name"] = "Ann"
        session.save()
        return str(session.id)

    anns = visitor.do(page)

    def change(session: Any) -> None:
        found = session.get_by_id(anns)
        assert dict(found) == {"name": "Ann"}
        assert found.id == anns
        found["name"] = "Anna"
        found.save()
        found["later"] = True
        found.save()
        found["name"] = "lost"
        found.load()
        assert dict(found) == {"name": "Anna", "later": True}

    site.visitor().do(change)
    assert visitor.do(content) == {"name": "Anna", "later": True}
    site.visitor().do(lambda session: session.get_by_id(anns).delete())
    assert visitor.do(content) == {}


@pytest.mark.parametrize("id", ["", "jil2j34il2j34ilj23", "00" * 32, "00" * 16, None, 7])
def test_get_by_id_returns_none_for_what_is_no_session(visitor: Visitor, id: Any) -> None:
    assert visitor.do(lambda session: session.get_by_id(id)) is None


def test_get_by_id_does_not_find_a_session_by_its_old_id(visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"]))
    old = visitor.do(lambda session: (session.id, session.regenerate_id())[0])
    assert visitor.do(lambda session: session.get_by_id(old)) is None


def test_get_session_makes_a_session_without_a_cookie(site: BeakerSite, visitor: Visitor) -> None:
    def page(environ: dict[str, Any]) -> str:
        session = environ["beaker.get_session"]()
        assert session.is_new
        session["report"] = "ready"
        session.save()
        return str(session.id)

    answer = visitor.visit(page)
    assert answer.cookies == []
    assert visitor.do(lambda session: dict(session.get_by_id(answer.result))) == {"report": "ready"}


def test_a_session_in_the_cookie_cannot_be_found_by_its_id(make_site: MakeSite) -> None:
    visitor = make_site(type="cookie").visitor()
    visitor.do(put(cart=["tea"]))
    first = visitor.do(lambda session: session.id)
    assert len(bytes.fromhex(first)) == 32
    assert visitor.do(lambda session: session.id) == first
    with pytest.raises(Unsupported, match="another type"):
        visitor.do(lambda session: session.get_by_id(first))


# Attributes, and the keys that Beaker stores.


def test_times_are_floats_and_under_beakers_keys_too(site: BeakerSite, visitor: Visitor) -> None:
    start = site.clock()
    assert visitor.do(lambda session: (session.created, session.last_accessed)) == (start, None)
    visitor.do(put(cart=["tea"]))
    site.clock.advance(10)

    def page(session: Any) -> list[Any]:
        names = ("_creation_time", "_accessed_time")
        return [session.created, session.last_accessed, *(session[name] for name in names)]

    assert visitor.do(page) == [start, start, start, start + 10]


def test_beakers_keys_can_be_read_but_are_not_listed_and_not_deleted(visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"]))

    def page(session: Any) -> None:
        for key in ("_id", "_creation_time", "_accessed_time", "_domain", "_path"):
            assert key in session
            assert session.has_key(key)
            assert session.get(key, 0) == session[key]
            del session[key]
        assert list(session) == ["cart"]
        assert "_other" not in session
        assert 7 not in session
        assert session.get("_other", 1) == 1
        with pytest.raises(KeyError):
            session["_other"]
        with pytest.raises(KeyError):
            del session["_other"]

    visitor.do(page)


def test_a_value_of_the_applications_own_under_one_of_beakers_keys_is_kept(visitor: Visitor) -> None:
    visitor.do(put(_domain="shop"))
    assert visitor.do(lambda session: session["_domain"]) == "shop"

    def page(session: Any) -> None:
        del session["_domain"]
        session.save()

    visitor.do(page)
    assert visitor.do(lambda session: session["_domain"]) is None


def test_an_empty_session_is_truthy(visitor: Visitor) -> None:
    assert visitor.do(bool)


def test_domain_and_path_are_those_of_the_configuration(make_site: MakeSite) -> None:
    visitor = make_site(cookie_domain="example.com", cookie_path="/shop").visitor()

    def page(session: Any) -> tuple[Any, ...]:
        session.domain, session.path = "example.com", "/shop"
        return session.domain, session.path, session["_domain"], session["_path"]

    assert visitor.do(page, path="/shop") == ("example.com", "/shop") * 2
    assert visitor.answer.cookies == []


@pytest.mark.parametrize("kind", ["memory", "cookie"])
def test_the_domain_that_a_request_sets_stays_with_the_session_until_the_logout(make_site: MakeSite, kind: str) -> None:
    visitor = make_site(type=kind).visitor()

    def page(session: Any) -> None:
        session["user"] = "ann"
        session.domain = ".example.com"
        session.save()

    visitor.do(page)
    sent = [visitor.answer.cookie]
    assert visitor.do(lambda session: (session.domain, session["_domain"], session.path)) == (
        *[".example.com"] * 2,
        "/",
    )
    visitor.do(lambda session: (session.update(user="bob"), session.regenerate_id(), session.save()))
    sent.append(visitor.answer.cookie)
    visitor.do(lambda session: session.delete())
    sent.append(visitor.answer.cookie)
    assert [cookie and (cookie.attributes["domain"], cookie.removes) for cookie in sent] == [
        (".example.com", False),
        (".example.com", False),
        (".example.com", True),
    ]


def test_a_session_that_is_moved_gets_its_cookie_there_at_once(make_site: MakeSite) -> None:
    visitor = make_site(cookie_domain="a.example", secure=True, cookie_path="/shop").visitor("https")
    visitor.do(put(cart=["tea"]), path="/shop")

    def page(session: Any) -> None:
        session.path = "/"
        session.domain = "b.example"

    answer = visitor.visit(lambda environ: page(environ["beaker.session"]), "/shop")
    assert answer.cookie is not None
    assert answer.cookie.attributes == {
        "domain": "b.example",
        "path": "/",
        "httponly": True,
        "samesite": "Lax",
        "secure": True,
    }


def test_a_session_that_is_moved_while_another_request_ends_it_gets_no_cookie(site: BeakerSite) -> None:
    visitor = site.visitor()
    visitor.do(put(cart=["tea"]))

    def page(session: Any) -> None:
        session.domain = "b.example"
        session.get_by_id(session.id).delete()

    visitor.do(page)
    assert visitor.answer.cookies == []


def test_a_session_without_a_request_can_be_moved_too(site: BeakerSite, visitor: Visitor) -> None:
    visitor.do(put(cart=["tea"]))
    anns = visitor.do(lambda session: session.id)

    def move(session: Any) -> None:
        found = session.get_by_id(anns)
        found.domain = "b.example"
        found.save()

    site.visitor().do(move)
    assert visitor.do(lambda session: session.domain) == "b.example"


def test_other_cookies_of_the_response_keep_their_domain(make_site: MakeSite) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["beaker.session"].domain = "b.example"
        environ["beaker.session"].save()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "lang=en; Path=/shop")])
        return [b"page"]

    with SessionMiddleware(app, {"session.secret": SECRET}) as middleware:
        lang, session = Visitor(middleware, "http").open("/").cookies
    assert lang.attributes == {"path": "/shop"}
    assert session.attributes["domain"] == "b.example"


def test_over_https_a_cookie_of_one_host_cannot_be_moved(make_site: MakeSite) -> None:
    def page(session: Any) -> None:
        with pytest.raises(ConfigError, match=r"__Host-.*session\.cookie_domain"):
            session.domain = "b.example"

    make_site().visitor("https").do(page)
    make_site(secure=True).visitor().do(page)


@pytest.mark.parametrize(("name", "value"), [("domain", "b.example; Path=/"), ("path", "shop"), ("domain", 7)])
def test_an_invalid_domain_or_path_is_refused(visitor: Visitor, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"cookie_{name}"):
        visitor.do(lambda session: setattr(session, name, value))


@pytest.mark.parametrize("name", ["lock", "unlock"])
def test_locks_are_refused_with_what_to_call(visitor: Visitor, name: str) -> None:
    with pytest.raises(Unsupported, match="atomic"):
        visitor.do(lambda session: getattr(session, name)())


def test_save_of_accessed_only_saves_no_changes(visitor: Visitor) -> None:
    def page(session: Any) -> None:
        session["cart"] = ["tea"]
        session.save(accessed_only=True)

    visitor.do(page)
    assert visitor.do(content) == {}


def test_a_save_after_the_headers_is_refused_if_it_needs_a_cookie() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        session = environ["beaker.session"]
        session.get("cart")
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        with pytest.raises(HeadersAlreadySent):
            session.save()

    with SessionMiddleware(app, {"session.secret": SECRET}) as middleware:
        Visitor(middleware, "http").open("/")


# This package's own calls, in the same session.


def test_a_confirmation_needs_no_save(site: BeakerSite, visitor: Visitor) -> None:
    visitor.do(lambda session: login({"session": session}, ANN))
    token = visitor.header
    visitor.do(lambda session: confirm({"session": session}, "totp"))
    assert visitor.header != token
    assert visitor.do(lambda session: session.confirmed.method) == "totp"
    assert [data["method"] for name, data in site.events if name == "confirmed"] == ["totp"]


def test_a_login_needs_no_save(site: BeakerSite, visitor: Visitor) -> None:
    visitor.do(lambda session: login({"session": session}, ANN))
    assert visitor.visit(lambda environ: user_or_none(environ, key="beaker.session")).result == ANN
    assert [info.handle for info in site.middleware.sessions.of(ANN)] == [visitor.do(lambda session: session.handle)]


def test_a_csrf_token_creates_its_session_also_after_the_id_was_read(site: BeakerSite, visitor: Visitor) -> None:
    def page(session: Any) -> None:
        assert session.id
        session["scratch"] = 1
        assert session.csrf_token

    visitor.do(page)
    assert site.middleware.sessions.count() == 1
    assert visitor.do(lambda session: (session.is_new, dict(session))) == (False, {})
    assert visitor.do(lambda session: session.csrf_token)
    assert site.visitor().do(lambda session: session.csrf_token)


def test_atomic_saves_immediately(visitor: Visitor) -> None:
    visitor.do(put(count=1))
    visitor.do(lambda session: session.atomic(lambda data: data.update(count=data["count"] + 1)))
    assert visitor.do(content) == {"count": 2}


def test_a_request_that_does_not_use_the_session_costs_no_store_call(make_site: MakeSite) -> None:
    store: CountingStore = counting(MemoryStore())
    visitor = make_site(store=store).visitor()
    visitor.do(put(cart=[]))
    store.forget()
    visitor.do(lambda session: None)
    assert store.log == []
    visitor.do(lambda session: session.get("cart"))
    assert store.log == ["load"]
