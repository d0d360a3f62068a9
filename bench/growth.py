"""How much longer ten times as much data takes, where it could grow faster: ``python -m bench.growth``.

Each line has the milliseconds of processor time of one request for a size, and for ten times that size. (A list that
holds one list twice has eight times as many parts after three more levels.)
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from time import thread_time
from typing import Any

from bench.driver import respond
from wsgi_session import SessionMiddleware, SessionTooLarge
from wsgi_session.helpers.forms import read_field
from wsgi_session.stores import MemoryStore

SECRET = "for-the-bench-only-5d0c2b7f9e1a4836c7d8e9f0a1b2c3d4"


def milliseconds(use: Callable[[dict[str, Any]], object], **environ: Any) -> float:
    """Return the milliseconds that ``use`` takes with the session of a new visitor's request."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        nonlocal taken
        began = thread_time()
        use(environ)
        taken = (thread_time() - began) * 1000
        start_response("200 OK", [])
        return []

    taken = 0.0
    middleware = SessionMiddleware(application, secret=SECRET, store=MemoryStore())
    respond(middleware, {"REQUEST_METHOD": "POST", "wsgi.url_scheme": "https", **environ})
    return taken


def flash(count: int) -> float:
    def use(environ: dict[str, Any]) -> None:
        for _ in range(count):
            environ["session"].flash("Saved.")

    return milliseconds(use)


def flash_in_flask(count: int) -> float:
    import flask

    from wsgi_session.integrations.flask import FlaskSessions

    app = flask.Flask(__name__)
    FlaskSessions(app, secret=SECRET, store=MemoryStore())
    with app.test_request_context():
        began = thread_time()
        for _ in range(count):
            flask.flash("Saved.")
        return (thread_time() - began) * 1000


def popitem(count: int) -> float:
    def use(environ: dict[str, Any]) -> None:
        session = environ["session"]
        session.update({str(number): number for number in range(count)})
        for _ in range(count):
            session.popitem()

    return milliseconds(use)


def form(size: int) -> float:
    body = b"%&" * (size // 2)
    return milliseconds(
        lambda environ: read_field(environ, "csrf_token"),
        CONTENT_TYPE="application/x-www-form-urlencoded",
        CONTENT_LENGTH=str(size),
        **{"wsgi.input": io.BytesIO(body)},
    )


def shared_parts(levels: int) -> float:
    value: Any = []
    for _ in range(levels):
        value = [value, value]

    def use(environ: dict[str, Any]) -> None:
        with suppress(SessionTooLarge):
            environ["session"]["k"] = value

    return milliseconds(use)


CASES: list[tuple[str, Callable[[int], float], int, int]] = [
    ("`session.flash()`, so many times", flash, 200, 2_000),
    ("Flask's `flash()`, so many times", flash_in_flask, 200, 2_000),
    ("`session.popitem()`, so many keys", popitem, 1_000, 10_000),
    ("the CSRF token in a form of so many bytes of `%&`", form, 100_000, 1_000_000),
    ("a list that holds one list twice, so many levels deep", shared_parts, 20, 23),
]


def main() -> None:
    print("| | size | ms | size | ms |\n| --- | --- | --- | --- | --- |")
    for title, cost, small, large in CASES:
        print(f"| {title} | {small:,} | {cost(small):,.1f} | {large:,} | {cost(large):,.1f} |", flush=True)


if __name__ == "__main__":
    main()
