"""The owner of a session."""

from __future__ import annotations

from collections import UserDict
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_session.errors import ConfigError
from wsgi_session.owner import owner_of

SOME_UUID = UUID("12345678-1234-5678-1234-567812345678")


class Text(str):
    def __str__(self) -> str:
        return "another text"

    __format__ = object.__format__
    __eq__ = object.__eq__
    __hash__ = str.__hash__


class Number(IntEnum):
    FIVE = 5


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ({"id": 5}, "id:5"),
        ({"id": 0}, "id:0"),
        ({"id": "5"}, "id:5"),
        ({"id": SOME_UUID}, f"id:{SOME_UUID}"),
        ({"id": 5, "email": "ann@example.com"}, "id:5"),
        ({"email": "ann@example.com"}, "email:ann@example.com"),
        ({"email": " Ann@Example.COM "}, "email: Ann@Example.COM "),
        ({"id": None, "email": "ann@example.com"}, "email:ann@example.com"),
        ({"id": True, "email": "ann@example.com"}, "email:ann@example.com"),
        ({"id": "", "email": "ann@example.com"}, "email:ann@example.com"),
        (UserDict({"id": 7}), "id:7"),
        ({"id": Text("5")}, "id:5"),
        ({"id": Number.FIVE}, "id:5"),
        ({"email": Text("ann@example.com")}, "email:ann@example.com"),
    ],
)
def test_an_owner_is_the_id_or_else_the_email_byte_for_byte(user: Any, owner: str) -> None:
    assert owner_of(user) == owner


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"name": "Ann"},
        {"id": True},
        {"id": 5.0},
        {"id": ""},
        {"id": None},
        {"id": [5]},
        {"id": Text("")},
        {"email": ""},
        {"email": b"ann@example.com"},
    ],
)
def test_a_user_that_nothing_can_be_filed_under_is_refused_with_what_to_give(user: Any) -> None:
    with pytest.raises(ConfigError, match=r"'id' \(an int, a UUID or a non-empty str\) or a non-empty 'email'"):
        owner_of(user)


def test_an_id_that_python_does_not_spell_out_is_refused() -> None:
    assert owner_of({"id": 1 << 1023}).startswith("id:8988")
    for ident in (1 << 1024, -(10**5000)):
        with pytest.raises(ConfigError, match=r"id has \d+ bits. At most 1024"):
            owner_of({"id": ident})


@pytest.mark.parametrize("user", [None, "ann", 5, [("id", 5)]])
def test_a_user_that_is_no_mapping_is_refused(user: Any) -> None:
    with pytest.raises(ConfigError, match=f"user is of type {type(user).__name__}. Give a mapping"):
        owner_of(user)


@pytest.mark.parametrize("user", [{"id": "a\ud800"}, {"email": "\udfff@example.com"}])
def test_an_owner_that_no_store_could_file_is_refused(user: Any) -> None:
    with pytest.raises(ConfigError, match="surrogates not allowed"):
        owner_of(user)


@given(st.one_of(st.integers(), st.text(min_size=1)), st.one_of(st.integers(), st.text(min_size=1)))
def test_different_ids_are_different_owners_unless_they_read_the_same(first: int | str, second: int | str) -> None:
    assert (owner_of({"id": first}) == owner_of({"id": second})) == (str(first) == str(second))
