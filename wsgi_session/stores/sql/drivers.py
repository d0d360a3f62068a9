"""What differs between drivers: how to limit the time that they wait, and what their errors mean."""

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

from wsgi_session.stores.sql.error_codes import MAYBE_TOO_LARGE, READ_ONLY, TIMED_OUT, TRANSIENT, UNSUPPORTED, has_code
from wsgi_session.stores.sql.pool import Deadline
from wsgi_session.stores.sql.sockets import READ, Cancelled, probe, ready, run_generator

#: The drivers for URLs that name none. A URL names another one like this: ``postgresql+psycopg2://``.
DEFAULT_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}

#: From this many bytes of data on, an error gets a hint: every server accepts 1 MiB unless it is configured not to.
LARGE = 500_000
# MySQL and MariaDB let a statement wait for a lock for 50 seconds, or a day. Lower limits are kept. MySQL counts whole
# seconds, and reads /*M! */ as a comment.
_MYSQL_LIMITS = (
    "SET SESSION innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, {whole}),"
    " lock_wait_timeout = LEAST(@@lock_wait_timeout, {whole})"
    " /*M! , max_statement_time = LEAST(IF(@@max_statement_time > 0, @@max_statement_time, {exact}), {exact}) */"
)
#: The part of the timeout after which the server ends the statement itself, so that the connection can be used again.
_SERVERS_SHARE = 0.9


class Driver:
    """A DBAPI driver that is not known here: its timeouts are its own defaults, or come from the URL's query."""

    #: Whether its connections must be closed when the process forks.
    closes_at_fork = False
    #: Whether the server ends a statement after a time limit or on request. A server that does not do so may hang.
    ends_statements = False

    def __init__(self, dialect: Dialect, timeout: float) -> None:
        self.dialect = dialect
        self.timeout = timeout

    def options(self) -> Collection[str] | None:
        """Return the options that this driver accepts in a URL's query, or ``None`` if they are not known."""
        return None

    def arguments(self, timeout: float) -> dict[str, Any]:
        """Return the arguments for connecting within ``timeout`` seconds; those in the URL take precedence."""
        return {}

    def configure(self, connection: Any, deadline: Deadline) -> Any:
        """Set up a new connection: autocommit, and no statement is waited for after ``deadline``.

        Return an object that keeps the socket open if the driver closes it, or ``None`` if there is no such object.
        """
        connection.commit()  # A listener of the application's engine may have begun a transaction.
        self.dialect.set_isolation_level(connection, "AUTOCOMMIT")
        if self.dialect.name in ("mysql", "mariadb"):
            self._limit_lock_waits(connection)

    def cursor(self, connection: Any) -> Any:
        """Return a new cursor whose rows are tuples."""
        return connection.cursor()

    def fileno(self, connection: Any) -> int | None:
        """Return the socket's file descriptor, or ``None`` if this driver does not show it."""
        return connection.fileno() if hasattr(connection, "fileno") else None

    def abandon(self, connection: Any, guard: Any) -> Callable[[], bool] | None:
        """Stop waiting for a statement; return a function that returns whether the server has ended it.

        Return ``None`` if the server has ended it already, or if this driver cannot find out.
        """
        return None

    def cancel(self, connection: Any, timeout: float) -> None:
        """Ask the server, within ``timeout`` seconds, to end the running statement.

        A driver implements this only if the request does not count against the server's limit of connections.
        """

    def is_broken(self, error: Exception, connection: Any) -> bool:
        """Return whether the connection has failed, or the reply did not arrive in time."""
        return self.dialect.is_disconnect(cast("Any", error), connection, None)

    def is_transient(self, error: Exception) -> bool:
        """Return whether other transactions made the engine roll the statement back, so that a retry may work."""
        return has_code(error, TRANSIENT)

    def has_timed_out(self, error: Exception) -> bool:
        """Return whether the statement took too long and has ended, so that the connection can be used again."""
        return has_code(error, TIMED_OUT)

    def is_unsupported(self, error: BaseException | None) -> bool:
        """Return whether this server lacks the function that was called, or this user must not call it."""
        return has_code(error, UNSUPPORTED)

    def is_read_only(self, error: Exception) -> bool:
        """Return whether this server accepts no writes, as after a failover to another one."""
        return has_code(error, READ_ONLY)

    def hint(self, error: Exception, values: Sequence[object]) -> str:
        """Return a text to append to the engine's message, or an empty one."""
        if has_code(error, MAYBE_TOO_LARGE) and any(
            isinstance(value, bytes) and len(value) > LARGE for value in values
        ):
            return (
                " (If the data is larger than the server's max_allowed_packet, increase that, or decrease the "
                "middleware's max_size.)"
            )
        return ""

    def _limit_lock_waits(self, connection: Any) -> None:
        """Let the server itself end statements that wait too long for a lock."""
        timeout = self.timeout * _SERVERS_SHARE
        cursor = connection.cursor()
        # A server without these settings keeps its own limits.
        with suppress(self.dialect.loaded_dbapi.Error):
            cursor.execute(_MYSQL_LIMITS.format(whole=max(1, int(timeout)), exact=f"{timeout:.6f}"))
            self.ends_statements = True
        cursor.close()


class Psycopg(Driver):
    """psycopg 3."""

    def options(self) -> Collection[str]:
        from psycopg import pq

        return {option.keyword.decode() for option in pq.Conninfo.get_defaults()}

    def arguments(self, timeout: float) -> dict[str, Any]:
        # psycopg counts whole seconds, and waits for at least two.
        return {"connect_timeout": max(2, math.ceil(timeout)), "fallback_application_name": "wsgi-session"}

    def configure(self, connection: Any, deadline: Deadline) -> Any:
        # A statement_timeout does not work here. PgBouncer rejects it as a startup option, and after a SET passes it on
        # to the next client; and neither helps if the server hangs. (psycopg 3.2 itself waits forever.)
        connection.wait = _WaitUntilDeadline(connection, deadline, self.cancel)
        super().configure(connection, deadline)
        # A prepared statement exists in one server process, and behind PgBouncer each transaction may get another one.
        # If there is a proxy, the process id that it reported differs from that of the server process.
        (process,) = self.cursor(connection).execute("SELECT pg_backend_pid()").fetchone()
        if process != connection.info.backend_pid:
            connection.prepare_threshold = None

    def cursor(self, connection: Any) -> Any:
        from psycopg.rows import tuple_row

        return connection.cursor(binary=True, row_factory=tuple_row)  # bytea as text is twice as long

    def fileno(self, connection: Any) -> int:
        return int(connection.pgconn.socket)

    def abandon(self, connection: Any, guard: Any) -> Callable[[], bool] | None:
        # Keep the connection open: if it were closed, PgBouncer would forget the client, but the server would go on.
        if _has_ended(connection.pgconn):
            return None
        probe(connection.pgconn.socket)
        return partial(_has_ended, connection.pgconn)

    def cancel(self, connection: Any, timeout: float) -> None:
        from psycopg import Error, capabilities

        # An older libpq would wait without a limit if the server hangs.
        self.ends_statements = capabilities.has_cancel_safe()
        if self.ends_statements:
            # The connection itself shows whether this worked.
            with suppress(Error):
                connection.cancel_safe(timeout=timeout)

    def is_broken(self, error: Exception, connection: Any) -> bool:
        return isinstance(error.__cause__, TimeoutError) or super().is_broken(error, connection)

    def has_timed_out(self, error: Exception) -> bool:
        return isinstance(error.__cause__, Cancelled) or super().has_timed_out(error)


class PyMySQL(Driver):
    """PyMySQL."""

    def options(self) -> Collection[str]:
        connect: Any = self.dialect.loaded_dbapi.connect
        tls = ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_check_hostname", "ssl_cipher", "ssl_key")
        # Options whose values are not text, and options that would undo configure().
        objects = {"auth_plugin_map", "autocommit", "conv", "cursorclass", "defer_connect", "ssl"}
        return {*inspect.signature(connect).parameters, *tls} - objects

    def arguments(self, timeout: float) -> dict[str, Any]:
        limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), timeout)
        return {**limits, "autocommit": True}

    def configure(self, connection: Any, deadline: Deadline) -> Any:
        connection.cursorclass = _cursors_with_deadline(deadline)
        super().configure(connection, deadline)
        if not connection.open:
            raise self.dialect.loaded_dbapi.OperationalError("The server did not answer in time.")
        # PyMySQL closes a connection whose reply is late. While this file exists, the socket itself stays open.
        return _socket(connection).makefile("rb", buffering=0)

    def fileno(self, connection: Any) -> int:
        return int(_socket(connection).fileno())

    def abandon(self, connection: Any, guard: Any) -> Callable[[], bool] | None:
        # An open transaction ends with the statement: the server then sees that the client has closed its side.
        probe(guard.fileno(), half_close=True)
        return lambda: bool(ready(guard.fileno(), READ, 0))


class SQLite(Driver):
    """The standard library's ``sqlite3``, through SQLAlchemy."""

    closes_at_fork = True

    def arguments(self, timeout: float) -> dict[str, Any]:
        return {"timeout": self.timeout, "check_same_thread": False}


_DRIVERS: dict[str, type[Driver]] = {"psycopg": Psycopg, "pymysql": PyMySQL, "pysqlite": SQLite}


def driver_of(dialect: Dialect, timeout: float) -> Driver:
    """Return the ``Driver`` for the dialect's driver."""
    return _DRIVERS.get(dialect.driver, Driver)(dialect, timeout)


def with_driver(url: URL) -> URL:
    """Return ``url`` with its driver named."""
    return url.set(drivername=DEFAULT_DRIVERS.get(url.drivername, url.drivername))


class _WaitUntilDeadline:
    """Replaces the ``wait`` method of a psycopg connection by one that ends at the deadline."""

    def __init__(self, connection: Any, deadline: Deadline, cancel: Callable[[Any, float], None]) -> None:
        # A weak reference, because a cycle would keep the connection open after its last use.
        self._connection = weakref.ref(connection)
        self._deadline = deadline
        self._cancel = cancel

    def __call__(self, generator: Generator[int, int, Any], *_: Any, **__: Any) -> Any:
        from psycopg import OperationalError

        connection = self._connection()
        assert connection is not None
        try:
            cancel = partial(self._cancel, connection)
            return run_generator(generator, connection.pgconn.socket, self._deadline.at, cancel)
        except TimeoutError as error:
            raise OperationalError("The server did not answer in time.") from error
        except Cancelled as error:
            # PostgreSQL ends a write that waits for a synchronous standby without an error. If that standby takes over,
            # the write is lost.
            raise OperationalError(
                "The server did not answer in time. It may have the write, and its standby may not."
            ) from error


def _has_ended(pgconn: Any) -> bool:
    """Return whether the server has ended the statement, or is gone, or has not received all of it."""
    from psycopg import Error, pq

    try:
        if pgconn.transaction_status != pq.TransactionStatus.ACTIVE or pgconn.flush():
            return True
        pgconn.consume_input()
        return not pgconn.is_busy()
    except Error:
        return True


def _socket(connection: Any) -> Any:
    return connection._sock  # noqa: SLF001  (PyMySQL has no other way to it)


def _cursors_with_deadline(deadline: Deadline) -> Callable[[Any], Any]:
    """Return a class of cursors for PyMySQL whose statements end at ``deadline``."""
    from pymysql.cursors import Cursor

    class CursorWithDeadline(Cursor):  # type: ignore[misc] # PyMySQL ships no types
        def execute(self, query: str, args: Any = None) -> Any:
            left = deadline.left()
            # PyMySQL takes time-outs when it connects, and has no other way to change them.
            self.connection._read_timeout = self.connection._write_timeout = left  # noqa: SLF001
            return super().execute(query, args)

    return CursorWithDeadline
