"""A session's values: undecoded until they are read, and what this request changed of them.

Nothing here talks to a store. A save puts the keys that this request assigned or deleted on top of what is stored by
then (:meth:`Values.applied_to`). An assignment equal to what was loaded counts as well: the base may have changed under
it, or be another record altogether. Only a request whose every assignment was equal has nothing to save.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from gc import is_tracked
from typing import Any

from wsgi_session.codec.packing import Packed, check_key, new_packer, pack, unpack
from wsgi_session.codec.supported import FEW, IMMUTABLE, fits, parts_left

# Only ever replaced, never written to.
_NOTHING: Packed = {}
_NO_CHANGES: dict[str | bytes, bytes | None] = {}


class Values:
    """The packed values of one record, seen by one request. Keys of ``bytes`` are the package's own."""

    __slots__ = (
        "_base", "_current", "_defaults", "_names", "_objects", "_written", "changed", "cleared", "cleared_own",
        "limit", "own_edits", "stored", "unsettled",
    )  # fmt: skip

    def __init__(self, stored: Packed, limit: int = sys.maxsize) -> None:
        #: Bytes that all of it may take: a value that is sure to take more is not packed.
        self.limit = limit
        #: A number that grows with each change to the package's own keys.
        self.own_edits = 0
        # The application's keys in their order, made once they are asked for.
        self._names: dict[Any, None] | None = None
        #: As loaded, or as last saved.
        self.stored = stored
        #: What this request wrote, also where it equals what is stored: packed bytes, or ``None`` for a deleted key.
        self.changed: dict[str | bytes, bytes | None] = {}
        #: Whether this request drops all that is stored, also what it has not seen.
        self.cleared = False
        #: Whether it drops the package's own keys too: then nothing of what is stored stays.
        self.cleared_own = False
        #: Whether there may be anything to save: something was written, or handed out that can change inside.
        self.unsettled = False
        # What setdefault() found there: see keep_default().
        self._defaults: Packed = _NOTHING
        # What this request sees: `_base` with its changes. The same dict until the first of them.
        self._base = self._current = stored
        # What this request has saved so far: see keep_written().
        self._written = _NO_CHANGES
        # What has been handed out or assigned, so that `session[k] is session[k]` and nested changes are found.
        self._objects: dict[str | bytes, Any] = {}

    def __contains__(self, key: str | bytes) -> bool:
        return key in self._current

    def keys(self) -> dict[str, None]:
        """Return the application's keys in their order, as the keys of a dict that must not be changed."""
        names = self._names
        if names is None:
            names = self._names = {key: None for key in self._current if type(key) is str}
        return names

    def last(self) -> str | None:
        """Return the application's key that came last, ``None`` if there is none."""
        names = self.keys()
        if not names:
            return None
        # Not next(reversed(names)): that passes the places of all keys removed before, each time.
        key, _ = names.popitem()
        names[key] = None
        return key

    def unread(self) -> Iterable[str]:
        """Return the application's keys whose values have not been read so far."""
        return [key for key in self.keys() if key not in self._objects]

    def own_keys(self) -> list[bytes]:
        """Return the package's own keys."""
        return [key for key in self._current if type(key) is bytes]

    def count(self) -> int:
        return len(self.keys())

    def get(self, key: str | bytes) -> Any:
        """Return the value under ``key``, the same object each time; ``KeyError`` or ``CorruptData``."""
        objects = self._objects
        if key in objects:
            return objects[key]
        value = objects[key] = unpack(self._current[key])
        if type(value) not in IMMUTABLE:
            self.unsettled = True
        return value

    def peek(self, key: str | bytes) -> Any:
        """Return the value under ``key`` without handing it out: it must not be changed or passed on."""
        if key in self._objects:
            return self._objects[key]
        return unpack(self._current[key])

    def assign(self, key: str, value: Any) -> None:
        """Put ``value`` under ``key``, or raise ``UnsupportedValue`` or ``SessionTooLarge``."""
        if type(key) is not str or not key.isascii():
            check_key(key)
        self._write(key, pack(value, key, self.limit))
        self._objects[key] = value

    def update(self, items: dict[str, Any]) -> None:
        """Put each value under its key, up to one that cannot be kept: ``UnsupportedValue``, ``SessionTooLarge``."""
        # One packer for all of them, and all of them at once into each dict: half the time of a call a key.
        packer = new_packer()
        fresh: Packed = {}
        try:
            for key, value in items.items():
                if type(key) is not str or not key.isascii():
                    check_key(key)
                if type(value) in IMMUTABLE or parts_left(value, FEW) >= 0 or fits(value, self.limit):
                    try:
                        fresh[key] = packer(value)
                        continue
                    except UnicodeEncodeError:
                        pass
                fresh[key] = pack(value, key, self.limit)  # Says what is wrong, and where in it.
        finally:
            self.unsettled = True
            if self._names is not None:
                self._names.update(dict.fromkeys(fresh))
            if self._current is self._base:
                self._current = self._base | fresh
            else:
                self._current.update(fresh)
            # Up to the first that cannot be kept.
            self._objects.update(items if len(fresh) == len(items) else zip(fresh, items.values(), strict=False))
            self.changed.update(fresh)

    def put(self, key: str | bytes, value: Any, packed: bytes) -> None:
        """Put ``value`` under ``key``; ``packed`` is what it packs to."""
        self._write(key, packed)
        self._objects[key] = value

    def put_packed(self, key: str | bytes, packed: bytes | None) -> None:
        """Put what ``packed`` stands for under ``key``, or remove the key for ``None``."""
        self._objects.pop(key, None)
        self._write(key, packed)

    def keep_default(self, key: str) -> None:
        """Put what is under ``key`` back if it is missing from what the save meets: ``setdefault`` found it there.

        What another request has assigned to ``key`` meanwhile stays.
        """
        packed = self._current.get(key)
        if packed is not None and key not in self.changed:
            if self._defaults is _NOTHING:
                self._defaults = {}
            self._defaults[key] = packed

    def note_written(self, changes: dict[str | bytes, bytes | None]) -> None:
        """Take note that this request has saved ``changes``, which it did not make here."""
        self._written = {**self._written, **changes}

    def keep_written(self) -> None:
        """Put what this request has saved back if it is missing from what the save meets, as :meth:`keep_default` does.

        For a login: no other request may take a mark out of it (a second factor that is pending) before it is stored.
        """
        saved: Packed = {key: it for key, it in self._written.items() if it is not None and type(key) is str}
        if saved:
            self._defaults = {**saved, **self._defaults}

    def delete(self, key: str | bytes) -> None:
        """Remove ``key``; ``KeyError`` if it is not there."""
        if key not in self._current:
            raise KeyError(key)
        self._objects.pop(key, None)
        self._write(key, None)

    def clear(self, *, own: bool = False) -> None:
        """Drop every key stored by the time of the save; ``own``: the package's own ones too."""
        kept: Packed = {} if own else {key: packed for key, packed in self._current.items() if type(key) is bytes}
        self.changed = {key: packed for key, packed in self.changed.items() if type(key) is bytes and not own}
        self.cleared = self.unsettled = True
        self.cleared_own |= own
        self._current = kept
        self._objects = {}
        self._defaults = _NOTHING
        self._forget_keys()
        self._written = _NO_CHANGES

    def collect(self) -> bool:
        """Find the changes inside what was handed out; return whether anything is to be saved.

        Raises ``UnsupportedValue`` or ``SessionTooLarge`` if something was put in there that cannot be.
        """
        current = self._current
        packer = None
        for key, value in self._objects.items():
            if type(value) in IMMUTABLE:
                continue
            if packer is None:
                packer = new_packer()
            before = current[key]
            try:
                # The garbage collector tracks no dict of scalars: a few of them are packed without a look inside.
                # (Nor old tuples, so those that share parts get past this. No parser of a client's data makes such.)
                few = len(value) <= FEW and (
                    not is_tracked(value) or not any(map(is_tracked, value.values() if type(value) is dict else value))
                )
                # What was stored when more was allowed may be as large as it is.
                unchanged = (few or fits(value, max(self.limit, len(before)))) and packer(value) == before
            except (TypeError, ValueError, OverflowError, RecursionError):
                unchanged = False
            if not unchanged:
                # Once more, with every type in it checked.
                self._write(key, pack(value, str(key), self.limit))
                current = self._current
        if self.cleared and self._clears():
            return True
        base = self._base
        for key, packed in self.changed.items():  # noqa: SIM110  (any() of a generator takes longer at every write)
            if base.get(key) != packed:
                return True
        return False

    def applied_to(self, base: Packed) -> Packed:
        """Return ``base`` with this request's changes on top; call :meth:`collect` first."""
        if base is self._base:
            return self._current
        if not self.cleared:
            result = base.copy()
        elif self.cleared_own:
            result = {}
        else:
            result = {key: packed for key, packed in base.items() if type(key) is bytes}
        for key, default in self._defaults.items():
            result.setdefault(key, default)
        for key, packed in self.changed.items():
            if packed is None:
                result.pop(key, None)
            else:
                result[key] = packed
        return result

    def rebase(self, stored: Packed) -> None:
        """See this request's changes on top of ``stored``, and nothing else."""
        self.collect()
        self._current = self.applied_to(stored)
        self.stored = self._base = stored
        self._forget_keys()
        self._objects = {key: value for key, value in self._objects.items() if key in self.changed}

    def saved(self, stored: Packed) -> None:
        """Take note that ``stored`` is what the store holds now, this request's changes among it."""
        if stored is not self._current and stored != self._current:
            # The same object stays the same; what another writer (or `atomic`) changed is decoded anew.
            for key in list(self._objects):
                if stored.get(key) != self._current.get(key):
                    del self._objects[key]
        self.stored = self._base = self._current = stored
        self._names = None
        self.own_edits += 1
        if self._written is _NO_CHANGES and self._defaults is _NOTHING:
            self._written = self.changed
        else:
            self._written = {**self._written, **self._defaults, **self.changed}
        self.changed = {}
        self.cleared = self.cleared_own = False
        self._defaults = _NOTHING

    def snapshot(self) -> dict[str, Any]:
        """Return a plain dict of deep copies of all that the application may see; call :meth:`collect` first."""
        return {key: unpack(packed) for key, packed in self._current.items() if type(key) is str}

    def _clears(self) -> bool:
        # Clearing what is empty is no change.
        return any(self.cleared_own or type(key) is str for key in self.stored)

    def _forget_keys(self) -> None:
        self._names = None
        self.own_edits += 1

    def _write(self, key: str | bytes, packed: bytes | None) -> None:
        self.unsettled = True
        if self._current is self._base:
            self._current = self._base.copy()
        if packed is None:
            self._current.pop(key, None)
        else:
            self._current[key] = packed
        self.changed[key] = packed
        if type(key) is bytes:
            self.own_edits += 1
        elif self._names is None:
            return
        elif packed is None:
            self._names.pop(key, None)
        else:
            self._names[key] = None
