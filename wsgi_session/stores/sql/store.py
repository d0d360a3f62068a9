"""Sessions in a database that SQLAlchemy supports: PostgreSQL, MySQL, MariaDB, and others."""

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

# The maximum number of records in one DELETE of a sweep, so that it holds its locks only briefly.
SWEEP_BATCH = 500
# The maximum number of records that a scan reads together: all of them, with their data, are in memory.
SCAN_BATCH = 100
# Version and handle of a record that does not exist.
_NOTHING = (b"", "")
#: How often a write that loses a race for a key checks which record has it now.
RACE_ATTEMPTS = 5

# SQLAlchemy's names of databases for which OpenTelemetry has another name.
_SYSTEMS = {"oracle": "oracle.db", "mssql": "microsoft.sql_server"}


class SQLStore(Store):
    """Keep sessions in the table ``table``, over connections of its own, with one statement per operation.

    ``database``: a SQLAlchemy URL (the options in its query go to the driver), or a ready ``Engine``. The store uses
    the engine only to connect, never its pool or a transaction of the application. ``create=False``: first use does not
    create the tables; ``python -m wsgi_session init URL`` or a migration creates them. ``sweep=False``: dead records
    stay until you call :meth:`sweep`. ``timeout``: seconds that one operation may take, including the wait for one of
    the ``pool_size`` connections. It does not limit how long a ready ``Engine`` takes to connect.

    Nothing is connected before first use. Raises ``ConfigError`` if ``database`` names no database, if its driver is
    not installed, or for another invalid argument.
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
            # A traceback that shows local variables shows this text without the password.
            database = HiddenText(database)
        if type(pool_size) is not int or pool_size < 1:
            raise ConfigError(f"pool_size={pool_size!r}: give a whole number of connections, 1 or more.")
        if not 0 < timeout <= 3600:
            raise ConfigError(f"timeout={timeout!r}: give a number of seconds, more than 0 and at most 3600.")
        self._schema = Schema(table)
        self._source = source_of(database, timeout)
        self._statements = Statements(self._schema, self._source.dialect)
        self._database = Database(self._source, self._schema, self._statements, create=create, pool_size=pool_size)
        # The columns for text are binary on MySQL, so text is converted to bytes.
        self._stores_text_as_bytes = self._source.dialect.name in ("mysql", "mariadb")
        self.system = _SYSTEMS.get(self._source.dialect.name, self._source.dialect.name)
        self._auto_sweep = sweep
        self._creates = itertools.count(1)  # Without the GIL, `+= 1` in two threads at once would lose one.

    @classmethod
    def from_url(cls, url: str) -> SQLStore:
        """Return a store for ``url``, whose query may have options of the store and of the driver.

        Raises ``ConfigError`` as the constructor does, and for an unknown or repeated option.
        """
        url = HiddenText(url)
        database, options = split_options(url)
        if "pool" in options:
            options["pool_size"] = options.pop("pool")
        return cls(database, **options)

    def load(self, key: bytes, now: float) -> Record | None:
        row = self._database.read(self._statements.load, (key, now), _fetch_one, self._database.begin(key))
        return None if row is None else _record(row)

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._insert(key, self._fields(record), now)
        if self._auto_sweep and next(self._creates) % SWEEP_EVERY == 0:
            self.sweep_due = True

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        values = (record.data, record.version, record.touched, record.expires, key, version, now)
        operation = self._database.begin(key)
        if self._database.write(self._statements.replace, values, operation):
            return Outcome.SAVED
        stored, handle = self._stored_versions(key, key, now, operation).get(key, _NOTHING)
        if stored == record.version:
            self._database.await_standby(operation)
            return Outcome.SAVED
        return Outcome.CONFLICT if handle else Outcome.GONE

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        tombstone = self._fields(tombstone_of(new, record, now))
        values = (*self._fields(record), new, old, version, now, *tombstone, old)
        operation = self._database.begin(old)
        for _ in range(RACE_ATTEMPTS):
            try:
                if self._database.write(self._statements.rotate, values, operation):
                    return Outcome.SAVED
            except Duplicate:
                pass  # The new key is in use; check by which record.
            live_versions = self._stored_versions(old, new, now, operation)
            if live_versions.get(new, _NOTHING)[0] == record.version:
                self._database.await_standby(operation)
                return Outcome.SAVED
            stored, handle = live_versions.get(old, _NOTHING)
            if not handle:
                return Outcome.GONE
            if stored != version:
                return Outcome.CONFLICT
            if new in live_versions:
                break
            self._database.write(self._statements.delete_dead, (new, now), operation)
        raise KeyExists("A live session already exists under the new key: generate another token.")

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        operation = self._database.begin(key)
        if self._database.write(self._statements.touch, (touched, expires, key, now), operation):
            return True
        # Unless the client asks for the number of matching rows, MySQL counts only the rows that were changed. A ready
        # Engine may connect without asking for it.
        _, handle = self._stored_versions(key, key, now, operation).get(key, _NOTHING)
        return bool(handle)

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        operation = self._database.begin(key)
        if version is None:
            deleted = self._database.write(self._statements.delete, (key,), operation) > 0
        else:
            deleted = self._database.write(self._statements.delete_version, (key, version), operation) > 0
        if not deleted:
            self._database.await_standby(operation)
        return deleted

    def delete_many(self, keys: Sequence[bytes]) -> int:
        operation = self._database.begin()
        deleted = self._database.write(self._statements.delete_many, fill_batch(keys), operation)
        if not deleted:
            self._database.await_standby(operation)
        return deleted

    def of_owner(self, owner: bytes, now: float) -> Iterator[OwnedSession]:
        """Yield the owner's sessions; see ``wsgi_session.stores.ListsOwners``."""
        last = b""
        while rows := self._database.read(self._statements.of_owner, (owner, last, now, OWNED_PAGE), _fetch_all):
            for key, version, handle, *times in rows:
                last = bytes(key)
                yield OwnedSession(last, bytes(version), _decode(handle), *times)

    def count(self, now: float, namespace: str | None = None) -> int:
        if namespace is None:
            row = self._database.read(self._statements.count, (now,), _fetch_one)
        else:
            row = self._database.read(self._statements.count_namespace, (now, self._encode(namespace)), _fetch_one)
        return int(row[0])

    def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        """Yield key and record of every live session, in the order of the keys, which no write changes."""
        last = b""
        while rows := self._database.read(self._statements.scan, (last, now, SCAN_BATCH), _fetch_all):
            for key, *row in rows:
                last = bytes(key)
                found = _record(row)
                if has_sound_times(found):
                    yield last, found

    def sweep(self, limit: int, now: float) -> int:
        self.sweep_due = False
        swept = 0
        while swept < limit:
            size = min(limit - swept, SWEEP_BATCH)
            batch = self._database.write(self._statements.sweep, (now - SWEEP_GRACE, size))
            swept += batch
            if batch < size:
                break
        return swept

    def ping(self) -> None:
        self._database.write(self._statements.ping, ())

    def await_replicas(self) -> None:
        """Return when PostgreSQL's synchronous standby has every write; see ``Store.await_replicas``."""
        self._database.await_standby()

    def close(self) -> None:
        self._database.close()

    def make_no_tables(self) -> None:
        """Let first use only check the tables, because the database user that creates them owns them."""
        self._database.create = False

    def ddl(self) -> str:
        """Return the SQL that creates the tables, for a migration."""
        return "".join(f"{statement};\n" for statement in self._schema.statements(self._source.dialect))

    def init(self) -> None:
        """Create the tables if they do not exist."""
        self._database.prepare(create=True)

    def __repr__(self) -> str:
        if not hasattr(self, "_source"):  # Error reporters show the store while its constructor is still running.
            return "SQLStore(half made)"
        return f"SQLStore({self._source.name!r}, table={self._schema.sessions.fullname!r})"

    def _insert(self, key: bytes, fields: Sequence[object], now: float) -> None:
        operation = self._database.begin(key)
        for _ in range(RACE_ATTEMPTS):
            try:
                self._database.write(self._statements.create, (*fields, key), operation)
                return
            except Duplicate:
                if self._database.write(self._statements.create_over_dead, (*fields, key, now), operation):
                    return
            live_versions = self._stored_versions(key, key, now, operation)
            if live_versions.get(key, _NOTHING)[0] == fields[1]:
                self._database.await_standby(operation)
                return
            if key in live_versions:
                break
            # The record was dead, and a sweep removed it between the two statements.
        raise KeyExists("A live session already exists under this key: generate another token.")

    def _stored_versions(
        self, key: bytes, other: bytes, now: float, operation: Operation
    ) -> dict[bytes, tuple[bytes, object]]:
        """Return version and handle of the live records under two keys."""
        rows = self._database.read(self._statements.versions, (key, other, now), _fetch_all, operation)
        return {bytes(found): (bytes(version), handle) for found, version, handle in rows}

    def _fields(self, record: Record) -> Sequence[object]:
        if not self._stores_text_as_bytes:
            return record
        return [field.encode() if isinstance(field, str) else field for field in record]

    def _encode(self, text: str) -> object:
        return text.encode() if self._stores_text_as_bytes else text


open_url = SQLStore.from_url


def _fetch_one(cursor: Any) -> Any:
    return cursor.fetchone()


def _fetch_all(cursor: Any) -> Any:
    return cursor.fetchall()


def _decode(text: Any) -> str:
    # Decode invalid UTF-8 (a corrupt disk or a manual edit) leniently, so that the session can be listed and revoked.
    return text if text.__class__ is str else str(text, "utf-8", "replace")


def _record(row: Sequence[Any]) -> Record:
    data, version, handle, created, touched, expires, owner, persistent, idle, namespace = row
    return make_record(
        (
            # Some drivers return their own types for bytes, and MySQL has no type for booleans.
            bytes(data),
            bytes(version),
            _decode(handle),
            created,
            touched,
            expires,
            owner if owner is None else bytes(owner),
            persistent == 1,
            idle,
            _decode(namespace),
        )
    )
