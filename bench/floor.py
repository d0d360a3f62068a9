"""The floor: the least Python that keeps a signed random id in a cookie and the session in a store.

Each application has every step inline: find the cookie, verify its HMAC-SHA256 (from hash states that were keyed
beforehand, which takes half the time of ``hmac.new``), one get, ``json.loads``; on a write ``json.dumps``, one set and
one Set-Cookie. It has no expiry, no rotation, no protection from lost updates and no headers for caches, so do not use
it for a site. It shows what Python and the engine cost; whatever a contender takes above it is the cost of its layer.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from secrets import token_bytes, token_urlsafe
from typing import Any

from bench.payload import HEADERS, LARGE, NOBODY, SMALL, VISITS, App, untouched

Get = Callable[[str], "str | bytes | None"]
Put = Callable[[str, str], Any]

#: Seconds that a session stays in Redis without a write: 30 days, as long as its cookie.
AGE = 2_592_000


def applications(get: Get, insert: Put, update: Put) -> dict[str, App]:
    """Return the application for each of ``payload.WORKS``, over a store with these three calls."""
    key = token_bytes(64)
    inner = sha256(bytes(byte ^ 0x36 for byte in key))
    outer = sha256(bytes(byte ^ 0x5C for byte in key))
    loads, dumps = json.loads, json.dumps

    def read(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        email = NOBODY
        header = environ.get("HTTP_COOKIE", "")
        start = header.find("sid=")
        if start >= 0:
            end = header.find(";", start)
            token, _, signature = (header[start + 4 :] if end < 0 else header[start + 4 : end]).partition(".")
            first = inner.copy()
            first.update(token.encode())
            second = outer.copy()
            second.update(first.digest())
            if compare_digest(second.hexdigest(), signature):
                data = get(token)
                if data is not None:
                    email = loads(data)["email"]
        start_response("200 OK", HEADERS.copy())
        return [email.encode()]

    def read_nested(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        email = NOBODY
        header = environ.get("HTTP_COOKIE", "")
        start = header.find("sid=")
        if start >= 0:
            end = header.find(";", start)
            token, _, signature = (header[start + 4 :] if end < 0 else header[start + 4 : end]).partition(".")
            first = inner.copy()
            first.update(token.encode())
            second = outer.copy()
            second.update(first.digest())
            if compare_digest(second.hexdigest(), signature):
                data = get(token)
                if data is not None:
                    email = loads(data)["user"]["email"]
        start_response("200 OK", HEADERS.copy())
        return [email.encode()]

    def write(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        visits, headers = 0, HEADERS.copy()
        header = environ.get("HTTP_COOKIE", "")
        start = header.find("sid=")
        if start >= 0:
            end = header.find(";", start)
            token, _, signature = (header[start + 4 :] if end < 0 else header[start + 4 : end]).partition(".")
            first = inner.copy()
            first.update(token.encode())
            second = outer.copy()
            second.update(first.digest())
            if compare_digest(second.hexdigest(), signature):
                data = get(token)
                if data is not None:
                    session = loads(data)
                    visits = session["visits"] = session["visits"] + 1
                    update(token, dumps(session))
                    cookie = f"sid={token}.{signature}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
                    headers.append(("Set-Cookie", cookie))
        start_response("200 OK", headers)
        return [(VISITS % visits).encode()]

    def new(payload: dict[str, Any]) -> App:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            session: dict[str, Any] = {}
            session.update(payload)
            token = token_urlsafe(32)
            first = inner.copy()
            first.update(token.encode())
            second = outer.copy()
            second.update(first.digest())
            insert(token, dumps(session))
            cookie = f"sid={token}.{second.hexdigest()}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
            headers = HEADERS.copy()
            headers.append(("Set-Cookie", cookie))
            start_response("200 OK", headers)
            return [NOBODY.encode()]

        return application

    return {
        "untouched": untouched,
        "read": read,
        "read_nested": read_nested,
        "write": write,
        "new_small": new(SMALL),
        "new_large": new(LARGE),
    }


def memory() -> dict[str, App]:
    """Return the floor's applications over a plain dict."""
    store: dict[str, str] = {}
    return applications(store.get, store.__setitem__, store.__setitem__)


def sqlite(folder: Path) -> tuple[dict[str, App], sqlite3.Connection]:
    """Return the floor's applications over one SQLite connection (WAL, ``synchronous=NORMAL``), and the connection."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = normal")
    connection.execute("CREATE TABLE sessions (token TEXT PRIMARY KEY, data TEXT)")
    execute = connection.execute

    def get(token: str) -> str | None:
        row = execute("SELECT data FROM sessions WHERE token = ?", (token,)).fetchone()
        return None if row is None else row[0]

    def insert(token: str, data: str) -> None:
        execute("INSERT INTO sessions VALUES (?, ?)", (token, data))

    def update(token: str, data: str) -> None:
        execute("UPDATE sessions SET data = ? WHERE token = ?", (data, token))

    return applications(get, insert, update), connection


def redis(url: str) -> tuple[dict[str, App], Any]:
    """Return the floor's applications over redis-py as it comes (GET; SET with EX), and the client."""
    from redis import Redis

    client = Redis.from_url(url)
    set_ = client.set

    def put(token: str, data: str) -> None:
        set_(token, data, ex=AGE)

    return applications(client.get, put, put), client


def postgresql(url: str) -> tuple[dict[str, App], Any]:
    """Return the floor's applications over one connection of psycopg in autocommit, and the connection."""
    import psycopg

    connection = psycopg.connect(url, autocommit=True)
    connection.execute("CREATE TABLE floor (token TEXT PRIMARY KEY, data TEXT)")
    execute = connection.execute

    def get(token: str) -> str | None:
        row = execute("SELECT data FROM floor WHERE token = %s", (token,)).fetchone()
        return None if row is None else row[0]

    def insert(token: str, data: str) -> None:
        execute("INSERT INTO floor VALUES (%s, %s)", (token, data))

    def update(token: str, data: str) -> None:
        execute("UPDATE floor SET data = %s WHERE token = %s", (data, token))

    return applications(get, insert, update), connection
