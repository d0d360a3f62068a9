"""Move one session from the store ``old`` to the store ``new``: a move may stop anywhere, and loses or revives nothing.

No step changes two stores at once, so a move takes four, each of them one atomic call:

1. **Reserve.** A placeholder is created in ``new`` under the session's key. It has no data and opens nothing, and it
   dies by itself after ``PLACEHOLDER_LIFE``.
2. **Mark.** A ``replace`` gives the session in ``old`` a version that names the placeholder (its real version goes in
   front of its data). This compare-and-set decides: if the session was written to, rotated or ended since it was
   loaded, nothing is marked, and the move begins again with what is there now.
3. **Fill.** A ``replace`` in ``new`` puts the session, with its real version, where the marked record says that the
   placeholder is.
4. **Clear.** The marked record is deleted from ``old``.

So it is always known which record is the session:

* An unmarked record in ``old`` is the session, whatever placeholder may be in ``new``. It is read, written, rotated
  and deleted there.
* A marked record says that the session is alive: in ``new`` if it has been filled in there, else in the marked record
  itself. Requests neither read nor write a marked record. A request that meets one does steps 3 and 4 first; nobody
  waits for the process that began.
* Without a record in ``old``, a session in ``new`` is the session, and a placeholder is nothing.

What a process leaves when it dies, or is slow: after step 1 a placeholder, which dies; after step 2 a marked record,
which the next request finishes (with a new placeholder if the first one has died); after step 3 a marked record too
many, which the next request that looks into ``old`` deletes.

What an end does: a logout deletes the record in ``old``, marked or not, before it looks into ``new``. From then on no
session can be filled in: a mark fails because its record is gone, a fill fails once the placeholder is deleted, and
``replace`` never creates. The logout counts what it deleted as the session if that was the record in ``old`` and no
tombstone is in ``new``, or if it was a filled record in ``new``; never a placeholder. A rotation in ``new`` clears the
marked record first, so no marked record outlives its session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from wsgi_session.errors import ConfigError, KeyExists, StoreUnavailable
from wsgi_session.stores.contract import (
    Outcome,
    OwnedSession,
    Record,
    Scans,
    Store,
    has_sound_times,
    tombstone_of,
)
from wsgi_session.stores.refusals import unsupported

#: Seconds for which a placeholder lives: longer than a request lasts, which may move a session at the time of its look.
PLACEHOLDER_LIFE = 3600.0
#: How often a move begins again because another process was faster, before it is given up.
MAX_TRIES = 100
# Versions are 16 bytes: these and 8 random bytes. (A random version begins like this once in 2**64.)
_PLACEHOLDER = b"\0holder\0"
_MARK = b"\0moved\0\0"
_VERSION_SIZE = 16


def is_placeholder(record: Record | OwnedSession) -> bool:
    """Whether ``record`` only keeps a place in ``new``."""
    return type(record.version) is bytes and record.version.startswith(_PLACEHOLDER)


def is_marked(record: Record | OwnedSession) -> bool:
    """Whether ``record`` in ``old`` is on its way to ``new``."""
    return type(record.version) is bytes and record.version.startswith(_MARK)


def without_mark(record: Record) -> Record:
    """Return the session that a marked record holds."""
    return record._replace(version=record.data[:_VERSION_SIZE], data=record.data[_VERSION_SIZE:])


def settle(key: bytes, old: Store, new: Store, now: float) -> tuple[Store, Record | None]:
    """Return the store that has the session now, and the session (or a tombstone, or ``None``).

    A move that was decided is finished first; none is begun.
    """
    for _ in range(MAX_TRIES):
        record = old.load(key, now)
        if record is not None and is_marked(record):
            _finish(key, record, old, new, now)
            continue
        if record is not None and record.handle:
            return old, record
        # In this order: a session that moves between the two looks is found in the second.
        copy = new.load(key, now)
        if copy is not None and is_placeholder(copy):
            # No record is left that could be filled in here: its move was overtaken by an end or a rotation.
            new.delete(key, copy.version)
            copy = None
        return (new, copy) if record is None else (old, record)
    raise _too_busy()


def move(key: bytes, old: Store, new: Store, now: float) -> tuple[Store, Record | None]:
    """Move the session to ``new`` if it is in ``old``; return what :func:`settle` returns.

    A tombstone stays in ``old``, and so does a corrupt record.
    """
    for _ in range(MAX_TRIES):
        store, record = settle(key, old, new, now)
        if store is new or record is None or not _can_move(record):
            return store, record
        _mark(key, record, record.version, old, new, now)
    raise _too_busy()


def move_all(old: Store, new: Store, clock: Callable[[], float]) -> Iterator[bool]:
    """Move every live session; yield for each whether it is in ``new`` now (not if it ended meanwhile).

    After an interruption, the next call continues with the sessions that are left. ``Unsupported`` if ``old`` cannot be
    scanned.
    """
    if not isinstance(old, Scans):
        raise unsupported(old, "scan")
    for key, _ in old.scan(clock()):
        store, record = move(key, old, new, clock())
        yield store is new and record is not None


def _mark(key: bytes, session: Record, version: bytes, old: Store, new: Store, now: float) -> None:
    """Steps 1 and 2: mark the record in ``old`` if it still has ``version``. The caller looks at what came of it."""
    copy = new.load(key, now)
    if copy is None:
        expires = min(session.expires, now + PLACEHOLDER_LIFE)
        copy = session._replace(data=b"", version=_PLACEHOLDER + os.urandom(8), expires=expires)
        try:
            new.create(key, copy, now)
        except KeyExists:
            return
    elif not is_placeholder(copy):
        # Moved meanwhile, and this deletes nothing; or somebody restored a backup of ``old``, and ``new`` is right.
        _check_two(session, old, new, now)
        old.delete(key, version)
        return
    number = copy.version[len(_PLACEHOLDER) :]
    old.replace(key, session._replace(data=session.version + session.data, version=_MARK + number), version, now)


def _finish(key: bytes, marked: Record, old: Store, new: Store, now: float) -> None:
    """Steps 3 and 4; step 2 again if the placeholder that ``marked`` names has died."""
    session = without_mark(marked)
    number = marked.version[len(_MARK) :]
    if new.replace(key, session, _PLACEHOLDER + number, now) is not Outcome.SAVED:
        copy = new.load(key, now)
        if copy is None or is_placeholder(copy):
            _mark(key, session, marked.version, old, new, now)
            return
    old.delete(key, marked.version)


def _check_two(session: Record, old: Store, new: Store, now: float) -> None:
    """Raise ``ConfigError`` if both lead to one engine: to delete from ``old`` would be to lose the session.

    Two URLs may be spelled differently and lead to one place, so this looks in ``old`` for what it put into ``new``.
    """
    # A tombstone, which is never listed, and opens nothing.
    key = os.urandom(32)
    new.create(key, tombstone_of(key, session, now), now)
    found = old.load(key, now)
    new.delete(key, session.version)
    if found is not None:
        raise ConfigError("new and old are one store, under two names: give the store to move to, and another.")


def _can_move(record: Record) -> bool:
    # SQLite keeps text in any column.
    sound = type(record.data) is bytes and type(record.version) is bytes and len(record.version) == _VERSION_SIZE
    return bool(record.handle) and sound and has_sound_times(record)


def _too_busy() -> StoreUnavailable:
    return StoreUnavailable(
        f"Other processes changed or moved this session {MAX_TRIES} times while it was to be moved: try again."
    )
