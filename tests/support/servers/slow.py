"""A server that speaks a part of Redis' protocol, and replies late or never, or cuts the connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

#: What an ``answer`` function returns for a command that is never answered.
HANG = None
#: The same for a command after which the connection is cut.
CUT = b""


class SlowServer:
    """Calls ``answer`` with each command, in the thread of its connection, and sends the result.

    The commands that redis-py sends when it connects are answered immediately, unless ``greets`` is false.
    """

    def __init__(self, answer: Callable[[list[bytes]], bytes | None], *, greets: bool = True) -> None:
        self._answer = answer
        self._greets = greets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> SlowServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # Closed.
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), client.makefile("rb") as lines:
            while line := lines.readline():
                command = []
                for _ in range(int(line[1:])):
                    length = int(lines.readline()[1:])
                    command.append(lines.read(length + 2)[:-2])
                greeting = command[0] in (b"CLIENT", b"SELECT") and self._greets
                answer = b"+OK\r\n" if greeting else self._answer(command)
                if answer == CUT:
                    client.shutdown(socket.SHUT_RDWR)
                    return
                if answer is not HANG:
                    client.sendall(answer)
