"""A session's values, which are decoded only when they are read, and this request's changes to them.

Nothing here uses a store. A save applies the keys that this request assigned or deleted to the newest stored values
(:meth:`Data.apply_to`). This includes a key that was assigned the value it already had, because another request may
have changed it since. But a request that assigned only such values has nothing to save.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from wsgi_session.codec.packing import NotFlat, Packed, check_key, new_packer, pack, unpack
from wsgi_session.codec.sealed import opened, same_value
from wsgi_session.codec.supported import FEW, IMMUTABLE, fits, is_small, parts_left

# Always replaced, never changed.
_NOTHING: Packed = {}
_NO_CHANGES: dict[str | bytes, bytes | None] = {}


class Data:
    """The packed values of one record, as one request sees them. Keys of ``bytes`` are internal to this package."""

    __slots__ = (
        "_app_keys",
        "_base",
        "_current",
        "_defaults",
        "_objects",
        "_written",
        "changed",
        "cleared",
        "cleared_internal",
        "internal_edits",
        "limit",
        "maybe_dirty",
        "stored",
    )

    def __init__(self, stored: Packed, limit: int = sys.maxsize) -> None:
        #: The maximum size of all values in bytes: a value that is sure to be larger is not packed.
        self.limit = limit
        #: A number that grows with each change to the internal keys.
        self.internal_edits = 0
        # The application's keys in their order; built when they are first needed.
        self._app_keys: dict[Any, None] | None = None
        #: The packed values as loaded, or as last saved.
        self.stored = stored
        #: The keys that this request wrote, also with an equal value: packed bytes, or ``None`` for a deleted key.
        self.changed: dict[str | bytes, bytes | None] = {}
        #: Whether this request deletes every stored key, including keys that it has not loaded.
        self.cleared = False
        self.cleared_internal = False  #: Whether it deletes the internal keys too.
        #: Whether there may be changes to save: something was written, or a mutable value was returned.
        self.maybe_dirty = False
        # The values that setdefault() found: see keep_default().
        self._defaults: Packed = _NOTHING
        # `_base` with this request's changes. The same dict as `_base` until the first change.
        self._base = self._current = stored
        # The changes that this request has saved so far: see keep_written().
        self._written = _NO_CHANGES
        # The values that were returned or assigned: `session[k] is session[k]`, and changes inside a value are found.
        self._objects: dict[str | bytes, Any] = {}

    def __contains__(self, key: str | bytes) -> bool:
        return key in self._current

    def keys(self) -> dict[str, None]:
        """Return the application's keys in their order, as a dict that the caller must not change."""
        if self._app_keys is None:
            self._app_keys = {key: None for key in self._current if type(key) is str}
        return self._app_keys

    def last(self) -> str | None:
        """Return the application's last key; ``None`` if there is none."""
        if not (keys := self.keys()):
            return None
        # next(reversed(keys)) would pass over the places of all deleted keys, each time.
        key, _ = keys.popitem()
        keys[key] = None
        return key

    def unread(self) -> Iterable[str]:
        """Return the application's keys whose values have not been read so far."""
        return [key for key in self.keys() if key not in self._objects]

    def internal_keys(self) -> list[bytes]:
        """Return the internal keys."""
        return [key for key in self._current if type(key) is bytes]

    def get(self, key: str | bytes) -> Any:
        """Return the value under ``key``, the same object each time. Raises ``KeyError`` or ``CorruptData``."""
        objects = self._objects
        if key in objects:
            return objects[key]
        value = objects[key] = unpack(self._current[key])
        if type(value) not in IMMUTABLE:
            self.maybe_dirty = True
        return value

    def peek(self, key: str | bytes) -> Any:
        """Return the value under ``key`` for reading only. Raises ``KeyError`` or ``CorruptData``."""
        return self._objects[key] if key in self._objects else unpack(self._current[key])

    def assign(self, key: str, value: Any) -> None:
        """Put ``value`` under ``key``, or raise ``UnsupportedValue`` or ``SessionTooLarge``."""
        if type(key) is not str or not key.isascii():
            key = check_key(key)
        self._write(key, pack(value, key, self.limit))
        self._objects[key] = value

    def update(self, items: dict[str, Any]) -> None:
        """Put each value under its key. Stops and raises at a value that :meth:`assign` would refuse."""
        # One packer for all values, and one update of each dict: this takes half the time of a call per key.
        packer = new_packer()
        packed: Packed = {}
        try:
            for key, value in items.items():
                if (type(key) is not str or not key.isascii()) and check_key(key) is not key:
                    # An instance of a subclass of str. Assign one by one, because the plain keys may be fewer.
                    packed.clear()
                    for each, item in items.items():
                        self.assign(each, item)
                    return
                if type(value) in IMMUTABLE or parts_left(value, FEW) >= 0 or fits(value, self.limit):
                    try:
                        packed[key] = packer(value)
                        continue
                    except UnicodeEncodeError:
                        pass
                packed[key] = pack(value, key, self.limit)  # Stores an instance of a subclass, or raises.
        finally:
            self.maybe_dirty = True
            if self._app_keys is not None:
                self._app_keys.update(dict.fromkeys(packed))
            if self._current is self._base:
                self._current = self._base | packed
            else:
                self._current.update(packed)
            # If a value was refused, keep only the values before it.
            self._objects.update(items if len(packed) == len(items) else zip(packed, items.values(), strict=False))
            self.changed.update(packed)

    def put(self, key: str | bytes, value: Any, packed: bytes) -> None:
        """Put ``value`` under ``key``; ``packed`` is its packed form."""
        self._write(key, packed)
        self._objects[key] = value

    def put_packed(self, key: str | bytes, packed: bytes | None) -> None:
        """Put a packed value under ``key``; ``None`` deletes the key."""
        self._objects.pop(key, None)
        self._write(key, packed)

    def keep_default(self, key: str) -> None:
        """Let the save restore the value that ``setdefault`` found under ``key``, if the stored session has lost it.

        A value that another request has assigned to ``key`` meanwhile stays.
        """
        packed = self._current.get(key)
        if packed is not None and key not in self.changed:
            if self._defaults is _NOTHING:
                self._defaults = {}
            self._defaults[key] = packed

    def note_written(self, changes: dict[str | bytes, bytes | None]) -> None:
        """Record that ``atomic`` has saved ``changes`` for this request."""
        self._written = {**self._written, **changes}

    def keep_written(self) -> None:
        """Let the save restore the values that this request has already saved, as :meth:`keep_default` does.

        A login needs this: no other request may delete such a value (a pending second factor) before it is stored.
        """
        saved: Packed = {key: it for key, it in self._written.items() if it is not None and type(key) is str}
        if saved:
            self._defaults = {**saved, **self._defaults}

    def delete(self, key: str | bytes) -> None:
        """Delete ``key``. Raises ``KeyError`` if it does not exist."""
        if key not in self._current:
            raise KeyError(key)
        self._objects.pop(key, None)
        self._write(key, None)

    def clear(self, *, internal: bool = False) -> None:
        """Delete every key that is stored when this request is saved; ``internal``: also the internal keys."""
        self._current = {} if internal else {key: it for key, it in self._current.items() if type(key) is bytes}
        self.changed = {key: it for key, it in self.changed.items() if type(key) is bytes and not internal}
        self.cleared = self.maybe_dirty = True
        self.cleared_internal |= internal
        self._objects, self._defaults, self._written = {}, _NOTHING, _NO_CHANGES
        self._forget_keys()

    def find_changes(self) -> bool:
        """Find the changes inside the returned values; return whether there is anything to save.

        Raises ``UnsupportedValue`` or ``SessionTooLarge`` if a value was changed to one that cannot be stored.
        """
        current = self._current
        packer = flat = None
        for key, value in self._objects.items():
            if type(value) in IMMUTABLE:
                continue
            before = packed if type(packed := current[key]) is bytes else opened(packed)
            try:
                if small := is_small(value):
                    flat = flat or new_packer(flat=True)
                    try:
                        unchanged = flat(value) == before
                    except NotFlat:
                        small = False
                # A value that was stored under a larger max_size may stay as large as it is.
                if not small:
                    packer = packer or new_packer()
                    unchanged = fits(value, max(self.limit, len(before))) and packer(value) == before
            except (TypeError, ValueError, OverflowError, RecursionError):
                unchanged = False
            # Pack it again, this time checking every type in it. With a subclass in it, it may have the same bytes.
            if not unchanged and (packed := pack(value, str(key), self.limit)) != before:
                self._write(key, packed)
                current = self._current
        if self.cleared and any(self.cleared_internal or type(key) is str for key in self.stored):  # not an empty one
            return True
        for key, change in self.changed.items():
            old: Any = self._base.get(key)
            if old != change and (type(old) is not tuple or not same_value(old, change)):
                return True
        return False

    def apply_to(self, base: Packed) -> Packed:
        """Return ``base`` with this request's changes; call :meth:`find_changes` first."""
        if base is self._base:
            return self._current
        if not self.cleared:
            result = base.copy()
        elif self.cleared_internal:
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
        """Take ``stored`` as the new base, and keep only this request's changes."""
        self.find_changes()
        self._current = self.apply_to(stored)
        self.stored = self._base = stored
        self._forget_keys()
        self._objects = {key: value for key, value in self._objects.items() if key in self.changed}

    def adopt(self, stored: Packed) -> None:
        """Take ``stored``, which was just saved and includes this request's changes, as the new base."""
        if stored is not self._current and stored != self._current:
            # Keep the objects of unchanged values; those that another request or `atomic` changed are decoded again.
            for key in list(self._objects):
                if not same_value(stored.get(key), self._current.get(key)):
                    del self._objects[key]
        self.stored = self._base = self._current = stored
        self._app_keys = None
        self.internal_edits += 1
        if self._written is _NO_CHANGES and self._defaults is _NOTHING:
            self._written = self.changed
        else:
            self._written = {**self._written, **self._defaults, **self.changed}
        self.changed = {}
        self.cleared = self.cleared_internal = False
        self._defaults = _NOTHING

    def snapshot(self) -> dict[str, Any]:
        """Return the application's values as a plain dict of deep copies; call :meth:`find_changes` first."""
        return {key: unpack(packed) for key, packed in self._current.items() if type(key) is str}

    def _forget_keys(self) -> None:
        self._app_keys = None
        self.internal_edits += 1

    def _write(self, key: str | bytes, packed: bytes | None) -> None:
        self.maybe_dirty = True
        if self._current is self._base:
            self._current = self._base.copy()
        if packed is None:
            self._current.pop(key, None)
        else:
            self._current[key] = packed
        self.changed[key] = packed
        if type(key) is bytes:
            self.internal_edits += 1
        elif self._app_keys is not None:
            if packed is None:
                self._app_keys.pop(key, None)
            else:
                self._app_keys[key] = None
