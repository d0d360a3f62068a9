"""What a session has of a ``dict``: every value read is decoded then, and every look may be the first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any, TypeVar

from wsgi_session.codec.packing import CorruptData
from wsgi_session.request.work import Draft

Self = TypeVar("Self", bound="DraftMapping")
_MISSING: Any = object()


class _Keys(KeysView[str]):
    """As those of a ``dict``: they can be gone through backwards too."""

    _mapping: DraftMapping

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._mapping)


class _Items(ItemsView[str, Any]):
    _mapping: DraftMapping

    def __reversed__(self) -> Iterator[tuple[str, Any]]:
        return ((key, self._mapping[key]) for key in reversed(self._mapping))


class _Values(ValuesView[Any]):
    _mapping: DraftMapping

    def __reversed__(self) -> Iterator[Any]:
        return (self._mapping[key] for key in reversed(self._mapping))


class DraftMapping(MutableMapping[str, Any]):
    """A draft's values as a mapping. A value that cannot be read makes the whole session unknown, and empty."""

    _draft: Draft | None = None

    @abstractmethod
    def _look(self) -> Draft:
        """Load the session, and set ``_draft``."""

    @abstractmethod
    def _writing(self) -> Draft:
        """Return the draft if a change can still be kept (or dropped), else raise what says why not."""

    @abstractmethod
    def destroy(self) -> None:
        """End the session."""

    def __getitem__(self, key: str) -> Any:
        draft = self._draft or self._look()
        if not isinstance(key, str):
            raise KeyError(key)
        try:
            return draft.values.get(key)
        except CorruptData:
            draft.corrupt()
            return draft.values.get(key)

    def get(self, key: str, default: Any = None) -> Any:
        draft = self._draft or self._look()
        try:
            if not isinstance(key, str):
                raise KeyError(key)
            return draft.values.get(key)
        except KeyError:
            return default
        except CorruptData:
            draft.corrupt()
            return self.get(key, default)

    def __contains__(self, key: object) -> bool:
        draft = self._draft or self._look()
        # Read it: what is said to be there can be read, also if the record is corrupt.
        return isinstance(key, str) and key in draft.values and self.get(key, _MISSING) is not _MISSING

    def keys(self) -> KeysView[str]:
        return _Keys(self)

    def items(self) -> ItemsView[str, Any]:
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        return _Values(self)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys())

    def __len__(self) -> int:
        return (self._draft or self._look()).values.count()

    def __setitem__(self, key: str, value: Any) -> None:
        self._writing().values.assign(key, value)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As a ``dict`` does. If the session is built anew under this request, the value that was there is kept too."""
        if key not in self:
            self[key] = default
            return default
        (self._draft or self._look()).values.keep_default(key)
        return self[key]

    def update(self, other: Any = (), /, **more: Any) -> None:
        """As a ``dict`` does: from a mapping, pairs, or keywords."""
        # Before the look: what is iterated over may log out.
        items = dict(other, **more) if more else dict(other)
        self._writing().values.update(items)

    def __delitem__(self, key: str) -> None:
        draft = self._writing()
        if not isinstance(key, str):
            raise KeyError(key)
        draft.values.delete(key)

    def clear(self) -> None:
        """Drop every key, those that another request adds meanwhile too. With an owner: :meth:`destroy`."""
        draft = self._writing()
        if draft.owned:
            self.destroy()
        else:
            draft.values.clear()

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the pair that came last, as a ``dict`` does."""
        key = (self._draft or self._look()).values.last()
        # Read it first: a record that cannot be read is an empty session.
        if key is None or key not in self:
            raise KeyError("popitem(): the session is empty")
        return key, self.pop(key)

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of deep copies."""
        draft = self._draft or self._look()
        draft.values.collect()
        try:
            return draft.values.snapshot()
        except CorruptData:
            draft.corrupt()
            return draft.values.snapshot()

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**other, **self}

    def __ior__(self: Self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Self:
        self.update(other)
        return self

    def _keys(self) -> list[str]:
        """Return the keys. Each value is read: whoever goes through a corrupt record meets none that is not there."""
        values = (self._draft or self._look()).values
        for key in values.unread():
            if key not in self:
                break
        return list(values.keys())
