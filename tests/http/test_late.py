"""Rule 14: changes after the headers are saved or refused; if the session has ended, dropped with an event."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.client import Application
from tests.support.damage import damage
from tests.support.site import ANN, Browser, MakeSite, Site, log_in, log_out, page, put, read
from tests.support.stores import SERVER, SWEEPS
from wsgi_session import HeadersAlreadySent, Session, StoreUnavailable, UnsupportedValue

pytestmark = pytest.mark.needs(SERVER)
Change = Callable[[Session], Any]
PLAIN = [("Content-Type", "text/plain")]


def streaming(late: Change, early: Change = read, status: str = "200 OK") -> Application:
    """Return an application that calls ``late(session)`` between two chunks of its body."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        early(environ["session"])
        start_response(status, list(PLAIN))
        yield b"pa"
        late(environ["session"])
        yield b"ge"

    return app


def after_write(late: Change) -> Application:
    """Return an application that sends with ``write()``, then calls ``late(session)`` and returns a list."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))(b"pa")
        late(environ["session"])
        return [b"ge"]

    return app


def in_close(late: Change) -> Application:
    """Return an application whose body calls ``late(session)`` when it is closed."""

    class Body:
        def __init__(self, session: Session) -> None:
            self.session = session

        def __iter__(self) -> Any:
            return iter([b"pa", b"ge"])

        def close(self) -> None:
            late(self.session)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        return Body(environ["session"])

    return app


FORMS = [streaming, after_write, in_close]


@pytest.fixture
def visitor(browser: Browser) -> Browser:
    browser.do(put(a=1, cart=[]))
    return browser


@pytest.fixture(params=[True, False], ids=["linted", "bare"])
def lint(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("late", "then"),
    [
        (put(b=2), {"a": 1, "cart": [], "b": 2}),
        (lambda session: session["cart"].append("pie"), {"a": 1, "cart": ["pie"]}),
        (lambda session: session.pop("a"), {"cart": []}),
        (lambda session: session.clear(), {}),
        (lambda session: session.atomic(lambda data: data.update(b=2)), {"a": 1, "cart": [], "b": 2}),
    ],
)
def test_a_late_change_is_saved_at_close_if_the_session_has_a_record(
    visitor: Browser, form: Any, late: Change, then: dict[str, Any], lint: bool
) -> None:
    answer = visitor.visit(form(late), lint=lint)
    assert (answer.body, answer.cookie) == (b"page", None)
    assert visitor.do(read).result == then


def test_a_late_change_is_not_saved_before_the_close(site: Site, visitor: Browser) -> None:
    site.forget()
    visitor.visit(streaming(lambda session: [session.update({str(number): number}) for number in range(9)]))
    assert site.calls.log == ["load", "answer", "replace"]


class Bridge:
    """A server that sends the end of the response before it calls ``close()``, or never calls it."""

    def __init__(self, site: Site, browser: Browser, app: Application) -> None:
        self.body: Any = site.middleware(browser.request(app), lambda status, headers: lambda data: None)
        self.received = b"".join(self.body)


def test_a_late_change_is_saved_before_the_server_learns_of_the_end(site: Site, visitor: Browser) -> None:
    server = Bridge(site, visitor, streaming(put(late=2)))
    assert server.received == b"page"
    assert visitor.do(read).result == {"a": 1, "cart": [], "late": 2}, "the next request, before close()"
    server.body.close()
    assert visitor.do(read).result == {"a": 1, "cart": [], "late": 2}


def test_what_changes_after_the_end_of_the_body_is_saved_at_close(site: Site, visitor: Browser) -> None:
    server = Bridge(site, visitor, in_close(put(late=2)))
    assert visitor.do(read).result == {"a": 1, "cart": []}
    server.body.close()
    assert visitor.do(read).result == {"a": 1, "cart": [], "late": 2}


def test_a_late_change_that_was_saved_is_not_saved_again_at_close(site: Site, visitor: Browser) -> None:
    server = Bridge(site, visitor, streaming(lambda session: session["cart"].append("pie")))
    site.forget()
    server.body.close()
    assert site.calls.log == []


def test_a_late_change_that_is_lost_after_all_is_told_of_once(site: Site, visitor: Browser) -> None:
    body: Any = site.middleware(visitor.request(streaming(put(late=2))), lambda status, headers: lambda data: None)
    chunks = iter(body)
    next(chunks)
    site.calls.fail("replace")
    with pytest.raises(StoreUnavailable):
        list(chunks)
    site.calls.recover()
    body.close()
    (dropped,) = site.happened("dropped")
    assert dropped["keys"] == ["late"]
    assert visitor.do(read).result == {"a": 1, "cart": []}, "the client was not told that all is well"


def test_no_garbage_collection_calls_the_store(site: Site, browser: Browser) -> None:
    """It may run during a call of the store, which then has a lock, and would wait for itself."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        start_response("200 OK", list(PLAIN))
        return iter([b"page"])

    site.calls.inner.sweep_due = True
    server: Any = Bridge(site, browser, app)
    server.itself = server
    del server
    site.forget()
    gc.collect()
    assert site.calls.log == []


@pytest.mark.needs(SWEEPS)
@pytest.mark.parametrize("body", ["list", "stream"])
def test_a_server_that_never_calls_close_sweeps_with_the_next_answer(site: Site, browser: Browser, body: str) -> None:
    """It must not sweep when the body is deleted: garbage collection may do that during a call of the store."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        start_response("200 OK", list(PLAIN))
        return [b"page"] if body == "list" else iter([b"page"])

    site.calls.inner.sweep_due = True
    server = Bridge(site, browser, app)
    assert (server.received, site.calls.log) == (b"page", ["create"])
    del server
    gc.collect()
    site.forget()
    Bridge(site, site.browser(), app)
    assert site.calls.log == ["create", "sweep"]
    assert not site.calls.inner.sweep_due
    site.forget()
    Bridge(site, site.browser(), app)
    assert site.calls.log == ["create"]


def test_a_stream_that_changes_nothing_late_saves_nothing_late(site: Site, visitor: Browser) -> None:
    site.forget()
    visitor.visit(streaming(read, early=put(b=1)))
    assert site.calls.log == ["load", "replace", "answer"]


def test_early_and_late_changes_are_both_kept(visitor: Browser) -> None:
    visitor.visit(streaming(put(late=2), early=put(early=1)))
    assert visitor.do(read).result == {"a": 1, "cart": [], "early": 1, "late": 2}


def test_a_session_made_by_the_same_request_takes_late_changes(browser: Browser) -> None:
    browser.visit(streaming(put(late=2), early=put(early=1)))
    assert browser.do(read).result == {"early": 1, "late": 2}


def test_a_late_flash_message_is_kept(visitor: Browser) -> None:
    visitor.visit(streaming(lambda session: session.flash("late")))
    assert visitor.do(lambda session: session.flashes()).result == ["late"]


def test_late_changes_meet_those_of_other_requests(visitor: Browser) -> None:
    def late(session: Session) -> None:
        visitor.copy().do(put(other=1))
        session["late"] = 2

    visitor.visit(streaming(late))
    assert visitor.do(read).result == {"a": 1, "cart": [], "other": 1, "late": 2}


def test_a_late_change_meets_those_of_others_also_after_the_request_renewed_a_session_that_they_kept_alive(
    make_site: MakeSite,
) -> None:
    """The stream ends over an hour after the timeout that it loaded, so it loads the session again to touch it."""
    site = make_site(idle_timeout=4000.0, touch_interval=1.0)
    visitor = site.browser()
    visitor.do(put(before=1))
    other = visitor.copy()

    def stay(session: Session) -> None:
        read(session)
        site.clock.advance(3999.0)
        other.do(put(other=1))
        site.clock.advance(3700.0)

    visitor.visit(streaming(put(late=1), early=stay))
    assert visitor.do(read).result == {"before": 1, "other": 1, "late": 1}


def refused(change: Change) -> tuple[Change, list[type[BaseException]]]:
    caught: list[type[BaseException]] = []

    def late(session: Session) -> None:
        try:
            change(session)
        except Exception as error:
            caught.append(type(error))

    return late, caught


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "change",
    [
        put(b=2),
        lambda session: session.setdefault("b", 2),
        lambda session: session.flash("late"),
        lambda session: session.csrf_token,
        lambda session: session.atomic(lambda data: data.update(b=2)),
        lambda session: session.rotate(),
        log_in(ANN),
    ],
)
def test_a_late_change_that_needs_a_cookie_is_refused_at_the_call(
    site: Site, browser: Browser, form: Any, change: Change
) -> None:
    late, caught = refused(change)
    answer = browser.visit(form(late))
    assert (caught, answer.body, answer.cookie) == ([HeadersAlreadySent], b"page", None)
    assert site.middleware.sessions.count() == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", [lambda session: session.rotate(), log_in(ANN)])
def test_a_late_rotation_or_login_is_refused_at_the_call(visitor: Browser, form: Any, change: Change) -> None:
    late, caught = refused(change)
    visitor.visit(form(late))
    assert caught == [HeadersAlreadySent]
    assert visitor.do(lambda session: (session.copy(), session.owner)).result == ({"a": 1, "cart": []}, None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", [log_out, lambda session: session.destroy()])
def test_a_late_destroy_deletes_the_record_though_the_cookie_stays(
    site: Site, visitor: Browser, form: Any, end: Change
) -> None:
    answer = visitor.visit(form(end))
    assert (answer.cookie, site.middleware.sessions.count()) == (None, 0)
    assert visitor.do(lambda session: session.state).result == "unknown"


def test_writing_after_a_late_destroy_is_refused(site: Site, visitor: Browser) -> None:
    late, caught = refused(lambda session: (session.destroy(), session.update(b=1)))
    visitor.visit(streaming(late))
    assert (caught, site.middleware.sessions.count()) == ([HeadersAlreadySent], 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_late_change_to_an_ended_session_is_dropped_with_an_event(site: Site, visitor: Browser, form: Any) -> None:
    def late(session: Session) -> None:
        session["late"] = 1
        visitor.copy().do(lambda session: session.destroy())

    answer = visitor.visit(form(late))
    assert answer.body == b"page"
    assert [event["keys"] for event in site.happened("dropped")] == [["late"]]
    assert site.middleware.sessions.count() == 0


def test_a_late_change_with_a_rotated_token_is_dropped_with_an_event(site: Site, visitor: Browser) -> None:
    held = visitor.copy()
    visitor.do(lambda session: session.rotate())
    answer = held.visit(streaming(put(late=1)))
    assert (answer.body, answer.cookie) == (b"page", None)
    assert [event["keys"] for event in site.happened("dropped")] == [["late"]]


def test_after_the_response_is_closed_writes_raise_and_reads_work(visitor: Browser) -> None:
    kept: list[Session] = []
    for form in (streaming(read), page()):

        def app(environ: dict[str, Any], start_response: Any, form: Any = form) -> Any:
            kept.append(environ["session"])
            return form(environ, start_response)

        visitor.visit(app, lint=False)
    streamed, listed = kept
    assert (streamed["a"], listed["a"]) == (1, 1)
    for session in kept:
        for change in (
            put(b=1),
            lambda session: session.pop("a"),
            lambda session: session.clear(),
            lambda session: session.destroy(),
            lambda session: session.rotate(),
            lambda session: session.flash("x"),
            lambda session: session.atomic(lambda data: None),
            log_in(ANN),
        ):
            with pytest.raises(HeadersAlreadySent, match="closed"):
                change(session)
    assert visitor.do(read).result == {"a": 1, "cart": []}


def test_a_request_that_raised_is_closed(visitor: Browser) -> None:
    kept: list[Session] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        kept.append(environ["session"])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        visitor.visit(app)
    with pytest.raises(HeadersAlreadySent):
        kept[0]["a"] = 2


@pytest.mark.parametrize("early", [read, lambda session: None], ids=["looked at before", "first look late"])
def test_late_changes_of_a_5xx_are_not_saved(site: Site, visitor: Browser, early: Change) -> None:
    visitor.visit(streaming(put(a=2), early=early, status="500 Oops"))
    assert visitor.do(read).result == {"a": 1, "cart": []}


def test_late_changes_of_a_body_whose_close_raises_are_not_saved(visitor: Browser) -> None:
    def late(session: Session) -> None:
        session["a"] = 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        visitor.visit(in_close(late))
    assert visitor.do(read).result == {"a": 1, "cart": []}


def test_a_late_save_that_fails_is_raised_to_the_server_with_an_event(site: Site, visitor: Browser) -> None:
    site.calls.fail("replace")
    with pytest.raises(StoreUnavailable):
        visitor.visit(streaming(put(a=2)), lint=False)
    assert site.happened("unavailable"), site.events


def test_a_late_value_that_cannot_be_kept_is_raised_to_the_server_with_an_event(site: Site, visitor: Browser) -> None:
    with pytest.raises(UnsupportedValue, match=r"cart\[0\]: object"):
        visitor.visit(streaming(lambda session: session["cart"].append(object())), lint=False)
    assert site.happened("unsaved"), site.events
    assert visitor.do(read).result == {"a": 1, "cart": []}


def test_a_late_change_before_a_value_that_cannot_be_read_is_told_as_dropped(site: Site, visitor: Browser) -> None:
    damage(visitor, value=b"\xc1", key="cart")
    visitor.visit(streaming(lambda session: (session.update(late=1), session.get("cart")), early=lambda s: s.get("a")))
    assert len(site.happened("corrupt")) == 1
    assert [event["keys"] for event in site.happened("dropped")] == [["late"]]


def test_a_body_that_the_client_did_not_wait_for_is_closed_and_saved(site: Site, visitor: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        environ["session"]["b"] = 1
        yield b"pa"
        environ["session"]["c"] = 2
        yield b"ge"

    body: Any = site.middleware(visitor.request(app), lambda status, headers: lambda data: None)
    chunks = iter(body)
    assert next(chunks) == b"pa"
    next(chunks)
    body.close()
    assert visitor.do(read).result == {"a": 1, "cart": [], "b": 1, "c": 2}


@pytest.mark.needs(SWEEPS)
def test_a_body_that_is_closed_twice_sweeps_once(site: Site, browser: Browser) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"]["a"] = 1
        start_response("200 OK", list(PLAIN))
        return [b"page"]

    site.calls.inner.sweep_due = True
    server = Bridge(site, browser, app)
    server.body.close()
    server.body.close()
    assert site.calls.log == ["create", "sweep"]


def test_a_store_that_asks_for_a_sweep_and_offers_none_is_not_asked_again(site: Site) -> None:
    backend = site.middleware._backend
    backend.store = SimpleNamespace(sweep_due=True)  # type: ignore[assignment]
    backend.sweep(0.0)
    assert backend.sweep_due is False
