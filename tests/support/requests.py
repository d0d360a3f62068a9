"""Environs with and without a body, and a browser that meets an outage."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults

from hypothesis import strategies as st

from tests.support.site import ANN, Browser, Site
from wsgi_session import Session, login

URLENCODED = "application/x-www-form-urlencoded"

plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.just("email"), children),
    max_leaves=10,
)


def make_environ(
    path: str = "/", *, method: str = "GET", query: str = "", script: str = "", **more: Any
) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": script,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.input": BytesIO(),
    }
    setup_testing_defaults(environ)
    return {**environ, **more}


def with_body(body: bytes, content_type: str = URLENCODED, stream: Any = None, **more: Any) -> dict[str, Any]:
    """Return the environ of a POST. Its input is ``stream``, or by default a ``Wire``."""
    given: dict[str, Any] = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), **more}
    given["wsgi.input"] = Wire(body) if stream is None else stream
    return make_environ(method="POST", **given)


class Wire:
    """A body like a socket's: it is read once, in small pieces, and must not be asked for more bytes than it has."""

    def __init__(self, body: bytes, piece: int = 1000) -> None:
        self._left = BytesIO(body)
        self._size = len(body)
        self._piece = piece

    @property
    def left(self) -> int:
        """The number of bytes that were not read."""
        return self._size - self._left.tell()

    def read(self, size: int) -> bytes:
        assert size <= self.left, f"asked for {size} bytes where {self.left} are left: a socket blocks here"
        return self._left.read(min(size, self._piece))


def session_in(environ: dict[str, Any]) -> Session:
    session = environ["session"]
    assert isinstance(session, Session), type(session)
    return session


def browser_in_an_outage(key: str = "session") -> Browser:
    """Return a browser in which Ann is logged in, at a site whose store is down."""
    site = Site(environ_key=key)
    browser = site.browser()
    browser.call(lambda environ: login(environ, ANN, key=key))
    assert browser.header
    site.calls.fail("load")
    return browser
