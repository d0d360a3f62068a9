"""A visitor over real HTTP: keeps a connection and its cookies, and can hang up."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlencode

from tests.security.wire import Reply

#: Seconds that an answer may take, on a machine that is busy.
PATIENCE = 30


class Seen(Reply):
    """An answer of ``site``'s pages."""

    @property
    def seen(self) -> dict[str, Any]:
        assert self.status == 200, self
        seen: dict[str, Any] = json.loads(self.body)
        return seen


class Client:
    """One visitor of the server on ``port``, with ``headers`` in every request; over https with ``tls``.

    The connection is kept for as long as the server keeps it.
    """

    def __init__(
        self,
        port: int,
        jar: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = port
        self.jar = {} if jar is None else jar
        self._always = {"Host": f"127.0.0.1:{port}", **(headers or {})}
        self._tls = tls
        self._twins: list[Client] = []
        self.connection = (
            HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            if tls is None
            else HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=tls)
        )

    def get(self, path: str, /, **arguments: str) -> Seen:
        return self.request("GET", path, arguments)

    def request(
        self,
        method: str,
        path: str,
        arguments: dict[str, str] | None = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Seen:
        target = f"{path}?{urlencode(arguments)}" if arguments else path
        self.connection.request(method, target, body, self.headers(headers))
        response = self.connection.getresponse()
        seen = Seen(response.status, response.getheaders(), response.read())
        self._keep(seen)
        return seen

    def post(self, path: str, **fields: str) -> Seen:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, body=urlencode(fields).encode(), headers=kind)

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.jar.items())} if self.jar else {}
        return {**self._always, **cookies, **(more or {})}

    def twin(self) -> Client:
        """Return the same visitor on a connection of its own: a second tab."""
        self._twins.append(Client(self.port, self.jar, self._always, self._tls))
        return self._twins[-1]

    def hang_up_on(self, head: bytes, let: int, body: bytes = b"") -> bytes:
        """Send a request, read ``let`` bytes of the answer, and cut the connection; return them."""
        lines = [head, *(f"{name}: {value}".encode() for name, value in self.headers().items())]
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            got = b""
            while len(got) < let and (chunk := connection.recv(let - len(got))):
                got += chunk
            # A reset, as when a browser is closed: what is under way is not taken any more.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return got

    def close(self) -> None:
        """Close every connection of this visitor."""
        self.connection.close()
        for twin in self._twins:
            twin.close()

    def _keep(self, seen: Seen) -> None:
        for cookie in seen.cookies:
            if cookie.removes:
                self.jar.pop(cookie.name, None)
            else:
                self.jar[cookie.name] = cookie.value
