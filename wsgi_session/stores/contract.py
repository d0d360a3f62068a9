"""The store contract: what a store must do so that no session is lost, mixed up or brought back.

To add a store:

1. Write a subclass of :class:`Store` with its eight abstract methods: ``load``, ``create``, ``replace``, ``rotate``,
   ``touch``, ``delete``, ``ping`` and ``close``.
2. Add the optional operations that the engine supports: ``sweep`` (:class:`Sweeps`; needed if the engine does not
   expire records itself), ``of_owner`` (:class:`ListsOwners`; needed to list and revoke a user's sessions), ``count``
   (:class:`Counts`) and ``scan`` (:class:`Scans`; needed to move sessions to another store). Each is a protocol with
   one method. If a store lacks the method, callers raise :class:`~wsgi_session.Unsupported`.
3. Test it with ``wsgi_session.testing.StoreConformance``, which checks every rule of this file.
4. Publish it under the entry point group ``wsgi_session.stores``, with its URL scheme as the name and a callable
   ``(url) -> Store`` as the object.

Every method keeps these rules:

* A *key* is 32 bytes (SHA-256 of a token that the store never receives). Compare keys as bytes.
* ``now`` is a time in seconds since the epoch, up to an hour ago. A store never reads a clock itself. The engine's own
  expiry may remove dead records, but only ``expires`` decides whether a record is alive.
* A record is *alive* while ``now < record.expires``. Treat a *dead* record as absent, whether or not it has been swept.
* A *tombstone* is a record with an empty handle, which a rotation leaves under the old key; see :func:`tombstone_of`.
  ``load`` returns a live tombstone like any other record.
* Each method is one atomic step of the engine, or behaves like one.
* If the engine fails (connection, timeout, full disk), the method raises :class:`~wsgi_session.StoreUnavailable` with
  the cause chained, and with ``answer_lost=True`` if the write may have been applied. No write is applied in part. The
  store works again as soon as the engine does, without a restart or a call.
* Many threads and greenlets call a store at the same time. It survives ``fork``: a child never uses a connection that
  its parent opened.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

#: Only records that have been dead for this many seconds are swept. So a machine whose clock is fast removes no live
#: record, and a slow request can still save a session that was alive when the request loaded it.
SWEEP_GRACE = 3600.0
#: Seconds by which the clocks of the machines that serve one site may differ.
CLOCK_SKEW = 60.0
#: Seconds for which a tombstone lives: 60 for a request with the old token that was sent before the rotation, and 60
#: because clocks may differ.
TOMBSTONE_LIFE = 120.0
#: A store whose engine does not expire records sets ``sweep_due`` after this many creates.
SWEEP_EVERY = 256
#: The maximum number of records that one such sweep removes.
SWEEP_LIMIT = 512
#: An owner's sessions are listed in one step if there are no more than this.
OWNED_PAGE = 200
#: The maximum number of keys in one call of ``delete_many``.
DELETE_BATCH = 20
#: Times of a record must be before this, in seconds since the epoch: about the year 10000, the end of ``datetime``.
LAST_TIME = 253_402_300_000.0


class Outcome(enum.Enum):
    """The result of ``replace`` or ``rotate``."""

    #: The record was written, now or by an earlier attempt of the same write.
    SAVED = "saved"
    #: The live record has another version than the one given. The caller loads it, merges its changes and tries again.
    CONFLICT = "conflict"
    #: There is no live record under the key, or only a tombstone. The write must not create one.
    GONE = "gone"


class Record(NamedTuple):
    """What a store keeps under a key. Times are seconds since the epoch."""

    #: Opaque bytes of any length.
    data: bytes
    #: 16 random bytes, new for every write. A writer whose answer was lost recognises its own write by them.
    version: bytes
    #: The public name of the session. ``""`` marks a tombstone; see :func:`tombstone_of`.
    handle: str
    #: When the session was created; a login sets it again.
    created: float
    #: The time of the last recorded activity.
    touched: float
    #: From this time on the record is dead.
    expires: float
    #: SHA-256 of namespace and owner, by which ``of_owner`` searches; ``None`` if nobody is logged in.
    owner: bytes | None = None
    #: Whether the cookie is kept when the browser is closed.
    persistent: bool = True
    #: This session's own idle timeout in seconds, or ``None`` if it has none.
    idle: float | None = None
    #: The cookie's name, by which ``count`` filters. Empty for a tombstone.
    namespace: str = ""


#: The same as ``Record(*fields)``, given a tuple of all ten fields, but three times as fast. Every load and every save
#: calls it.
make_record: Callable[[tuple[object, ...]], Record] = partial(tuple.__new__, Record)


def tombstone_of(new: bytes, record: Record, now: float) -> Record:
    """Return the tombstone that a rotation to the key ``new`` leaves under the old key; its data is ``new``.

    From it a request with the old token learns that the session has moved, and a logout learns the new key. A tombstone
    gives no access to the session, has no owner, and is never listed, counted or touched. Its version is that of
    ``record``, the record written under ``new``.
    """
    # A slow request passes the time at which it loaded the session as `now`, but `touched` is the time of its save.
    now = max(now, record.touched)
    return make_record((new, record.version, "", now, now, now + TOMBSTONE_LIFE, None, True, None, ""))


class OwnedSession(NamedTuple):
    """A session as ``of_owner`` lists it: its key and some fields of its ``Record``, without the data."""

    key: bytes
    version: bytes
    handle: str
    created: float
    touched: float
    expires: float
    idle: float | None


def owned_session(key: bytes, record: Record) -> OwnedSession:
    """Return the entry of ``record`` in the listing of ``of_owner``."""
    _, version, handle, created, touched, expires, _, _, idle, _ = record
    return OwnedSession(key, version, handle, created, touched, expires, idle)


def fill_batch(keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """Repeat the last of ``keys`` to make ``DELETE_BATCH`` of them, for a statement with that many parameters."""
    return tuple(keys) + (keys[-1],) * (DELETE_BATCH - len(keys))


def has_sound_times(record: Record | OwnedSession) -> bool:
    """Return whether the record's times are finite numbers in the range of ``datetime``. Otherwise it is corrupt.

    No method of a store raises because of a corrupt record. ``load`` may return one; ``scan`` omits it.
    """
    idle = record.idle
    try:
        # If one of the times is NaN or infinite, so is the sum; if one is text, the sum raises TypeError.
        sound = 0.0 <= record.created + record.touched + record.expires < LAST_TIME
        return sound and (idle is None or 0.0 < idle < LAST_TIME)
    except TypeError:
        return False


_Store = TypeVar("_Store", bound="Store")


class Store(ABC):
    """Stores sessions. Thread-safe; as a context manager, it closes itself on exit."""

    #: False if only one process can see the data. The middleware then raises under a multi-process server.
    multiprocess = True
    #: True while a sweep is due. The middleware then calls ``sweep`` after sending the response. Stores whose engine
    #: expires records leave it False.
    sweep_due = False
    #: When many sessions are ended, the caller pauses after each batch of :meth:`delete_many` for this many times as
    #: long as the batch took, so that other requests can use the engine.
    delete_pause = 4.0
    #: The name of the engine in metrics and traces, as the values of OpenTelemetry's ``db.system.name`` spell it.
    system = "other"

    @abstractmethod
    def load(self, key: bytes, now: float) -> Record | None:
        """Return the live record under ``key``, or ``None`` if the key is unknown or its record is dead."""

    @abstractmethod
    def create(self, key: bytes, record: Record, now: float) -> None:
        """Store a new record under ``key``; overwrite a dead one.

        Raises :class:`~wsgi_session.KeyExists` if a live record with another version is under ``key``, and changes
        nothing. If the live record has ``record.version``, an earlier attempt of this same write has succeeded and its
        answer was lost: return, and write nothing. So a create can be repeated, like :meth:`replace` and
        :meth:`rotate`. (In tower-sessions 0.12.1 stores had only "save", and one session could take over another.)
        """

    @abstractmethod
    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        """Write ``record`` if the live record under ``key`` still has ``version``: compare-and-set in one step.

        Write ``data`` and ``version``, and ``touched`` and ``expires`` if they are later than the stored times (a touch
        may have come in between). All other fields keep their stored values.

        Return ``SAVED`` if the record was written. Also return ``SAVED``, and write nothing, if the live record already
        has ``record.version``: an earlier attempt of this same write has succeeded and its answer was lost. Return
        ``CONFLICT`` if the live record has any other version. Return ``GONE`` if there is no live record, or only a
        tombstone; never create a record (CVE-2025-46336: a slow write brought back a logged-out session).
        """

    @abstractmethod
    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        """Move the live record under ``old`` to ``new``, if it still has ``version``.

        Write ``record``, with all of its fields, under ``new``. In the same step replace the old record by
        ``tombstone_of(new, record, now)``, so that a request never finds ``old`` empty. Either both are written or
        neither. (A store whose engine cannot write both in one step writes ``new`` first.)

        Return ``SAVED`` if they were written, or if the live record under ``new`` already has ``record.version``.
        ``CONFLICT`` and ``GONE`` mean the same as for :meth:`replace`, applied to the record under ``old``; a tombstone
        there is always ``GONE``. Raise :class:`~wsgi_session.KeyExists`, and change neither record, if another live
        record is under ``new``.
        """

    @abstractmethod
    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        """Record activity: set ``touched`` and ``expires`` of a live record, each only if later than the stored time.

        Change neither data nor version, and never create a record. Return False if there is no live record, or only a
        tombstone (``handle == ""``).
        """

    @abstractmethod
    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        """Remove the record under ``key``, alive or dead, in one step; return whether one was removed.

        Without ``version``, remove a record of any version, but leave a tombstone and return False. So a logout that
        races with a rotation learns that it missed, and can follow the session to its new key. With ``version``, remove
        the record, or the tombstone, only if it has that version; otherwise leave it and return False.
        """

    def delete_many(self, keys: Sequence[bytes]) -> int:
        """:meth:`delete` the records under 1 to ``DELETE_BATCH`` ``keys``; return how many were removed.

        Override this if the engine can do so in fewer steps, but do not hold a lock for longer than a few milliseconds.
        """
        return sum(self.delete(key) for key in keys)

    def await_replicas(self) -> None:  # noqa: B027  (most stores have nothing to wait for)
        """Return when the replicas that this store waits for have every earlier write, also those of other processes.

        Called if a session that is to be ended does not exist any more. Another request has ended it, but that write
        may not have reached a replica, and then a failover would bring the session back. ``delete`` and
        ``delete_many`` must wait in the same way if they find no record. Raises ``StoreUnavailable`` if too few
        replicas acknowledge in time. A store that waits for no replicas need not override this.
        """

    @abstractmethod
    def ping(self) -> None:
        """Return if the engine answers and accepts writes; raise ``StoreUnavailable`` otherwise."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and files. A second call does nothing; other methods may raise after it."""

    def __enter__(self: _Store) -> _Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@runtime_checkable
class Sweeps(Protocol):
    """A store whose engine does not expire records, so that dead ones stay until they are swept."""

    def sweep(self, limit: int, now: float) -> int:
        """Remove at most ``limit`` records that have been dead for over an hour; return the number removed.

        Remove only records with ``expires < now - SWEEP_GRACE``. The statement that removes them must check this
        condition itself, so that a record that was renewed in the meantime is kept.
        """


@runtime_checkable
class ListsOwners(Protocol):
    """A store that can find an owner's sessions without reading those of other owners."""

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield every live session of ``owner``, in any order. Read a few hundred at a time, and never their data.

        If the owner has at most ``OWNED_PAGE`` sessions, read all of them at one moment, so that a session that is
        being rotated is included. If there are more, a session that is rotated during the listing may be missing, or
        be yielded under both keys. Deleting a yielded session does not make the listing skip others.
        """


@runtime_checkable
class Counts(Protocol):
    """A store that can count its sessions without reading their data."""

    def count(self, now: float, namespace: str | None = None) -> int:
        """Return the number of live sessions in ``namespace`` (``None``: in all namespaces), excluding tombstones."""


@runtime_checkable
class Scans(Protocol):
    """A store that can iterate over all of its sessions, to move them to another store and for statistics."""

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of every live session, excluding tombstones and corrupt records; read small batches.

        A session that is created or ended during the scan may or may not be yielded. Deleting a yielded session does
        not make the scan skip others.
        """
