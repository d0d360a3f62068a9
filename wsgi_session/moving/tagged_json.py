"""The JSON in which Flask keeps sessions: types that JSON lacks are dicts with one key, such as ``{" t": [1, 2]}``."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID


class MarkupText(str):
    """A text that was Markup, which is kept as plain text, except in a flashed message."""

    __slots__ = ()


def _datetime(text: str) -> Any:
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


# The tags of flask.json.tag.TaggedJSONSerializer.
_TAGS: dict[str, Callable[[Any], Any]] = {
    " di": lambda value: {key.removesuffix("__"): item for key, item in value.items()},
    " t": tuple,
    " b": b64decode,
    " m": MarkupText,
    " u": UUID,
    " d": _datetime,
}


def loads_tagged(text: str | bytes) -> Any:
    """Return the value that Flask's serializer has written. Raises ``ValueError`` or ``TypeError`` for another text."""
    return json.loads(text, object_hook=_untag)


def _untag(value: dict[str, Any]) -> Any:
    if len(value) == 1:
        ((tag, item),) = value.items()
        if tag in _TAGS:
            return _TAGS[tag](item)
    return value


def flash_to_keep(message: Any) -> Any:
    """Return a flashed message in the form in which the Flask integration stores it."""
    if isinstance(message, MarkupText):
        return {" m": str.__str__(message)}
    return {" d": message} if isinstance(message, dict) else message
