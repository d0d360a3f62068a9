"""The store contract: what a store must do so that no session is lost, mixed up or brought back.

To add a store, write one class with the seven methods of :class:`Store`, hold it to
``wsgi_session.testing.StoreConformance``, and publish it under the entry point group ``wsgi_session.stores`` with its
URL scheme as the name and a callable ``(url) -> Store`` as the object.

The rules that every method keeps:

* A *key* is 32 bytes (SHA-256 of a token that the store never sees). Compare it as bytes.
* ``now`` is the time, in seconds since the epoch. A store has no clock: it never asks for the time itself. (An engine's
  own expiry may remove a record that is dead; it never decides that one is alive.)
* A record is *alive* while ``now < record.expires``. A dead one is as if it were not there, sweeper or no sweeper.
* Each method is one atomic step of the engine, or behaves as if it were.
* A failing engine (connection, time-out, full disk) raises :class:`~wsgi_session.StoreUnavailable` with the cause
  chained, and ``answer_lost=True`` if the write may have been applied. Nothing is half-written. All is well again when
  the engine is: no restart, no call to make.
* A store is called by many threads and greenlets at once, and survives ``fork``: no connection crosses it.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

#: Only what has been dead for this many seconds is swept: a clock that runs ahead removes nothing alive, and a slow
#: request can still save what was alive when it looked.
SWEEP_GRACE = 3600.0
#: Seconds by which the clocks of the machines that serve one site may differ.
CLOCK_SKEW = 60.0
#: Seconds for which a tombstone lives: a request that was on its way during a rotation is promised 60, and clocks may
#: differ by 60.
TOMBSTONE_LIFE = 120.0
#: A store without expiry of its own asks for a sweep at every so many creates ...
SWEEP_EVERY = 256
#: ... of at most so many records.
SWEEP_LIMIT = 512
#: The sessions of an owner who has no more than this are listed in one step.
OWNED_PAGE = 200
#: ``delete_many`` is given no more keys than this.
DELETE_BATCH = 20
#: The end of the times that a record may have, in seconds since the epoch: what a ``datetime`` can show, so about the
#: year 10000.
LAST_TIME = 253_402_300_000.0


class Outcome(enum.Enum):
    """What came of a ``replace`` or a ``rotate``."""

    SAVED = "saved"
    #: Alive, but with another version than the one given: somebody else wrote. Load, merge, again.
    CONFLICT = "conflict"
    #: No live record under that key, or a tombstone. It must not come back.
    GONE = "gone"


class Record(NamedTuple):
    """What a store keeps under a key. Times are seconds since the epoch."""

    #: Opaque bytes.
    data: bytes
    #: 16 random bytes, chosen anew by whoever writes: the writer of a lost answer knows its own write by them.
    version: bytes
    #: The public name. ``""`` marks a tombstone: see :func:`tombstone_of`.
    handle: str
    created: float
    #: The last activity that was noted.
    touched: float
    #: The record is dead from here on.
    expires: float
    #: SHA-256 of namespace and owner, or ``None`` for an anonymous visitor's: what ``of_owner`` finds it by.
    owner: bytes | None = None
    #: Whether the cookie outlives the browser.
    persistent: bool = True
    #: This session's own idle timeout in seconds, where it has one.
    idle: float | None = None
    #: The cookie's name: what ``count`` counts by. Empty for a tombstone.
    namespace: str = ""


#: ``Record(*fields)`` from a tuple of all ten fields, in a third of the time: on the way of every load and every save.
make_record: Callable[[tuple[object, ...]], Record] = partial(tuple.__new__, Record)


def tombstone_of(new: bytes, record: Record, now: float) -> Record:
    """Return what a rotation to ``new``, as ``record``, leaves under the old key: it opens nothing and says ``new``.

    A request that was on its way with the old token learns from it that the session has moved, and a logout where to.
    Nobody owns it, and it is never listed, counted or touched. It has the version of the record that moved.
    """
    # A slow request judges by the time of its look, and notes the activity at the time of its save.
    now = max(now, record.touched)
    return make_record((new, record.version, "", now, now, now + TOMBSTONE_LIFE, None, True, None, ""))


class OwnedSession(NamedTuple):
    """What ``of_owner`` says of a session: the fields of its ``Record``, without the data."""

    key: bytes
    version: bytes
    handle: str
    created: float
    touched: float
    expires: float
    idle: float | None


def owned_session(key: bytes, record: Record) -> OwnedSession:
    """Return what ``of_owner`` says of ``record``."""
    _, version, handle, created, touched, expires, _, _, idle, _ = record
    return OwnedSession(key, version, handle, created, touched, expires, idle)


def fill_batch(keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return ``keys`` and the last one again, ``DELETE_BATCH`` in all: for a statement with that many places."""
    return tuple(keys) + (keys[-1],) * (DELETE_BATCH - len(keys))


def has_sound_times(record: Record | OwnedSession) -> bool:
    """Whether the record's times are times: False if one is NaN, infinite or no number. Such a record is corrupt.

    No method of a store raises over one. ``load`` may return it as it is; ``scan`` leaves it out.
    """
    idle = record.idle
    try:
        # With one infinity or NaN among them the sum is one too; a text among them is an error.
        sound = 0.0 <= record.created + record.touched + record.expires < LAST_TIME
        return sound and (idle is None or 0.0 < idle < LAST_TIME)
    except TypeError:
        return False


_Store = TypeVar("_Store", bound="Store")


class Store(ABC):
    """Where sessions are kept. Thread-safe; a context manager that closes itself."""

    #: False for a store that only one process can see: the middleware refuses to serve where there are several.
    multiprocess = True
    #: True while this store would like to be swept: the middleware does so after the answer. Stores whose engine
    #: expires records by itself leave it False.
    sweep_due = False
    #: Where very many sessions end at once, the others have the engine after each batch of :meth:`delete_many` for so
    #: many times as long as the batch has taken.
    delete_pause = 4.0

    @abstractmethod
    def load(self, key: bytes, now: float) -> Record | None:
        """Return the live record under ``key``, or ``None``: unknown, or past its ``expires``."""

    @abstractmethod
    def create(self, key: bytes, record: Record, now: float) -> None:
        """Keep a new record. A live one under ``key`` is never overwritten: :class:`~wsgi_session.KeyExists`.

        Unless it has ``record.version``: that is this very write, whose answer was lost, and nothing is written then.
        So it can be repeated, as :meth:`replace` and :meth:`rotate` can. A dead record under ``key`` may be
        overwritten. (tower-sessions 0.12.1: a store that had only "save" let one session take over another.)
        """

    @abstractmethod
    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        """Write ``record`` if the live record under ``key`` still has ``version``: compare-and-set in one step.

        Takes over ``data``, ``version``, ``touched`` and ``expires``, the two times only if they are later than those
        stored (a touch may have come between). Owner, handle, created, persistent, idle and namespace stay.
        ``SAVED`` as well if ``record.version`` is already there: that is this very write, whose answer was lost;
        nothing is written then. ``CONFLICT`` if the live record has any other version. ``GONE`` if there is none,
        or a tombstone: nothing is ever created (CVE-2025-46336: a slow write brought a logged-out session back).
        """

    @abstractmethod
    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        """Move the live record under ``old``, if it still has ``version``, to ``new``, as ``record``: all of it.

        In the same step ``tombstone_of(new, record, now)`` takes the place of the old record, so that no
        request finds nothing under ``old``. Either all of this happens, or nothing does. (A store whose engine cannot
        write both at once writes ``new`` first.) ``SAVED`` as well if ``record.version`` is already alive under
        ``new``. ``CONFLICT`` and ``GONE`` as for :meth:`replace`, judged under ``old``.
        :class:`~wsgi_session.KeyExists` if another live record is under ``new``; both are untouched then.
        """

    @abstractmethod
    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        """Note activity on a live record: ``touched`` and ``expires``, each only if later than what is stored.

        Changes no data and no version, creates nothing. False if there is no live record. A tombstone (``handle ==
        ""``) is not touched either: False.
        """

    @abstractmethod
    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        """Remove the record under ``key``, alive or dead, in one step. True if one was there and is gone now.

        Without ``version``, whatever its version is; but a tombstone is left where it is: False. So a logout that
        crosses a rotation learns that it missed, and looks for the session where it is now. With ``version``, the
        record is removed only if it has that version, a tombstone too; else it is left as it is: False.
        """

    def delete_many(self, keys: Sequence[bytes]) -> int:
        """:meth:`delete` the records under ``keys``, 1 to ``DELETE_BATCH`` of them; return how many were there.

        A store overrides this to take fewer steps. It holds no lock for longer than a few milliseconds.
        """
        return sum(self.delete(key) for key in keys)

    @abstractmethod
    def ping(self) -> None:
        """Return if the engine answers and can be written to, else raise ``StoreUnavailable``."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files. Calling it twice does no harm; other calls afterwards may raise."""

    def __enter__(self: _Store) -> _Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@runtime_checkable
class Sweeps(Protocol):
    """A store that does not lose dead records by itself."""

    def sweep(self, limit: int, now: float) -> int:
        """Remove at most ``limit`` records that have been dead for over an hour; return how many went.

        Only records with ``expires < now - SWEEP_GRACE``; the removal repeats that condition, so that a record which
        was renewed meanwhile stays.
        """


@runtime_checkable
class ListsOwners(Protocol):
    """A store that can find the sessions of an owner, without looking at those of others."""

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield every live session filed under ``owner``, in any order, some hundreds at a time; never read their data.

        The sessions of an owner who has at most ``OWNED_PAGE`` are those of one moment, so that one which is rotated at
        that moment is among them. Of more, one that is rotated meanwhile may be missing, or come under both its keys.
        Deleting what was yielded skips none of the others.
        """


@runtime_checkable
class Counts(Protocol):
    """A store that can count as one query."""

    def count(self, now: float, namespace: str | None = None) -> int:
        """Return how many sessions of ``namespace`` (``None``: of all) are alive, tombstones not among them."""


@runtime_checkable
class Scans(Protocol):
    """A store that can be gone through from end to end: for moving to another one, and for statistics."""

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of every live session, tombstones not among them, a few at a time.

        Sessions that begin or end meanwhile may or may not be among them; deleting what was yielded skips none of the
        others.
        """

