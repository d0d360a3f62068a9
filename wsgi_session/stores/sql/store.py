"""Sessions in a database that SQLAlchemy speaks to: PostgreSQL, MySQL, MariaDB, and others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError, KeyExists
from wsgi_session.stores.contract import (
    OWNED_PAGE,
    SWEEP_EVERY,
    SWEEP_GRACE,
    Outcome,
    OwnedSession,
    Record,
    Store,
    fill_batch,
    has_sound_times,
    make_record,
    tombstone_of,
)
from wsgi_session.stores.sql.database import Database, Duplicate, Operation
from wsgi_session.stores.sql.schema import Schema
from wsgi_session.stores.sql.source import source_of, split_options
from wsgi_session.stores.sql.statements import Statements

# A sweep's DELETE takes no more at once, so that it holds its locks for a moment only.
BATCH = 500
# A scan takes no more at once: they are in memory together, data and all.
SCAN = 100
# Version and handle of what is not there.
_NOTHING = (b"", "")
#: How often a writer that loses a race for a key looks who has it now.
LOOKS = 5


class SQLStore(Store):
    """Keep sessions in the table ``table``, over connections of its own, one statement an operation.

    ``database``: a SQLAlchemy URL (what stands in its query goes to the driver) or a ready ``Engine``, of which only
    the way to connect is used: never its pool, nor a transaction of the application. ``create=False``: first use makes
    no tables, ``python -m wsgi_session init URL`` or a migration does. ``sweep=False``: dead records stay until
    somebody calls :meth:`sweep`. ``timeout``: seconds that one operation may take, waiting for one of the ``pool_size``
    connections included; how long a ready ``Engine`` takes to connect is its own.

    Nothing is connected before first use. Raises ``ConfigError`` for what names no database, or a driver that is not
    installed.
    """

    def __init__(
        self,
        database: str | Engine,
        *,
        table: str = "wsgi_sessions",
        create: bool = True,
        sweep: bool = True,
        pool_size: int = 8,
        timeout: float = 2.0,
    ) -> None:
        if isinstance(database, str):
            # From here on no traceback with local variables shows the password.
            database = HiddenText(database)
        if type(pool_size) is not int or pool_size < 1:
            raise ConfigError(f"pool_size={pool_size!r}: give a whole number of connections, 1 or more")
        if not 0 < timeout <= 3600:
            raise ConfigError(f"timeout={timeout!r}: give seconds, more than 0 and at most 3600")
        self._schema = Schema(table)
        self._source = source_of(database, timeout)
        self._statements = Statements(self._schema, self._source.dialect)
        self._database = Database(self._source, self._schema, self._statements, create=create, pool_size=pool_size)
        # MySQL keeps texts as bytes, and wants them as such.
        self._texts_are_bytes = self._source.dialect.name in ("mysql", "mariadb")
        self._sweeps = sweep
        self._creates = itertools.count(1)  # Without the GIL, `+= 1` in two threads at once would lose one.

    @classmethod
    def from_url(cls, url: str) -> SQLStore:
        """Return a store for ``url``, in whose query stand options of both the store and the driver."""
        url = HiddenText(url)
        database, options = split_options(url)
        if "pool" in options:
            options["pool_size"] = options.pop("pool")
        return cls(database, **options)

    def load(self, key: bytes, now: float) -> Record | None:
        row = self._database.read(self._statements.load, (key, now), _one, self._database.begin(key))
        return None if row is None else _record(row)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._insert(key, self._fields(record), now)
        if self._sweeps and next(self._creates) % SWEEP_EVERY == 0:
            self.sweep_due = True

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        values = (record.data, record.version, record.touched, record.expires, key, version, now)
        operation = self._database.begin(key)
        if self._database.write(self._statements.replace, values, operation):
            return Outcome.SAVED
        stored, handle = self._versions(key, key, now, operation).get(key, _NOTHING)
        if stored == record.version:
            return Outcome.SAVED
        return Outcome.CONFLICT if handle else Outcome.GONE

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        tombstone = self._fields(tombstone_of(new, record, now))
        values = (*self._fields(record), new, old, version, now, *tombstone, old)
        operation = self._database.begin(old)
        for _ in range(LOOKS):
            try:
                if self._database.write(self._statements.rotate, values, operation):
                    return Outcome.SAVED
            except Duplicate:
                pass  # Whose the new key is, we see now.
            there = self._versions(old, new, now, operation)
            if there.get(new, _NOTHING)[0] == record.version:
                return Outcome.SAVED
            stored, handle = there.get(old, _NOTHING)
            if not handle:
                return Outcome.GONE
            if stored != version:
                return Outcome.CONFLICT
            if new in there:
                break
            self._database.write(self._statements.delete_dead, (new, now), operation)
        raise KeyExists("a live session is already under the new key: draw another token")

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        operation = self._database.begin(key)
        if self._database.write(self._statements.touch, (touched, expires, key, now), operation):
            return True
        # MySQL counts the rows that were changed, unless the client asks for those that were found: who connects with
        # functions of their own may not have asked.
        _, handle = self._versions(key, key, now, operation).get(key, _NOTHING)
        return bool(handle)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        operation = self._database.begin(key)
        if version is None:
            return self._database.write(self._statements.delete, (key,), operation) > 0
        return self._database.write(self._statements.delete_version, (key, version), operation) > 0

    def delete_many(self, keys: Sequence[bytes]) -> int:
        return self._database.write(self._statements.delete_many, fill_batch(keys))

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions: see ``wsgi_session.stores.ListsOwners``."""
        last = b""
        while rows := self._database.read(self._statements.of_owner, (owner, last, now, OWNED_PAGE), _rows):
            for key, version, handle, *times in rows:
                last = bytes(key)
                yield OwnedSession(last, bytes(version), _as_text(handle), *times)

    def count(self, now: float, namespace: str | None = None) -> int:
        if namespace is None:
            row = self._database.read(self._statements.count, (now,), _one)
        else:
            row = self._database.read(self._statements.count_namespace, (now, self._text(namespace)), _one)
        return int(row[0])

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of every live session, in the order of the keys, which no write changes."""
        last = b""
        while rows := self._database.read(self._statements.scan, (last, now, SCAN), _rows):
            for key, *row in rows:
                last = bytes(key)
                found = _record(row)
                if has_sound_times(found):
                    yield last, found

    def sweep(self, limit: int, now: float) -> int:
        self.sweep_due = False
        swept = 0
        while swept < limit:
            size = min(limit - swept, BATCH)
            batch = self._database.write(self._statements.sweep, (now - SWEEP_GRACE, size))
            swept += batch
            if batch < size:
                break
        return swept

    def ping(self) -> None:
        self._database.write(self._statements.ping, ())

    def close(self) -> None:
        self._database.close()

    def make_no_tables(self) -> None:
        """Let first use look for the tables only: whoever makes them owns them."""
        self._database.create = False

    def ddl(self) -> str:
        """Return the SQL that makes the tables: for a migration."""
        return "".join(f"{statement};\n" for statement in self._schema.statements(self._source.dialect))

    def init(self) -> None:
        """Make the tables, unless they are there."""
        self._database.prepare(create=True)

    def __repr__(self) -> str:
        if not hasattr(self, "_source"):  # Error reporters show what a constructor was in the middle of.
            return "SQLStore(half made)"
        return f"SQLStore({self._source.name!r}, table={self._schema.sessions.fullname!r})"

    def _insert(self, key: bytes, fields: Sequence[object], now: float) -> None:
        operation = self._database.begin(key)
        for _ in range(LOOKS):
            try:
                self._database.write(self._statements.create, (*fields, key), operation)
                return
            except Duplicate:
                if self._database.write(self._statements.create_over_dead, (*fields, key, now), operation):
                    return
            there = self._versions(key, key, now, operation)
            if there.get(key, _NOTHING)[0] == fields[1]:
                return
            if key in there:
                break
            # It was dead, and swept between our two steps.
        raise KeyExists("a live session is already under this key: draw another token")

    def _versions(
        self, key: bytes, other: bytes, now: float, operation: Operation
    ) -> dict[bytes, tuple[bytes, object]]:
        """Return version and handle of what is alive under two keys."""
        rows = self._database.read(self._statements.versions, (key, other, now), _rows, operation)
        return {bytes(found): (bytes(version), handle) for found, version, handle in rows}

    def _fields(self, record: Record) -> Sequence[object]:
        if not self._texts_are_bytes:
            return record
        return [field.encode() if isinstance(field, str) else field for field in record]

    def _text(self, text: str) -> object:
        return text.encode() if self._texts_are_bytes else text


open_url = SQLStore.from_url


def _one(cursor: Any) -> Any:
    return cursor.fetchone()


def _rows(cursor: Any) -> Any:
    return cursor.fetchall()


def _as_text(text: Any) -> str:
    # What is no UTF-8 is the disk's fault, or somebody's with the table: it keeps nobody from listing and revoking.
    return text if text.__class__ is str else str(text, "utf-8", "replace")


def _record(row: Sequence[Any]) -> Record:
    data, version, handle, created, touched, expires, owner, persistent, idle, namespace = row
    return make_record(
        (
            # Some drivers have types of their own for bytes, and MySQL none for booleans.
            bytes(data),
            bytes(version),
            _as_text(handle),
            created,
            touched,
            expires,
            owner if owner is None else bytes(owner),
            persistent == 1,
            idle,
            _as_text(namespace),
        )
    )
