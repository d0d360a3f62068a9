"""The secret that signs the cookies: created on the first start and stored, so that logins survive a restart."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

_LENGTH = 32  # The middleware's minimum, checked here because only this module can name the file in the error.


class NoSecret(Exception):
    """The file contains no usable secret, or cannot be read or created. The message says what to do."""


def kept_secret(path: Path) -> str:
    """Return the secret in this file, and create the file on the first start. Only its owner may read it."""
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise NoSecret(
            f"Cannot store a secret in {path}: {error.strerror}. Pass one with --secret TEXT instead."
        ) from error
    if len(secret) < _LENGTH or not secret.isascii():
        raise NoSecret(
            f"{path} does not contain a secret of at least {_LENGTH} ASCII characters. "
            "Delete the file, and the demo will create a new one."
        )
    return secret.decode("ascii")


def _make(path: Path) -> None:
    # Write a temporary file first, so that a second demo that starts at the same time never reads half a secret.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    try:
        os.link(name, path)
    except FileExistsError:
        pass  # Another demo created the file first: use its secret.
    finally:
        os.unlink(name)
