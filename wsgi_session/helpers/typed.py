"""Type checking of an application's own keys: a session or a user, seen as a TypedDict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
def typed(mapping: None, kind: type[T]) -> None: ...
@overload
def typed(mapping: Mapping[str, Any], kind: type[T]) -> T: ...
@overload
def typed(mapping: Mapping[str, Any] | None, kind: type[T]) -> T | None: ...
def typed(mapping: Any, kind: type[T]) -> Any:
    """Return ``mapping`` itself, which a type checker then takes for a ``kind``, a class made with ``TypedDict``.

        class Visit(TypedDict, total=False):
            cart: list[str]

        visit = typed(get_session(environ), Visit)
        visit["cart"] = ["tea"]  # a type checker knows the keys and their types

    ``None`` stays ``None``, so that ``if user := typed(user_or_none(environ), User):`` narrows. Nothing is copied, and
    nothing is checked at run time: what is stored may be of an older version of your application.
    """
    return mapping
