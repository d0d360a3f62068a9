"""Flash messages.

Each message has its own internal key, so that messages of concurrent requests cannot overwrite each other.
"""

from __future__ import annotations

import struct
from itertools import count
from typing import Any

from wsgi_session.codec.packing import pack
from wsgi_session.cookies import tokens
from wsgi_session.request.data import Data
from wsgi_session.request.work import Work

# The time follows the prefix, so that the keys sort in the order in which the messages were added.
_PREFIX = b"flash:"
# Follows the time, to sort messages that this process adds in the same microsecond.
_numbers = count()


class Flash(str):
    """A flash message: a ``str`` with an attribute ``category``."""

    __slots__ = ("category",)

    category: str


def put_flash(data: Data, message: str, category: str, now: float) -> None:
    """Store a text message."""
    # str() returns some str subclasses (Django's SafeString) unchanged; str.__str__() makes a plain str of them.
    put_message(data, str.__str__(str(message)), str.__str__(str(category)), now)


def find_flashes(work: Work, category: str | None) -> list[tuple[bytes, Flash]]:
    """Return key and text of all messages, or only those of ``category``, oldest first."""
    found = []
    for key, its_category, message in find_messages(work, category):
        text = Flash(message)
        text.category = its_category
        found.append((key, text))
    return found


def put_message(data: Data, message: object, category: str, now: float) -> bytes:
    """Store a message of any supported type (Pyramid's need not be text); return its key."""
    stamp = struct.pack(">QI", int(now * 1e6), next(_numbers) & 0xFFFFFFFF)
    # The random suffix keeps messages apart that two processes add in the same microsecond.
    key = _PREFIX + stamp + tokens.new_version()[:8]
    value = [category, message]
    data.put(key, value, pack(value, "flash message", data.limit))
    return key


def find_messages(work: Work, category: str | None) -> list[tuple[bytes, str, Any]]:
    """Return key, category and message of all messages, or only those of ``category``, oldest first.

    If one cannot be read, mark the session as corrupt and return an empty list.
    """
    data = work.data or work.load()
    found = []
    for key in sorted(key for key in data.internal_keys() if key.startswith(_PREFIX)):
        try:
            its_category, message = data.peek(key)
        except (ValueError, TypeError):
            work.mark_corrupt()
            return []
        if category in (None, its_category):
            found.append((key, its_category, message))
    return found
