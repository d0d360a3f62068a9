"""Flash messages: each is a record key of its own, outside the mapping, so that two requests' messages never meet."""

from __future__ import annotations

import struct
from itertools import count
from typing import Any

from wsgi_session.codec.packing import pack
from wsgi_session.cookies import tokens
from wsgi_session.request.data import Values
from wsgi_session.request.work import Draft

# With the time behind it, so that they come in the order of their making.
_PREFIX = b"flash:"
# Of the messages that this process makes, for those of one microsecond.
_numbers = count()


class Flash(str):
    """A flash message: text, with the ``category`` it was given."""

    __slots__ = ("category",)

    category: str


def put_flash(values: Values, message: str, category: str, now: float) -> None:
    """Keep a text."""
    # Some texts (Django's SafeString) stay of their own type through str().
    put_message(values, str.__str__(str(message)), str.__str__(str(category)), now)


def find_flashes(draft: Draft, category: str | None) -> list[tuple[bytes, Flash]]:
    """Return key and text of the messages (of ``category``, if given), oldest first."""
    found = []
    for key, its_category, message in find_messages(draft, category):
        text = Flash(message)
        text.category = its_category
        found.append((key, text))
    return found


def put_message(values: Values, message: object, category: str, now: float) -> bytes:
    """Keep a message, which may be anything that a session keeps (Pyramid's are not all text); return its key."""
    stamp = struct.pack(">QI", int(now * 1e6), next(_numbers) & 0xFFFFFFFF)
    # Random at the end: two requests' messages of the same microsecond are two messages.
    key = _PREFIX + stamp + tokens.draw_version()[:8]
    value = [category, message]
    values.put(key, value, pack(value, "flash message", values.limit))
    return key


def find_messages(draft: Draft, category: str | None) -> list[tuple[bytes, str, Any]]:
    """Return key, category and message as they were put (of ``category``, if given), oldest first.

    If one cannot be read, the session is unknown, and there are none.
    """
    values = draft.values
    found = []
    for key in sorted(key for key in values.own_keys() if key.startswith(_PREFIX)):
        try:
            its_category, message = values.peek(key)
        except (ValueError, TypeError):
            draft.corrupt()
            return []
        if category in (None, its_category):
            found.append((key, its_category, message))
    return found
