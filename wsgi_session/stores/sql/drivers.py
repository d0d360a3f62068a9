"""What differs from driver to driver: how one is told not to wait for ever, and what its errors mean."""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from sqlalchemy import URL
from sqlalchemy.engine import Dialect

from wsgi_session.stores.sql.pool import Limit
from wsgi_session.stores.sql.sockets import READ, CalledOff, drive, probe, ready

#: By the scheme alone. Any other driver is named: ``postgresql+psycopg2://``.
DEFAULT_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}

# What errors say: PostgreSQL's are SQLSTATEs, those of MySQL and MariaDB are numbers.
# A deadlock, a serialization failure, "record has changed since last read": undone because of others.
_PASSING = {"40001", "40P01", 1213, 1020}
# The statement was cancelled, or waited for a lock for as long as the server lets it (lock_timeout, lock wait time-out,
# max_statement_time, max_execution_time).
_TIMED_OUT = {"57014", "55P03", 1205, 1317, 1969, 3024}
# No such function or setting, not for this role, not on this server.
_WITHHELD = {"42883", "42704", "42501", "0A000"}
# The server takes no writes (any more): a standby, read_only, super_read_only.
_READ_ONLY = {"25006", 1290, 1836}
# "Got a packet bigger than": mostly unread, as the server hangs up in the middle of it ("gone away", "lost").
_MAYBE_TOO_LARGE = {1153, 2006, 2013}
#: Bytes of data from which on that is worth a word: no server takes less than 1 MiB unless it is told to.
LARGE = 500_000
# MySQL and MariaDB let a statement wait for a lock for 50 seconds, or a day. Limits that are lower stay. MySQL counts
# whole seconds, and takes what stands in /*M! */ for a comment.
_MYSQL_LIMITS = (
    "SET SESSION innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, {whole}),"
    " lock_wait_timeout = LEAST(@@lock_wait_timeout, {whole})"
    " /*M! , max_statement_time = LEAST(IF(@@max_statement_time > 0, @@max_statement_time, {exact}), {exact}) */"
)
#: Of the time-out: so that the server's own limit comes first, and the connection can be used again.
_SERVERS_SHARE = 0.9


class Driver:
    """A DBAPI driver that we know nothing about: it has the time-outs of its own defaults, or of the URL's query."""

    #: Whether its connections must be closed when the process forks.
    closes_at_fork = False
    #: Whether the server ends a statement by itself, or when it is told to: where it does not, it may hang.
    ends_statements = False

    def __init__(self, dialect: Dialect, timeout: float) -> None:
        self.dialect = dialect
        self.timeout = timeout

    def options(self) -> Collection[str] | None:
        """Return what this driver takes in a URL's query, or ``None`` where only the driver knows."""
        return None

    def arguments(self, patience: float) -> dict[str, Any]:
        """Return what to connect with, within so many seconds, where the URL does not say otherwise."""
        return {}

    def adopt(self, connection: Any, limit: Limit) -> Any:
        """Make a new connection ours: each statement a transaction of its own, which is not waited for past ``limit``.

        Return what keeps its socket open if the driver closes it, or ``None`` if there is no such thing.
        """
        connection.commit()  # What a listener of the application's engine may have begun.
        self.dialect.set_isolation_level(connection, "AUTOCOMMIT")
        if self.dialect.name in ("mysql", "mariadb"):
            self._limit_locks(connection)

    def cursor(self, connection: Any) -> Any:
        return connection.cursor()

    def descriptor(self, connection: Any) -> int | None:
        """Return the socket, or ``None`` if this driver does not show it."""
        return connection.fileno() if hasattr(connection, "fileno") else None

    def leave(self, connection: Any, guard: Any) -> Callable[[], bool] | None:
        """Return what tells whether the server has ended the statement that is not waited for any longer.

        ``None``: it has, or nobody can tell.
        """
        return None

    def cancel(self, connection: Any, patience: float) -> None:
        """Ask the server, within so many seconds, to end the running statement.

        Only where that takes no connection that counts as one.
        """

    def is_broken(self, error: Exception, connection: Any) -> bool:
        """Return whether the connection has failed, or the answer did not come in time."""
        return self.dialect.is_disconnect(cast("Any", error), connection, None)

    def is_passing(self, error: Exception) -> bool:
        """Return whether the engine undid the statement only because of others: the same one again may do."""
        return not _PASSING.isdisjoint(_codes(error))

    def has_timed_out(self, error: Exception) -> bool:
        """Return whether the statement took too long, and has ended: the connection is as good as new."""
        return not _TIMED_OUT.isdisjoint(_codes(error))

    def is_withheld(self, error: BaseException | None) -> bool:
        """Return whether this server does not have what was asked for, or not for this user."""
        return not _WITHHELD.isdisjoint(_codes(error))

    def is_read_only(self, error: Exception) -> bool:
        """Return whether this server takes no writes: another one may have taken its place."""
        return not _READ_ONLY.isdisjoint(_codes(error))

    def advice(self, error: Exception, values: Sequence[object]) -> str:
        """Return what to add to the engine's own words."""
        if not _MAYBE_TOO_LARGE.isdisjoint(_codes(error)) and any(
            isinstance(value, bytes) and len(value) > LARGE for value in values
        ):
            return (
                " (if the data is over the server's max_allowed_packet: raise that, or lower the middleware's max_size)"
            )
        return ""

    def _limit_locks(self, connection: Any) -> None:
        """Let the server itself end what waits for a lock."""
        patience = self.timeout * _SERVERS_SHARE
        cursor = connection.cursor()
        # A server that knows no such settings keeps its own.
        with suppress(self.dialect.loaded_dbapi.Error):
            cursor.execute(_MYSQL_LIMITS.format(whole=max(1, int(patience)), exact=f"{patience:.6f}"))
            self.ends_statements = True
        cursor.close()


class Psycopg(Driver):
    """psycopg 3."""

    def options(self) -> Collection[str]:
        from psycopg import pq

        return {option.keyword.decode() for option in pq.Conninfo.get_defaults()}

    def arguments(self, patience: float) -> dict[str, Any]:
        # psycopg counts whole seconds, and waits for two at least.
        return {"connect_timeout": max(2, math.ceil(patience)), "fallback_application_name": "wsgi-session"}

    def adopt(self, connection: Any, limit: Limit) -> Any:
        # A statement_timeout would be a startup option, which PgBouncer refuses, or a SET, which it hands to whoever
        # comes next; and neither helps against a server that hangs. (psycopg 3.2 itself waits for ever.)
        connection.wait = _Wait(connection, limit, self.cancel)
        super().adopt(connection, limit)
        # A prepared statement lives in one server process, and each transaction behind PgBouncer may have another one.
        # Whoever stands between cannot know the number of a process which it has yet to choose.
        (process,) = self.cursor(connection).execute("SELECT pg_backend_pid()").fetchone()
        if process != connection.info.backend_pid:
            connection.prepare_threshold = None

    def cursor(self, connection: Any) -> Any:
        from psycopg.rows import tuple_row

        return connection.cursor(binary=True, row_factory=tuple_row)  # bytea as text is twice as long

    def descriptor(self, connection: Any) -> int:
        return int(connection.pgconn.socket)

    def leave(self, connection: Any, guard: Any) -> Callable[[], bool] | None:
        # The connection stays open: PgBouncer forgets a client that goes, and the server behind it waits on.
        if _has_ended(connection.pgconn):
            return None
        probe(connection.pgconn.socket)
        return partial(_has_ended, connection.pgconn)

    def cancel(self, connection: Any, patience: float) -> None:
        from psycopg import Error, capabilities

        # An older libpq would wait for a server that hangs, without a limit.
        self.ends_statements = capabilities.has_cancel_safe()
        if self.ends_statements:
            # Whether it worked, the connection tells.
            with suppress(Error):
                connection.cancel_safe(timeout=patience)

    def is_broken(self, error: Exception, connection: Any) -> bool:
        return isinstance(error.__cause__, TimeoutError) or super().is_broken(error, connection)

    def has_timed_out(self, error: Exception) -> bool:
        return isinstance(error.__cause__, CalledOff) or super().has_timed_out(error)


class PyMySQL(Driver):
    """PyMySQL."""

    def options(self) -> Collection[str]:
        connect: Any = self.dialect.loaded_dbapi.connect
        tls = ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_check_hostname", "ssl_cipher", "ssl_key")
        # What no text can say, and what would undo what adopt() does.
        objects = {"auth_plugin_map", "autocommit", "conv", "cursorclass", "defer_connect", "ssl"}
        return {*inspect.signature(connect).parameters, *tls} - objects

    def arguments(self, patience: float) -> dict[str, Any]:
        limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), patience)
        return {**limits, "autocommit": True}

    def adopt(self, connection: Any, limit: Limit) -> Any:
        connection.cursorclass = _limited_cursors(limit)
        super().adopt(connection, limit)
        if not connection.open:
            raise self.dialect.loaded_dbapi.OperationalError("no answer in time")
        # PyMySQL closes a connection whose answer is late. As long as this lives, the system does not.
        return self._socket(connection).makefile("rb", buffering=0)

    def descriptor(self, connection: Any) -> int:
        return int(self._socket(connection).fileno())

    def _socket(self, connection: Any) -> Any:
        return connection._sock  # noqa: SLF001  (PyMySQL has no other way to it)

    def leave(self, connection: Any, guard: Any) -> Callable[[], bool] | None:
        # A transaction of ours that is open ends with the statement: the server then finds that nothing more will come.
        probe(guard.fileno(), half_close=True)
        return lambda: bool(ready(guard.fileno(), READ, 0))


class SQLite(Driver):
    """The standard library's ``sqlite3``, through SQLAlchemy."""

    closes_at_fork = True

    def arguments(self, patience: float) -> dict[str, Any]:
        return {"timeout": self.timeout, "check_same_thread": False}


_KNOWN: dict[str, type[Driver]] = {"psycopg": Psycopg, "pymysql": PyMySQL, "pysqlite": SQLite}


def driver_of(dialect: Dialect, timeout: float) -> Driver:
    """Return what is known about the dialect's driver."""
    return _KNOWN.get(dialect.driver, Driver)(dialect, timeout)


def with_driver(url: URL) -> URL:
    """Return ``url`` with its driver named."""
    return url.set(drivername=DEFAULT_DRIVERS.get(url.drivername, url.drivername))


def _codes(error: Any) -> tuple[object, ...]:
    return getattr(error, "sqlstate", None), getattr(error, "pgcode", None), *error.args[:1]


class _Wait:
    """Stands in for the ``wait`` of a psycopg connection, whose intervals are of no use here."""

    def __init__(self, connection: Any, limit: Limit, cancel: Callable[[Any, float], None]) -> None:
        # A cycle would keep the connection open when nobody has it any more.
        self._connection = weakref.ref(connection)
        self._limit = limit
        self._cancel = cancel

    def __call__(self, generator: Generator[int, int, Any], *_: Any, **__: Any) -> Any:
        from psycopg import OperationalError

        connection = self._connection()
        assert connection is not None
        try:
            return drive(generator, connection.pgconn.socket, self._limit.at, partial(self._cancel, connection))
        except TimeoutError as error:
            raise OperationalError("no answer in time") from error
        except CalledOff as end:
            # So PostgreSQL ends a write that waits for a synchronous standby: it is lost if that standby takes over.
            raise OperationalError("no answer in time; what this server has of it, its standby may not have") from end


def _has_ended(pgconn: Any) -> bool:
    """Return whether the server has ended what was sent to it, or is gone, or never got all of it."""
    from psycopg import Error, pq

    try:
        if pgconn.transaction_status != pq.TransactionStatus.ACTIVE or pgconn.flush():
            return True
        pgconn.consume_input()
        return not pgconn.is_busy()
    except Error:
        return True


def _limited_cursors(limit: Limit) -> Callable[[Any], Any]:
    """Return what makes cursors for a PyMySQL connection, each statement of which ends with ``limit``."""
    from pymysql.cursors import Cursor

    class LimitedCursor(Cursor):  # type: ignore[misc] # PyMySQL ships no types
        def execute(self, query: str, args: Any = None) -> Any:
            left = limit.left()
            # PyMySQL takes time-outs when it connects, and has no other way to change them.
            self.connection._read_timeout = self.connection._write_timeout = left  # noqa: SLF001
            return super().execute(query, args)

    return LimitedCursor
