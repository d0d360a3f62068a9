"""The engine behind ``SQLStore``: one statement at a time, every failure as the store contract wants it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.stores.sql.connections import Connections
from wsgi_session.stores.sql.pool import Busy, Place
from wsgi_session.stores.sql.schema import SCHEMA_VERSION, Schema
from wsgi_session.stores.sql.source import Source
from wsgi_session.stores.sql.statements import Statement, Statements, Transaction
from wsgi_session.stores.urls.parts import blot_urls

#: How often at most a statement is sent that the engine undid for the sake of others (a deadlock).
ATTEMPTS = 20
#: How often first use tries to make tables: another process may be making them at this moment.
MAKINGS = 5
# MySQL's "duplicate key name": it has no CREATE INDEX IF NOT EXISTS.
_INDEX_EXISTS = 1061

_Result = TypeVar("_Result")
_first: Callable[[Any], Any] = lambda cursor: cursor.fetchone()  # noqa: E731
_changed: Callable[[Any], int] = attrgetter("rowcount")


class Duplicate(Exception):
    """The key is taken: nothing was written."""


class Refused(StoreUnavailable):
    """The engine answered, with an error: nothing was written, or nothing that counts (see ``CalledOff``)."""


class TimedOut(Refused):
    """The engine has undone the statement because it took too long: somebody may hold a lock."""


class Operation(NamedTuple):
    """What one call of the store does, in one statement or several."""

    #: The session that it is about, ``None`` for none or many.
    key: bytes | None
    #: When it has to be done, in seconds of ``time.monotonic()``.
    deadline: float


class Database:
    """Runs statements on the tables of ``schema``, which are made, or looked for, before the first one."""

    def __init__(self, source: Source, schema: Schema, statements: Statements, *, create: bool, pool_size: int) -> None:
        self._source = source
        self._driver = source.driver
        self._errors = source.dialect.loaded_dbapi
        self._schema = schema
        self._statements = statements
        #: Whether first use makes the tables.
        self.create = create
        self._pool_size = pool_size
        self._connections = Connections(source.connect, source.driver, pool_size)
        self._ready = False

    def begin(self, key: bytes | None = None) -> Operation:
        """Return an operation that begins now: it is passed to each of its statements, and they share its time-out.

        First use, and the first one after a failure, looks for the tables before, within a time-out of its own.
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
        """Return what ``fetch`` makes of the cursor."""
        return self._run(statement, values, fetch, operation or self.begin(), writes=False)

    def write(
        self, statement: Statement | Transaction, values: Sequence[object], operation: Operation | None = None
    ) -> int:
        """Return how many rows matched. Raises ``Duplicate`` where a key is taken."""
        return self._run(statement, values, _changed, operation or self.begin(), writes=True)

    def prepare(self, create: bool) -> None:
        """Look for the tables, and make them if ``create``; each statement that makes one has a time-out of its own."""
        version, problem = self._version()
        for _ in range(MAKINGS if create else 0):
            if version is not None:
                break
            refused = self._make()
            version, problem = self._version()
            problem = refused or problem
        if version is None:
            table, versions = self._schema.sessions.fullname, self._schema.versions.fullname
            raise self._unavailable(
                f"no tables of ours that this user may read ({problem}): make them with python -m wsgi_session init "
                f"URL. Whoever else made them: GRANT SELECT, INSERT, UPDATE, DELETE ON {table}; GRANT SELECT ON "
                f"{versions}"
            ) from problem
        if version != SCHEMA_VERSION:
            raise self._unavailable("its tables are of another version") from ConfigError(
                f"{self._schema.sessions.fullname} holds sessions of schema version {version}, and this wsgi-session "
                f"knows {SCHEMA_VERSION}: update wsgi-session, or give another table (?table= in the URL)"
            )
        self._ready = True

    def close(self) -> None:
        self._connections.close()

    def _operation(self, key: bytes | None = None) -> Operation:
        return Operation(key, time.monotonic() + self._driver.timeout)

    def _version(self) -> tuple[int | None, BaseException | None]:
        """Return of which version the tables are, or why that cannot be told: mostly, that there are none."""
        operation = self._operation()
        try:
            (version,) = self._run(self._statements.schema_version, (), _first, operation, writes=False)
            if version == SCHEMA_VERSION:
                # Either table may be missing, or locked away, without the other.
                self._run(self._statements.load, (b"", 0.0), _first, operation, writes=False)
        except TimedOut:
            raise
        except Refused as error:
            return None, error.__cause__
        return version, None

    def _make(self) -> BaseException | None:
        """Make what is missing; return what the engine said against it."""
        for sql in self._schema.statements(self._source.dialect):
            try:
                self._run(Statement(sql, tuple), (), _changed, self._operation(), writes=True)
            except (Refused, Duplicate) as error:
                # Two that make one table at once: to one of them PostgreSQL says so, IF NOT EXISTS or not.
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
            place = self._take(operation)
            try:
                cursor = self._driver.cursor(place.connection)
                statement.run(cursor, values)
                result = fetch(cursor)
                cursor.close()
            except self._errors.Error as error:
                failure = error
            except BaseException:
                self._connections.give_up(place, cancel=True)
                raise
            else:
                self._connections.pool.give(place)
                return result
            if isinstance(failure, self._errors.IntegrityError):
                self._connections.pool.give(place)
                raise Duplicate from failure
            again = attempt < ATTEMPTS and time.monotonic() < operation.deadline
            if self._driver.is_passing(failure) and again:
                self._connections.pool.give(place)
                continue
            if self._driver.has_timed_out(failure):
                self._connections.pool.give(place)
                raise self._unavailable(failure, TimedOut) from failure
            broken = self._driver.is_broken(failure, place.connection)
            if broken:
                self._connections.give_up(place, cancel=False)
            else:
                self._connections.pool.discard(place)
            # The tables may be gone, or another server's, when it works again.
            self._ready = False
            if self._driver.is_read_only(failure):
                # So may all connections be, after a failover: what they still read is out of date.
                self._connections.pool.empty()
                if attempt == 1 and again:
                    continue
            what = f"{failure}{self._driver.advice(failure, values)}"
            if not broken:
                raise self._unavailable(what, Refused) from failure
            if writes or attempt > 1 or not again:
                raise self._unavailable(what, answer_lost=writes) from failure
            # A read may be asked again: the connection was dead before, or the server has just been restarted.

    def _take(self, operation: Operation) -> Place:
        try:
            return self._connections.take(*operation)
        except Busy:
            given_up = len(self._connections.pool.given_up())
            waiting = f"; {given_up} of them wait for statements that were given up (a lock?)" if given_up else ""
            raise self._unavailable(
                f"all {self._pool_size} connections were busy for {self._driver.timeout:g} s{waiting}: "
                "raise pool_size (?pool= in the URL)"
            ) from None
        except UnicodeError:
            # Not chained: it holds what could not be encoded.
            raise self._unavailable("the driver cannot send a user or password with these characters") from None
        except (self._errors.Error, SQLAlchemyError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(
        self, what: object, kind: type[StoreUnavailable] = StoreUnavailable, answer_lost: bool = False
    ) -> StoreUnavailable:
        # A driver may quote the URL, or what it was given from it.
        text = blot_urls(" ".join(str(what).split()), [self._source.url])
        return kind(f"SQL store {self._source.name}: {text}", answer_lost=answer_lost)
