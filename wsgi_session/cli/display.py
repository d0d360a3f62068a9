"""What the commands show of a session: its handle, times and owner, and why it cannot be read."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import click

from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.cli.encrypted import HIDDEN_OWNER, is_closed
from wsgi_session.codec.packing import CorruptData, split, unpack
from wsgi_session.codec.sealed import looks_sealed
from wsgi_session.codec.supported import printable
from wsgi_session.cookies.tokens import owner_key
from wsgi_session.stores.contract import Record


def describe(record: Record) -> dict[str, Any]:
    """Return what may be shown of a session."""
    owner = stored_owner(record)
    if owner is None and record.owner is not None and looks_sealed(record.data):
        owner = HIDDEN_OWNER  # Without an owner, it would look like an anonymous visitor's session.
    return {
        # SQLite stores any type in any column.
        "handle": str(record.handle),
        "created": utc(record.created),
        "last_seen": utc(record.touched),
        "expires": utc(record.expires),
        "owner": owner,
    }


def find_damage(record: Record, namespace: str) -> str | None:
    """Return why the session cannot be read; ``None`` if it can, or if it is encrypted and cannot be checked."""
    if is_closed(record):
        return None
    try:
        for packed in split(record.data).values():
            unpack(packed)
    except (CorruptData, TypeError):  # TypeError: SQLite stores any type in any column.
        if looks_sealed(record.data):
            return "the data was changed, copied from another record, or encrypted with another secret"
        return "the data is not in the format of this package"
    owner = stored_owner(record)
    if owner is not None and owner_key(namespace, owner) != record.owner:
        return "the owner in the data is not the owner in the index"
    return None


def print_session(shown: dict[str, Any], as_json: bool) -> None:
    """Print a session in one line."""
    click.echo(json.dumps(shown) if as_json else "  ".join(map(text_of, shown.values())))


def text_of(value: object) -> str:
    """Return a value for the terminal, escaped: a user's name may contain control sequences."""
    return "-" if value is None else printable(str(value))


def utc(seconds: float) -> str | None:
    """Return a time as text, such as 2026-01-31T12:00:00Z; ``None`` for one before the year 1, in a damaged record."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return None
