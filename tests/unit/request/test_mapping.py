"""``environ['session']`` behaves like a ``dict``, and keeps its contents from one request to the next."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.requests import session_in
from tests.support.site import ANN, Site
from tests.support.values import keepable, shape, values
from wsgi_session import Session, UnsupportedValue, login

# Compared with a real dict: requests with several operations each run on both.

keys = st.sampled_from(["a", "b", "c", "\xe9", ""])
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("x\xe9", max_size=3) | st.binary(max_size=2),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("xyz"), children, max_size=3),
    max_leaves=5,
)
mappings = st.dictionaries(keys, plain, max_size=3)


class Operation(NamedTuple):
    """An operation on a mapping. Each of the two gets its own values, so that they share no objects."""

    name: str
    do: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"{self.name}{self.arguments!r}"

    def on(self, mapping: Any) -> Any:
        """Return the result, or the type of the error."""
        try:
            result = self.do(mapping, *copy.deepcopy(self.arguments))
        except (KeyError, TypeError) as error:
            return type(error)
        return "itself" if result is mapping else copy.deepcopy(result)


def change_inside(mapping: Any, key: str, value: Any) -> None:
    inner = mapping[key]
    if isinstance(inner, list):
        inner.append(value)
    elif isinstance(inner, dict):
        inner["y"] = value


def merge(mapping: Any, other: Any) -> Any:
    mapping |= other
    return mapping


def delete(mapping: Any, key: Any) -> None:
    del mapping[key]


def operation(name: str, do: Callable[..., Any], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.tuples(*arguments).map(partial(Operation, name, do))


changes = st.one_of(
    operation("set", lambda m, key, value: m.__setitem__(key, value), keys, plain),
    operation("set", lambda m, key, value: m.__setitem__(key, value), keys, plain),
    operation("delete", delete, keys | st.just(5)),
    operation("pop", lambda m, key: m.pop(key), keys),
    operation("pop default", lambda m, key, default: m.pop(key, default), keys, plain),
    operation("popitem", lambda m: m.popitem()),
    operation("setdefault", lambda m, key, value: m.setdefault(key, value), keys, plain),
    operation("setdefault none", lambda m, key: m.setdefault(key), keys),
    operation("update mapping", lambda m, other: m.update(other), mappings),
    operation("update pairs", lambda m, pairs: m.update(pairs), st.lists(st.tuples(keys, plain), max_size=3)),
    operation("update keywords", lambda m, value: m.update({"a": 0}, b=value), plain),
    operation("update nothing", lambda m: m.update()),
    operation("merge mapping", merge, mappings),
    operation("merge pairs", merge, st.lists(st.tuples(keys, plain), max_size=3)),
    operation("clear", lambda m: m.clear()),
    operation("change inside", change_inside, keys, plain),
    operation("change inside", change_inside, keys, plain),
)
looks = st.one_of(
    operation("get", lambda m, key: m[key], keys | st.just(5)),
    operation("get default", lambda m, key, default: m.get(key, default), keys | st.just(5), plain),
    operation("in", lambda m, key: key in m, keys | st.just(5)),
    operation("len", len),
    operation("bool", bool),
    operation("list", list),
    operation("reversed", lambda m: list(reversed(m))),
    operation("keys", lambda m: list(m.keys())),
    operation("values", lambda m: list(m.values())),
    operation("items", lambda m: list(m.items())),
    operation("shared keys", lambda m, other: sorted(m.keys() & other.keys()), mappings),
    operation("dict", dict),
    operation("unpack", lambda m: {**m}),
    operation("copy", lambda m: m.copy()),
    operation("equal to", lambda m, other: m == other, mappings),
    operation("unequal to", lambda m, other: m != other, mappings),
    operation("equal to itself", lambda m: m == dict(m) and dict(m) == m),
    operation("or", lambda m, other: list((m | other).items()), mappings),
    operation("ror", lambda m, other: list((other | m).items()), mappings),
    operation("or pairs", lambda m: m | [("a", 1)]),
    operation("ror pairs", lambda m: [("a", 1)] | m),
)
requests = st.lists(st.lists(changes | looks, max_size=8), min_size=1, max_size=4)


@given(requests)
def test_whatever_is_done_to_it_is_what_a_dict_does(requests: list[list[Operation]]) -> None:
    browser, model = Site().browser(), dict[str, Any]()
    for operations in requests:
        browser.call(partial(do_to_both, model, operations))
        kept = browser.call(lambda environ: session_in(environ).copy())
        assert by_key(kept) == by_key(model), operations


def do_to_both(model: dict[str, Any], operations: list[Operation], environ: dict[str, Any]) -> None:
    session = session_in(environ)
    # Within a request the keys have the order of a dict; from one request to the next only the contents are kept.
    ordered = {key: model[key] for key in session}
    assert len(ordered) == len(model)
    model.clear()
    model.update(ordered)
    for operation in operations:
        expected, got = operation.on(model), operation.on(session)
        assert shape(got) == shape(expected), operation
    assert list(session) == list(model)


def by_key(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: shape(value) for key, value in mapping.items()}


@given(st.lists(st.dictionaries(keepable, values, max_size=3), max_size=3))
def test_every_value_under_every_key_is_kept(updates: list[dict[str, Any]]) -> None:
    browser, model = Site().browser(), dict[str, Any]()
    for update in updates:
        model.update(update)
        browser.call(lambda environ, update=update: session_in(environ).update(update))  # type: ignore[misc]
        assert by_key(browser.call(lambda environ: dict(session_in(environ)))) == by_key(model)


def test_it_has_every_method_that_a_dict_has() -> None:
    """Except ``fromkeys`` and ``__class_getitem__``, which are for the type and not for one mapping."""
    assert set(dir(dict)) - set(dir(Session)) <= {"fromkeys", "__class_getitem__"}
    assert issubclass(Session, MutableMapping)


# Within one request.


def in_one_request(look: Callable[[Session], Any], stored: dict[str, Any] | None = None, **options: Any) -> Any:
    """Return the result of ``look`` for a session in which an earlier request has stored ``stored``."""
    browser = Site(**options).browser()
    if stored is not None:
        browser.call(lambda environ: session_in(environ).update(stored))
    return browser.call(lambda environ: look(session_in(environ)))


def test_its_views_can_be_gone_through_backwards_as_those_of_a_dict() -> None:
    def look(session: Mapping[str, Any]) -> Any:
        views: list[Any] = [session.keys(), session.items(), session.values()]
        return [list(reversed(view)) for view in views]

    stored = {"a": 1, "b": [2], "c": 3}
    assert in_one_request(look, stored) == look(stored)


def test_what_is_put_in_while_it_logs_out_starts_a_fresh_session() -> None:
    def look(session: Session) -> Any:
        def pairs() -> Iterator[tuple[str, int]]:
            yield "b", 2
            session.destroy()
            yield "c", 3

        session.update(pairs())
        return dict(session)

    assert in_one_request(look, {"a": 1}) == {"b": 2, "c": 3}


def test_a_flash_message_may_be_a_text_that_stays_of_its_own_type() -> None:
    """Django's SafeString returns itself from ``str()``."""

    class Safe(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

    def look(session: Session) -> Any:
        session.flash(Safe("<b>saved</b>"), Safe("info"))
        return [(type(message).__name__, message, message.category) for message in session.flashes()]

    assert in_one_request(look) == [("Flash", "<b>saved</b>", "info")]


def test_the_same_object_comes_back_each_time() -> None:
    def look(session: Session) -> None:
        new: list[int] = []
        session["new"] = new
        assert session["new"] is new
        assert session.setdefault("default", new) is new
        assert session["cart"] is session["cart"] is session.get("cart") is dict(session)["cart"]
        assert session.pop("cart") == [1]

    in_one_request(look, {"cart": [1]})


def test_a_change_inside_a_nested_value_is_kept_with_no_flag_to_set() -> None:
    browser = Site().browser()
    stored = {"cart": [{"tags": {"a"}, "n": 1}], "pair": ([1], {"x": [2]})}
    browser.call(lambda environ: session_in(environ).update(stored))

    def inside(environ: dict[str, Any]) -> None:
        session = session_in(environ)
        session["cart"][0]["tags"].add("b")
        session["cart"][0]["n"] += 1
        session["pair"][1]["x"].append(3)
        for value in session.values():
            assert value

    browser.call(inside)
    assert browser.call(lambda environ: dict(session_in(environ))) == {
        "cart": [{"tags": {"a", "b"}, "n": 2}],
        "pair": ([1], {"x": [2, 3]}),
    }


def test_an_object_that_was_set_is_saved_as_it_is_at_the_end() -> None:
    browser = Site().browser()

    def write(environ: dict[str, Any]) -> None:
        cart: list[int] = []
        session_in(environ)["cart"] = cart
        cart.append(1)

    browser.call(write)
    assert browser.call(lambda environ: dict(session_in(environ))) == {"cart": [1]}


def test_what_was_taken_out_is_no_longer_watched() -> None:
    browser = Site().browser()
    browser.call(lambda environ: session_in(environ).update(cart=[1], other=[]))
    browser.call(lambda environ: session_in(environ).pop("cart").append(2))
    assert browser.call(lambda environ: dict(session_in(environ))) == {"other": []}


def test_a_copy_is_a_plain_dict_of_deep_copies() -> None:
    def look(session: Session) -> dict[str, Any]:
        session["new"] = [{}]
        session["cart"].append(2)
        copied = session.copy()
        assert type(copied) is dict
        assert copied == {"cart": [1, 2], "new": [{}]}
        copied["cart"].append(3)
        copied["new"][0]["x"] = 1
        return dict(session)

    assert in_one_request(look, {"cart": [1]}) == {"cart": [1, 2], "new": [{}]}


def test_the_keys_can_be_gone_through_while_the_session_changes() -> None:
    def look(session: Session) -> list[str]:
        session["c"] = 3
        for key in session:
            del session[key]
        return list(session)

    assert in_one_request(look, {"a": 1, "b": 2}) == []


def test_it_matches_patterns_and_is_unpacked_as_mappings_are() -> None:
    def look(session: Session) -> Any:
        match session:
            case {"user": {"name": str(name)}, **rest}:
                return name, rest, dict(**session)
        return None

    stored = {"user": {"name": "Ann"}, "cart": [1]}
    assert in_one_request(look, stored) == ("Ann", {"cart": [1]}, stored)


def test_flash_messages_and_the_owner_are_no_part_of_the_mapping() -> None:
    browser = Site().browser()

    def write(environ: dict[str, Any]) -> None:
        login(environ, ANN)
        session_in(environ).flash("saved")

    browser.call(write)

    def look(environ: dict[str, Any]) -> None:
        session = session_in(environ)
        assert (len(session), list(session), session.copy()) == (1, ["user"], {"user": ANN})
        assert session == {"user": ANN}
        assert b"owner" not in session  # type: ignore[comparison-overlap]
        assert session.popitem() == ("user", ANN)
        assert not session
        with pytest.raises(KeyError):
            session.popitem()
        assert session.flashes() == ["saved"]

    browser.call(look)


def test_clearing_an_anonymous_session_keeps_its_flash_messages() -> None:
    browser = Site().browser()

    def write(environ: dict[str, Any]) -> None:
        session = session_in(environ)
        session.flash("saved")
        session.update(a=1)
        session.clear()

    browser.call(write)
    assert browser.call(lambda environ: (dict(session_in(environ)), session_in(environ).flashes())) == ({}, ["saved"])


# Refused keys and values.


def test_what_cannot_be_kept_is_refused_at_the_assignment_and_what_was_there_stays() -> None:
    def look(session: Session) -> None:
        for refused in (object(), [object()], {"a": {1.5: 2}}, "\ud800"):
            with pytest.raises(UnsupportedValue, match="cart"):
                session["cart"] = refused
            with pytest.raises(UnsupportedValue):
                session.setdefault("new", refused)
            with pytest.raises(UnsupportedValue):
                session.update(cart=refused)
        assert dict(session) == {"cart": [1]}

    in_one_request(look, {"cart": [1]})


@pytest.mark.parametrize("key", [5, None, b"cart", ("a",), True, 1.5], ids=repr)
def test_a_key_that_is_no_str_can_be_looked_for_and_not_set(key: Any) -> None:
    def look(session: Session) -> None:
        assert key not in session
        assert session.get(key, "default") == "default"
        assert session.pop(key, "default") == "default"
        for refused in (lambda: session[key], lambda: session.pop(key), lambda: delete(session, key)):
            with pytest.raises(KeyError):
                refused()
        with pytest.raises(UnsupportedValue, match="Session keys must be str"):
            session[key] = 1

    in_one_request(look, {"cart": [1]})


def test_a_key_that_cannot_be_encoded_is_refused() -> None:
    def look(session: Session) -> None:
        with pytest.raises(UnsupportedValue):
            session["\ud800"] = 1
        assert dict(session) == {}

    in_one_request(look)


def test_what_was_put_inside_and_cannot_be_kept_fails_the_request_by_its_path_and_saves_nothing() -> None:
    browser = Site().browser()
    browser.call(lambda environ: session_in(environ).update(cart=[{"n": 1}], other=1))

    def write(environ: dict[str, Any]) -> None:
        session_in(environ)["other"] = 2
        session_in(environ)["cart"][0]["price"] = object()

    with pytest.raises(UnsupportedValue, match=r"cart\[0\]\.price: object"):
        browser.call(write)
    assert browser.call(lambda environ: dict(session_in(environ))) == {"cart": [{"n": 1}], "other": 1}


COPYING: dict[str, Callable[[Any], object]] = {
    **{f"pickle protocol {n}": partial(pickle.dumps, protocol=n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("make", COPYING.values(), ids=COPYING)
def test_it_cannot_be_pickled_or_copied_as_a_whole(make: Callable[[Session], object]) -> None:
    def look(session: Session) -> None:
        with pytest.raises(TypeError, match=r"session\.copy\(\)"):
            make(session)

    in_one_request(look, {"cart": [1]})


def test_a_session_is_unhashable_like_a_dict() -> None:
    def look(session: Session) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(session)

    in_one_request(look)


# repr.


def test_its_repr_loads_nothing_and_shows_state_handle_and_number_of_keys() -> None:
    browser = Site().browser()
    browser.call(lambda environ: session_in(environ).update(a="secret value", b=2))

    def look(environ: dict[str, Any]) -> None:
        session = session_in(environ)
        assert repr(session) == "<Session, not loaded>"
        handle = session.handle
        assert repr(session) == f"<Session live, handle {handle}, 2 keys>"
        session.destroy()
        assert repr(session) == "<Session destroyed, handle None, 0 keys>"

    browser.call(look)
    assert in_one_request(lambda session: (session.state, repr(session))[1]) == "<Session new, handle None, 0 keys>"
