"""Sessions sealed in the cookie, through the middleware. The rules that every store keeps are in tests/http."""

from __future__ import annotations

import json
import math
import pickle
import random
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgpack import packb, unpackb

from tests.support import ROOT
from tests.support.client import Answer, Cookie
from tests.support.site import ANN, BOB, SECRET, Browser, Site, log_in, log_out, put, read
from wsgi_session import (
    ConfigError,
    HeadersAlreadySent,
    Session,
    SessionTooLarge,
    Unsupported,
    check_csrf,
)
from wsgi_session.cookies.chunks import MAX_CHUNKS, MAX_COOKIE
from wsgi_session.stores import Record
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.testing.clock import FakeClock

OLD, NEW = "an older secret: 5b1f0e77a2c94d16b0c4", "a newer secret: 0d9e6a18f3b74c52a1e8"
DAY = 86_400.0
HTTPS = {"wsgi.url_scheme": "https"}
#: A valid plaintext of a seal.
GENUINE = packb((b"t" * 43, packb({"a": packb(1)}), "handle", 2e9, 2e9, 3e9, None, True, None))
#: Options, and the scheme, with which cookies are set.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "http": ({}, {}),
    "https": ({}, HTTPS),
    "domain": ({"cookie_domain": "shop.example.com"}, HTTPS),
    "path": (
        {"cookie_path": "/a/rather/long/path/to/the/shop"},
        {**HTTPS, "SCRIPT_NAME": "/a/rather/long/path/to/the/shop", "PATH_INFO": "/"},
    ),
    "frames": ({"cookie_samesite": "None", "cookie_secure": True, "cookie_partitioned": True}, HTTPS),
    "all": (
        {
            "cookie_name": "a-session-with-a-name",
            "cookie_domain": "shop.example.com",
            "cookie_path": "/shop",
            "cookie_samesite": "None",
            "cookie_secure": True,
            "cookie_partitioned": True,
        },
        {**HTTPS, "SCRIPT_NAME": "/shop", "PATH_INFO": "/"},
    ),
}


def make(clock: FakeClock | None = None, **options: Any) -> Site:
    return Site(CookieStore(), clock or FakeClock(), **options)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def site(clock: FakeClock) -> Site:
    return make(clock)


@pytest.fixture
def browser(site: Site) -> Browser:
    return site.browser()


def state(session: Session) -> tuple[str, dict[str, Any]]:
    return session.state, session.copy()


def with_jar(site: Site, browser: Browser, **environ: Any) -> Browser:
    """Return a browser of ``site`` with the cookies of another site's browser."""
    other = site.browser(**environ)
    other.jar = dict(browser.jar)
    return other


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def sealed_as(site: Site, plain: bytes) -> Browser:
    """Return a browser with a genuine cookie that contains ``plain``, whatever that is."""
    browser = site.browser()
    browser.jar["sid"] = site.middleware._backend._sealer.seal(plain)  # type: ignore[attr-defined]
    return browser


def contents(site: Site, browser: Browser) -> list[Any]:
    """Return the plaintext of the browser's only cookie."""
    opened = site.middleware._backend._sealer.open(browser.token)  # type: ignore[attr-defined]
    assert opened is not None
    return list(unpackb(opened[0]))


# A session like any other.


def test_what_is_written_is_there_in_the_next_request(browser: Browser) -> None:
    browser.do(put(cart=[{"sku": "tea", "seen": {datetime(2026, 1, 1, tzinfo=timezone.utc)}}], name="Ann ☃"))
    assert browser.do(read).result == {
        "cart": [{"sku": "tea", "seen": {datetime(2026, 1, 1, tzinfo=timezone.utc)}}],
        "name": "Ann ☃",
    }
    browser.do(lambda session: session["cart"].append("milk"))
    assert browser.do(lambda session: session["cart"][1]).result == "milk"


def test_nothing_of_it_can_be_read_in_the_browser(browser: Browser) -> None:
    browser.do(log_in({**ANN, "name": "Annabella"}))  # Long enough that no seal contains it by chance.
    handle, owner = browser.do(lambda session: (session.handle, session.owner)).result
    text = browser.token
    for word in ("Annabella", "ann@example.com", handle, owner):
        for spelled in (word, word.encode().hex()):
            assert spelled not in text


def test_logging_in_changes_the_token_and_what_forms_carry(browser: Browser) -> None:
    before = browser.do(lambda session: session.csrf_token).result
    handle = browser.do(lambda session: session.handle).result
    assert browser.do(checks(before)).result is True
    assert browser.do(lambda session: (log_in(ANN)(session), checks(before)(session))).result[1] is True
    assert browser.do(checks(before)).result is False
    after = browser.do(lambda session: session.csrf_token).result
    assert browser.do(checks(after)).result is True
    assert browser.do(lambda session: session.handle).result != handle
    browser.do(lambda session: session.rotate())
    assert browser.do(checks(after)).result is False


def checks(token: str) -> Any:
    return lambda session: check_csrf({"session": session, "REQUEST_METHOD": "POST"}, token)


def test_asking_for_a_form_token_makes_a_session_that_keeps_it(browser: Browser) -> None:
    token = browser.do(lambda session: session.csrf_token).result
    assert len(browser.jar) == 1
    assert browser.do(checks(token)).result is True


def test_a_clear_of_what_is_empty_sets_no_cookie(browser: Browser) -> None:
    """With ``cookie://``, other requests cannot have stored keys."""
    browser.do(lambda session: session.flash("kept"))
    assert browser.do(lambda session: session.clear()).cookie is None


def test_a_request_that_changes_nothing_sets_no_cookie(browser: Browser) -> None:
    assert browser.do(read).cookies == []
    browser.do(put(a=1))
    assert browser.do(read).cookies == []
    assert browser.do(put(a=1)).cookies == []


@pytest.mark.parametrize("remember", [True, False])
def test_a_cookie_that_ends_with_the_browser_says_no_age(browser: Browser, remember: bool) -> None:
    browser.do(log_in(ANN, remember=remember))
    for answer in (browser.do(put(a=1)), browser.do(lambda session: session.rotate())):
        assert answer.cookie is not None
        assert ("max-age" in answer.cookie.attributes) is remember
    assert browser.do(read).result == {"user": ANN, "a": 1}


def test_the_next_user_sees_nothing_of_the_last_ones(browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.do(put(secret="Ann's"))
    browser.do(log_in(BOB))
    assert browser.do(read).result == {"user": BOB}


# Cookies that we did not make.


def test_a_cookie_with_any_changed_character_is_an_anonymous_visitors(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    genuine = browser.token
    other = site.browser()
    for place, right in enumerate(genuine):
        other.jar["sid"] = genuine[:place] + ("A" if right != "A" else "B") + genuine[place + 1 :]
        assert other.do(state).result == ("tampered", {}), f"character {place} of {len(genuine)}"
    assert len(site.happened("tampered")) == len(genuine)
    assert site.happened("tampered")[0] == {"cookies": 1}
    assert browser.do(state).result == ("live", {"user": ANN})


_SITE = make()
_PLANTED = _SITE.browser()
_PLANTED.do(put(big=noise(9000)))
_SMALL = _SITE.browser()
_SMALL.do(put(small=1))
PARTS = st.sampled_from(
    ["sid", "sid.1", "sid.2", "sid.4", "=", ".", "; ", ";", " ", "2.", "5.", '"', "\t", "\xff", "%", "\x00", "+", "/"]
    + list(_PLANTED.jar.values())
    + list(_SMALL.jar.values())
    + [value[:50] for value in _PLANTED.jar.values()]
)


@given(st.lists(PARTS, max_size=20).map("".join) | st.text(st.characters(max_codepoint=255)).map("sid=".__add__))
@example("sid=")
@example("sid=2.; sid.1=")
def test_whatever_cookies_a_client_sends_it_gets_a_session(header: str) -> None:
    answer = _SITE.browser().do(state, HTTP_COOKIE=header)
    assert answer.result[0] in ("new", "live", "tampered")
    assert answer.result[1] in ({}, {"small": 1}, {"big": noise(9000)})
    assert answer.cookies == []


def test_a_cookie_that_does_not_work_is_replaced_only_by_a_write(site: Site) -> None:
    browser = site.browser(HTTP_COOKIE="sid=nobody's; sid.1=x; sid.2=y")
    assert browser.do(read).cookies == []
    answer = browser.do(put(a=1))
    assert [(cookie.name, cookie.removes) for cookie in answer.cookies] == [
        ("sid", False),
        ("sid.1", True),
        ("sid.2", True),
    ]


class Bomb:
    """Unpickling it writes a file (CVE-2013-7489: Beaker's default)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_but_a_seal_of_ours_is_decoded(tmp_path: Path, site: Site) -> None:
    """CVE-2026-39324: a value that could not be decrypted was decoded anyway."""
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    for plain in (bomb, json.dumps({"user": ANN}).encode(), GENUINE, b""):
        unsealed, of_another = urlsafe_b64encode(plain).rstrip(b"=").decode(), sealed_as(make(secret=OLD), plain).token
        for text in (unsealed, of_another):
            answer = site.browser().do(state, HTTP_COOKIE=f"sid={text}")
            assert answer.result == ("tampered", {}), plain
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\xc1",
        packb(None),
        packb(5),
        packb("text"),
        packb([]),
        packb({"a": 1}),
        packb([1] * 8),
        packb([1] * 10),
        packb([None] * 9),
        json.dumps({"user": "Ann"}).encode(),
        pickle.dumps({"user": "Ann"}),
        GENUINE[:-1],
        GENUINE + b"\x00",
        packb((b"t" * 43, b"no record", "handle", 2e9, 2e9, 3e9, None, True, None)),
        packb((b"t" * 43, packb([1]), "handle", 2e9, 2e9, 3e9, None, True, None)),
        packb((b"t" * 43, None, "handle", 2e9, 2e9, 3e9, None, True, None)),
    ],
)
def test_a_genuine_value_that_is_not_a_session_is_an_empty_session(site: Site, plain: bytes) -> None:
    """Starlette: a genuine value that was a number caused an exception."""
    browser = sealed_as(site, plain)
    answer = browser.do(state)
    assert (answer.result, answer.cookies) == (("unknown", {}), [])
    assert site.happened("corrupt") == [{"handle": None}]
    browser.do(put(a=1))
    assert browser.do(state).result == ("live", {"a": 1})


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (0, None),
        (1, "text"),
        (2, 5),
        (3, math.nan),
        (3, -1.0),
        (4, math.inf),
        (4, None),
        (5, math.nan),
        (5, "text"),
        (6, "text"),
        (7, 0),
        (8, math.nan),
        (8, b"bytes"),
    ],
)
def test_a_genuine_value_with_an_invalid_field_opens_no_session(site: Site, place: int, other: Any) -> None:
    """A session with an invalid time would never expire or could not be sealed; a CSRF token needs a valid token."""
    fields = unpackb(GENUINE)
    fields[place] = other
    answer = sealed_as(site, packb(fields)).do(lambda session: (session.state, session.csrf_token, session.expires))
    assert (answer.code, answer.result[0]) == (200, "unknown")


def test_the_unchanged_value_is_a_session(site: Site) -> None:
    """The test above changes the parts of this value one by one."""
    assert sealed_as(site, GENUINE).do(state).result == ("live", {"a": 1})


def test_a_value_that_cannot_be_read_makes_the_session_unknown(site: Site) -> None:
    fields = unpackb(GENUINE)
    browser = sealed_as(site, packb([fields[0], packb({"a": b"\xc1", "b": packb(2)}), *fields[2:]]))
    assert browser.do(lambda session: (session.get("a"), session.get("b"), session.state)).result == (
        None,
        None,
        "unknown",
    )
    assert site.happened("corrupt") == [{"handle": "handle"}]


# Bound to a middleware.


@pytest.mark.parametrize(
    "options",
    [
        {"cookie_name": "other"},
        {"environ_key": "admin.session"},
        {"secret": OLD},
        {"cookie_path": "/admin"},
        {"cookie_domain": "example.com"},
        {"cookie_secure": True, "cookie_partitioned": True},
    ],
    ids=repr,
)
def test_a_cookie_of_another_middleware_opens_nothing(browser: Browser, options: dict[str, Any]) -> None:
    """CVE-2021-41263. A cookie from another path or domain is refused too, because a logout could not remove it."""
    browser.do(log_in(ANN))
    options = {"cookie_name": "sid", **options}
    key = options.get("environ_key", "session")
    other = make(**options)
    name = other.middleware._backend._cookies.http.name  # type: ignore[attr-defined]

    def look(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(state(environ[key]))
        start_response("200 OK", [])
        return []

    seen: list[Any] = []
    visitor = other.browser(HTTP_COOKIE=f"{name}={browser.token}")
    visitor.visit(look, lint=False)
    assert seen == [("tampered", {})]


@pytest.mark.parametrize(
    "options", [{"cookie_samesite": "Strict"}, {"idle_timeout": 60}, {"cookie_persistent": False}], ids=repr
)
def test_other_options_leave_visitors_logged_in(browser: Browser, options: dict[str, Any]) -> None:
    browser.do(log_in(ANN))
    assert with_jar(make(**options), browser).do(read).result == {"user": ANN}


def test_a_new_secret_takes_over_with_the_next_answer_and_the_old_one_can_go(clock: FakeClock) -> None:
    """CVE-2025-47278."""
    before, both, after = make(clock, secret=OLD), make(clock, secret=[NEW, OLD]), make(clock, secret=NEW)
    browser = before.browser()
    browser.do(log_in(ANN, remember=False))
    visitor = with_jar(both, browser)
    answer = visitor.do(read)
    assert answer.result == {"user": ANN}
    assert answer.cookie is not None
    assert "max-age" not in answer.cookie.attributes
    assert visitor.do(read).cookies == []
    assert with_jar(after, visitor).do(state).result == ("live", {"user": ANN})
    assert with_jar(before, visitor).do(state).result == ("tampered", {})
    assert with_jar(after, browser).do(state).result == ("tampered", {})


def test_of_several_cookies_the_first_live_one_counts(site: Site, clock: FakeClock) -> None:
    ann, bob, old = site.browser(), site.browser(), site.browser()
    old.do(put(old=1))
    clock.advance(31 * DAY)
    ann.do(log_in(ANN))
    bob.do(log_in(BOB))
    header = f"sid=; sid=2.x; sid={old.token}; sid={ann.token}; sid={bob.token}"
    assert site.browser().do(state, HTTP_COOKIE=header).result == ("live", {"user": ANN})
    assert site.browser().do(state, HTTP_COOKIE=f"sid=x; sid={old.token}; sid=y").result == ("unknown", {})


# Expiry.


def test_a_copy_of_a_cookie_ends_with_the_idle_timeout(site: Site, browser: Browser, clock: FakeClock) -> None:
    """CVE-2018-1000814: only the browser enforced expiry, so an old cookie that was sent again was accepted."""
    browser.do(log_in(ANN))
    copy = browser.copy()
    clock.advance(30 * DAY - 1)
    assert copy.copy().do(state).result == ("live", {"user": ANN})
    clock.advance(1)
    assert copy.do(state).result == ("unknown", {})
    assert site.happened("tampered") == []


def test_a_copy_of_a_cookie_ends_with_the_absolute_timeout_however_active(
    site: Site, browser: Browser, clock: FakeClock
) -> None:
    """CVE-2024-31999: a sealed cookie was valid for ever."""
    browser.do(log_in(ANN))
    for _ in range(89):
        clock.advance(DAY)
        assert browser.do(read).result == {"user": ANN}
    copy = browser.copy()
    browser.do(log_out)
    assert browser.jar == {}
    assert copy.copy().do(state).result == ("live", {"user": ANN}), "a copy lives on: docs/stores-cookie.md says so"
    clock.advance(DAY)
    assert copy.do(state).result == ("unknown", {})


def test_the_cookies_age_is_that_of_the_seal(site: Site, browser: Browser, clock: FakeClock) -> None:
    for function in (log_in(ANN, idle_timeout=600), log_in(ANN), put(a=1)):
        cookie = browser.do(function).cookie
        assert cookie is not None
        age = float(cookie.attributes["max-age"])
        start = clock()
        clock.advance(age - 1)
        assert browser.copy().do(lambda session: session.state).result == "live"
        clock.advance(1)
        assert browser.copy().do(lambda session: session.state).result == "unknown"
        clock.advance(start - clock())


@pytest.mark.parametrize(
    ("long", "short", "after"),
    [
        ({"idle_timeout": timedelta(days=3650), "absolute_timeout": None}, {"idle_timeout": 3600}, 3600),
        ({"absolute_timeout": None}, {"absolute_timeout": 7200}, 7200),
    ],
)
def test_the_limits_of_now_count_whatever_was_sealed(
    clock: FakeClock, long: dict[str, Any], short: dict[str, Any], after: float
) -> None:
    browser = make(clock, **long).browser()
    browser.do(log_in(ANN))
    visitor = with_jar(make(clock, **short), browser)
    clock.advance(after - 1)
    assert visitor.copy().do(state).result == ("live", {"user": ANN})
    clock.advance(1)
    assert visitor.do(state).result == ("unknown", {})


def test_a_session_of_the_future_is_dead_but_for_clocks_that_differ(site: Site, clock: FakeClock) -> None:
    browser = site.browser()
    clock.advance(60)
    browser.do(put(a=1))
    clock.advance(-60)
    assert browser.copy().do(state).result == ("live", {"a": 1})
    clock.advance(-0.5)
    assert browser.copy().do(state).result == ("unknown", {})
    clock.advance(1)
    assert browser.copy().do(state).result == ("live", {"a": 1})


def test_a_login_of_the_future_is_dead_though_it_was_seen_in_the_past(site: Site) -> None:
    fields = unpackb(GENUINE)
    for created, touched in ((2e9 + 61, 2e9), (2e9, 2e9 + 61)):
        browser = sealed_as(site, packb([*fields[:3], created, touched, *fields[5:]]))
        assert browser.do(state).result == ("unknown", {}), (created, touched)


def test_activity_renews_the_seal_at_most_once_an_interval(browser: Browser, clock: FakeClock) -> None:
    browser.do(log_in(ANN))
    first = browser.token
    clock.advance(DAY - 1)
    assert browser.do(read).cookies == []
    clock.advance(1)
    cookie = browser.do(read).cookie
    assert cookie is not None
    assert cookie.attributes["max-age"] == str(int(30 * DAY))
    assert browser.token != first
    clock.advance(30 * DAY - 1)
    assert browser.do(read).result == {"user": ANN}


def test_a_session_of_the_browser_renews_its_seal_too(browser: Browser, clock: FakeClock) -> None:
    browser.do(log_in(ANN, remember=False))
    for _ in range(3):
        clock.advance(20 * DAY)
        assert browser.do(read).result == {"user": ANN}


def test_polling_renews_nothing(browser: Browser, clock: FakeClock) -> None:
    browser.do(log_in(ANN))
    clock.advance(2 * DAY)
    assert browser.do(Session.no_touch).cookies == []


def test_nothing_is_renewed_in_a_response_for_everybody(browser: Browser, clock: FakeClock) -> None:
    browser.do(log_in(ANN))
    clock.advance(2 * DAY)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["session"].copy()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "public, max-age=60")])
        return [b"page"]

    assert browser.visit(app).cookies == []


# Size.


def fill(browser: Browser) -> tuple[int, Answer]:
    """Put as many bytes into a session as fit; return their number, and the response that set them."""
    with pytest.raises(SessionTooLarge) as caught:
        browser.do(put(big=noise(20_000)))
    fits = 20_000 - (caught.value.size - caught.value.limit)
    return fits, browser.do(put(big=noise(fits)))


@pytest.mark.parametrize(("options", "environ"), SETTINGS.values(), ids=SETTINGS)
def test_the_largest_session_fits_into_five_cookies_that_browsers_take(
    options: dict[str, Any], environ: dict[str, Any]
) -> None:
    site = make(**options)
    browser = site.browser(**environ)
    user = {"id": 2**63, "name": "x"}
    browser.do(log_in(user, remember=True, idle_timeout=123456.789))
    browser.do(put(small=noise(500)))
    before = dict(browser.jar)
    with pytest.raises(SessionTooLarge) as caught:
        browser.do(put(big=noise(20_000)))
    assert [key for key, _ in caught.value.largest][:2] == ["big", "small"]
    assert "big (20,003 bytes)" in str(caught.value)
    assert len(site.happened("unsaved")) == 1
    assert browser.jar == before

    fits, answer = fill(browser)
    sizes = [len(value) for value in answer.all("Set-Cookie")]
    assert len(sizes) == MAX_CHUNKS
    assert MAX_COOKIE - 100 < max(sizes) <= MAX_COOKIE, sizes
    assert browser.do(read).result == {"user": user, "big": noise(fits), "small": noise(500)}
    kept = dict(browser.jar)
    with pytest.raises(SessionTooLarge):
        browser.do(put(big=noise(fits + 1)))
    assert browser.jar == kept
    assert browser.do(read).result == {"user": user, "big": noise(fits), "small": noise(500)}


def test_max_size_may_be_smaller_than_the_limit() -> None:
    browser = make(max_size=5000).browser()
    browser.do(put(a=noise(4900)))
    assert len(browser.jar) == 2
    with pytest.raises(SessionTooLarge, match="max_size is 5,000"):
        browser.do(put(a=noise(5000)))


def test_attributes_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ConfigError, match="so long that a cookie of 4,096 bytes has no room left"):
        make(cookie_path="/" + "a" * 4000)
    make(cookie_path="/" + "a" * 3900)


@pytest.mark.parametrize(("options", "environ"), SETTINGS.values(), ids=SETTINGS)
def test_growing_shrinking_and_ending_leaves_nothing_behind(options: dict[str, Any], environ: dict[str, Any]) -> None:
    """CVE-2026-34454 and others: cookies were removed with other attributes, so the browser kept them."""
    browser = make(**options).browser(**environ)
    seen: list[Cookie] = []
    for size, count in ((10, 1), (14_000, 5), (14_001, 5), (5_000, 2), (8_500, 3), (10, 1), (11_000, 4)):
        answer = browser.do(put(data=noise(size)))
        assert len(browser.jar) == count, f"{size} bytes"
        assert browser.do(lambda session: session["data"]).result == noise(size)
        seen += answer.cookies
    seen += browser.do(log_out).cookies
    assert browser.jar == {}
    rest = [
        {name: value for name, value in cookie.attributes.items() if name not in ("max-age", "expires")}
        for cookie in seen
    ]
    assert all(attributes == rest[0] for attributes in rest), rest
    assert {cookie.name for cookie in seen if cookie.removes} == {cookie.name for cookie in seen}


@pytest.mark.parametrize("removed", ["sid", "sid.1", "sid.2", "sid.3"])
def test_a_visitor_who_lost_a_cookie_of_several_is_anonymous(site: Site, browser: Browser, removed: str) -> None:
    browser.do(put(data=noise(11_000)))
    del browser.jar[removed]
    wanted = "new" if removed == "sid" else "tampered"
    assert browser.do(state).result == (wanted, {})
    browser.do(put(a=1))
    assert browser.jar.keys() == {"sid"}
    assert browser.do(state).result == ("live", {"a": 1})


def test_cookies_of_two_seals_are_no_session(site: Site, browser: Browser) -> None:
    browser.do(put(data=noise(11_000)))
    older = dict(browser.jar)
    browser.do(put(more=1))
    for name in older:
        mixed = site.browser()
        mixed.jar = {**browser.jar, name: older[name]}
        assert mixed.do(state).result == ("tampered", {}), name
    swapped = site.browser()
    swapped.jar = {**browser.jar, "sid.1": browser.jar["sid.2"], "sid.2": browser.jar["sid.1"]}
    assert swapped.do(state).result == ("tampered", {})


def test_a_crowd_of_foreign_pieces_changes_nothing_and_costs_no_headers(site: Site, browser: Browser) -> None:
    browser.do(put(data=noise(5_000)))
    crowd = "; ".join(f"sid.{number}={number}" for number in range(600)) + "; sid.1=x; sid.1=y; sid.2=z"
    for header in (f"{crowd}; {browser.header}", f"{browser.header}; {crowd}"):
        assert browser.do(lambda session: len(session["data"]), HTTP_COOKIE=header).result == 5_000
        answer = browser.copy().do(put(a=1), HTTP_COOKIE=header)
        assert [(cookie.name, cookie.removes) for cookie in answer.cookies] == [
            ("sid.1", False),
            ("sid", False),
            ("sid.2", True),
            ("sid.3", True),
            ("sid.4", True),
        ]
        assert len(browser.copy().do(log_out, HTTP_COOKIE=header).cookies) == 5


# After the headers, and operations that need a store.


def late(function: Any) -> Any:
    """Return an application that reads, sends the first item of its body, and then calls ``function``."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        session = environ["session"]
        session.copy()
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        function(session)
        yield b"second"

    return app


@pytest.mark.parametrize(
    "change",
    [
        put(a=2),
        log_in(ANN),
        log_out,
        lambda session: session.rotate(),
        lambda session: session.flash("hello"),
        lambda session: session.pop("nested"),
        lambda session: session.clear(),
        lambda session: session.destroy(),
    ],
)
def test_a_change_after_the_headers_is_refused(browser: Browser, change: Any) -> None:
    browser.do(put(a=1, nested=[]))
    with pytest.raises(HeadersAlreadySent):
        browser.visit(late(change))
    assert browser.do(read).result == {"a": 1, "nested": []}


def test_a_change_inside_a_value_after_the_headers_is_dropped_and_told(site: Site, browser: Browser) -> None:
    browser.do(put(nested=[]))
    handle = browser.do(lambda session: session.handle).result
    browser.visit(late(lambda session: session["nested"].append(1)))
    assert site.happened("dropped") == [{"handle": handle, "owner": None, "keys": ["nested"]}]
    assert browser.do(read).result == {"nested": []}


def test_what_needs_a_store_is_refused(site: Site, browser: Browser) -> None:
    """CVE-2023-40273: a logout on all devices silently did nothing for sessions in cookies."""
    browser.do(log_in(ANN))
    sessions = site.middleware.sessions
    calls: dict[str, Any] = {
        "of": lambda: sessions.of(ANN),
        "revoke": lambda: sessions.revoke(ANN, "handle"),
        "revoke_all": lambda: sessions.revoke_all(ANN),
        "sweep": lambda: sessions.sweep(1),
        "count": lambda: sessions.count(),
        "atomic": lambda: browser.do(lambda session: session.atomic(dict.clear)),
    }
    for operation, call in calls.items():
        with pytest.raises(Unsupported) as caught:
            call()
        assert caught.value.operation == operation
    assert browser.do(read).result == {"user": ANN}


def test_validate_ends_what_it_refuses_and_removes_every_cookie(clock: FakeClock) -> None:
    blocked: set[object] = set()
    site = make(clock, validate=lambda session: session["user"]["id"] not in blocked)
    browser = site.browser()
    browser.do(log_in(ANN))
    browser.do(put(data=noise(9000)))
    copy = browser.copy()
    blocked.add(ANN["id"])
    assert browser.do(state).result == ("destroyed", {})
    assert browser.jar == {}
    assert copy.do(read).result == {}
    assert len(site.happened("invalid")) == 2


def test_the_token_is_in_no_event_and_no_text_of_the_session(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.do(lambda session: session.rotate())
    token = contents(site, browser)[0].decode()
    said = browser.do(repr).result + repr(site.events) + repr(site.middleware)
    assert token not in said
    assert browser.token not in said


def test_a_backend_without_a_store_has_nothing_to_sweep_and_nothing_to_look_up(site: Site, clock: FakeClock) -> None:
    backend = site.middleware._backend
    assert backend.sweep_due is False
    backend.sweep(clock())
    assert backend.look_up(backend.new_credential(), clock()) == ("unknown", None, None, {})


# Other parsers and clients.


def test_sessions_pass_through_the_parsers_of_others() -> None:
    """rack-session#60: standard base64 has a "+", which a cookie parser read as a space."""
    from webob.cookies import RequestCookies

    site = make()
    chance = random.Random(20_260_101)
    backend: Any = site.middleware._backend
    now = FakeClock.START
    for number in range(10_000):
        size = chance.choice((0, 1, 2, 3, 40, 500)) if number % 100 else chance.randrange(14_000)
        data = chance.randbytes(size)
        bearer = backend.new_credential()
        packed = packb({"data": packb(data)})
        bearer.record = Record(packed, b"", "a handle", now, now, now + 1000, None, True, None, "sid")
        jar = SimpleCookie()
        for value in backend.set_cookies({}, bearer, 60.0):
            jar.load(value)
        values = {name: morsel.value for name, morsel in jar.items()}
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", value) for value in values.values()), values
        header = jar.output(attrs=[], header="", sep=";").strip()
        assert {name: morsel.value for name, morsel in SimpleCookie(header).items()} == values
        assert dict(RequestCookies({"HTTP_COOKIE": header}).items()) == values
        found, _, loaded, split = backend.load({"HTTP_COOKIE": header}, now)
        assert (found, loaded.data, split) == ("live", packed, {"data": packb(data)}), number


def test_a_client_with_a_cookie_jar_of_its_own_keeps_a_session_of_any_size() -> None:
    from email.message import Message
    from http.cookiejar import CookieJar
    from urllib.request import Request

    site = make()
    jar = CookieJar()
    for size in (10, 14_000, 8_000, 100, 5_000):
        for function in (put(data=noise(size)), read):
            request = Request("http://shop.example.com/basket")
            jar.add_cookie_header(request)
            answer = site.browser().do(function, HTTP_COOKIE=request.get_header("Cookie", ""))
            message = Message()
            for value in answer.all("Set-Cookie"):
                message["Set-Cookie"] = value
            jar.extract_cookies(type("Response", (), {"info": lambda self, message=message: message})(), request)
        assert answer.result == {"data": noise(size)}, urlsplit(request.full_url)
    assert len(jar) == 2


PAGE = ROOT / "docs" / "stores-cookie.md"


def test_the_sizes_that_the_page_names_are_so() -> None:
    text = PAGE.read_text("utf-8")
    assert f"{make().middleware._settings.max_size:,} bytes" in text
    for max_size, count, longest in ((2_500, 1, 4096), (5_000, 2, 7_200)):
        assert f"max_size={max_size:_}" in text
        browser = make(max_size=max_size).browser(**HTTPS)
        browser.do(log_in({"id": 1}, idle_timeout=1.5))
        fill(browser)
        assert len(browser.jar) == count
        assert len(browser.header) < longest


def test_the_example_of_the_page_ends_every_copy(clock: FakeClock) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"site": _dispatch, "SECRET": SECRET, "epochs": {1: 0, 2: 0}}
    exec(compile(example, str(PAGE), "exec"), names)
    site = make(clock)
    site.middleware = names["app"]
    ann, bob = site.browser(), site.browser()
    ann.do(lambda session: names["sign_in"]({"session": session}, {**ANN}))
    bob.do(lambda session: names["sign_in"]({"session": session}, {**BOB}))
    copy = ann.copy()
    ann.do(lambda session: names["sign_out_everywhere"]({"session": session}))
    assert ann.jar == {}
    assert copy.do(read).result == {}
    assert bob.do(lambda session: session["user"]["name"]).result == "Bob"


def _dispatch(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    answer: Iterable[bytes] = environ["test.app"](environ, start_response)
    return answer
