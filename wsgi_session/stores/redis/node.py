"""One Redis server, and one exchange at a time on each connection to it.

redis-py makes the connections, speaks the protocol, and finds the server; its client and its pool are passed by on the
way of a request. They take longer than the server does (36 us for a GET, of which this takes 11), send a command again
that may have been applied, and hand back a connection to Sentinel's primary with an answer still on its way when a
greenlet is killed (the kind of CVE-2023-28858).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as TimedOut
from redis.sentinel import MasterNotFoundError

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.pool import NEARLY_ALL, Place, Pool
from wsgi_session.stores.redis.failures import FAILURES, without_passwords
from wsgi_session.stores.redis.scripts import CONFLICT, EXISTS

Command = tuple[bytes, ...]
# redis-py's connections have no common base class.
Connection = Any
_Exchange = Callable[[Connection, Any, float], Any]


class Stale(StoreUnavailable):
    """A connection that had been idle leads nowhere any more; a new one may."""


class Node:
    """The server that redis-py's pool ``source`` leads to. Its settings are used, its connections are not.

    ``size``: how many connections there are at most. ``wait``: how many replicas must have a write before it counts.

    ``timeout``: the seconds that one operation may take, with the wait for a free connection, with connecting, and with
    every attempt; ``None`` for the ``socket_timeout`` of ``source``, or 1 s if it has none.

    ``deadline``: when an operation has to be done, in seconds of ``time.monotonic()``; where none is given, it begins
    with that call.
    """

    def __init__(self, source: ConnectionPool, size: int, wait: int, timeout: float | None) -> None:
        self._source = source
        timeout = timeout or source.connection_kwargs.get("socket_timeout") or 1.0
        self._replicas = wait
        self._size = size
        self._timeout = timeout
        self._pool = self._new_pool()

    def deadline(self) -> float:
        """Return when an operation that begins now has to be done, in seconds of ``time.monotonic()``."""
        return time.monotonic() + self._timeout

    def call(
        self,
        name: bytes,
        *command: bytes,
        writes: bool = False,
        repeatable: bool = True,
        asking: bool = False,
        deadline: float | None = None,
    ) -> Any:
        """Send a command, return its answer. (``name``, of the key, says where to, if there are several nodes.)

        One that meets a connection which the server closed while it was idle is sent again on a new one: a write only
        if it cannot have been applied, or is ``repeatable``. Raises redis-py's ``ResponseError`` for what the server
        refuses, ``StoreUnavailable`` for all else.
        """
        waits = writes and self._replicas > 0
        if not (waits or asking):
            return self._exchange(_one, command, writes, repeatable, deadline)
        commands = [(b"ASKING",), command] if asking else [command]
        if waits:
            deadline = self.deadline() if deadline is None else deadline
            commands.append(self._wait_until(deadline))
        answers = self._exchange(_several, commands, writes, repeatable, deadline)
        answer = answers[asking]
        if isinstance(answer, ResponseError):
            raise answer
        # GONE as well: no replica may have what ended it. (WAIT knows of the writes of this connection only.)
        if waits and answer not in (CONFLICT, EXISTS):
            self._check_replicas(answers[-1])
        return answer

    def several(
        self,
        names: Sequence[bytes],
        commands: Sequence[Command],
        writes: bool = False,
        deadline: float | None = None,
    ) -> list[Any]:
        """Send commands, each on one of the keys ``names``, in one exchange; a ``ResponseError`` for one refused.

        Otherwise as :meth:`call`; all of them can be sent twice without harm.
        """
        if not (writes and self._replicas > 0):
            answers: list[Any] = self._exchange(_several, commands, writes, True, deadline)
            return answers
        deadline = self.deadline() if deadline is None else deadline
        commands = [*commands, self._wait_until(deadline)]
        *answers, had = self._exchange(_several, commands, writes, True, deadline)
        self._check_replicas(had)
        return answers

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the names of all keys that match ``pattern``, a few hundred at a time, some more than once."""
        cursor = b"0"
        while True:
            cursor, names = self.call(b"", b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"500")
            yield names
            if cursor == b"0":
                return

    def eviction(self, deadline: float) -> list[str]:
        """Return the ``maxmemory-policy``, if the server tells. (Hosted ones refuse CONFIG, few refuse INFO.)"""
        try:
            lines = self.call(b"", b"INFO", b"memory", deadline=deadline).decode().splitlines()
        except ResponseError:
            return []
        return [line.partition(":")[2] for line in lines if line.startswith("maxmemory_policy:")]

    def close(self) -> None:
        self._own_pool().close()

    def __repr__(self) -> str:
        service = getattr(self._source, "service_name", None)
        if service is not None:
            return f"{service}, by Sentinel"
        settings = self._source.connection_kwargs
        return str(settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}")

    def _wait_until(self, deadline: float) -> Command:
        # The server, which looks at its watch every 100 ms, gives up before we do, and says how many there were.
        left = int((deadline - time.monotonic()) * 500)
        return b"WAIT", b"%d" % self._replicas, b"%d" % max(left, 1)

    def _check_replicas(self, answer: Any) -> None:
        """Raise ``StoreUnavailable`` unless WAIT has answered that enough replicas have the last write."""
        if isinstance(answer, ResponseError):
            what = f"written, but WAIT, which ?wait={self._replicas} needs, was refused: {answer}"
        elif answer < self._replicas:
            what = f"written, but only {answer} of {self._replicas} replicas had it in time"
        else:
            return
        raise StoreUnavailable(f"Redis at {self!r}: {what}", answer_lost=True)

    def _exchange(self, exchange: _Exchange, what: Any, writes: bool, repeatable: bool, deadline: float | None) -> Any:
        if deadline is None:
            deadline = self.deadline()
        try:
            return self._attempt(exchange, what, writes, deadline)
        except Stale as stale:
            if stale.answer_lost and not repeatable:
                raise
            try:
                return self._attempt(exchange, what, writes, deadline)
            except StoreUnavailable as error:
                error.answer_lost = error.answer_lost or stale.answer_lost
                raise

    def _attempt(self, exchange: _Exchange, what: Any, writes: bool, deadline: float) -> Any:
        pool = self._own_pool()
        place: Place | None = None
        reused = hurried = False
        try:
            left = deadline - time.monotonic()
            if left <= 0:
                raise StoreUnavailable(f"Redis at {self!r}: not done within {self._timeout:g} s")
            place = pool.take(left)
            connection = place.connection
            if connection is None:
                left = deadline - time.monotonic()
                hurried = left < NEARLY_ALL * self._timeout
                connection = place.connection = self._connect(max(left, 0.001) if hurried else self._timeout)
            else:
                reused = True
            answer = exchange(connection, what, deadline)
        except StoreUnavailable:
            pool.discard(place)
            raise
        except ReadOnlyError as error:
            # A primary that is one no more, and applied nothing. A new connection may lead to its successor.
            pool.discard(place)
            pool.clear()
            raise self._failed(error, reused, answer_lost=False) from error
        except ResponseError:
            assert place is not None
            pool.give(place)
            raise
        except BaseException as error:
            # What comes next on this connection would be the answer to this command.
            pool.discard(place)
            if not isinstance(error, FAILURES):
                raise
            pool.clear()  # They are as old.
            stale = reused and isinstance(error, Disconnected)
            error = self._without_secrets(error)
            raise self._failed(error, stale, answer_lost=writes) from error
        if hurried:
            # Its own time-out is shorter than that of the operations to come.
            pool.discard(place)
            return answer
        # As pool.give() does, without a moment at which a signal handler could run before it.
        pool.idle.append(place)
        if not pool.calm:
            pool.serve()
        return answer

    def _new_pool(self) -> Pool:
        pool = Pool(self._size, self._timeout, _disconnect, "Redis", "?pool= in the URL")
        pool.ends = False
        return pool

    def _own_pool(self) -> Pool:
        """Return the pool of this process: after a fork, one for all of its threads.

        What was inherited goes with the last reference to it: redis-py says nothing to the server then.
        """
        pool = self._pool
        if not pool.mark[0]:
            pool = self._pool = pool.heirs.setdefault(os.getpid(), self._new_pool())
        return pool

    def _connect(self, patience: float) -> Connection:
        connection = None
        settings = {**self._source.connection_kwargs, "socket_timeout": patience}
        settings["socket_connect_timeout"] = min(settings.get("socket_connect_timeout") or patience, patience)
        try:
            connection = self._source.connection_class(**settings)
            connection.connect()
        except BaseException as error:
            if connection is not None:
                connection.disconnect()
            if not isinstance(error, FAILURES):
                raise
            error = self._without_secrets(error)
            raise self._failed(error, stale=False, answer_lost=False) from error
        return connection

    def _failed(self, error: BaseException, stale: bool, answer_lost: bool) -> StoreUnavailable:
        kind = Stale if stale else StoreUnavailable
        return kind(f"Redis at {self!r}: {error}", answer_lost=answer_lost)

    def _without_secrets(self, error: BaseException) -> BaseException:
        """Return ``error``, or one that may be shown in its place."""
        if isinstance(error, MasterNotFoundError):
            # redis-py 6.3 to 7.3 quotes each Sentinel with its password.
            return MasterNotFoundError("no Sentinel names a primary")
        sentinel = getattr(self._source, "sentinel_manager", None)
        logins = [self._source.connection_kwargs, sentinel.sentinel_kwargs if sentinel else {}]
        return without_passwords(error, [login.get("password") for login in logins])


def _disconnect(connection: Connection) -> None:
    connection.disconnect()


def _one(connection: Connection, command: Command, deadline: float) -> Any:
    connection.send_packed_command(connection.pack_command(*command), check_health=False)
    _await_answer(connection, deadline)
    return connection.read_response(disable_decoding=True)


def _several(connection: Connection, commands: Sequence[Command], deadline: float) -> list[Any]:
    """Send all, then read as many answers, whatever they are; but ``ReadOnlyError`` is raised."""
    connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [_answer(connection, deadline) for _ in commands]


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
