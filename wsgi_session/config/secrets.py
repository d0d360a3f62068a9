"""Text and bytes with a hidden ``repr``, because error reporters and debuggers show the ``repr`` of local variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex


class _Hidden:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class HiddenText(_Hidden, str):
    """A ``str`` with a hidden ``repr``. The results of slicing, ``partition`` and ``strip`` are hidden too."""

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
    """A ``bytes`` with a hidden ``repr`` and ``str``: ``str()`` of bytes returns the ``repr``."""

    __slots__ = ()

    __str__ = _Hidden.__repr__


def hide(secret: object) -> object:
    """Return a secret, or each secret of a sequence, with a hidden ``repr``. Any other object is returned unchanged."""
    if isinstance(secret, str):
        return HiddenText(secret)
    if isinstance(secret, bytes):
        return HiddenBytes(secret)
    if isinstance(secret, Sequence):
        return [hide(one) for one in secret]
    return secret


def hide_secret(mapping: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return ``mapping`` with the secret and the store's URL hidden in tracebacks that show local variables."""
    options = dict(mapping)
    if prefix + "secret" in options:
        options[prefix + "secret"] = hide(options[prefix + "secret"])
    if isinstance(options.get(prefix + "store"), str):
        options[prefix + "store"] = hide(options[prefix + "store"])
    return options


def _three(parts: tuple[str, str, str]) -> tuple[HiddenText, HiddenText, HiddenText]:
    first, middle, last = parts
    return HiddenText(first), HiddenText(middle), HiddenText(last)
