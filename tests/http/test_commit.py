"""Rules 3 and 13: saved before the response leaves, once; a failed request is not saved."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.support.client import Answer, Application, Server
from tests.support.site import ANN, Browser, MakeSite, Site, log_in, log_out, page, put, read
from tests.support.stores import SERVER
from wsgi_session import StoreUnavailable

PLAIN = [("Content-Type", "text/plain")]


class Chunks:
    """A body that records whether it was closed."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = iter(chunks)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed += 1


class Failure(Exception):
    pass


# An application in each of the forms that PEP 3333 allows; `change` is called at the last moment before the commit.


def change_after_start_response(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(PLAIN))
    environ["test.change"](environ["session"])
    return [b"page"]


def change_before_start_response(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ["test.change"](environ["session"])
    start_response("200 OK", list(PLAIN))
    return [b"page"]


def generator(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(PLAIN))
    environ["test.change"](environ["session"])
    yield b"pa"
    yield b"ge"


def generator_called_first(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Return a generator, with start_response called outside of it."""
    start_response("200 OK", list(PLAIN))
    environ["test.change"](environ["session"])
    return (chunk for chunk in (b"pa", b"ge"))


def write(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    sender = start_response("200 OK", list(PLAIN))
    environ["test.change"](environ["session"])
    sender(b"pa")
    sender(b"ge")
    return []


def start_response_twice(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/html"), ("X-First", "yes")])
    environ["test.change"](environ["session"])
    try:
        raise Failure
    except Failure:
        start_response("200 OK", list(PLAIN), sys.exc_info())
    return [b"page"]


def iterator_with_close(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(PLAIN))
    environ["test.change"](environ["session"])
    return Chunks(b"pa", b"ge")


def an_empty_first_chunk(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(PLAIN))
    environ["test.change"](environ["session"])
    yield b""
    yield b"page"


FORMS = [
    change_after_start_response,
    change_before_start_response,
    generator,
    generator_called_first,
    write,
    start_response_twice,
    iterator_with_close,
    an_empty_first_chunk,
]


@pytest.fixture(params=[True, False], ids=["linted", "bare"])
def lint(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("app", FORMS)
def test_a_change_is_saved_before_the_answer_leaves(site: Site, browser: Browser, app: Application, lint: bool) -> None:
    answer = browser.visit(app, lint=lint, **{"test.change": put(a=1)})
    assert site.calls.log == ["create", "answer"]
    assert (answer.status, answer.body, answer.header("Content-Type")) == ("200 OK", b"page", "text/plain")
    assert answer.header("X-First") is None
    assert browser.do(read).result == {"a": 1}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("app", FORMS)
def test_a_change_to_a_session_that_is_there_is_saved_before_the_answer_leaves(
    site: Site, browser: Browser, app: Application, lint: bool
) -> None:
    browser.do(put(a=[1]))
    site.forget()
    browser.visit(app, lint=lint, **{"test.change": lambda session: session["a"].append(2)})
    assert site.calls.log == ["load", "replace", "answer"]
    assert browser.do(read).result == {"a": [1, 2]}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("app", FORMS)
def test_a_failing_save_is_a_503_and_no_cookie(site: Site, browser: Browser, app: Application, lint: bool) -> None:
    site.calls.fail("create")
    answer = browser.visit(app, lint=lint, **{"test.change": put(a=1)})
    assert (answer.status, answer.header("Retry-After")) == ("503 Service Unavailable", "7")
    assert (answer.cookies, answer.header("Cache-Control")) == ([], "no-store")
    assert b"page" not in answer.body
    assert site.happened("unavailable"), site.events


@pytest.mark.needs(SERVER)
def test_a_failing_save_closes_the_body(site: Site, browser: Browser, lint: bool) -> None:
    body = Chunks(b"page")

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        environ["session"]["a"] = 1
        return body

    site.calls.fail("create")
    answer = browser.visit(app, lint=lint)
    assert (answer.code, body.closed) == (503, 1)


@pytest.mark.needs(SERVER)
def test_a_failing_save_closes_a_generator(site: Site, browser: Browser) -> None:
    closed = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        environ["session"]["a"] = 1
        try:
            yield b"page"
        finally:
            closed.append(True)

    site.calls.fail("create")
    answer = browser.visit(app, lint=False)
    assert (answer.code, closed) == (503, [True])


def test_the_answer_is_forwarded_once(site: Site, browser: Browser) -> None:
    browser.visit(start_response_twice, **{"test.change": read})  # type: ignore[arg-type]
    assert site.calls.log.count("answer") == 1


def test_headers_of_a_replaced_start_response_do_not_go_out(browser: Browser) -> None:
    answer = browser.visit(start_response_twice, **{"test.change": put(a=1)})  # type: ignore[arg-type]
    assert [name for name, _ in answer.headers] == ["Content-Type", "Cache-Control", "Set-Cookie", "Vary"]


class Replayed:
    """A server that has not yet sent its headers when the application replaces them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[tuple[str, str]], bool]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.calls.append((status, headers, exc_info is not None))
        return lambda data: None


@pytest.mark.needs(SERVER)
def test_exc_info_after_the_commit_is_passed_on_with_our_headers_and_nothing_is_saved_again(
    site: Site, browser: Browser
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        environ["session"]["a"] = 1
        yield b""
        try:
            raise Failure
        except Failure:
            start_response("500 Oops", [("Content-Type", "text/html")], sys.exc_info())
        yield b"sorry"

    server = Replayed()
    body = site.middleware(browser.request(app), server)
    assert b"".join(body) == b"sorry"
    body.close()  # type: ignore[attr-defined]
    (first, headers, replaced), (second, again, replaces) = server.calls
    assert (first, replaced, second, replaces) == ("200 OK", False, "500 Oops", True)
    ours = [pair for pair in headers if pair[0] != "Content-Type"]
    assert ("Vary", "Cookie") in ours
    assert again == [("Content-Type", "text/html"), *ours]
    assert site.calls.counts() == {"create": 1}


def test_exc_info_after_the_headers_are_out_raises_what_the_server_raises(browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b"half"
        try:
            raise Failure
        except Failure:
            start_response("500 Oops", list(PLAIN), sys.exc_info())
        yield b"never"

    with pytest.raises(Failure):
        browser.visit(app, lint=False)


def test_a_second_start_response_without_exc_info_after_the_commit_is_the_servers_to_refuse(browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b"half"
        start_response("200 OK", list(PLAIN))

    with pytest.raises(AssertionError, match="twice without exc_info"):
        browser.visit(app, lint=False)


def test_an_application_that_never_calls_start_response_is_the_servers_to_refuse(site: Site, browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        return [b"page"]

    with pytest.raises(AssertionError, match="body before the status"):
        browser.visit(app, lint=False)
    assert site.calls.counts() == {}


def test_a_write_after_the_commit_goes_straight_on(browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        sender = start_response("200 OK", list(PLAIN))
        environ["session"]["a"] = 1
        yield b"a"
        sender(b"b")
        yield b"c"

    assert browser.visit(app, lint=False).body == b"abc"


# Rule 13.


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable", "599 Odd"])
@pytest.mark.parametrize("change", [put(a=1), log_in(ANN), lambda session: session.csrf_token])
def test_what_a_request_answered_with_5xx_wrote_is_not_saved(
    site: Site, browser: Browser, status: str, change: Any, lint: bool
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        change(environ["session"])
        start_response(status, list(PLAIN))
        return [b"sorry"]

    answer = browser.visit(app, lint=lint)
    assert (answer.status, answer.body, answer.cookie, site.calls.counts()) == (status, b"sorry", None, {})


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "404 Not Found", "499 Odd"])
def test_any_other_answer_is_saved(browser: Browser, status: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        start_response(status, list(PLAIN))
        return [b"page"]

    browser.visit(app)
    assert browser.do(read).result == {"a": 1}


def test_the_5xx_that_counts_is_the_one_of_the_commit(browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        start_response("500 Oops", list(PLAIN))
        start_response("200 OK", list(PLAIN))
        return [b"page"]

    browser.visit(app, lint=False)
    assert browser.do(read).result == {"a": 1}


def raising(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ["test.change"](environ["session"])
    raise Failure


def raising_after_start_response(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(PLAIN))
    return raising(environ, start_response)


def raising_in_a_generator(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(PLAIN))
    yield from raising(environ, start_response)


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("app", [raising, raising_after_start_response, raising_in_a_generator])
def test_what_a_request_that_raised_wrote_is_not_saved(
    site: Site, browser: Browser, app: Application, lint: bool
) -> None:
    browser.do(put(a=1))
    site.forget()
    with pytest.raises(Failure):
        browser.visit(app, lint=lint, **{"test.change": put(a=2)})
    assert site.calls.counts() == {"load": 1}
    assert browser.do(read).result == {"a": 1}


def test_a_generator_that_raises_before_its_first_item_is_closed(site: Site, browser: Browser) -> None:
    class Raising(Chunks):
        def __iter__(self) -> Iterator[bytes]:
            raise Failure

    body = Raising()
    with pytest.raises(Failure):
        browser.visit(lambda environ, start_response: body, lint=False)
    assert body.closed == 1


@pytest.mark.needs(SERVER)
def test_a_destroy_stays_done_and_its_cookie_is_removed_with_a_5xx(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    held = browser.copy()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"].destroy()
        start_response("500 Oops", list(PLAIN))
        return [b"sorry"]

    answer = browser.visit(app)
    assert answer.cookie, answer
    assert answer.cookie.removes
    assert held.do(lambda session: session.state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_a_logout_stays_done_when_the_application_raises(browser: Browser) -> None:
    browser.do(log_in(ANN))
    with pytest.raises(Failure):
        browser.visit(raising, **{"test.change": log_out})  # type: ignore[arg-type]
    assert browser.do(lambda session: session.state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_a_revocation_stays_done_with_a_5xx(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    admin = site.browser()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        assert site.middleware.sessions.revoke_all(ANN) == 1
        start_response("500 Oops", list(PLAIN))
        return [b"sorry"]

    admin.visit(app)
    assert browser.do(lambda session: session.state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_an_atomic_stays_done_with_a_5xx_and_its_cookie_goes_out(browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"].atomic(lambda data: data.update(a=1))
        environ["session"]["b"] = 2
        start_response("500 Oops", list(PLAIN))
        return [b"sorry"]

    browser.visit(app)
    assert browser.do(read).result == {"a": 1}


def test_a_login_followed_by_a_500_changes_nothing_for_the_visitor(browser: Browser) -> None:
    browser.do(put(cart=[1]))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        log_in(ANN)(environ["session"])
        start_response("500 Oops", list(PLAIN))
        return [b"sorry"]

    answer = browser.visit(app)
    assert answer.cookie is None
    assert browser.do(lambda session: (session.copy(), session.owner, session.state)).result == (
        {"cart": [1]},
        None,
        "live",
    )


# A save to a session that has ended.


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("change", [put(a=2, b=3), lambda session: session.pop("a"), lambda session: session.clear()])
def test_a_write_to_a_session_that_has_ended_is_dropped_with_an_event(
    site: Site, browser: Browser, change: Any
) -> None:
    browser.do(put(a=1))
    other = browser.copy()
    handles = []

    def slow(session: Any) -> None:
        handles.append(session.handle)
        change(session)
        other.do(lambda session: session.destroy())

    answer = browser.do(slow)
    assert (answer.status, answer.body, answer.cookie) == ("200 OK", b"page", None)
    (dropped,) = site.happened("dropped")
    assert dropped["handle"] == handles[0]
    assert isinstance(dropped["keys"], list)
    assert other.do(lambda session: session.state).result == "new"
    assert browser.do(lambda session: session.state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_the_event_names_the_keys_that_were_dropped(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    browser.do(lambda session: (session.update(z=2, b=3), browser.copy().do(lambda other: other.destroy())))
    assert [event["keys"] for event in site.happened("dropped")] == [["b", "z"]]


@pytest.mark.needs(SERVER)
def test_an_outage_at_the_commit_leaves_the_cookie(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    site.calls.fail("replace")
    answer = browser.do(put(a=2))
    assert (answer.code, answer.cookies) == (503, [])
    site.calls.recover()
    assert browser.do(read).result == {"a": 1}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("method", ["create", "replace", "rotate"])
def test_a_write_whose_answer_was_lost_after_it_was_applied_counts_once(
    site: Site, browser: Browser, method: str
) -> None:
    change = {"create": put(a=1), "replace": put(a=2), "rotate": log_in(ANN)}[method]
    if method != "create":
        browser.do(put(a=1))
    site.calls.fail(method, applied=True, times=1)
    answer = browser.do(change)
    assert answer.code == 200
    again = browser.do(read)
    assert again.result == {"create": {"a": 1}, "replace": {"a": 2}, "rotate": {"a": 1, "user": ANN}}[method]
    assert site.middleware.sessions.count() == 1


def test_head_is_saved_and_answered_as_get_is(site: Site, browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return []

    answer = browser.visit(app, REQUEST_METHOD="HEAD")
    assert (answer.body, answer.header("Content-Length"), bool(answer.cookie)) == (b"", "4", True)
    assert browser.do(read).result == {"a": 1}


@pytest.mark.needs(SERVER)
def test_the_503_to_a_head_has_no_body(site: Site, browser: Browser) -> None:
    site.calls.fail("create")
    answer = browser.do(put(a=1), REQUEST_METHOD="HEAD")
    assert (answer.code, answer.body) == (503, b"")


@pytest.mark.needs(SERVER)
def test_a_write_that_cannot_be_saved_raises_in_the_application(site: Site, browser: Browser) -> None:
    raised = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        sender = start_response("200 OK", list(PLAIN))
        try:
            sender(b"page")
        except StoreUnavailable as error:
            raised.append(error.retry_after)
            raise
        return []

    site.calls.fail("create")
    answer = browser.visit(app)
    assert (answer.code, raised) == (503, [7])


def test_a_request_that_fails_in_a_store_of_its_own_after_the_headers_raises(site: Site, browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))(b"half")
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        browser.visit(app, lint=False)


def test_two_middlewares_of_one_request_each_commit(make_site: MakeSite) -> None:
    outer, inner = make_site(), make_site(environ_key="inner.session", cookie_name="inner")

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["outer"] = 1
        environ["inner.session"]["inner"] = 2
        start_response("200 OK", list(PLAIN))
        return [b"page"]

    browser = outer.browser()
    request = browser.request(inner.middleware, **{"test.app": None})
    request["test.app"] = lambda environ, start_response: inner.middleware({**environ, "test.app": app}, start_response)
    answer: Answer = Server([]).run(outer.middleware, request)
    assert sorted(cookie.name for cookie in answer.cookies) == ["inner", "sid"]
    assert answer.header("Vary") == "Cookie"


def test_a_page_without_a_session_still_goes_through(browser: Browser) -> None:
    assert browser.visit(page([b"a", b"b"])).body == b"ab"
