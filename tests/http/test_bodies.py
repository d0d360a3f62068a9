"""Rule 15: the application's body and headers reach the server unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from tests.support.site import Browser, Site, put, read
from tests.support.stores import SWEEPS
from wsgi_session.testing.clock import FakeClock

PLAIN = [("Content-Type", "text/plain")]
LOOKS = {"untouched": lambda session: None, "read": read, "new": put(a=1), "destroy": lambda session: session.destroy()}


def returned(site: Site, browser: Browser, body: object, look: Any = read, **environ: Any) -> Any:
    """Return what the server gets if the application returns ``body``."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        look(environ["session"])
        start_response("200 OK", list(PLAIN))
        return body

    return site.middleware(browser.request(app, **environ), lambda status, headers, exc_info=None: lambda data: None)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("body", [[b"page"], (b"pa", b"ge"), []])
def test_a_list_or_tuple_passes_through_as_it_is(site: Site, browser: Browser, body: object, look: str) -> None:
    assert returned(site, browser, body, LOOKS[look]) is body


@pytest.mark.parametrize("look", LOOKS)
def test_an_object_of_the_servers_file_wrapper_passes_through_as_it_is(site: Site, browser: Browser, look: str) -> None:
    body = FileWrapper(BytesIO(b"page"))
    assert returned(site, browser, body, LOOKS[look], **{"wsgi.file_wrapper": FileWrapper}) is body


def test_a_file_passes_through_as_it_is_where_the_servers_file_wrapper_is_a_function(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "page").write_bytes(b"page")
    with (tmp_path / "page").open("rb") as file:
        assert returned(site, browser, file, **{"wsgi.file_wrapper": lambda file, size: file}) is file
        # Without a wrapper the server does not treat files specially: this is a body like any other.
        assert returned(site, browser, file) is not file


def test_a_stream_is_no_file_where_the_servers_file_wrapper_is_a_function(site: Site, browser: Browser) -> None:
    body = Tracked(b"a")
    assert returned(site, browser, body, **{"wsgi.file_wrapper": lambda file, size: file}) is not body


class Tracked:
    """A body that records the calls of its methods."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        self.closed += 1


def test_of_another_body_close_is_called_once(site: Site, browser: Browser) -> None:
    body = Tracked(b"a", b"b")
    result = returned(site, browser, body)
    assert list(result) == [b"a", b"b"]
    assert body.closed == 0
    result.close()
    assert body.closed == 1


def test_chunks_are_the_applications_own_objects(site: Site, browser: Browser) -> None:
    chunks = [b"one chunk", b"another", b""]
    assert [id(chunk) for chunk in returned(site, browser, Tracked(*chunks))] == [id(chunk) for chunk in chunks]


def test_a_body_is_not_read_ahead(site: Site, browser: Browser) -> None:
    made: list[int] = []

    def generate() -> Iterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"x"

    result = iter(returned(site, browser, generate()))
    assert made == []
    next(result)
    assert made == [0]


def test_a_generator_is_read_up_to_its_first_item_and_no_further(site: Site, browser: Browser) -> None:
    made: list[int] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        for number in range(3):
            made.append(number)
            yield b"x"

    body = site.middleware(browser.request(app), lambda status, headers: lambda data: None)
    assert made == [0]
    assert b"".join(body) == b"xxx"


def test_a_body_without_close_is_passed_on(site: Site, browser: Browser) -> None:
    result = returned(site, browser, iter([b"page"]))
    assert list(result) == [b"page"]
    result.close()


def test_the_applications_header_list_is_not_changed(site: Site, browser: Browser) -> None:
    given = [("Content-Type", "text/plain"), ("Cache-Control", "public"), ("Vary", "Accept"), ("Set-Cookie", "x=y")]
    before = list(given)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        start_response("200 OK", given)
        return [b"page"]

    answer = browser.visit(app, lint=False)
    assert given == before
    assert answer.header("Vary") == "Accept, Cookie"


def test_the_applications_own_cookies_stay(site: Site) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        own = [("Set-Cookie", "one=1; Path=/"), ("Set-Cookie", "two=2; Path=/x; Secure")]
        start_response("200 OK", [*PLAIN, *own])
        return [b"page"]

    answer = site.browser().visit(app)
    assert answer.all("Set-Cookie")[:2] == ["one=1; Path=/", "two=2; Path=/x; Secure"]
    assert [cookie.name for cookie in answer.cookies] == ["one", "two", "sid"]


def test_the_order_of_the_applications_headers_stays(browser: Browser) -> None:
    own = [("X-One", "1"), ("Content-Type", "text/plain"), ("X-Two", "2"), ("X-One", "3"), ("Content-Length", "4")]

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        start_response("200 OK", list(own))
        return [b"page"]

    assert browser.visit(app).headers[:5] == own


@pytest.mark.needs(SWEEPS)
def test_a_store_is_swept_after_the_answer(site: Site, browser: Browser, clock: FakeClock) -> None:
    for _ in range(3):
        site.browser().do(put(a=1))
    clock.advance(91 * 86_400)
    site.calls.inner.sweep_due = True
    site.forget()
    body = returned(site, browser, [b"page"], put(a=1))
    assert (list(body), site.calls.log) == ([b"page"], ["create"])
    body.close()
    assert site.calls.log == ["create", "sweep"]
    assert site.calls.inner.sweep_due is False


@pytest.mark.needs(SWEEPS)
def test_a_failing_sweep_harms_nothing(site: Site, browser: Browser) -> None:
    site.calls.inner.sweep_due = True
    site.calls.fail("sweep")
    answer = browser.do(put(a=1))
    assert (answer.code, bool(answer.cookie), len(site.happened("unavailable"))) == (200, True, 1)


@pytest.mark.needs(SWEEPS)
def test_a_list_keeps_its_length_where_the_store_is_swept_at_its_end(site: Site, browser: Browser) -> None:
    site.calls.inner.sweep_due = True
    body = returned(site, browser, [b"pa", b"ge"], put(a=1))
    # Servers use the length: for a list of one item they can set Content-Length.
    assert (body, len(body), isinstance(body, list)) == ([b"pa", b"ge"], 2, True)


@pytest.mark.needs(SWEEPS)
def test_a_tuple_goes_as_it_is_and_the_sweep_stays_due(site: Site, browser: Browser) -> None:
    site.calls.inner.sweep_due = True
    given = (b"page",)
    assert returned(site, browser, given, put(a=1)) is given
    assert site.calls.inner.sweep_due


def test_a_body_that_is_its_own_iterator_is_closed_once_when_the_client_hangs_up(site: Site, browser: Browser) -> None:
    class Body:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            return b"page"

        def close(self) -> None:
            self.closed += 1

    given = Body()
    body = returned(site, browser, given)
    chunks = iter(body)
    assert next(chunks) == b"page"
    body.close()
    del chunks
    assert given.closed == 1
