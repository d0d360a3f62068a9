"""What differs from driver to driver: how one is told not to wait for ever, and what its errors mean."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Generator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import URL
from sqlalchemy.engine import Dialect

from wsgi_session.stores.sql_sockets import drive

#: By the scheme alone. Any other driver is named: ``postgresql+psycopg2://``.
DEFAULT_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}

# A deadlock, a serialization failure: this statement was undone, and may be sent again. PostgreSQL's are SQLSTATEs,
# those of MySQL and MariaDB are numbers: lock wait time-out, deadlock, "record has changed since last read".
_PASSING_STATES = ("40001", "40P01")
_PASSING_NUMBERS = (1205, 1213, 1020)
# "Got a packet bigger than": mostly unread, as the server hangs up in the middle of it ("gone away", "lost").
_MAYBE_TOO_LARGE = (1153, 2006, 2013)
#: Bytes of data from which on that is worth a word: no server takes less than 1 MiB unless it is told to.
LARGE = 500_000


class Driver:
    """A DBAPI driver that we know nothing about: it has the time-outs of its own defaults, or of the URL's query."""

    def __init__(self, dialect: Dialect, timeout: float) -> None:
        self.dialect = dialect
        self.timeout = timeout

    def options(self) -> Collection[str] | None:
        """Return what this driver takes in a URL's query, or ``None`` where only the driver knows."""
        return None

    def arguments(self) -> dict[str, Any]:
        """Return what to connect with, where the URL does not say otherwise."""
        return {}

    def adopt(self, connection: Any) -> None:
        """Make a new connection ours: each statement a transaction of its own."""
        connection.commit()  # What a listener of the application's engine may have begun.
        self.dialect.set_isolation_level(connection, "AUTOCOMMIT")

    def cursor(self, connection: Any) -> Any:
        return connection.cursor()

    def descriptor(self, connection: Any) -> int | None:
        """Return the socket, or ``None`` if this driver does not show it."""
        return connection.fileno() if hasattr(connection, "fileno") else None

    def is_passing(self, error: Exception) -> bool:
        """Whether the engine undid the statement only because of others: the same one again may do."""
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        return state in _PASSING_STATES or _number(error) in _PASSING_NUMBERS

    def advice(self, error: Exception, values: Sequence[object]) -> str:
        """Return what to add to the engine's own words."""
        if _number(error) in _MAYBE_TOO_LARGE and any(
            isinstance(value, bytes) and len(value) > LARGE for value in values
        ):
            return (
                " (if the data is over the server's max_allowed_packet: raise that, or lower the middleware's max_size)"
            )
        return ""


class Psycopg(Driver):
    """psycopg 3."""

    def options(self) -> Collection[str]:
        from psycopg import pq

        return {option.keyword.decode() for option in pq.Conninfo.get_defaults()}

    def arguments(self) -> dict[str, Any]:
        # psycopg counts whole seconds, and waits for two at least.
        return {"connect_timeout": max(2, math.ceil(self.timeout)), "fallback_application_name": "wsgi-session"}

    def adopt(self, connection: Any) -> None:
        super().adopt(connection)
        # A statement_timeout would be a startup option, which PgBouncer refuses, or a SET, which it hands to whoever
        # comes next; and neither helps against a server that hangs. (psycopg 3.2 itself waits for ever.)
        connection.wait = partial(_wait, connection, self.timeout)
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


class PyMySQL(Driver):
    """PyMySQL."""

    def options(self) -> Collection[str]:
        connect: Any = self.dialect.loaded_dbapi.connect
        tls = ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_check_hostname", "ssl_cipher", "ssl_key")
        # What no text can say, and what would undo what adopt() does.
        objects = {"auth_plugin_map", "autocommit", "conv", "cursorclass", "defer_connect", "ssl"}
        return {*inspect.signature(connect).parameters, *tls} - objects

    def arguments(self) -> dict[str, Any]:
        patience = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), self.timeout)
        return {**patience, "autocommit": True}

    def descriptor(self, connection: Any) -> int:
        return int(connection._sock.fileno())


class SQLite(Driver):
    """The standard library's ``sqlite3``, through SQLAlchemy."""

    def arguments(self) -> dict[str, Any]:
        return {"timeout": self.timeout, "check_same_thread": False}


_KNOWN: dict[str, type[Driver]] = {"psycopg": Psycopg, "pymysql": PyMySQL, "pysqlite": SQLite}


def driver_of(dialect: Dialect, timeout: float) -> Driver:
    """Return what is known about the dialect's driver."""
    return _KNOWN.get(dialect.driver, Driver)(dialect, timeout)


def with_driver(url: URL) -> URL:
    """Return ``url`` with its driver named."""
    return url.set(drivername=DEFAULT_DRIVERS.get(url.drivername, url.drivername))


def _number(error: Exception) -> object:
    return error.args[0] if error.args else None


def _wait(connection: Any, timeout: float, generator: Generator[int, int, Any], *_: Any, **__: Any) -> Any:
    """Stand in for the connection's own ``wait``, whose intervals are of no use here."""
    from psycopg import OperationalError

    try:
        return drive(generator, connection.pgconn.socket, timeout)
    except TimeoutError as error:
        connection.close()
        raise OperationalError(str(error)) from None
