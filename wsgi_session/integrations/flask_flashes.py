"""Flask's flashed messages, which Flask stores as one list under ``_flashes``. Here each has its own internal key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from wsgi_session.request.data import Data
from wsgi_session.request.flash import find_messages
from wsgi_session.request.work import Work

# A flashed Markup or dict is stored as a dict with one of these keys.
_MARKUP, _DICT = " m", " d"


class FlashedMessages(list[tuple[str, Any]]):
    """The flashed messages, as pairs of category and message, with the internal key of each.

    Flask's ``flash`` reads the list, appends one message, and assigns the list. This list records whether it was
    changed in any other way, so that adding a message costs the same however many there are.
    """

    def __init__(self, work: Work) -> None:
        found = find_messages(work, None)
        super().__init__((category, _from_stored(message)) for _, category, message in found)
        #: The internal keys of the messages that are in the session.
        self.keys = [key for key, _, _ in found]
        #: Whether the list was changed in any way but by appending.
        self.rearranged = False
        self._data = work.data or work.load()
        self.mark_stored()

    def mark_stored(self) -> None:
        """Record that ``keys`` are now the messages in the session."""
        self._edits = self._data.internal_edits

    def is_current(self, data: Data) -> bool:
        """Return whether ``keys`` are the messages in ``data``, and the list begins with these messages."""
        return not self.rearranged and data is self._data and data.internal_edits == self._edits


def _recording(name: str) -> Callable[..., Any]:
    """Return list's method ``name``, which also sets ``rearranged``."""
    method = getattr(list, name)

    def rearrange(self: FlashedMessages, *args: Any, **options: Any) -> Any:
        self.rearranged = True
        return method(self, *args, **options)

    return rearrange


for _name in ("__delitem__", "__imul__", "__setitem__", "clear", "insert", "pop", "remove", "reverse", "sort"):
    setattr(FlashedMessages, _name, _recording(_name))


def to_stored(message: Any) -> Any:
    """Return the form in which a flashed message is stored. An object with ``__html__`` comes back as ``Markup``."""
    if hasattr(message, "__html__"):
        return {_MARKUP: str(message.__html__())}
    # A dict is wrapped, because a client may have chosen its keys, and it must not be taken for markup.
    return {_DICT: message} if issubclass(type(message), dict) else message


def _from_stored(stored: Any) -> Any:
    if type(stored) is not dict:
        return stored
    return Markup(stored[_MARKUP]) if _MARKUP in stored else stored[_DICT]  # noqa: S704  (it was Markup before)
