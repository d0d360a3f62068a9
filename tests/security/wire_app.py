"""The site behind the real servers, over SQLite, with the cookie names of https."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from wsgi_session import Session, SessionMiddleware, check_csrf, login, logout, next_url, redirect_if_anonymous

SECRET = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"


def make(store: str) -> SessionMiddleware:
    """Return the site. Servers find this function by name, so that each of their processes has its own site."""
    return SessionMiddleware(application, secret=SECRET, store=store, cookie_secure=True, transport="both")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    session: Session = environ["session"]
    path, arguments = environ["PATH_INFO"], dict(parse_qsl(environ["QUERY_STRING"]))
    if path == "/set":
        session.update(arguments)
    elif path == "/login":
        login(environ, {"id": arguments["as"]})
    elif path == "/logout":
        logout(environ)
    elif path == "/twice":
        return _twice(start_response)
    elif path not in ("/get", "/form"):
        response = redirect_if_anonymous(environ)
        if response is not None:
            return response(environ, start_response)
    if path == "/form":
        return _answer({"checked": check_csrf(environ), **_what_was_sent(environ)}, start_response)
    seen = {"state": session.state, "data": session.copy(), "next": next_url(environ)}
    return _answer(seen, start_response)


def _what_was_sent(environ: dict[str, Any]) -> dict[str, object]:
    """Read the body as an application does, after the CSRF check. (Both servers end a body without a length.)"""
    length = environ.get("CONTENT_LENGTH")
    body = environ["wsgi.input"].read(*([int(length)] if length else []))
    token = environ["session"].csrf_token
    return {"length": len(body), "sha256": hashlib.sha256(body).hexdigest(), "token": token}


def _answer(seen: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


#: One list for all responses. No code may add to it.
TWO = [("Content-Type", "text/plain"), ("Content-Length", "4"), ("set-cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")]


def _twice(start_response: Callable[..., object]) -> Iterable[bytes]:
    start_response("200 OK", TWO)
    return [b"page"]
