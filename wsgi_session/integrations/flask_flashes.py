"""What Flask's ``flash()`` keeps under ``_flashes``: each message a record key of its own, shown as one list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from wsgi_session.request.data import Data
from wsgi_session.request.flash import find_messages
from wsgi_session.request.work import Work

# What markup among the messages is kept under, and what a dict.
_MARKUP, _DICT = " m", " d"


class FlashedMessages(list[tuple[str, Any]]):
    """What is flashed, as categories and messages, with the record key of each.

    Flask's ``flash`` takes the list, appends one message, and assigns the list. This one knows whether anything else
    was done to it, so that a message costs the same however many there are.
    """

    def __init__(self, work: Work) -> None:
        found = find_messages(work, None)
        super().__init__((category, _unkept(message)) for _, category, message in found)
        #: The record keys of the messages that are kept.
        self.keys = [key for key, _, _ in found]
        #: Whether anything but appending was done to the list.
        self.rearranged = False
        self._data = work.data or work.load()
        self.note_edits()

    def note_edits(self) -> None:
        """Take note that ``keys`` are what is kept now."""
        self._edits = self._data.internal_edits

    def is_what_is_kept(self, data: Data) -> bool:
        """Return True if ``keys`` are those in ``data``, and the list begins with their messages."""
        return not self.rearranged and data is self._data and data.internal_edits == self._edits


def _noting(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    def rearrange(self: FlashedMessages, *args: Any, **options: Any) -> Any:
        self.rearranged = True
        return method(self, *args, **options)

    return rearrange


for _name in ("__delitem__", "__imul__", "__setitem__", "clear", "insert", "pop", "remove", "reverse", "sort"):
    setattr(FlashedMessages, _name, _noting(_name))


def kept(message: Any) -> Any:
    """Return what a session keeps of a flashed message. Markup, and what can turn into it, stays markup."""
    if hasattr(message, "__html__"):
        return {_MARKUP: str(message.__html__())}
    # Whatever is in a dict, and a client may have a hand in that, it cannot be taken for markup.
    return {_DICT: message} if type(message) is dict else message


def _unkept(kept: Any) -> Any:
    if type(kept) is not dict:
        return kept
    return Markup(kept[_MARKUP]) if _MARKUP in kept else kept[_DICT]  # noqa: S704  (it was)
