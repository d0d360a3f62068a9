"""The dict that ``atomic`` hands out: what was assigned in it is part of what the request saves."""

from __future__ import annotations

from typing import Any


class AssignedDict(dict[str, Any]):
    """A dict that knows which keys were assigned, those that were assigned an equal value too.

    The values alone do not tell: where two logins come at once, the second one keeps only what its own request wrote.
    """

    __slots__ = ("assigned",)

    def __init__(self, items: dict[str, Any]) -> None:
        super().__init__(items)
        #: The keys, some of which may have been deleted since.
        self.assigned: set[str] = set()

    def __setitem__(self, key: str, value: Any) -> None:
        self.assigned.add(key)
        super().__setitem__(key, value)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self.assigned.add(key)
        return super().setdefault(key, default)

    def update(self, *others: Any, **more: Any) -> None:
        items = dict(*others, **more)
        self.assigned.update(items)
        super().update(items)

    def __ior__(self, other: Any) -> AssignedDict:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        # A copy is a plain dict.
        return dict, (dict(self),)
