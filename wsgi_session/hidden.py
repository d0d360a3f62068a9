"""Secrets that do not show: error reporters and debuggers show a traceback's local variables, by their ``repr``."""

from __future__ import annotations

from collections.abc import Sequence


class _Hidden:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class HiddenText(_Hidden, str):
    """Text that does not show in a ``repr``; in all else the text that it is."""

    __slots__ = ()


class HiddenBytes(_Hidden, bytes):
    """The same for bytes, whose ``str`` is their ``repr``."""

    __slots__ = ()

    __str__ = _Hidden.__repr__


def hidden(secret: object) -> object:
    """Return what was given as a secret, or as several, so that it does not show; what can be none, as it is."""
    if isinstance(secret, str):
        return HiddenText(secret)
    if isinstance(secret, bytes):
        return HiddenBytes(secret)
    if isinstance(secret, Sequence):
        return [hidden(one) for one in secret]
    return secret
