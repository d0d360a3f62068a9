"""Flash messages: each is a record key of its own, outside the mapping, so that two requests' messages never meet."""

from __future__ import annotations

import struct

from wsgi_session import tokens
from wsgi_session.codec import CorruptData, pack
from wsgi_session.values import Values

# With the time behind it, so that they come in the order of their making.
_PREFIX = b"flash:"


class Flash(str):
    """A flash message: text, with the ``category`` it was given."""

    __slots__ = ("category",)

    category: str


def put_flash(values: Values, message: str, category: str, now: float) -> None:
    """Keep a message."""
    stamp = struct.pack(">QI", int(now * 1e6), len(values.own_keys()))
    # Random at the end: two requests' messages of the same microsecond are two messages.
    key = _PREFIX + stamp + tokens.draw_version()[:8]
    value = [str(category), str(message)]
    values.put(key, value, pack(value, "flash message"))


def find_flashes(values: Values, category: str | None) -> list[tuple[bytes, Flash]]:
    """Return key and text of the messages (of ``category``, if given), oldest first, or raise ``CorruptData``."""
    found = []
    for key in sorted(key for key in values.own_keys() if key.startswith(_PREFIX)):
        try:
            its_category, text = values.peek(key)
        except (ValueError, TypeError) as error:
            raise CorruptData("not a flash message") from error
        if category in (None, its_category):
            message = Flash(text)
            message.category = its_category
            found.append((key, message))
    return found
