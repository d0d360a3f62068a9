"""One exchange on a connection of redis-py's: commands, and their answers, which are not waited for past a deadline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as TimedOut

from wsgi_session.stores.pool import NEARLY_ALL

Command = tuple[bytes, ...]
# redis-py's connections have no common base class.
Connection = Any


class PartlyReadOnly(ReadOnlyError):
    """The server takes no writes any more, but took some of the commands that were sent together."""


def send_one(connection: Connection, command: Command, deadline: float) -> Any:
    """Send a command, and return its answer."""
    connection.send_packed_command(connection.pack_command(*command), check_health=False)
    _await_answer(connection, deadline)
    return connection.read_response(disable_decoding=True)


def send_several(connection: Connection, commands: Sequence[Command], deadline: float) -> list[Any]:
    """Send all, then read as many answers, whatever they are; but ``ReadOnlyError`` is raised.

    As ``PartlyReadOnly`` if the server took another command before: it became a replica in between.
    """
    connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(_answer(connection, deadline))
        except ReadOnlyError as error:
            if all(isinstance(answer, ResponseError) for answer in answers):
                raise
            raise PartlyReadOnly(str(error)) from error
    return answers


def _answer(connection: Connection, deadline: float) -> Any:
    _await_answer(connection, deadline)
    try:
        return connection.read_response(disable_decoding=True)
    except ReadOnlyError:
        raise
    except ResponseError as refusal:
        return refusal


def _await_answer(connection: Connection, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left < NEARLY_ALL * connection.socket_timeout and not connection.can_read(max(left, 0)):
        raise TimedOut("Timeout reading from socket")
