"""The dict that ``atomic`` passes to the application's function."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from wsgi_session.request.assigned import AssignedDict


@pytest.mark.parametrize(
    "assign",
    [
        lambda data: data.__setitem__("a", 1),
        lambda data: data.setdefault("a", 2),
        lambda data: data.update(a=1),
        lambda data: data.update({"a": 1}),
        lambda data: data.update([("a", 1)]),
        lambda data: data.__ior__({"a": 1}),
    ],
)
def test_a_key_that_is_assigned_what_it_had_been_counts_as_assigned(assign: Callable[[Any], object]) -> None:
    data = AssignedDict({"a": 1, "b": 2})
    assign(data)
    assert data.assigned == {"a"}
    assert data == {"a": 1, "b": 2}


def test_the_merge_operator_updates_the_dict_in_place() -> None:
    data = same = AssignedDict({"a": 1})
    data |= {"b": 2}
    assert data is same
    assert data == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, dict, dict.copy, lambda data: pickle.loads(pickle.dumps(data)), lambda data: data | {}],
)
def test_a_copy_is_a_plain_dict_of_equal_values(duplicate: Callable[[Any], Any]) -> None:
    data = AssignedDict({"a": [1]})
    copied = duplicate(data)
    assert type(copied) is dict
    assert copied == {"a": [1]}
    assert json.dumps(data) == '{"a": [1]}'
    assert repr(data) == "{'a': [1]}"
