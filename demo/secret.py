"""The secret that signs the cookies: made on the first start, and kept, so that logins survive a restart."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

_LENGTH = 32  # as many as the middleware asks for; it cannot know of the file


class NoSecret(Exception):
    """The file has no secret that would do, or cannot be read or made; the message says what to do."""


def kept_secret(path: Path) -> str:
    """Return the secret in this file, which only its owner may read; on the first start, make it."""
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise NoSecret(f"Cannot keep a secret in {path}: {error.strerror}. Give one instead: --secret TEXT") from error
    if len(secret) < _LENGTH or not secret.isascii():
        raise NoSecret(
            f"There is no secret of {_LENGTH} ASCII characters or more in {path}: delete it, and a new one is made."
        )
    return secret.decode("ascii")


def _make(path: Path) -> None:
    # Written whole under another name first: a second demo that starts at this very moment sees all of it or nothing.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    try:
        os.link(name, path)
    except FileExistsError:
        pass  # The other one was first: its secret is the one.
    finally:
        os.unlink(name)
