"""A visitor of a site under a session middleware, in process: one request at a time, cookies kept as browsers do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

from wsgi_session import Session, SessionMiddleware, login, user_email_or_none

SECRET = "5f1c0de2b7a94c3a8d6e9f0b1a2c3d4e"
COOKIE = "sid"

#: What a page does with its session. What it returns is what the visitor sees.
Page = Callable[[Session], dict[str, Any]]


class Answer(NamedTuple):
    """The answer to one request."""

    status: int
    #: What the page returned, if the status is a success.
    saw: dict[str, Any]
    #: The cookie that the visitor has from now on, ``None`` for none.
    cookie: str | None


def make_site(store: str) -> SessionMiddleware:
    """Return a site over the store with this URL. Activity is noted every second, so that some requests touch."""
    return SessionMiddleware(_application, secret=SECRET, store=store, cookie_name=COOKIE, touch_interval=1.0)


def visit(site: SessionMiddleware, cookie: str | None, page: Page) -> Answer:
    """Make one request with ``cookie``."""
    environ: dict[str, Any] = {"faults.page": page, "faults.saw": {}, "wsgi.multiprocess": True}
    if cookie is not None:
        environ["HTTP_COOKIE"] = f"{COOKIE}={cookie}"
    setup_testing_defaults(environ)
    sent: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        sent.append((status, headers))
        return lambda data: None

    body = site(environ, start_response)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()
    status, headers = sent[-1]
    return Answer(int(status[:3]), environ["faults.saw"] if status[0] == "2" else {}, _kept(cookie, headers))


def email(whose: str) -> str:
    """Return the address of the user that logs in under the label ``whose``."""
    return f"{whose}@example.com"


def enter(session: Session, whose: str) -> None:
    """Log in under the label ``whose``, which the session shows from then on."""
    login({"session": session}, {"id": whose, "email": email(whose)})
    session["whose"] = whose


def _application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    session = environ["session"]
    # First: which user does the site show to this visitor?
    saw = {"state": session.state, "whose": session.get("whose"), "cart": session.get("cart")}
    address = user_email_or_none({"session": session})
    if address is not None and address != email(saw["whose"]):
        saw["whose"] = f"{saw['whose']}, logged in as {address}"
    environ["faults.saw"] = saw | environ["faults.page"](session)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


def _kept(cookie: str | None, headers: list[tuple[str, str]]) -> str | None:
    for name, value in headers:
        if name == "Set-Cookie":
            pair, _, attributes = value.partition(";")
            cookie = None if "max-age=0" in attributes.lower() else pair.partition("=")[2]
    return cookie
