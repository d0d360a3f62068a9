"""The changes of one request to the values that it loaded, and merging them into newer values."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.values import shape
from tests.support.values import values as kept_values
from wsgi_session.codec import packing as codec
from wsgi_session.codec.packing import CorruptData, Packed, pack, unpack
from wsgi_session.errors import SessionTooLarge, UnsupportedValue
from wsgi_session.request.data import Data

FLASH, OWNER = b"flash:1", b"owner"


def packed(data: dict[Any, Any]) -> Packed:
    return {key: pack(value, "key") for key, value in data.items()}


def opened(data: Packed) -> dict[Any, Any]:
    return {key: unpack(value) for key, value in data.items()}


def loaded(**data: Any) -> Data:
    return Data(packed(data))


def merged(values: Data, others: dict[Any, Any]) -> dict[Any, Any]:
    """Return what a save would store if ``others`` is what another request stored meanwhile."""
    values.find_changes()
    return opened(values.apply_to(packed(others)))


def seen_by(values: Data) -> dict[Any, Any]:
    names = [*values.keys()]
    return {name: values.get(name) for name in names}


# Merging: rule 4.


def put_by_hand(values: Data, content: object) -> None:
    values.put("user", content, pack(content, "user"))


def change_and_change_back(values: Data, content: object) -> None:
    values.get("user")["seen"] = True
    values.find_changes()
    del values.get("user")["seen"]


ASSIGNMENTS = [
    put_by_hand,
    lambda values, content: values.assign("user", content),
    lambda values, content: values.update({"user": content}),
    change_and_change_back,
]


@pytest.mark.parametrize("assign", ASSIGNMENTS)
def test_an_assignment_equal_to_what_was_loaded_is_carried_into_a_new_record_and_into_a_merge(assign: Any) -> None:
    values = loaded(user={"id": 1}, cart=["bun"])
    assign(values, {"id": 1})
    assert merged(values, {}) == {"user": {"id": 1}}
    assert merged(values, {"user": {"id": 2}, "cart": ["pie"]}) == {"user": {"id": 1}, "cart": ["pie"]}
    values.delete("user")
    assert merged(values, {"user": {"id": 1}}) == {}


@pytest.mark.parametrize("assign", ASSIGNMENTS)
def test_equal_assignments_alone_are_nothing_to_save(assign: Any) -> None:
    values = loaded(user={"id": 1}, cart=["bun"])
    assign(values, {"id": 1})
    assert not values.find_changes()


def test_a_key_assigned_and_deleted_again_is_deleted_from_what_another_request_stored() -> None:
    values = loaded(cart=["bun"])
    values.assign("coupon", "x")
    values.delete("coupon")
    assert not values.find_changes()
    assert merged(values, {"coupon": "y", "cart": ["bun"]}) == {"cart": ["bun"]}


def test_a_default_that_was_there_is_kept_in_a_new_record_but_never_replaces_what_another_request_assigned() -> None:
    values = loaded(cart=["bun"])
    values.keep_default("cart")
    assert not values.find_changes()
    assert merged(values, {}) == {"cart": ["bun"]}
    assert merged(values, {"cart": ["pie"]}) == {"cart": ["pie"]}
    values.get("cart").append("tart")
    assert merged(values, {"cart": ["pie"]}) == {"cart": ["bun", "tart"]}


def test_a_default_that_was_cleared_again_is_not_kept() -> None:
    values = loaded(cart=["bun"])
    values.keep_default("cart")
    values.clear()
    assert merged(values, {}) == {}
    values.keep_default("cart")
    assert merged(values, {}) == {}


def test_what_was_saved_is_no_longer_carried() -> None:
    values = loaded(user={"id": 1}, cart=["bun"])
    values.assign("user", {"id": 1})
    values.keep_default("cart")
    values.find_changes()
    values.adopt(values.apply_to(values.stored))
    assert merged(values, {"user": {"id": 2}}) == {"user": {"id": 2}}


keys = st.sampled_from(["a", "b", "c", "\xe9"])
contents = st.integers(0, 3) | st.lists(st.integers(0, 1), max_size=2) | st.sampled_from(["x", "\xe9"])
records = st.dictionaries(keys, contents)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), keys, contents),
        st.tuples(st.just("delete"), keys, st.none()),
        st.tuples(st.just("change inside"), keys, st.integers(4, 5)),
        st.tuples(st.just("read"), keys, st.none()),
        st.tuples(st.just("collect"), keys, st.none()),
        st.tuples(st.just("clear"), keys, st.none()),
    ),
    max_size=8,
)


@given(records, steps, records)
def test_a_save_carries_what_this_request_wrote_and_nothing_else_on_top_of_what_others_stored(
    stored: dict[str, Any], steps: list[tuple[str, str, Any]], others: dict[str, Any]
) -> None:
    values = Data(packed(stored))
    seen = opened(packed(stored))
    cleared, written = False, set()
    for name, key, content in steps:
        if name == "assign":
            values.assign(key, opened(packed({key: content}))[key])
            seen[key] = opened(packed({key: content}))[key]
            written.add(key)
        elif name == "collect":
            values.find_changes()
        elif name == "clear":
            values.clear()
            seen, cleared, written = {}, True, set()
        elif key not in seen:
            continue
        elif name == "delete":
            values.delete(key)
            del seen[key]
            written.add(key)
        elif name == "read":
            assert values.get(key) == values.peek(key) == seen[key]
        elif isinstance(seen[key], list):
            values.get(key).append(content)
            seen[key].append(content)
            written.add(key)

    changed = seen if cleared else {key: value for key, value in seen.items() if stored.get(key, ...) != value}
    expected = {key: value for key, value in ({} if cleared else others).items() if key not in written}
    expected |= {key: value for key, value in seen.items() if key in written}
    assert merged(values, others) == expected
    assert values.find_changes() == bool(changed or (stored.keys() - seen.keys()))
    assert seen_by(values) == seen
    assert opened(values.apply_to(values.stored)) == seen, "without changes of other requests"


def test_of_one_key_the_later_write_wins_and_of_two_keys_both_stay() -> None:
    values = loaded(a=1, b=1, c=1)
    values.assign("a", 2)
    values.delete("b")
    assert merged(values, {"a": 9, "b": 9, "c": 9, "d": 9}) == {"a": 2, "c": 9, "d": 9}


def test_a_value_that_was_set_back_is_nothing_to_save_alone_and_is_carried_into_a_merge() -> None:
    values = loaded(a=1, b=[1])
    values.assign("a", 2)
    values.find_changes()
    values.assign("a", 1)
    values.get("b").append(2)
    values.find_changes()
    values.get("b").pop()
    assert not values.find_changes()
    assert merged(values, {"a": 9, "b": [9], "c": 9}) == {"a": 1, "b": [1], "c": 9}


@pytest.mark.parametrize(
    ("own", "expected"), [(False, {"new": 1, FLASH: ["x"], b"flash:2": ["y"]}), (True, {"new": 1})]
)
def test_clearing_drops_what_others_added_meanwhile_too(own: bool, expected: dict[Any, Any]) -> None:
    """Internal keys are deleted only if the session gets another owner (CVE-2014-0482)."""
    values = Data(packed({"a": 1, FLASH: ["x"]}))
    values.assign("b", 1)
    values.clear(internal=own)
    values.assign("new", 1)
    assert merged(values, {"a": 2, "c": 3, FLASH: ["x"], b"flash:2": ["y"]}) == expected


def test_own_keys_that_were_written_before_a_clear_stay_and_go_with_own() -> None:
    for own, expected in ((False, {FLASH: 1}), (True, {})):
        values = loaded(a=1)
        values.put(FLASH, 1, pack(1, "flash"))
        values.clear(internal=own)
        assert merged(values, {"a": 2}) == expected


def test_a_second_clear_brings_no_own_keys_back() -> None:
    values = loaded(a=1)
    values.clear(internal=True)
    values.clear()
    assert merged(values, {FLASH: 1}) == {}


@pytest.mark.parametrize("value", [1, "x", [1], "\xe9"], ids=repr)
def test_what_is_written_again_after_a_clear_is_kept(value: Any) -> None:
    """Also if the value equals the old one, which the clear deletes."""
    values = loaded(a=value, b=2)
    values.clear()
    values.assign("a", value)
    assert merged(values, {"a": value, "b": 2}) == {"a": value}


def test_what_becomes_what_it_was_after_a_clear_is_kept() -> None:
    values = loaded(a=[1], b=2)
    values.clear()
    values.assign("a", [])
    values.get("a").append(1)
    assert merged(values, {"a": [1], "b": 2}) == {"a": [1]}


def test_clearing_what_is_empty_is_no_change() -> None:
    values = Data({})
    values.clear()
    assert not values.find_changes()
    own_only = Data(packed({FLASH: 1}))
    own_only.clear()
    assert not own_only.find_changes()
    own_only.clear(internal=True)
    assert own_only.find_changes()


def test_what_another_request_cleared_comes_back_only_where_this_one_wrote() -> None:
    values = loaded(a=[1], b=1)
    values.get("a").append(2)
    values.get("b")
    assert merged(values, {}) == {"a": [1, 2]}


# Reading.


@given(st.dictionaries(keys, kept_values))
def test_it_sees_what_is_stored_and_the_same_object_each_time(stored: dict[str, Any]) -> None:
    values = Data(packed(stored))
    assert [*values.keys()] == [*stored]
    assert len(values.keys()) == len(stored)
    for key, value in stored.items():
        first = values.get(key)
        assert first is values.get(key) is values.peek(key)
        assert shape(first) == shape(value)
    assert not values.find_changes(), "reading looked like a change"
    assert shape(values.snapshot()) == shape(stored)


def test_a_peeked_value_is_a_copy() -> None:
    values = loaded(a=[1])
    assert values.peek("a") is not values.peek("a")
    values.peek("a").append(2)
    assert not values.find_changes()


def test_the_packages_own_keys_are_none_of_the_applications() -> None:
    values = Data(packed({"a": 1, OWNER: "id:5", FLASH: ["x"]}))
    assert [*values.keys()] == ["a"]
    assert len(values.keys()) == 1
    assert sorted(values.internal_keys()) == [FLASH, OWNER]
    assert values.snapshot() == {"a": 1}
    assert OWNER in values
    assert values.get(OWNER) == "id:5"


def test_what_is_not_there_is_a_key_error_and_what_cannot_be_read_is_corrupt() -> None:
    values = Data({"a": b"\xc1", "b": pack(1, "b")})
    for refused in (values.get, values.peek, values.delete):
        with pytest.raises(KeyError):
            refused("nothing")
    for corrupt in (values.get, values.peek):
        with pytest.raises(CorruptData):
            corrupt("a")
    assert values.get("b") == 1
    assert not values.find_changes()
    values.delete("a")
    assert merged(values, {"b": 2}) == {"b": 2}


def test_what_was_put_inside_and_cannot_be_kept_is_found_by_its_path() -> None:
    values = loaded(cart=[{"n": 1}])
    values.get("cart")[0]["price"] = object()
    with pytest.raises(UnsupportedValue, match=r"cart\[0\]\.price: object"):
        values.find_changes()


def test_a_cycle_that_was_made_inside_is_found() -> None:
    values = loaded(cart=[1])
    values.get("cart").append((values.get("cart"),))
    with pytest.raises(UnsupportedValue, match="containing itself"):
        values.find_changes()


def test_what_is_loaded_is_not_changed_but_copied() -> None:
    """A request in another thread may have loaded the same objects."""
    stored = packed({"a": 1, "b": 2})
    before = dict(stored)
    values = Data(stored)
    values.assign("a", 5)
    values.delete("b")
    values.assign("c", [1])
    values.find_changes()
    values.clear()
    assert stored == before


# After a save.


def test_after_a_save_nothing_is_changed_and_the_same_objects_stay() -> None:
    values = loaded(a=[1], b=[1])
    first, untouched = values.get("a"), values.get("b")
    first.append(2)
    values.find_changes()
    values.adopt(packed({"a": [1, 2], "b": [1], "theirs": 5}))
    assert not values.find_changes()
    assert values.get("a") is first
    assert values.get("b") is untouched
    assert values.get("theirs") == 5
    first.append(3)
    assert values.find_changes()
    assert merged(values, {"b": 9}) == {"a": [1, 2, 3], "b": 9}


def test_after_a_save_what_another_request_wrote_is_seen() -> None:
    values = loaded(a=[1], b=[1], c=[1])
    for key in "abc":
        values.get(key)
    values.assign("d", 1)
    values.find_changes()
    values.adopt(packed({"a": [1], "b": [7], "d": 1}))
    assert values.get("b") == [7]
    assert "c" not in values
    assert not values.find_changes()


def test_a_clear_is_done_once_it_is_saved() -> None:
    values = loaded(a=1)
    values.clear()
    values.find_changes()
    values.adopt({})
    assert not values.find_changes()
    assert merged(values, {"b": 1}) == {"b": 1}


def test_on_another_base_only_this_requests_changes_are_seen() -> None:
    values = loaded(a=[1], b=[1])
    values.get("a")
    values.get("b").append(2)
    values.assign("c", 1)
    values.rebase(packed({"x": 1}))
    assert seen_by(values) == {"x": 1, "b": [1, 2], "c": 1}
    assert values.find_changes()
    assert merged(values, {}) == {"b": [1, 2], "c": 1}


@pytest.mark.parametrize(
    "put_into",
    [
        lambda value, shared: value["in a list"].append(shared),
        lambda value, shared: value["in a dict"].update(shared=shared),
        lambda value, shared: value["in both"].append({"shared": shared}),
    ],
)
def test_a_tuple_that_shares_its_parts_is_refused_before_it_is_packed(
    put_into: Callable[[Any, Any], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tuple is put into a value that was read. Each level has twice as many parts as the one above."""
    stored = packed({"in a list": [1], "in a dict": {"a": 1}, "in both": [1]})
    values = Data(stored, 1000)
    shared: Any = 0
    for _ in range(15):
        shared = (shared, shared)
        gc.collect(0)  # From now on the garbage collector tracks neither the tuple nor its parts.
    assert not gc.is_tracked(shared)
    put_into({key: values.get(key) for key in stored}, shared)
    gc.collect(0)
    items_packed: list[Any] = []
    pack_items = codec._pack

    def watched(value: Any) -> bytes:
        items_packed.append(value)
        return pack_items(value)

    monkeypatch.setattr(codec, "_pack", watched)
    with pytest.raises(SessionTooLarge, match="contains several times"):
        values.find_changes()
    assert items_packed == []


def test_reading_tuples_and_sets_changes_nothing() -> None:
    stored = packed({"list": [(1, 2), (1, 2)], "dict": {"a": (1, {2})}, "tuple": (1, (2,)), "set": {(1, 2)}})
    values = Data(stored)
    for key in stored:
        values.get(key)
    gc.collect()
    assert not values.find_changes()
    assert values.changed == {}
    values.get("list").append((3,))
    assert values.find_changes()
    assert values.changed == packed({"list": [(1, 2), (1, 2), (3,)]})
