"""The owner of a session after a login, as text. A store's index of owners is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from wsgi_session.codec.plain import to_scalar
from wsgi_session.errors import ConfigError

#: A larger int is not a plausible id, and Python refuses to convert very large ones to text.
MAX_ID_BITS = 1024


def user_mapping_or_none(user: object) -> Mapping[str, Any] | None:
    """Return ``user`` if it is a non-empty mapping, else ``None``."""
    return user if isinstance(user, Mapping) and user else None


def owner_of(user: Mapping[str, Any]) -> str:
    """Return ``"id:…"`` if the user has an ``id`` (int, str, UUID), else ``"email:…"``, byte for byte.

    Nothing is trimmed, folded or normalised: two spellings of an address are two owners, as they are for the
    application. Raises :class:`~wsgi_session.ConfigError` if the user has neither, because the sessions of such a login
    could not be revoked.
    """
    if not isinstance(user, Mapping):
        raise ConfigError(
            f"The user is of type {type(user).__name__}. Give a mapping, such as {{'id': 5, 'name': 'Ann'}}."
        )
    # As the session stores them: an id may be of an enum's type, and a subclass may return anything from __str__.
    user_id, email = to_scalar(user.get("id")), to_scalar(user.get("email"))
    # Not isinstance(): True is not an id.
    if type(user_id) is int and user_id.bit_length() > MAX_ID_BITS:
        raise ConfigError(f"The user's id has {user_id.bit_length()} bits. At most {MAX_ID_BITS} are allowed.")
    if type(user_id) in (int, str, UUID) and user_id != "":
        return _check_encodable(f"id:{user_id}")
    if type(email) is str and email:
        return _check_encodable(f"email:{email}")
    raise ConfigError(
        f"The user's id is of type {type(user_id).__name__}, the email of type {type(email).__name__}. Give an 'id' "
        "(an int, a UUID or a non-empty str) or a non-empty 'email' (a str), so that the user's sessions can be listed "
        "and revoked."
    )


def check_owner(owner: str) -> str:
    """Return an owner as ``session.owner`` shows it, or raise :class:`~wsgi_session.ConfigError`."""
    if not owner.startswith(("id:", "email:")):
        raise ConfigError(
            f"user={owner!r} is not an owner. Give the user mapping, or an owner such as 'id:5' or "
            "'email:ann@example.com'."
        )
    return owner


def _check_encodable(owner: str) -> str:
    try:
        owner.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"The user's id or email cannot be encoded as UTF-8: {error.reason}. Clean the text before the login."
        ) from error
    return owner
