"""Send commands to one Redis server; each connection carries one request and its reply at a time.

redis-py opens the connections, speaks the protocol and finds the server. Requests bypass its client and its pool. Those
take longer than the server itself (36 µs for a GET; this module takes 11 µs) and send commands again that may have been
applied. If a greenlet is killed, they also return a connection to the pool (with Sentinel) before its reply was read,
and the next caller gets that reply (similar to CVE-2023-28858).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ReadOnlyError, ResponseError
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.pool import NEARLY_ALL, Pool, Slot
from wsgi_session.stores.redis.exchange import Command, Connection, PartlyReadOnly, send_one, send_pipeline
from wsgi_session.stores.redis.failures import FAILURES, without_passwords
from wsgi_session.stores.redis.scripts import CONFLICT, EXISTS
from wsgi_session.stores.redis.sentinel import Primary

_Exchange = Callable[[Connection, Any, float], Any]


class StaleConnection(StoreUnavailable):
    """The server has closed an idle connection. A new connection may work."""


class Node:
    """The server that redis-py's pool ``source`` connects to. Uses the pool's settings, but not its connections.

    ``size``: the maximum number of connections. ``wait``: how many replicas must acknowledge a write before it
    succeeds.

    ``timeout``: the seconds that one operation may take, including the wait for a free connection, connecting, and
    every attempt; ``None`` for the ``socket_timeout`` of ``source``, or 1 s if it has none.

    The methods take a ``deadline``, the time of ``time.monotonic()`` at which the operation must have finished. Without
    one, the operation begins with that call.
    """

    def __init__(self, source: ConnectionPool, size: int, wait: int, timeout: float | None) -> None:
        self._source = source
        timeout = timeout or source.connection_kwargs.get("socket_timeout") or 1.0
        self._replicas = wait
        self._size = size
        self._timeout = timeout
        self._primary = Primary(source) if isinstance(source, SentinelConnectionPool) and source.is_master else None
        self._pool = self._new_pool()

    def deadline(self) -> float:
        """Return the deadline of an operation that begins now, in seconds of ``time.monotonic()``."""
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
        """Send a command and return its reply. (``name``, the key, is ignored here; a cluster chooses the node by it.)

        If the server had closed an idle connection, the command is sent again on a new one; a write only if it cannot
        have been applied or is ``repeatable``. Raises redis-py's ``ResponseError`` if the server rejects the command,
        and ``StoreUnavailable`` for every other failure.
        """
        waits = writes and self._replicas > 0
        if not (waits or asking):
            return self._send_with_retry(send_one, command, writes, repeatable, deadline)
        commands = [(b"ASKING",), command] if asking else [command]
        if waits:
            deadline = self.deadline() if deadline is None else deadline
            commands.append(self._wait_until(deadline))
        answers = self._send_with_retry(send_pipeline, commands, writes, repeatable, deadline)
        answer = answers[asking]
        if isinstance(answer, ResponseError):
            raise answer
        # Wait for GONE too: the replicas may not have the write that ended the session. (WAIT counts only the writes of
        # this connection.)
        if waits and answer not in (CONFLICT, EXISTS):
            self._check_replicas(answers[-1])
        return answer

    def call_many(
        self,
        names: Sequence[bytes],
        commands: Sequence[Command],
        writes: bool = False,
        deadline: float | None = None,
    ) -> list[Any]:
        """Send several commands, each for one of the keys ``names``, in one round trip; return the replies.

        The reply to a rejected command is a ``ResponseError``. Otherwise as :meth:`call`; every command must be safe to
        send twice.
        """
        if not (writes and self._replicas > 0):
            answers: list[Any] = self._send_with_retry(send_pipeline, commands, writes, True, deadline)
            return answers
        deadline = self.deadline() if deadline is None else deadline
        commands = [*commands, self._wait_until(deadline)]
        *answers, replicas = self._send_with_retry(send_pipeline, commands, writes, True, deadline)
        self._check_replicas(replicas)
        return answers

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the names of all keys that match ``pattern``, a few hundred at a time; some are yielded twice."""
        cursor = b"0"
        while True:
            cursor, names = self.call(b"", b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"500")
            yield names
            if cursor == b"0":
                return

    def eviction_policies(self, deadline: float) -> list[str]:
        """Return a list with the server's ``maxmemory-policy``, empty if the server does not report it.

        INFO is used, because many hosted servers reject CONFIG.
        """
        try:
            lines = self.call(b"", b"INFO", b"memory", deadline=deadline).decode().splitlines()
        except ResponseError:
            return []
        return [line.partition(":")[2] for line in lines if line.startswith("maxmemory_policy:")]

    def names(self, name: bytes, deadline: float) -> list[bytes]:
        """Return the name of a key on each node that accepts writes; here there is one node."""
        return [name]

    def close(self) -> None:
        self._process_pool().close()
        if self._primary is not None:
            self._primary.close()

    def __repr__(self) -> str:
        service = getattr(self._source, "service_name", None)
        if service is not None:
            return f"{service} (through Sentinel)"
        settings = self._source.connection_kwargs
        return str(settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}")

    def _wait_until(self, deadline: float) -> Command:
        # Half of the time left, because the server checks its timeouts only every 100 ms. So it gives up first, and
        # still reports how many replicas have acknowledged.
        left = int((deadline - time.monotonic()) * 500)
        return b"WAIT", b"%d" % self._replicas, b"%d" % max(left, 1)

    def _check_replicas(self, answer: Any) -> None:
        """Raise ``StoreUnavailable`` unless WAIT has replied that enough replicas have the last write."""
        if isinstance(answer, ResponseError):
            message = f"written, but the server rejected WAIT, which ?wait={self._replicas} needs: {answer}"
        elif answer < self._replicas:
            message = f"written, but only {answer} of {self._replicas} replicas acknowledged in time."
        else:
            return
        raise StoreUnavailable(f"Redis at {self!r}: {message}", answer_lost=True)

    def _send_with_retry(
        self, exchange: _Exchange, commands: Any, writes: bool, repeatable: bool, deadline: float | None
    ) -> Any:
        if deadline is None:
            deadline = self.deadline()
        try:
            return self._send_once(exchange, commands, writes, deadline)
        except StaleConnection as stale:
            if stale.answer_lost and not repeatable:
                raise
            try:
                return self._send_once(exchange, commands, writes, deadline)
            except StoreUnavailable as error:
                error.answer_lost = error.answer_lost or stale.answer_lost
                raise

    def _send_once(self, exchange: _Exchange, commands: Any, writes: bool, deadline: float) -> Any:
        pool = self._process_pool()
        slot: Slot | None = None
        reused = short_timeout = False
        try:
            left = deadline - time.monotonic()
            if left <= 0:
                raise StoreUnavailable(f"Redis at {self!r}: the operation did not finish within {self._timeout:g} s.")
            slot = pool.acquire(left)
            connection, primary = slot.connection, self._primary
            if connection is not None and primary is not None and primary.is_elsewhere(connection, deadline):
                slot.close()
                connection = None
            if connection is None:
                left = deadline - time.monotonic()
                short_timeout = left < NEARLY_ALL * self._timeout
                connection = slot.connection = self._connect(max(left, 0.001) if short_timeout else self._timeout)
            else:
                reused = True
            answer = exchange(connection, commands, deadline)
        except StoreUnavailable:
            pool.discard(slot)
            raise
        except ReadOnlyError as error:
            # The server is no longer the primary. A new connection may reach the new primary.
            pool.discard(slot)
            pool.close_idle()
            raise self._store_error(error, reused, answer_lost=isinstance(error, PartlyReadOnly)) from error
        except ResponseError:
            assert slot is not None
            pool.release(slot)
            raise
        except BaseException as error:
            # Close the connection: its next read would return the reply to this command.
            pool.discard(slot)
            if not isinstance(error, FAILURES):
                raise
            pool.close_idle()  # The other idle connections have probably failed too.
            stale = reused and isinstance(error, Disconnected)
            error = self._without_secrets(error)
            raise self._store_error(error, stale, answer_lost=writes) from error
        if short_timeout:
            # The timeout of this connection is too short for later operations.
            pool.discard(slot)
            return answer
        # The same as pool.release(), but no signal handler can run before it.
        pool.idle.append(slot)
        if not pool.uncontended:
            pool.rebalance()
        return answer

    def _new_pool(self) -> Pool:
        pool = Pool(self._size, self._timeout, _disconnect, "Redis", "?pool= in the URL")
        pool.raises_when_closed = False
        return pool

    def _process_pool(self) -> Pool:
        """Return the pool of this process: after a fork, a new one for all of its threads.

        Inherited connections are closed when they are no longer referenced; redis-py sends nothing to the server then.
        """
        pool = self._pool
        if not pool.fork_mark[0]:
            pool = self._pool = pool.per_process.setdefault(os.getpid(), self._new_pool())
        return pool

    def _connect(self, timeout: float) -> Connection:
        connection = None
        settings = {**self._source.connection_kwargs, "socket_timeout": timeout}
        settings["socket_connect_timeout"] = min(settings.get("socket_connect_timeout") or timeout, timeout)
        try:
            connection = self._source.connection_class(**settings)
            connection.connect()
        except BaseException as error:
            if connection is not None:
                connection.disconnect()
            if not isinstance(error, FAILURES):
                raise
            error = self._without_secrets(error)
            raise self._store_error(error, stale=False, answer_lost=False) from error
        return connection

    def _store_error(self, error: BaseException, stale: bool, answer_lost: bool) -> StoreUnavailable:
        error_class = StaleConnection if stale else StoreUnavailable
        return error_class(f"Redis at {self!r}: {error}", answer_lost=answer_lost)

    def _without_secrets(self, error: BaseException) -> BaseException:
        """Return ``error``, or a replacement without passwords."""
        if isinstance(error, MasterNotFoundError):
            # redis-py 6.3 to 7.3 puts each Sentinel's password into the message.
            return MasterNotFoundError("No Sentinel names a primary.")
        sentinel = getattr(self._source, "sentinel_manager", None)
        logins = [self._source.connection_kwargs, sentinel.sentinel_kwargs if sentinel else {}]
        return without_passwords(error, [login.get("password") for login in logins])


def _disconnect(connection: Connection) -> None:
    connection.disconnect()
