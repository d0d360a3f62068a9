"""Generating a secret. Uses only the standard library, so that it works before any extra is installed."""

from __future__ import annotations

import secrets


def new_secret() -> str:
    """Return 256 random bits as 64 hexadecimal digits.

    These need no quoting in shells, ini files and command lines: they have no leading dash and no ``%``.
    """
    return secrets.token_hex(32)
