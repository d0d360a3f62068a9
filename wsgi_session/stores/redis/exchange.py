"""Send commands over a connection of redis-py's, and read their replies until a deadline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as TimedOut

from wsgi_session.stores.pool import NEARLY_ALL

Command = tuple[bytes, ...]
# A connection of redis-py's; they have no common base class.
Connection = Any


class PartlyReadOnly(ReadOnlyError):
    """The server no longer accepts writes, but has applied some of the commands that were sent together."""


def send_one(connection: Connection, command: Command, deadline: float) -> Any:
    """Send a command and return its reply."""
    connection.send_packed_command(connection.pack_command(*command), check_health=False)
    _await_reply(connection, deadline)
    return connection.read_response(disable_decoding=True)


def send_pipeline(connection: Connection, commands: Sequence[Command], deadline: float) -> list[Any]:
    """Send all commands, then return one reply for each. Errors are returned, except ``ReadOnlyError``.

    Raises ``ReadOnlyError`` if the server is a replica, and ``PartlyReadOnly`` if it has accepted an earlier command
    and became a replica in between.
    """
    connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(_read_reply(connection, deadline))
        except ReadOnlyError as error:
            if all(isinstance(answer, ResponseError) for answer in answers):
                raise
            raise PartlyReadOnly(str(error)) from error
    return answers


def _read_reply(connection: Connection, deadline: float) -> Any:
    _await_reply(connection, deadline)
    try:
        return connection.read_response(disable_decoding=True)
    except ReadOnlyError:
        raise
    except ResponseError as error:
        return error


def _await_reply(connection: Connection, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left < NEARLY_ALL * connection.socket_timeout and not connection.can_read(max(left, 0)):
        raise TimedOut("Timeout reading from socket")
