"""A TCP proxy that can lose a request before it reaches the server, or the reply to a request."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from types import TracebackType
from typing import NamedTuple

CHUNK = 1 << 16


class _Loss(NamedTuple):
    text: bytes
    #: How many bytes of the reply still arrive; ``None``: the request itself is lost.
    let: int | None


class Proxy:
    """Forwards connections to its ``port`` to ``target``, until a test lets it lose something.

    ``tls`` encrypts the connections of the clients, for a server that does not support TLS.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        #: The port to which new connections go. Existing ones are not changed.
        self.target = target
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        #: How many connections there have been.
        self.accepted = 0
        self._lock = threading.Lock()
        self._losses: list[_Loss] = []
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_request(self, text: bytes, times: int = 1) -> None:
        """Cut the connection when the next request that contains ``text`` comes, before the server gets any of it."""
        self._losses += [_Loss(text, None)] * times

    def lose_answer(self, text: bytes, let: int = 0, times: int = 1) -> None:
        """Forward the next request that contains ``text``, and cut the connection after ``let`` bytes of the reply."""
        self._losses += [_Loss(text, let)] * times

    @property
    def pending(self) -> int:
        """The number of losses that have not happened yet."""
        return len(self._losses)

    def sever(self) -> None:
        """Cut all existing connections. New ones are accepted."""
        for one in list(self._open):
            _cut(one)

    def refuse(self) -> None:
        """Accept no more connections. Existing ones stay open."""
        _cut(self._listener)  # close() alone does not wake the thread that accepts.
        self._listener.close()

    def close(self) -> None:
        self.refuse()
        self.sever()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # Closed.
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open |= {client, server}
        line = _Line(client, server)
        back = threading.Thread(target=self._answers, args=(line,), daemon=True)
        back.start()
        self._requests(line)
        _cut(client), _cut(server)
        back.join()
        self._open -= {client, server}
        client.close(), server.close()

    def _requests(self, line: _Line) -> None:
        with contextlib.suppress(OSError):
            while data := line.client.recv(CHUNK):
                loss = self._loss_of(data)
                if loss is not None and loss.let is None:
                    return
                line.loss = loss
                line.server.sendall(data)

    def _answers(self, line: _Line) -> None:
        with contextlib.suppress(OSError):
            while data := line.server.recv(CHUNK):
                if line.loss is not None:
                    line.client.sendall(data[: line.loss.let])
                    break
                line.client.sendall(data)
        _cut(line.client), _cut(line.server)

    def _loss_of(self, data: bytes) -> _Loss | None:
        with self._lock:
            for loss in self._losses:
                if loss.text in data:
                    self._losses.remove(loss)
                    return loss
        return None


class _Line:
    """A client's connection, the connection to the server, and the loss for the next reply."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.loss: _Loss | None = None


def _cut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
