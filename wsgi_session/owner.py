"""Whose session it is after a login: the text that a store's index of owners is made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from wsgi_session.errors import ConfigError

#: More are no number of anybody's, and Python does not spell out the longest.
MAX_ID_BITS = 1024


def logged_in(user: object) -> Mapping[str, Any] | None:
    """Return ``user`` if that is a non-empty mapping, else ``None``."""
    return user if isinstance(user, Mapping) and user else None


def owner_of(user: Mapping[str, Any]) -> str:
    """Return ``"id:…"`` if the user has an ``id`` (int, str, UUID), else ``"email:…"``, byte for byte.

    Nothing is trimmed, folded or normalised: two spellings of an address are two owners, as they are for the
    application. Neither: :class:`~wsgi_session.ConfigError`, because a login that nobody can revoke is no login.
    """
    if not isinstance(user, Mapping):
        raise ConfigError(f"user is a {type(user).__name__}: give a mapping, such as {{'id': 5, 'name': 'Ann'}}.")
    ident, email = user.get("id"), user.get("email")
    # Exact types: True is no id, and the text of a subclass is whatever its __str__ says today.
    if type(ident) is int and ident.bit_length() > MAX_ID_BITS:
        raise ConfigError(f"user has an id of {ident.bit_length()} bits: at most {MAX_ID_BITS} are a name.")
    if type(ident) in (int, str, UUID) and ident != "":
        return _storable(f"id:{ident}")
    if type(email) is str and email:
        return _storable(f"email:{email}")
    raise ConfigError(
        f"user has id={type(ident).__name__}, email={type(email).__name__}: give it an 'id' (int, non-empty str or "
        "UUID) or else a non-empty 'email' (str), so that its sessions can be listed and revoked."
    )


def _storable(owner: str) -> str:
    try:
        owner.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"user: {error.reason} in its id or email, which can be no text of anybody's.") from error
    return owner
