"""The dict interface of a session. A value is decoded when it is read, and any access may load the session."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any, TypeVar

from wsgi_session.codec.packing import CorruptData
from wsgi_session.codec.plain import text_key
from wsgi_session.request.work import Work

Self = TypeVar("Self", bound="WorkMapping")
_MISSING: Any = object()


class _Keys(KeysView[str]):
    """A keys view that supports ``reversed()``, like that of a ``dict``."""

    _mapping: WorkMapping

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._mapping)


class _Items(ItemsView[str, Any]):
    _mapping: WorkMapping

    def __reversed__(self) -> Iterator[tuple[str, Any]]:
        return ((key, self._mapping[key]) for key in reversed(self._mapping))


class _Values(ValuesView[Any]):
    _mapping: WorkMapping

    def __reversed__(self) -> Iterator[Any]:
        return (self._mapping[key] for key in reversed(self._mapping))


class WorkMapping(MutableMapping[str, Any]):
    """The data of a unit of work as a mapping. One value that cannot be read makes the whole session empty."""

    _work: Work

    @abstractmethod
    def destroy(self) -> None:
        """End the session."""

    def __getitem__(self, key: str) -> Any:
        work = self._work
        data = work.data or work.load()
        if type(key) is not str:
            key = text_key(key)
        try:
            return data.get(key)
        except CorruptData:
            work.mark_corrupt()
            return data.get(key)

    def get(self, key: str, default: Any = None) -> Any:
        work = self._work
        data = work.data or work.load()
        try:
            if type(key) is not str:
                key = text_key(key)
            return data.get(key)
        except KeyError:
            return default
        except CorruptData:
            work.mark_corrupt()
            return self.get(key, default)

    def __contains__(self, key: object) -> bool:
        data = self._work.data or self._work.load()
        # Decode the value, so that a key whose value is corrupt is not reported as present.
        if type(key) is not str:
            try:
                key = text_key(key)
            except KeyError:
                return False
        return key in data and self.get(key, _MISSING) is not _MISSING

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
        return len((self._work.data or self._work.load()).keys())

    def __setitem__(self, key: str, value: Any) -> None:
        self._work.writable().assign(key, value)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Like ``dict.setdefault()``. An existing value is saved again if the stored session has lost it meanwhile."""
        if key not in self:
            self[key] = default
            return default
        (self._work.data or self._work.load()).keep_default(text_key(key))
        return self[key]

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Like ``dict.update()``: takes a mapping, pairs or keywords."""
        # Read ``other`` before loading the session: iterating over it may run code that logs the visitor out.
        items = dict(other, **more) if more else dict(other)
        self._work.writable().update(items)

    def __delitem__(self, key: str) -> None:
        data = self._work.writable()
        data.delete(text_key(key))

    def clear(self) -> None:
        """Delete every key, including keys that other requests add before this one is saved.

        If a user is logged in, this is :meth:`destroy`.
        """
        data = self._work.writable()
        if self._work.has_owner:
            self.destroy()
        else:
            data.clear()

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last pair, like ``dict.popitem()``."""
        key = (self._work.data or self._work.load()).last()
        # Read the value first: if it cannot be decoded, the session is corrupt, and so becomes empty.
        if key is None or key not in self:
            raise KeyError("popitem(): the session is empty")
        return key, self.pop(key)

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of deep copies."""
        data = self._work.data or self._work.load()
        data.find_changes()
        try:
            return data.snapshot()
        except CorruptData:
            self._work.mark_corrupt()
            return data.snapshot()

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
        """Return the keys. Decodes every value first, so that no key of a corrupt record is returned."""
        values = self._work.data or self._work.load()
        for key in values.unread():
            if key not in self:
                break
        return list(values.keys())
