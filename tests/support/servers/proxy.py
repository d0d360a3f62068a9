"""A TCP proxy that loses what a test wants lost: a request before the server has it, or the answer to one."""

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
    #: Bytes of the answer that still get through; ``None``: the request itself is lost.
    let: int | None


class Proxy:
    """Passes connections to ``port`` on this machine on to ``target``, until it is told to lose something.

    With ``tls`` the clients' side is encrypted, for a server that cannot do it.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        #: The port that new connections go to. Those that there are stay where they are.
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
        """Cut the connection when the next request that contains ``text`` comes, before the server has any of it."""
        self._losses += [_Loss(text, None)] * times

    def lose_answer(self, text: bytes, let: int = 0, times: int = 1) -> None:
        """Let the next request that contains ``text`` through, and cut the connection ``let`` bytes into its answer."""
        self._losses += [_Loss(text, let)] * times

    @property
    def pending(self) -> int:
        """How many losses have not come to pass."""
        return len(self._losses)

    def sever(self) -> None:
        """Cut every connection there is. New ones are welcome."""
        for one in list(self._open):
            _cut(one)

    def refuse(self) -> None:
        """Let nobody connect any more. The connections that there are stay."""
        _cut(self._listener)  # Close alone does not wake the thread that accepts.
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
    """A client's connection, the one to the server, and what is to be lost of the answer that comes next."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.loss: _Loss | None = None


def _cut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
