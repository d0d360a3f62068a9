"""The engine behind ``SQLStore``: run one statement at a time, and turn every failure into the contract's errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.stores.sql.connections import Connections
from wsgi_session.stores.sql.pool import Busy, Slot
from wsgi_session.stores.sql.schema import SCHEMA_VERSION, Schema
from wsgi_session.stores.sql.source import Source
from wsgi_session.stores.sql.statements import Statement, Statements, Transaction
from wsgi_session.stores.urls.parts import redact_urls

#: How often a statement is sent, at most, if the engine rolls it back because of other transactions (a deadlock).
ATTEMPTS = 20
#: How often first use tries to create the tables: another process may be creating them at the same time.
CREATE_ATTEMPTS = 5
# MySQL's "duplicate key name": it has no CREATE INDEX IF NOT EXISTS.
_INDEX_EXISTS = 1061

_Result = TypeVar("_Result")
_fetch_one: Callable[[Any], Any] = lambda cursor: cursor.fetchone()  # noqa: E731
_row_count: Callable[[Any], int] = attrgetter("rowcount")


class Duplicate(Exception):
    """The key is already in use; nothing was written."""


class Rejected(StoreUnavailable):
    """The engine replied with an error: nothing was written, or the write does not count (see ``Cancelled``)."""


class TimedOut(Rejected):
    """The statement took too long and has ended: another connection may hold a lock, or a standby may not answer."""


class Operation(NamedTuple):
    """One call of the store, in one statement or several."""

    #: The key of the session that it is about, ``None`` for none or many.
    key: bytes | None
    #: When it must end, in seconds of ``time.monotonic()``.
    deadline: float


class Database:
    """Runs statements on the tables of ``schema``; before the first one it checks the tables or creates them."""

    def __init__(self, source: Source, schema: Schema, statements: Statements, *, create: bool, pool_size: int) -> None:
        self._source = source
        self._driver = source.driver
        self._errors = source.dialect.loaded_dbapi
        self._schema = schema
        self._statements = statements
        #: Whether first use creates the tables.
        self.create = create
        self._pool_size = pool_size
        self._connections = Connections(source.connect, source.driver, pool_size)
        self._ready = False
        self._can_await_standby = True

    def begin(self, key: bytes | None = None) -> Operation:
        """Return an operation that begins now. It is passed to each of its statements, which share its timeout.

        The first operation, and the first one after a failure, checks the tables before, within a separate timeout.
        """
        if not self._ready:
            self.prepare(self.create)
        return self._operation(key)

    def read(
        self,
        statement: Statement,
        values: Sequence[object],
        fetch: Callable[[Any], _Result],
        operation: Operation | None = None,
    ) -> _Result:
        """Run a statement and return the result of ``fetch`` for its cursor."""
        return self._run(statement, values, fetch, operation or self.begin(), writes=False)

    def write(
        self, statement: Statement | Transaction, values: Sequence[object], operation: Operation | None = None
    ) -> int:
        """Run a statement and return how many rows matched. Raises ``Duplicate`` if a key is already in use."""
        return self._run(statement, values, _row_count, operation or self.begin(), writes=True)

    def await_standby(self, operation: Operation | None = None) -> None:
        """Return when PostgreSQL's synchronous standby, if there is one, has every write that is visible.

        Called if a write turns out to be done already: the request that wrote it may not have waited for the standby.
        This calls a function of PostgreSQL. If the administrator has revoked the right to call it, it does nothing.
        """
        if not (self._statements.await_standby and self._can_await_standby):
            return
        try:
            self._run(self._statements.await_standby, (), _fetch_one, operation or self.begin(), writes=True)
        except Rejected as error:
            if not self._driver.is_unsupported(error.__cause__):
                raise
            self._can_await_standby = False

    def prepare(self, create: bool) -> None:
        """Check the tables, and create them if ``create``; each of those statements has a separate timeout."""
        version, problem = self._read_version()
        for _ in range(CREATE_ATTEMPTS if create else 0):
            if version is not None:
                break
            create_error = self._create_tables()
            version, problem = self._read_version()
            problem = create_error or problem
        if version is None:
            table, versions = self._schema.sessions.fullname, self._schema.versions.fullname
            raise self._unavailable(
                f"this user can read no tables of wsgi-session ({problem}). Create them with python -m wsgi_session "
                f"init URL. If another user has created them: GRANT SELECT, INSERT, UPDATE, DELETE ON {table}; GRANT "
                f"SELECT ON {versions}."
            ) from problem
        if version != SCHEMA_VERSION:
            raise self._unavailable("the tables have another schema version.") from ConfigError(
                f"{self._schema.sessions.fullname} contains sessions of schema version {version}, and this "
                f"wsgi-session knows {SCHEMA_VERSION}. Update wsgi-session, or give another table (?table= in the URL)."
            )
        self._ready = True

    def close(self) -> None:
        """Close the idle connections of this process."""
        self._connections.close()

    def _operation(self, key: bytes | None = None) -> Operation:
        return Operation(key, time.monotonic() + self._driver.timeout)

    def _read_version(self) -> tuple[int | None, BaseException | None]:
        """Return the version of the tables, or the error if it cannot be read, usually because they do not exist."""
        operation = self._operation()
        try:
            (version,) = self._run(self._statements.schema_version, (), _fetch_one, operation, writes=False)
            if version == SCHEMA_VERSION:
                # The other table may be missing or unreadable.
                self._run(self._statements.load, (b"", 0.0), _fetch_one, operation, writes=False)
        except TimedOut:
            raise
        except Rejected as error:
            return None, error.__cause__
        return version, None

    def _create_tables(self) -> BaseException | None:
        """Create the missing tables and indexes; return the engine's error, or ``None``."""
        for sql in self._schema.statements(self._source.dialect):
            try:
                self._run(Statement(sql, tuple), (), _row_count, self._operation(), writes=True)
            except (Rejected, Duplicate) as error:
                # If two processes create a table at the same time, PostgreSQL raises in one of them, in spite of IF NOT
                # EXISTS.
                if error.__cause__ is None or error.__cause__.args[:1] != (_INDEX_EXISTS,):
                    return error.__cause__
        return None

    def _run(
        self,
        statement: Statement | Transaction,
        values: Sequence[object],
        fetch: Callable[[Any], _Result],
        operation: Operation,
        *,
        writes: bool,
    ) -> _Result:
        attempt = 0
        while True:
            attempt += 1
            slot = self._acquire(operation)
            try:
                cursor = self._driver.cursor(slot.connection)
                statement.run(cursor, values)
                result = fetch(cursor)
                cursor.close()
            except self._errors.Error as error:
                failure = error
            except BaseException:
                self._connections.give_up(slot, cancel=True)
                raise
            else:
                self._connections.pool.release(slot)
                return result
            if isinstance(failure, self._errors.IntegrityError):
                self._connections.pool.release(slot)
                raise Duplicate from failure
            can_retry = attempt < ATTEMPTS and time.monotonic() < operation.deadline
            if self._driver.is_transient(failure) and can_retry:
                self._connections.pool.release(slot)
                continue
            if self._driver.has_timed_out(failure):
                self._connections.pool.release(slot)
                raise self._unavailable(failure, TimedOut) from failure
            broken = self._driver.is_broken(failure, slot.connection)
            if broken:
                self._connections.give_up(slot, cancel=False)
            else:
                self._connections.pool.discard(slot)
            # When the server works again, the tables may be missing, or it may be another server.
            self._ready = False
            if self._driver.is_read_only(failure):
                # After a failover all connections may lead to this server, whose data is out of date.
                self._connections.pool.empty()
                if attempt == 1 and can_retry:
                    continue
            message = f"{failure}{self._driver.hint(failure, values)}"
            if not broken:
                raise self._unavailable(message, Rejected) from failure
            if writes or attempt > 1 or not can_retry:
                raise self._unavailable(message, answer_lost=writes) from failure
            # Retry a read once: the connection had failed before, or the server has just been restarted.

    def _acquire(self, operation: Operation) -> Slot:
        try:
            return self._connections.acquire(*operation)
        except Busy:
            given_up = len(self._connections.pool.given_up())
            waiting = f" ({given_up} of them for statements that were given up, perhaps at a lock)" if given_up else ""
            raise self._unavailable(
                f"all {self._pool_size} connections were busy for {self._driver.timeout:g} s{waiting}. "
                "Increase pool_size (?pool= in the URL)."
            ) from None
        except UnicodeError:
            # Do not chain the error: it contains the text that could not be encoded.
            raise self._unavailable("the driver cannot send a user or password with these characters.") from None
        except (self._errors.Error, SQLAlchemyError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(
        self, message: object, error_class: type[StoreUnavailable] = StoreUnavailable, answer_lost: bool = False
    ) -> StoreUnavailable:
        # A driver may quote the URL or parts of it.
        text = redact_urls(" ".join(str(message).split()), [self._source.url])
        return error_class(f"SQL store {self._source.name}: {text}", answer_lost=answer_lost)
