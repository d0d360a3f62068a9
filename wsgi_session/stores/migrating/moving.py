"""Move one session from the store ``old`` to ``new``; no interruption loses a session or brings an ended one back.

No call changes two stores at the same time, so a move takes four steps, each of them one atomic call:

1. **Reserve.** Create a placeholder in ``new`` under the session's key. It has no data, gives access to nothing, and
   expires after ``PLACEHOLDER_LIFE``.
2. **Mark.** With a ``replace``, give the record in ``old`` a version that names the placeholder; its real version is
   put in front of its data. This compare-and-set decides: if the session was written, rotated or ended since it was
   loaded, nothing is marked, and the move begins again with the current record.
3. **Fill.** With a ``replace``, write the session, with its real version, over the placeholder in ``new`` that the
   marked record names.
4. **Clear.** Delete the marked record from ``old``.

So it is always clear which record is the session:

* An unmarked record in ``old`` is the session, even if there is a placeholder in ``new``. It is read, written, rotated
  and deleted there.
* A marked record means that the session is alive: in ``new`` if it was filled in there, otherwise in the marked record.
  Requests neither read nor write a marked record. A request that finds one does steps 3 and 4 itself first, and does
  not wait for the process that began the move.
* If there is no record in ``old``, a filled record in ``new`` is the session, and a placeholder means nothing.

If a process dies during a move or is slow, it leaves this behind: after step 1 a placeholder, which expires; after step
2 a marked record, whose move the next request finishes (with a new placeholder if the first one has expired); after
step 3 a superfluous marked record, which the next request that reads ``old`` deletes.

A logout deletes the record in ``old``, marked or not, before it reads ``new``. From then on no session can be filled
in: a mark fails because its record is gone, a fill fails after the placeholder was deleted, and ``replace`` never
creates a record. The logout has ended the session if it deleted the record in ``old`` and there is no tombstone in
``new``, or if it deleted a filled record in ``new``; a deleted placeholder does not count. A rotation in ``new`` clears
the marked record first, so no marked record remains after its session has ended.
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
from wsgi_session.stores.unsupported import unsupported

#: Seconds for which a placeholder lives. This is longer than a request lasts, because a request may move a session with
#: the ``now`` at which it loaded it.
PLACEHOLDER_LIFE = 3600.0
#: How often a move begins again, because another process was faster, before it fails.
MAX_TRIES = 100
# The prefixes of versions, which have 16 bytes; 8 random bytes follow. (A random version begins like this once in
# 2**64.)
_PLACEHOLDER = b"\0holder\0"
_MARKED = b"\0moved\0\0"
_VERSION_SIZE = 16


def is_placeholder(record: Record | OwnedSession) -> bool:
    """Return whether ``record`` is the placeholder of a move."""
    return type(record.version) is bytes and record.version.startswith(_PLACEHOLDER)


def is_marked(record: Record | OwnedSession) -> bool:
    """Return whether ``record``, from ``old``, is marked as being moved to ``new``."""
    return type(record.version) is bytes and record.version.startswith(_MARKED)


def without_mark(record: Record) -> Record:
    """Return the session in a marked record."""
    return record._replace(version=record.data[:_VERSION_SIZE], data=record.data[_VERSION_SIZE:])


def locate(key: bytes, old: Store, new: Store, now: float) -> tuple[Store, Record | None]:
    """Return the store that has the session, and the session (or a tombstone, or ``None``).

    If the record is marked, finish its move first. Begin no other move. Raises ``StoreUnavailable`` if other processes
    keep changing the session.
    """
    for _ in range(MAX_TRIES):
        record = old.load(key, now)
        if record is not None and is_marked(record):
            _finish(key, record, old, new, now)
            continue
        if record is not None and record.handle:
            return old, record
        # The old store is read first, so that a session that moves between the two reads is found by the second.
        copy = new.load(key, now)
        if copy is not None and is_placeholder(copy):
            # No record is left to fill in here: the session was ended or rotated during its move.
            new.delete(key, copy.version)
            copy = None
        return (new, copy) if record is None else (old, record)
    raise _too_busy()


def move(key: bytes, old: Store, new: Store, now: float) -> tuple[Store, Record | None]:
    """Move the session to ``new`` if it is in ``old``; return the same as :func:`locate`.

    A tombstone and a corrupt record stay in ``old``.
    """
    for _ in range(MAX_TRIES):
        store, record = locate(key, old, new, now)
        if store is new or record is None or not _is_movable(record):
            return store, record
        _mark(key, record, record.version, old, new, now)
    raise _too_busy()


def move_all(old: Store, new: Store, clock: Callable[[], float]) -> Iterator[bool]:
    """Move every live session; for each, yield whether it is in ``new`` now. False means that it ended meanwhile.

    After an interruption, the next call continues with the sessions that are left. Raises ``Unsupported`` if ``old``
    cannot be scanned.
    """
    if not isinstance(old, Scans):
        raise unsupported(old, "scan")
    for key, _ in old.scan(clock()):
        store, record = move(key, old, new, clock())
        yield store is new and record is not None


def _mark(key: bytes, session: Record, version: bytes, old: Store, new: Store, now: float) -> None:
    """Do steps 1 and 2: mark the record in ``old`` if it still has ``version``. The caller reads the result."""
    copy = new.load(key, now)
    if copy is None:
        expires = min(session.expires, now + PLACEHOLDER_LIFE)
        copy = session._replace(data=b"", version=_PLACEHOLDER + os.urandom(8), expires=expires)
        try:
            new.create(key, copy, now)
        except KeyExists:
            return
    elif not is_placeholder(copy):
        # The session was moved meanwhile, and the delete finds nothing. Or ``old`` was restored from a backup, and then
        # the record in ``new`` is the right one.
        _check_different_stores(session, old, new, now)
        old.delete(key, version)
        return
    number = copy.version[len(_PLACEHOLDER) :]
    old.replace(key, session._replace(data=session.version + session.data, version=_MARKED + number), version, now)


def _finish(key: bytes, marked: Record, old: Store, new: Store, now: float) -> None:
    """Do steps 3 and 4; repeat steps 1 and 2 if the placeholder that ``marked`` names has expired."""
    session = without_mark(marked)
    number = marked.version[len(_MARKED) :]
    if new.replace(key, session, _PLACEHOLDER + number, now) is not Outcome.SAVED:
        copy = new.load(key, now)
        if copy is None or is_placeholder(copy):
            _mark(key, session, marked.version, old, new, now)
            return
    old.delete(key, marked.version)


def _check_different_stores(session: Record, old: Store, new: Store, now: float) -> None:
    """Raise ``ConfigError`` if both stores use the same data: a delete from ``old`` would lose the session.

    Two different URLs may lead to the same data. So this creates a record in ``new`` and looks for it in ``old``.
    """
    # The record is a tombstone, which is never listed and gives access to nothing.
    key = os.urandom(32)
    new.create(key, tombstone_of(key, session, now), now)
    found = old.load(key, now)
    new.delete(key, session.version)
    if found is not None:
        raise ConfigError("new and old lead to the same store. Give the store to move to, and another to move from.")


def _is_movable(record: Record) -> bool:
    # SQLite may return text from any column.
    sound = type(record.data) is bytes and type(record.version) is bytes and len(record.version) == _VERSION_SIZE
    return bool(record.handle) and sound and has_sound_times(record)


def _too_busy() -> StoreUnavailable:
    return StoreUnavailable(
        f"Other processes changed or moved this session {MAX_TRIES} times while it was being moved. Try again."
    )
