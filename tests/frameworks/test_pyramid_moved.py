"""Pyramid applications of pyramid_beaker, pyramid_session_redis or Pyramid's own cookies run unchanged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

pytest.importorskip("pyramid", reason="pip install pyramid pyramid_retry")

from tests.frameworks.pyramid_site import ANN, Browser, Site
from wsgi_session import HeadersAlreadySent, Unsupported, login
from wsgi_session.testing import FakeClock

DAY = 86_400


def site(**settings: Any) -> Site:
    """Return a site whose view calls the function that a test gives to :func:`do`."""
    return Site(lambda request: request.environ["test.view"](request), **settings)


def do(browser: Browser, view: Callable[[Any], Any]) -> Any:
    """Call ``view`` with the request of a visit that is answered with 200; return its result."""
    results: list[Any] = []
    browser.see(environ={"test.view": lambda request: results.append(view(request))})
    return results[0]


@pytest.fixture
def browser() -> Browser:
    return site().browser()


def put(request: Any) -> None:
    request.session["a"] = 1


def everything(request: Any) -> dict[str, Any]:
    return dict(request.session)


def test_delete_logs_out_as_pypicloud_does(browser: Browser) -> None:
    do(browser, put)
    stolen = dict(browser.cookies)
    do(browser, lambda request: request.session.delete())
    assert browser.cookies == {}
    browser.cookies = stolen
    assert do(browser, everything) == {}


def test_what_is_written_after_delete_is_a_session_of_its_own(browser: Browser) -> None:
    def renew(request: Any) -> tuple[str, str]:
        old = request.session.id
        request.session.delete()
        put(request)
        return old, request.session.id

    do(browser, lambda request: request.session.update(b=2))
    old, new = do(browser, renew)
    assert old != new == do(browser, lambda request: request.session.id)
    assert do(browser, everything) == {"a": 1}


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.save(),
        lambda session: session.save(accessed_only=True),
        lambda session: session.persist(),
        lambda session: session.changed(),
        lambda session: session.do_persist(),
        lambda session: session.do_persist(serialized_session=b""),
        lambda session: session.do_refresh(),
        lambda session: session.do_refresh(force_redis_ttl=60),
        lambda session: session.please_recookie(),
    ],
)
def test_a_call_that_saves_elsewhere_is_allowed_and_needless(browser: Browser, call: Callable[[Any], None]) -> None:
    do(browser, lambda request: (call(request.session), put(request), call(request.session)))
    assert do(browser, everything) == {"a": 1}


def test_ids_are_the_public_name_which_a_new_session_keeps(browser: Browser) -> None:
    def ids(request: Any) -> set[str]:
        session = request.session
        return {session.id, session.session_id, session.ensure_id()}

    def before_and_after(request: Any) -> set[str]:
        before = ids(request)
        put(request)
        return before | ids(request)

    (first,) = do(browser, before_and_after)
    assert do(browser, ids) == {first} == {do(browser, lambda request: request.session.handle)}
    assert first not in browser.cookie


def test_an_empty_session_has_no_safe_id_and_asking_stores_nothing(browser: Browser) -> None:
    assert do(browser, lambda request: request.session.session_id_safecheck) is None
    do(browser, lambda request: request.session.ensure_id())
    assert browser.cookies == {}
    assert do(browser, lambda request: (put(request), request.session.session_id_safecheck)[1]) is not None


def test_regenerate_id_replaces_the_token_and_keeps_the_data(browser: Browser) -> None:
    do(browser, put)
    stolen = browser.site.browser()
    stolen.cookies = dict(browser.cookies)
    do(browser, lambda request: request.session.regenerate_id())
    assert (do(browser, everything), do(stolen, everything)) == ({"a": 1}, {})


def test_the_times_are_in_seconds(browser: Browser) -> None:
    def times(request: Any) -> tuple[Any, ...]:
        session = request.session
        return session.created, session.accessed, session.renewed, session.last_accessed, session.timeout

    start, clock = FakeClock.START, browser.site.clock
    assert do(browser, lambda request: (times(request), put(request))[0]) == (start, start, start, None, 30 * DAY)
    clock.advance(2 * DAY)
    assert do(browser, times) == (start, start, start, start, 30 * DAY)
    clock.advance(60)
    now = start + 2 * DAY
    assert do(browser, times) == (start, now, now, now, 30 * DAY)
    do(browser, lambda request: login(request, ANN, idle_timeout=600))
    assert do(browser, lambda request: request.session.timeout) == 600


def test_dirty_tells_of_changes_also_inside(browser: Browser) -> None:
    def look(request: Any) -> list[bool]:
        session = request.session
        seen = [session.dirty()]
        session.setdefault("cart", [])
        seen.append(session.dirty())
        session["cart"].append(1)
        return [*seen, session.dirty()]

    assert do(browser, look) == [False, True, True]
    assert do(browser, look) == [False, False, True]
    assert do(browser, lambda request: (request.session.rotate(), request.session.dirty())[1]) is True


def test_revert_discards_what_this_request_changed(browser: Browser) -> None:
    def change(request: Any) -> dict[str, Any]:
        request.session["cart"].append(2)
        login(request, ANN)
        request.session.revert()
        return dict(request.session)

    do(browser, lambda request: request.session.revert())
    do(browser, lambda request: request.session.update(cart=[1]))
    before = dict(browser.cookies)
    assert do(browser, change) == {"cart": [1]} == do(browser, everything)
    assert browser.cookies == before
    do(browser, lambda request: (request.session.update(b=1), request.session.revert(), put(request)))
    assert do(browser, everything) == {"cart": [1], "a": 1}


def test_python_2s_methods_of_a_dict_are_there(browser: Browser) -> None:
    def look(request: Any) -> list[Any]:
        session = request.session
        session["a"] = 1
        found = [list(session.iterkeys()), list(session.itervalues()), list(session.iteritems())]
        return [session.has_key("a"), session.has_key("b"), *found]

    assert do(browser, look) == [True, False, ["a"], [1], [("a", 1)]]


@pytest.mark.parametrize(
    "adjust",
    [
        lambda session: session.adjust_cookie_max_age(40 * DAY),
        lambda session: session.adjust_cookie_max_age(timedelta(days=30)),
        lambda session: session.adjust_cookie_expires(timedelta(days=30)),
        lambda session: session.adjust_cookie_expires(datetime.fromtimestamp(FakeClock.START + 31 * DAY, timezone.utc)),
        lambda session: session.adjust_cookie_expires(
            datetime.fromtimestamp(FakeClock.START + 31 * DAY, timezone.utc).replace(tzinfo=None)
        ),
    ],
)
def test_a_long_cookie_is_one_that_is_kept_after_the_browser_closes(adjust: Callable[[Any], None]) -> None:
    browser = site(cookie_persistent=False).browser()
    do(browser, put)
    answers = []
    for change in (adjust, adjust, lambda session: session.adjust_cookie_max_age(None)):
        view = {"test.view": lambda request, change=change: change(request.session)}
        answers.append(browser.visit(environ=view).headers.get("Set-Cookie"))
    assert "Max-Age=2592000" in answers[0]
    assert answers[1] is None
    assert "Max-Age" not in answers[2]
    assert do(browser, everything) == {"a": 1}


def test_a_cookie_that_would_end_before_its_session_is_refused(browser: Browser) -> None:
    def shorten(request: Any) -> None:
        for call, value in [("max_age", 60), ("max_age", timedelta(minutes=1)), ("expires", timedelta(minutes=1))]:
            with pytest.raises(Unsupported, match=r"60 s would end .*2592000 s.*idle_timeout"):
                getattr(request.session, f"adjust_cookie_{call}")(value)

    do(browser, shorten)


@pytest.mark.parametrize(
    "name",
    ["adjust_session_timeout", "adjust_session_expires", "adjust_timeout_for_session", "adjust_expires_for_session"],
)
def test_a_timeout_of_one_session_is_refused_with_what_to_write(browser: Browser, name: str) -> None:
    def adjust(request: Any) -> None:
        with pytest.raises(Unsupported, match=r"login\(request, user, idle_timeout=…\)"):
            getattr(request.session, name)(60)

    do(browser, adjust)


def test_a_cookie_that_is_sent_cannot_be_kept_any_longer(browser: Browser) -> None:
    from pyramid.response import Response

    seen = []

    def page(request: Any) -> Any:
        put(request)

        def stream() -> Any:
            yield b"first"
            with pytest.raises(HeadersAlreadySent):
                request.session.adjust_cookie_max_age(None)
            seen.append(True)

        return Response(app_iter=stream(), content_type="text/plain")

    browser.see(environ={"test.view": page})
    assert seen == [True]
