"""Real servers, and a client that sends exactly the bytes that it is given."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import ROOT
from tests.support.client import Cookie, parse_cookie
from tests.support.servers.process import Server


class Waitress(Server):
    """The site of ``wire_app`` behind waitress, in a separate process."""

    name = "waitress"

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.store = f"sqlite:///{database}"

    def command(self) -> Sequence[str]:
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            "from waitress import serve\n"
            "from tests.security.wire_app import make\n"
            f"serve(make({self.store!r}), host='127.0.0.1', port={self.port})"
        )
        return [sys.executable, "-c", code]

    def answers(self) -> bool:
        try:
            return Wire(self.port).get("/get").status == 200
        except OSError:
            return False

    def remove_now(self) -> None:
        self.stop()
        self.remove(os.getpid())


class Gunicorn(Waitress):
    """The same behind gunicorn, with two processes."""

    name = "gunicorn"

    def command(self) -> Sequence[str]:
        if sys.platform == "win32":
            pytest.skip("platform: gunicorn does not run here")
        application = f"tests.security.wire_app:make({self.store!r})"
        place = ["--bind", f"127.0.0.1:{self.port}", "--pythonpath", str(ROOT), "--worker-tmp-dir", str(self.folder)]
        return [sys.executable, "-m", "gunicorn", "--workers", "2", *place, application]


SERVERS = [Waitress, Gunicorn]


class Reply(NamedTuple):
    """A server's response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def cookies(self) -> list[Cookie]:
        return [parse_cookie(value) for value in self.all("Set-Cookie")]

    @property
    def data(self) -> dict[str, Any]:
        """The session's data as the site saw it; empty unless the session is live."""
        assert self.status == 200, self
        seen: dict[str, Any] = json.loads(self.body)
        assert seen["data"] == {} or seen["state"] in ("live", "new"), seen
        return seen["data"]  # type: ignore[no-any-return]


class Wire:
    """A client of a server on this machine."""

    #: The name of the site's cookie.
    name = "__Host-sid"

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, target: str | bytes, *headers: bytes) -> Reply:
        """Send a GET with these header lines, byte for byte."""
        return self._send(b"GET", target if isinstance(target, bytes) else target.encode(), headers)

    def post(self, target: bytes, body: bytes, *headers: bytes) -> Reply:
        """Send a POST with these header lines and this body, byte for byte; give a Content-Length yourself."""
        return self._send(b"POST", target, headers, body)

    def _send(self, method: bytes, target: bytes, headers: Sequence[bytes], body: bytes = b"") -> Reply:
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: site.example", b"Connection: close", *headers]
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as connection:
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            answer = b""
            while chunk := connection.recv(65_536):
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        pairs = [(name, value.strip()) for name, _, value in (field.partition(":") for field in fields)]
        return Reply(int(status.split()[1]), pairs, body)

    def session(self, **data: str) -> str:
        """Create a session with ``data``; return its cookie's value."""
        query = "&".join(f"{key}={value}" for key, value in data.items())
        (cookie,) = self.get(f"/set?{query}").cookies
        return cookie.value

    def opened_by(self, *cookies: bytes) -> dict[str, Any]:
        """Return the data of the session for a request with these Cookie headers."""
        return self.get("/get", *(b"Cookie: " + cookie for cookie in cookies)).data
