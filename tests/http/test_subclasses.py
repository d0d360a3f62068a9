"""Subclasses of supported types: this request sees the object that it put in, and the next one the plain value."""

from __future__ import annotations

import enum
from collections import OrderedDict, defaultdict
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from markupsafe import Markup
from werkzeug.datastructures import MultiDict

from tests.support.site import ANN, Browser, MakeSite, Site, log_in, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, UnsupportedValue, login


class Key(str, enum.Enum):
    CART = "cart"
    USER = "user"


class UserId(enum.IntEnum):
    ANN = 5


class Token(dict[str, Any]):
    """As oauthlib's and Authlib's OAuth2Token."""


class Point(NamedTuple):
    x: Any
    y: Any


class Lines(list[Any]):
    pass


def given() -> dict[str, tuple[Any, Any]]:
    return {
        "token": (Token(access_token="x", scope=["a"]), {"access_token": "x", "scope": ["a"]}),
        "text": (Markup("<b>"), "<b>"),
        "choice": (Key.CART, "cart"),
        "number": (UserId.ANN, 5),
        "point": (Point(1, [2]), (1, [2])),
        "form": (MultiDict([("a", "1"), ("a", "2")]), {"a": "1"}),
        "nested": ([OrderedDict(a=Markup("x")), {Key.CART: Key.CART}], [{"a": "x"}, {"cart": "cart"}]),
    }


def by_assignment(session: Session, name: str, value: Any) -> None:
    session[name] = value


def by_update(session: Session, name: str, value: Any) -> None:
    session.update({name: value})


def by_default(session: Session, name: str, value: Any) -> None:
    assert session.setdefault(name, value) is value


def types_of(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value), [(types_of(key), types_of(item)) for key, item in value.items()]
    return (type(value), [*map(types_of, value)]) if isinstance(value, (list, tuple)) else (type(value), value)


@pytest.mark.parametrize("assign", [by_assignment, by_update, by_default])
def test_this_request_sees_the_object_and_the_next_one_the_plain_value(browser: Browser, assign: Any) -> None:
    values = given()

    def write(session: Session) -> None:
        for name, (value, plain) in values.items():
            assign(session, name, value)
            assert session[name] is value
            assert types_of(session.copy()[name]) == types_of(plain), "a copy is plain already"

    browser.do(write)
    assert types_of(browser.do(read).result) == types_of({name: plain for name, (_, plain) in values.items()})


def test_a_change_inside_a_subclass_instance_after_its_assignment_is_saved(browser: Browser) -> None:
    def write(session: Session) -> None:
        session["token"] = Token(access_token="old")
        session["counts"] = defaultdict(int)
        session["lines"] = Lines(["tea"])
        session["point"] = Point(1, [])
        session["plain"] = {"inner": OrderedDict()}
        session["token"]["access_token"] = "new"
        session["counts"]["tea"] += 2
        session["lines"].append(Markup("milk"))
        session["point"].y.append(Point(2, 3))
        session["plain"]["inner"]["a"] = 1

    browser.do(write)
    assert browser.do(read).result == {
        "token": {"access_token": "new"},
        "counts": {"tea": 2},
        "lines": ["tea", "milk"],
        "point": (1, [(2, 3)]),
        "plain": {"inner": {"a": 1}},
    }


def test_one_that_is_put_into_a_value_that_was_read_is_saved_as_plain(browser: Browser) -> None:
    browser.do(put(cart=[{"n": 1}], count={"tea": 1}))

    def write(session: Session) -> None:
        session["cart"][0]["label"] = Markup("<b>")
        session["count"][Key.CART] = UserId.ANN

    browser.do(write)
    expected = {"cart": [{"n": 1, "label": "<b>"}], "count": {"tea": 1, "cart": 5}}
    assert types_of(browser.do(read).result) == types_of(expected)


@pytest.mark.needs(SERVER)
def test_one_that_equals_what_is_stored_is_nothing_to_save(site: Site, browser: Browser) -> None:
    browser.do(put(text="a", lines=["tea"], point=(1, 2)))
    site.forget()

    def write(session: Session) -> None:
        session["text"], session["point"] = Markup("a"), Point(1, 2)
        session["lines"][0] = Markup("tea")

    browser.do(write)
    assert site.calls.counts() == {"load": 1}


@pytest.mark.needs(SERVER)
def test_one_that_was_saved_does_not_replace_what_another_request_stores_later(browser: Browser) -> None:
    browser.do(put(start=1))

    def slow(session: Session) -> None:
        session["token"], session["text"] = token, _ = Token(a=1), Markup("old")
        session.atomic(lambda data: data.update(seen=True))
        assert session["token"] is token
        browser.copy().do(put(token={"a": 2}, text="new"))
        session["mine"] = True

    browser.do(slow)
    assert browser.do(read).result == {"start": 1, "token": {"a": 2}, "text": "new", "seen": True, "mine": True}


@pytest.mark.needs(SERVER)
def test_a_conflict_keeps_the_object_and_both_changes(browser: Browser) -> None:
    browser.do(put(start=1))

    def slow(session: Session) -> None:
        session["lines"] = Lines(["tea"])
        browser.copy().do(put(other=Markup("x")))

    browser.do(slow)
    assert types_of(browser.do(read).result) == types_of({"start": 1, "other": "x", "lines": ["tea"]})


@pytest.mark.needs(SERVER)
def test_atomic_stores_the_plain_value_and_returns_what_the_function_returned(browser: Browser) -> None:
    browser.do(put(start=1))
    token = Token(a=Markup("x"))

    def write(session: Session) -> None:
        def change(data: dict[str, Any]) -> Token:
            data[Key.CART] = data["all"] = token
            data["whole"] = dict(data)
            return token

        assert session.atomic(change) is token
        assert type(session["cart"]) is dict

    browser.do(write)
    result = browser.do(read).result
    assert types_of(result["whole"]) == types_of({"start": 1, "cart": {"a": "x"}, "all": {"a": "x"}})


class Apart(str):
    """A text that equals only itself, so that a dict can have it as a key twice."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@pytest.mark.needs(SERVER)
def test_of_several_keys_that_are_one_text_an_update_keeps_the_last(browser: Browser) -> None:
    def write(session: Session) -> None:
        session.update({"a": 1, Apart("a"): [2], "b": [3], Apart("b"): 4, "c": 5})
        assert dict(session) == {"a": [2], "b": 4, "c": 5}
        session["a"].append(6)

    browser.do(write)
    assert browser.do(read).result == {"a": [2, 6], "b": 4, "c": 5}


@pytest.mark.needs(SERVER)
def test_an_update_keeps_what_precedes_a_refused_key_after_one_of_a_text_type(browser: Browser) -> None:
    def write(session: Session) -> None:
        with pytest.raises(UnsupportedValue):
            session.update({"a": 1, Key.CART: [2], 3: 4, "b": 5})
        assert dict(session) == {"a": 1, "cart": [2]}

    browser.do(write)
    assert browser.do(read).result == {"a": 1, "cart": [2]}


@pytest.mark.needs(SERVER)
def test_a_key_of_a_text_type_of_its_own_is_the_text(browser: Browser) -> None:
    def write(session: Session) -> None:
        session[Key.CART] = [1]
        assert session["cart"] is session[Key.CART]
        session.update({Key.USER: {"id": 1}, "b": 2})
        session.pop(Key.USER)
        assert Key.CART in session
        assert Key.USER not in session
        assert session.get(Key.USER, 7) == 7
        assert session.setdefault(Key.CART, "other") == [1]
        assert [type(key) for key in session] == [str, str]

    browser.do(write)
    assert browser.do(read).result == {"cart": [1], "b": 2}

    def change_inside(session: Session) -> list[str]:
        session[Key.CART].append(2)
        browser.copy().do(lambda session: session.pop("cart"))
        return [*session]

    # The other request deleted the key, so this save adds it, under its plain name.
    browser.do(change_inside)
    assert types_of(browser.do(read).result) == types_of({"b": 2, "cart": [1, 2]})

    def delete(session: Session) -> None:
        del session[Key.CART]

    browser.do(delete)
    assert browser.do(read).result == {"b": 2}


def test_the_user_of_a_login_may_be_of_a_subclass_and_have_such_an_id(make_site: MakeSite) -> None:
    site = make_site()
    browser = site.browser()
    user = Token(id=UserId.ANN, name=Markup("Ann"))

    def write(environ: dict[str, Any]) -> None:
        login(environ, user)
        assert environ["session"]["user"] is user
        assert environ["session"].owner == "id:5"

    browser.call(write)
    assert types_of(browser.do(read).result) == types_of({"user": {"id": 5, "name": "Ann"}})
    # The same user again, as it comes from the session: its data stays.
    browser.do(put(cart=1))
    browser.do(log_in({"id": 5}))
    assert browser.do(read).result == {"user": {"id": 5}, "cart": 1}


def test_another_users_data_goes_whatever_the_type_of_the_user_that_was_put_there(browser: Browser) -> None:
    def switch(session: Session) -> None:
        session.update(user=Token(id=UserId.ANN), secret="Ann's")
        log_in(ANN)(session)

    browser.do(switch)
    assert browser.do(read).result == {"user": ANN}


def test_a_mapping_that_is_no_dict_can_log_in_and_is_refused_as_a_value(browser: Browser) -> None:
    row: Any = MappingProxyType({Key.CART: 1, "id": 5})

    def write(session: Session) -> None:
        with pytest.raises(UnsupportedValue, match="row: mappingproxy"):
            session["row"] = row
        log_in(row)(session)

    browser.do(write)
    assert types_of(browser.do(read).result) == types_of({"user": {"cart": 1, "id": 5}})


def test_validate_sees_the_plain_user(make_site: MakeSite) -> None:
    seen: list[Any] = []

    def validate(session: Session) -> bool:
        seen.append(types_of(session["user"]))
        return True

    site = make_site(validate=validate)
    browser = site.browser()
    browser.do(log_in(Token(id=UserId.ANN)))
    browser.do(read)
    assert seen == [types_of({"id": 5})]


@pytest.mark.needs(SERVER)
def test_one_that_cannot_be_stored_at_the_commit_fails_the_request_and_saves_nothing(
    site: Site, browser: Browser
) -> None:
    browser.do(put(b=1))

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        environ["session"].update(b=2, token=Token())
        environ["session"]["token"]["of"] = Point(0, object())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"page"]

    with pytest.raises(UnsupportedValue, match=r"token\.of\[1\]: object"):
        browser.visit(app)
    assert browser.do(read).result == {"b": 1}
    assert [event["error"].partition(" ")[0] for event in site.happened("unsaved")] == ["token.of[1]:"]
