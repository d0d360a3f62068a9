"""The site that each server serves: pages that say what they saw, and bodies that change the session as they stream.

Servers import ``application``. From the environment: ``STORE`` and ``SECRET`` are the middleware's, in ``FOLDER`` the
site notes what became of its bodies, and ``HURRIED_STORE`` is the same store for those who do not wait for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from wsgi_session import Session, SessionMiddleware, check_csrf, login, logout, redirect_if_anonymous

CHUNK = b"x" * 65_536
#: The number of chunks that stand for an endless stream: more than any server and any network buffers.
MANY = 4_000

StartResponse = Callable[..., Callable[[bytes], object]]
Page = Callable[[dict[str, Any], StartResponse, dict[str, str]], Iterable[bytes]]


def see(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with what there is to see."""
    session: Session = environ["session"]
    seen = {
        "state": session.state,
        "data": session.copy(),
        "csrf": session.csrf_token if not session.is_new else None,
        "pid": os.getpid(),
        "scheme": environ["wsgi.url_scheme"],
        "multiprocess": environ["wsgi.multiprocess"],
    }
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    # Some servers send on what they are given, also after HEAD.
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def get(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    return see(environ, start_response)


def put(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    environ["session"].update(arguments)
    return see(environ, start_response)


def fill(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    """Write more than fits a query."""
    environ["session"]["filling"] = "x" * int(arguments["size"])
    return see(environ, start_response)


def log_in(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    login(environ, {"id": arguments["as"]})
    return see(environ, start_response)


def log_out(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    logout(environ)
    return see(environ, start_response)


def profile(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    response = redirect_if_anonymous(environ)
    return response(environ, start_response) if response else see(environ, start_response)


def untouched(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"page"]


def form(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    if check_csrf(environ):
        environ["session"]["posted"] = True
    return see(environ, start_response)


def fail(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    environ["session"].update(arguments)
    raise RuntimeError("as the test asked for")


def stream(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterator[bytes]:
    """Write one key before the first chunk, one between two, and one after the last."""
    session: Session = environ["session"]
    session["early"] = arguments["value"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["REQUEST_METHOD"] == "HEAD":
        return
    yield b"one,"
    session["late"] = arguments["value"]
    yield b"two,"
    yield b"three"
    session["last"] = arguments["value"]


def write(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    session: Session = environ["session"]
    session["early"] = arguments["value"]
    send = start_response("200 OK", [("Content-Type", "text/plain")])
    send(b"one,")
    session["late"] = arguments["value"]
    send(b"two,")
    session["last"] = arguments["value"]
    return [b"three"]


class Endless:
    """A body that is never read to its end. It notes each chunk in the session, and its close in the folder."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        for number in range(MANY):
            self._session[self._name] = number
            yield CHUNK

    def close(self) -> None:
        note(self._name, "closed")


def endless(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    session: Session = environ["session"]
    session.setdefault("early", True)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return Endless(session, arguments["name"])


class Download(FileIO):
    """A file that notes how it was read: not at all, where the server leaves that to the system."""

    def __init__(self, name: str) -> None:
        super().__init__(folder() / "download")
        self._name = name
        self._reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self._reads += 1
        return super().read(-1 if size is None else size) or b""

    def close(self) -> None:
        if not self.closed:
            super().close()
            note(self._name, f"closed after {self._reads} reads")


def download(environ: dict[str, Any], start_response: StartResponse, arguments: dict[str, str]) -> Iterable[bytes]:
    environ["session"]["downloads"] = environ["session"].get("downloads", 0) + 1
    file = Download(arguments["name"])
    size = os.path.getsize(folder() / "download")
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
    wrapper = environ.get("wsgi.file_wrapper")
    body: Iterable[bytes] = wrapper(file, len(CHUNK)) if wrapper else Chunks(file)
    return body


class Chunks:
    """What an application does for a server without a file wrapper."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(len(CHUNK)), b"")


PAGES: dict[str, Page] = {
    "/get": get,
    "/put": put,
    "/fill": fill,
    "/login": log_in,
    "/logout": log_out,
    "/profile": profile,
    "/untouched": untouched,
    "/form": form,
    "/fail": fail,
    "/stream": stream,
    "/write": write,
    "/endless": endless,
    "/download": download,
}


def site(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    return PAGES[environ["PATH_INFO"]](environ, start_response, dict(parse_qsl(environ["QUERY_STRING"])))


def folder() -> Path:
    return Path(os.environ["FOLDER"])


def note(name: str, text: str) -> None:
    """Leave ``text`` for the test to find, whole or not at all."""
    new = folder() / f"{name}.{os.getpid()}"
    new.write_text(text)
    new.rename(folder() / name)


def open_sessions(store: str) -> SessionMiddleware:
    return SessionMiddleware(site, secret=os.environ["SECRET"], store=store)


sessions = open_sessions(os.environ["STORE"])
hurried = open_sessions(os.environ.get("HURRIED_STORE", os.environ["STORE"]))
# A connection is open from here on: servers that fork after they have loaded the site pass it on.
sessions.store.ping()


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    return (hurried if "HTTP_X_HURRY" in environ else sessions)(environ, start_response)
