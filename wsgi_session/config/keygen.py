"""Make a secret: needs nothing but the standard library, so it works before any extra is installed."""

from __future__ import annotations

import secrets


def new_secret() -> str:
    """Return 256 fresh random bits as 64 hexadecimal digits.

    Hexadecimal, so that it passes through shells, ini files and command lines as it is: no leading dash, no ``%``.
    """
    return secrets.token_hex(32)
