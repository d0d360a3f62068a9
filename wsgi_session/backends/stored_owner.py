"""The owner of a stored session as text, for events: the record itself has only a hash of it, for the store's index."""

from __future__ import annotations

from wsgi_session.codec.packing import CorruptData, split, unpack
from wsgi_session.stores.contract import Record

#: The internal key of the owner as text.
OWNER = b"owner"


def stored_owner(record: Record) -> str | None:
    """Return the owner of ``record``, such as ``"id:5"``; ``None`` if it has none, or if its data cannot be read."""
    if record.owner is None:
        return None
    try:
        packed = split(record.data).get(OWNER)
        owner = None if packed is None else unpack(packed)
    except (CorruptData, TypeError):  # TypeError if the data is not bytes: SQLite stores any type in any column.
        return None
    return owner if isinstance(owner, str) else None


def names_of(record: Record | None) -> tuple[str | None, str | None]:
    """Return the handle and the owner of ``record``."""
    return (None, None) if record is None else (record.handle, stored_owner(record))
