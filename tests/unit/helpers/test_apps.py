"""``require_login`` and ``session_info``."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.attacks import hostile
from tests.support.requests import browser_in_an_outage, make_environ, plain_data
from tests.support.site import ANN, Browser, Site
from wsgi_session import (
    ConfigError,
    SessionMissing,
    StoreUnavailable,
    check_csrf,
    login,
    redirect_if_anonymous,
    require_login,
    session_info,
    user_or_none,
)
from wsgi_session.testing import FakeClock

#: With a dot, because wsgiref's validator requires one in each key whose value is not text.
KEY = "test.session"


class Answer:
    """The response of an application under wsgiref's validator."""

    def __init__(self, app: Any, environ: dict[str, Any]) -> None:
        body: Any = validator(app)(environ, self._start)
        try:
            self.body = b"".join(body)
        finally:
            body.close()

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status, self.headers = status, dict(headers)
        return lambda data: None


def inside(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"inside"]


def knock(path: str, login_url: str = "/login", **environ: Any) -> Answer:
    environ[KEY] = environ.pop("session", {})
    return Answer(require_login(inside, login_url, KEY), make_environ(path, **environ))


def test_the_door_lets_a_logged_in_visitor_through() -> None:
    assert knock("/profile", session={"user": ANN}).body == b"inside"


def test_the_door_sends_others_to_the_login_page() -> None:
    answer = knock("/profile")
    assert (answer.status, answer.headers["Location"]) == ("302 Found", "/login?next=/profile")
    assert knock("/profile", method="POST").status == "303 See Other"
    assert knock("/profile", session={"cart": [1], "user": {}}).status == "302 Found"


@pytest.mark.parametrize(
    ("path", "script", "login_url"),
    [
        ("/login", "", "/login"),
        ("/login", "", "/login?lang=en#form"),
        ("/login", "/app", "/login"),
        ("/login", "/app", "/app/login"),
        ("/", "/app", "/"),
        ("/log in", "", "/log%20in"),
        ("/caf\xc3\xa9", "", "/caf%C3%A9"),
    ],
)
def test_the_login_page_is_open_to_anybody_by_any_method(path: str, script: str, login_url: str) -> None:
    for method in ("GET", "POST"):
        assert knock(path, login_url, script=script, method=method).body == b"inside"


@pytest.mark.parametrize(
    ("path", "script", "login_url"),
    [
        *(
            (path, "", "/login")
            for path in ("/login/", "//login", "/login/x", "/loginx", "/LOGIN", "/x/login", "/login;x")
        ),
        *((path, "", "/login") for path in ("/login?x", "/./login", "/a/../login", "/login\x00", "login", "", "/")),
        ("/login", "/other", "/other-login"),
        ("/app/login", "/app", "/login"),
        *(("", script, "/login") for script in ("/login", "//login", "/login/", "\\login")),
        ("", "", "https://sso.example/login"),
        ("/login", "", "https://sso.example/login"),
        ("https://sso.example/login", "", "https://sso.example/login"),
    ],
)
def test_no_other_page_is_open(path: str, script: str, login_url: str) -> None:
    environ = make_environ(path, script=script, session={})
    seen: list[str] = []
    list(require_login(inside, login_url)(environ, lambda status, headers, exc_info=None: seen.append(status)))  # type: ignore[arg-type,func-returns-value]
    assert seen == ["302 Found"]


@given(hostile, hostile)
def test_no_path_but_the_login_pages_opens_the_door(path: str, script: str) -> None:
    environ = make_environ(path, script=script, session={})
    entered: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        entered.append(environ["PATH_INFO"])
        return []

    list(require_login(app)(environ, lambda status, headers, exc_info=None: None))  # type: ignore[arg-type,return-value]
    assert entered in ([], ["/login"])


@pytest.mark.parametrize("login_url", ["//evil.example", "login", "/log\nin", None])
def test_a_door_with_a_wrong_login_url_is_refused_at_construction(login_url: Any) -> None:
    with pytest.raises(ConfigError, match="login_url="):
        require_login(inside, login_url)


def test_require_login_outside_the_middleware_says_so() -> None:
    with pytest.raises(SessionMissing, match="SessionMiddleware"):
        list(require_login(inside)(make_environ("/profile"), lambda *given: None))  # type: ignore[arg-type,return-value]


def told(session: Any, *, method: str = "GET", **options: Any) -> Answer:
    return Answer(session_info(**options, key=KEY), make_environ(method=method, **{KEY: session}))


def test_an_anonymous_visitor_is_told_nothing() -> None:
    anonymous: list[dict[str, Any]] = [{}, {"cart": [1]}, {"user": {}}, {"user": "ann"}]
    for session in anonymous:
        assert told(session).body == b"{}"


def test_the_front_end_is_told_the_asked_for_fields_and_no_others() -> None:
    session = {"user": {**ANN, "password_hash": "x"}, "cart": [1]}
    assert json.loads(told(session).body) == {"user": ANN, "expires": None}
    assert json.loads(told(session, fields=["name", "absent"]).body)["user"] == {"name": "Ann"}
    assert json.loads(told(session, fields=()).body) == {"user": {}, "expires": None}


def test_the_answer_is_kept_by_nobody_and_is_json_and_nothing_else() -> None:
    answer = told({"user": ANN})
    assert answer.status == "200 OK"
    assert answer.headers == {
        "Content-Type": "application/json",
        "Content-Length": str(len(answer.body)),
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Cookie",
    }


def test_head_gets_the_headers_without_the_body() -> None:
    answer = told({"user": ANN}, method="HEAD")
    assert (answer.status, answer.body) == ("200 OK", b"")
    assert answer.headers["Content-Length"] == told({"user": ANN}).headers["Content-Length"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_told_which_are_allowed_and_look_at_nothing(method: str) -> None:
    answer = told(None, method=method)
    assert (answer.status, answer.headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD, POST")
    assert answer.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (UUID(int=5), str(UUID(int=5))),
        (Decimal("1.50"), "1.50"),
        (date(2026, 11, 23), "2026-11-23"),
        (time(14, 5), "14:05:00"),
        (datetime(2026, 11, 23, 14, 5, tzinfo=timezone.utc), "2026-11-23T14:05:00+00:00"),
        (["a", UUID(int=5)], ["a", str(UUID(int=5))]),
        ("é\u2028<b>&", "é\u2028<b>&"),
        (None, None),
    ],
)
def test_what_json_lacks_is_told_as_text(value: Any, shown: Any) -> None:
    assert json.loads(told({"user": {"id": value}}).body)["user"] == {"id": shown}


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [b"x", {1, 2}, timedelta(1), float("nan"), float("-inf"), {b"k": 1}, [b"x"], LOOP, object()],
    ids=type,
)
def test_what_json_cannot_hold_is_left_out(value: Any) -> None:
    assert json.loads(told({"user": {"id": value, "name": "Ann"}}).body)["user"] == {"name": "Ann"}


def test_what_is_nested_too_deep_for_json_is_left_out() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    # Without the validator, which prints the environ.
    environ = make_environ(session={"user": {"id": deep, "name": "Ann"}})
    (body,) = session_info()(environ, lambda status, headers, exc_info=None: lambda data: None)
    assert json.loads(body)["user"] == {"name": "Ann"}


def test_a_page_may_hold_the_answer_in_a_script() -> None:
    answer = told({"user": {"name": "</script><script>alert(1)</script><!--"}})
    assert b"<" not in answer.body
    assert json.loads(answer.body)["user"]["name"] == "</script><script>alert(1)</script><!--"


@given(st.dictionaries(st.sampled_from(["id", "name", "email", "other"]), plain_data, min_size=1))
def test_nothing_that_an_application_stored_makes_an_exception(user: dict[str, Any]) -> None:
    answer = told({"user": user})
    assert set(json.loads(answer.body)["user"]) <= {"id", "name", "email"}


@pytest.mark.parametrize("fields", ["email", ["id", 5], [None]])
def test_fields_that_are_no_sequence_of_texts_are_refused(fields: Any) -> None:
    with pytest.raises(ConfigError, match="give a sequence of the user's keys"):
        session_info(fields)


def test_the_front_end_is_told_when_the_session_ends() -> None:
    browser = Site(environ_key=KEY, clock=FakeClock(1_000_000_000), idle_timeout=3600).browser()
    browser.call(lambda environ: login(environ, ANN, key=KEY))
    answer = browser.call(lambda environ: Answer(session_info(key=KEY), environ))
    assert json.loads(answer.body) == {"user": ANN, "expires": "2001-09-09T02:46:40Z"}


def test_asking_for_it_does_not_keep_a_session_alive() -> None:
    browser = Site(environ_key=KEY, idle_timeout=3600).browser()
    browser.call(lambda environ: login(environ, ANN, key=KEY))
    for _ in range(5):
        browser.site.clock.advance(720 - 1)
        assert browser.call(lambda environ: Answer(session_info(key=KEY), environ)).body != b"{}"
        assert browser.answer.cookies == []
    browser.site.clock.advance(10)
    assert browser.call(lambda environ: user_or_none(environ, KEY)) is None


def in_site(browser: Browser, app: Any, **environ: Any) -> Answer:
    """Ask ``app`` in a request of ``browser``."""
    answer: Answer = browser.call(lambda given: Answer(app, given), environ)
    return answer


def test_a_post_says_that_the_visitor_stays_up_to_the_absolute_timeout() -> None:
    site = Site(environ_key=KEY, clock=FakeClock(1_000_000_000), idle_timeout=3600, absolute_timeout=7000)
    browser, info = site.browser(), session_info(key=KEY)
    browser.call(lambda environ: login(environ, ANN, key=KEY))
    site.clock.advance(3500)
    assert json.loads(in_site(browser, info).body)["expires"] == "2001-09-09T02:46:40Z"
    stay = {"REQUEST_METHOD": "POST", "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert json.loads(in_site(browser, info, **stay).body) == {"user": ANN, "expires": "2001-09-09T03:43:20Z"}
    assert browser.answer.cookies != []
    site.clock.advance(3499)
    assert json.loads(in_site(browser, info, **stay).body)["expires"] == "2001-09-09T03:43:20Z"
    site.clock.advance(1)
    assert in_site(browser, info, **stay).body == b"{}"


def test_a_page_of_another_site_keeps_nobody_logged_in() -> None:
    site = Site(environ_key=KEY, idle_timeout=3600)
    browser = site.browser()
    browser.call(lambda environ: login(environ, ANN, key=KEY))
    site.clock.advance(3500)
    theirs = {"REQUEST_METHOD": "POST", "HTTP_ORIGIN": "https://app.example", "HTTP_SEC_FETCH_SITE": "cross-site"}
    refused = in_site(browser, session_info(key=KEY), **theirs)
    assert (refused.status, refused.body) == ("403 Forbidden", b'{"error": "csrf"}')
    trusting = session_info(key=KEY, trusted_origins=["https://app.example"])
    assert json.loads(in_site(browser, trusting, **theirs).body)["user"] == ANN
    without = in_site(browser, session_info(key=KEY), REQUEST_METHOD="POST")
    assert without.status == "403 Forbidden"
    with pytest.raises(ConfigError, match="trusted_origins"):
        session_info(trusted_origins=["app.example"])


@pytest.mark.parametrize("query", ["csrf_token", "csrf_token=", "a=1&csrf_token=1", "csrf_token&csrf_token"])
def test_a_front_end_that_asks_for_it_is_told_the_csrf_token(query: str) -> None:
    browser = Site(environ_key=KEY).browser()
    browser.call(lambda environ: login(environ, ANN, key=KEY))
    told = json.loads(in_site(browser, session_info(key=KEY), QUERY_STRING=query).body)
    posted = {"REQUEST_METHOD": "POST", "HTTP_X_CSRF_TOKEN": told["csrf_token"]}
    assert browser.call(lambda environ: check_csrf(environ, key=KEY), posted) is True


@pytest.mark.parametrize("query", ["", "csrf", "xcsrf_token", "CSRF_TOKEN=1", "a=csrf_token", "csrf%5Ftoken"])
def test_a_front_end_that_does_not_ask_makes_no_session(query: str) -> None:
    browser = Site(environ_key=KEY).browser()
    assert in_site(browser, session_info(key=KEY), QUERY_STRING=query).body == b"{}"
    assert browser.answer.cookies == []


def test_a_stranger_who_asks_for_the_csrf_token_gets_a_session_for_it() -> None:
    browser = Site(environ_key=KEY).browser()
    told = json.loads(in_site(browser, session_info(key=KEY), QUERY_STRING="csrf_token").body)
    assert list(told) == ["csrf_token"]
    posted = {"REQUEST_METHOD": "POST", "HTTP_X_CSRF_TOKEN": told["csrf_token"]}
    assert browser.call(lambda environ: check_csrf(environ, key=KEY), posted) is True


def test_the_session_of_another_library_has_no_csrf_token() -> None:
    environ = {**make_environ(query="csrf_token"), KEY: {"user": ANN}}
    assert json.loads(Answer(session_info(key=KEY), environ).body) == {"user": ANN, "expires": None}


def test_a_request_that_only_asks_whether_somebody_is_there_keeps_it_alive() -> None:
    """Shows that the test above passes for the right reason."""
    browser = Site(environ_key=KEY, idle_timeout=3600).browser()
    browser.call(lambda environ: login(environ, ANN, key=KEY))
    for _ in range(6):
        browser.site.clock.advance(720)
        assert browser.call(lambda environ: redirect_if_anonymous(environ, key=KEY)) is None


def test_an_outage_does_not_log_the_visitor_out() -> None:
    def look(environ: dict[str, Any]) -> None:
        with pytest.raises(StoreUnavailable):
            Answer(session_info(key=KEY), environ)
        with pytest.raises(StoreUnavailable):
            Answer(require_login(inside, key=KEY), environ)

    browser_in_an_outage(KEY).call(look)


PREFLIGHT = {"HTTP_ORIGIN": "https://front.example", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}


def preflight(user: dict[str, Any] | None = None) -> dict[str, Any]:
    return {**make_environ("/cart", method="OPTIONS", **PREFLIGHT), KEY: {} if user is None else {"user": user}}


def shared(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer every method with a page, as an application does that does not look at the method."""
    start_response(
        "200 OK", [("Access-Control-Allow-Methods", "PUT"), ("Content-Length", "6"), ("Content-Type", "x/y")]
    )
    return [b"secret"]


def test_a_preflight_passes_the_door_and_brings_the_headers_and_no_body() -> None:
    answer = Answer(require_login(shared, key=KEY), preflight())
    assert (answer.status, answer.body) == ("200 OK", b"")
    assert answer.headers["Access-Control-Allow-Methods"] == "PUT"
    assert answer.headers["Content-Length"] == "0"


def test_a_preflight_does_not_bring_the_headers_that_tell_of_the_page() -> None:
    def report(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("Access-Control-Allow-Origin", "*"), ("Vary", "Origin"), ("Allow", "GET"), ("Content-Type", "x/y")]
        told = [("Content-Disposition", "filename=dismissal-of-ann.pdf"), ("ETag", '"7"'), ("Set-Cookie", "theme=dark")]
        start_response("200 OK", [*headers, *told, ("Location", "/users/5"), ("X-Total-Count", "531")])
        return [b"secret"]

    answer = Answer(require_login(report, key=KEY), preflight())
    names = ["Access-Control-Allow-Origin", "Vary", "Allow", "Content-Type", "Content-Length"]
    assert list(dict(answer.headers)) == names


def test_a_preflight_may_be_answered_by_a_generator_that_is_closed_again() -> None:
    closed: list[bool] = []

    def late(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            yield b""
            start_response("204 No Content", [("Access-Control-Allow-Methods", "PUT")])
            yield b""
            raise AssertionError("not asked for")
        finally:
            closed.append(True)

    seen: list[Any] = []
    app = require_login(late, key=KEY)
    environ = preflight()
    body = app(environ, lambda *given: seen.append(given))  # type: ignore[arg-type,return-value]
    assert (list(body), closed) == ([], [True])
    assert seen == [("204 No Content", [("Access-Control-Allow-Methods", "PUT")])]


def test_a_preflight_that_fails_fails_as_before_and_write_shows_nothing() -> None:
    def writes(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"secret")
        return []

    seen: list[Any] = []
    environ = preflight()
    body = require_login(writes, key=KEY)(environ, lambda *given: seen.append(given))  # type: ignore[arg-type,return-value]
    assert (list(body), seen) == ([], [("200 OK", [("Content-Length", "0")])])


@pytest.mark.parametrize(
    "environ",
    [
        {"method": "OPTIONS"},
        {"method": "OPTIONS", "HTTP_ORIGIN": "https://front.example"},
        {"method": "OPTIONS", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"},
        {"method": "PUT", **PREFLIGHT},
    ],
)
def test_what_is_no_preflight_does_not_pass(environ: dict[str, Any]) -> None:
    assert knock("/cart", **environ).status == "303 See Other"


def test_a_user_gets_the_whole_answer_to_a_preflight() -> None:
    environ = preflight(ANN)
    assert Answer(require_login(shared, key=KEY), environ).body == b"secret"


def test_a_script_is_refused_at_the_door_unless_it_decides_otherwise() -> None:
    assert knock("/cart", HTTP_SEC_FETCH_MODE="cors").status == "401 Unauthorized"
    environ = {**make_environ("/cart", HTTP_SEC_FETCH_MODE="cors"), KEY: {}}
    assert Answer(require_login(inside, key=KEY, navigation=True), environ).status == "302 Found"
