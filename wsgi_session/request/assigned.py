"""The dict that ``atomic`` passes to the application's function. It records which keys the function assigns."""

from __future__ import annotations

from typing import Any


class AssignedDict(dict[str, Any]):
    """A dict that records every assigned key, also if the assigned value equals the earlier one.

    Comparing the values would miss a key that was assigned an equal value. This matters if two logins run at once: the
    second one keeps only what its own request wrote.
    """

    __slots__ = ("assigned",)

    def __init__(self, items: dict[str, Any]) -> None:
        super().__init__(items)
        #: The assigned keys. Some of them may have been deleted later.
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
        # Copying or pickling gives a plain dict.
        return dict, (dict(self),)
