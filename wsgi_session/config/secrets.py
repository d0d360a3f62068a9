"""Secrets that do not show: error reporters and debuggers show a traceback's local variables, by their ``repr``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex


class _Hidden:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class HiddenText(_Hidden, str):
    """Text that does not show in a ``repr``; in all else the text that it is. What is cut out of it is hidden too."""

    __slots__ = ()

    def __getitem__(self, place: SupportsIndex | slice) -> HiddenText:
        return HiddenText(super().__getitem__(place))

    def partition(self, separator: str) -> tuple[HiddenText, HiddenText, HiddenText]:
        return _three(super().partition(separator))

    def rpartition(self, separator: str) -> tuple[HiddenText, HiddenText, HiddenText]:
        return _three(super().rpartition(separator))

    def strip(self, characters: str | None = None) -> HiddenText:
        return HiddenText(super().strip(characters))


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


def hide_secret(mapping: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return ``mapping`` with its secret and its store's URL hidden from tracebacks that show local variables."""
    shown = dict(mapping)
    if prefix + "secret" in shown:
        shown[prefix + "secret"] = hidden(shown[prefix + "secret"])
    if isinstance(shown.get(prefix + "store"), str):
        shown[prefix + "store"] = hidden(shown[prefix + "store"])
    return shown


def _three(parts: tuple[str, str, str]) -> tuple[HiddenText, HiddenText, HiddenText]:
    first, middle, last = parts
    return HiddenText(first), HiddenText(middle), HiddenText(last)
