"""The error codes of database engines: SQLSTATEs for PostgreSQL, numbers for MySQL and MariaDB."""

from __future__ import annotations

from typing import Any

#: Rolled back because of other transactions: a deadlock, a serialization failure, "record has changed since last read".
TRANSIENT: set[str | int] = {"40001", "40P01", 1213, 1020}
#: The statement was cancelled, or waited for a lock longer than the server allows (lock_timeout, lock wait timeout,
#: max_statement_time, max_execution_time).
TIMED_OUT: set[str | int] = {"57014", "55P03", 1205, 1317, 1969, 3024}
#: The function or setting does not exist, or this role or this server must not use it.
UNSUPPORTED: set[str | int] = {"42883", "42704", "42501", "0A000"}
#: The server accepts no writes: it is a standby, or read_only or super_read_only is set.
READ_ONLY: set[str | int] = {"25006", 1290, 1836}
#: "Got a packet bigger than", or how a client sees this if the server closes the connection while the packet is being
#: sent ("gone away", "lost").
MAYBE_TOO_LARGE: set[str | int] = {1153, 2006, 2013}


def has_code(error: Any, codes: set[str | int]) -> bool:
    """Return whether ``error``, of any driver, has one of ``codes``."""
    found = getattr(error, "sqlstate", None), getattr(error, "pgcode", None), *error.args[:1]
    return not codes.isdisjoint(found)
