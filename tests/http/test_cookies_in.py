"""Rules 6 and 12: the client never chooses an id; whatever it sends gives a clean anonymous session."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.site import ANN, BOB, SECRET, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import Session
from wsgi_session.cookies.tokens import TokenSigner

KB = 1024
MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def state(session: Session) -> str:
    return session.state


def forged(number: int = 0) -> str:
    """Return a value that looks like one of our cookies, but has a wrong signature."""
    return f"{number:043d}.{'A' * 43}"


def issued_to_nobody() -> str:
    """Return a cookie with a valid signature that belongs to no session."""
    keyring = TokenSigner([SECRET.encode()], "sid")
    return keyring.sign(b"n" * 43)


@pytest.fixture
def ann(browser: Browser) -> Browser:
    browser.do(log_in(ANN))
    return browser


@pytest.mark.needs(SERVER)
def test_the_state_says_why_a_session_is_as_it_is(site: Site, ann: Browser) -> None:
    def of(header: str) -> Any:
        return site.browser().do(state, HTTP_COOKIE=header).result

    assert [of(""), of("lang=en"), of(ann.header), of(f"sid={forged()}"), of(f"sid={issued_to_nobody()}")] == [
        "new",
        "new",
        "live",
        "tampered",
        "unknown",
    ]


@pytest.mark.parametrize("value", ["", "x", forged(), issued_to_nobody(), "a" * 43, "a.b.c", "1", "None"])
def test_a_cookie_that_does_not_work_is_an_empty_session_and_is_not_removed(site: Site, value: str) -> None:
    answer = site.browser().do(read, HTTP_COOKIE=f"sid={value}")
    assert (answer.code, answer.result, answer.cookie) == (200, {}, None)


@pytest.mark.parametrize("value", [forged(), issued_to_nobody()])
def test_a_write_with_an_invalid_cookie_gets_a_new_token(site: Site, value: str) -> None:
    browser = site.browser()
    browser.jar = {"sid": value}
    browser.do(put(a=1))
    assert browser.token.partition(".")[0] != value.partition(".")[0]
    assert browser.do(read).result == {"a": 1}
    stranger = site.browser()
    assert stranger.do(read, HTTP_COOKIE=f"sid={value}").result == {}


@pytest.mark.needs(SERVER)
def test_a_token_without_our_signature_opens_nothing(site: Site, ann: Browser) -> None:
    token, _, signature = ann.token.partition(".")
    for value in (token, f"{token}.", f"{token}.{'A' * 43}", f"{token}.{signature[:-1]}", f"{token}x.{signature}"):
        answer = site.browser().do(lambda session: (session.state, session.copy()), HTTP_COOKIE=f"sid={value}")
        assert answer.result == ("tampered", {}), value


def test_a_forged_cookie_costs_no_store_call_and_one_event(site: Site) -> None:
    site.browser().do(read, HTTP_COOKIE=f"sid={forged()}")
    assert (site.calls.counts(), site.happened("tampered")) == ({}, [{"cookies": 1}])


# Several cookies of our name.


def test_of_several_cookies_the_first_live_one_wins(site: Site) -> None:
    one, two = site.browser(), site.browser()
    one.do(put(who="one"))
    two.do(put(who="two"))
    for header, who in (
        (f"{one.header}; {two.header}", "one"),
        (f"{two.header}; {one.header}", "two"),
        (f"sid={issued_to_nobody()}; {two.header}; {one.header}", "two"),
        (f"sid={forged()}; sid=; sid=x; {one.header}", "one"),
    ):
        assert site.browser().do(read, HTTP_COOKIE=header).result == {"who": who}, header


@pytest.mark.needs(SERVER)
def test_at_most_three_of_several_cookies_are_looked_up(site: Site, ann: Browser) -> None:
    keyring = TokenSigner([SECRET.encode()], "sid")
    dead = "; ".join(f"sid={keyring.sign(keyring_token(number))}" for number in range(10))
    site.forget()
    assert site.browser().do(state, HTTP_COOKIE=f"{dead}; {ann.header}").result == "unknown"
    assert site.calls.counts() == {"load": 3}


def keyring_token(number: int) -> bytes:
    return b"%043d" % number


@pytest.mark.needs(SERVER)
def test_badly_signed_cookies_cost_no_look(site: Site, ann: Browser) -> None:
    noise = "; ".join(f"sid={forged(number)}" for number in range(300))
    site.forget()
    assert site.browser().do(state, HTTP_COOKIE=f"{noise}; {ann.header}").result == "live"
    assert site.calls.counts() == {"load": 1}


@pytest.mark.needs(SERVER)
def test_of_several_cookies_that_open_nothing_a_rotated_one_counts(site: Site) -> None:
    browser = site.browser()
    browser.do(put(a=1))
    rotated = browser.header
    browser.do(lambda session: session.rotate())
    for header in (f"{rotated}; sid={issued_to_nobody()}", f"sid={issued_to_nobody()}; sid={forged()}; {rotated}"):
        answer = site.browser().do(lambda session: (session.state, session.update(b=2)), HTTP_COOKIE=header)
        assert (answer.result[0], answer.cookie) == ("rotated", None), header


@pytest.mark.needs(SERVER)
def test_a_logout_with_several_cookies_removes_the_name(site: Site, ann: Browser) -> None:
    answer = site.browser().do(log_out, HTTP_COOKIE=f"sid={forged()}; {ann.header}")
    assert answer.cookie, answer
    assert answer.cookie.removes
    assert ann.do(state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_a_logout_with_several_cookies_ends_the_session_of_each(site: Site, ann: Browser) -> None:
    second, third, bob = (site.browser() for _ in range(3))
    for browser in (second, third):
        browser.do(log_in(ANN))
    bob.do(log_in(BOB))
    before = third.header
    third.do(lambda session: session.rotate())
    gone = site.browser()
    gone.do(put(a=1))
    gone_header = gone.header
    gone.do(log_out)
    site.forget()
    site.browser().do(log_out, HTTP_COOKIE=f"{second.header}; {before}; {gone_header}")
    assert [browser.do(state).result for browser in (ann, second, third, bob)] == ["live", "unknown", "unknown", "live"]
    assert len(site.happened("destroyed")) == 2


@pytest.mark.needs(SERVER)
def test_a_logout_whose_first_cookies_open_nothing_ends_the_session_of_the_others(site: Site, ann: Browser) -> None:
    before = ann.header
    ann.do(lambda session: session.rotate())
    other = site.browser()
    other.do(put(a=1))
    other_before = other.header
    other.do(lambda session: session.rotate())
    site.browser().do(log_out, HTTP_COOKIE=f"{before}; {other_before}")
    assert [browser.do(state).result for browser in (ann, other)] == ["unknown", "unknown"]


@pytest.mark.needs(SERVER)
def test_a_logout_ends_the_sessions_of_the_other_cookies_also_if_validate_has_ended_the_first(
    make_site: MakeSite,
) -> None:
    site = make_site(validate=lambda session: session["user"]["id"] != 1)
    first, second = site.browser(), site.browser()
    first.do(log_in(ANN))
    second.do(log_in(BOB))
    site.browser().do(log_out, HTTP_COOKIE=f"{first.header}; {second.header}")
    assert [browser.do(state).result for browser in (first, second)] == ["unknown", "unknown"]
    assert [len(site.happened(name)) for name in ("invalid", "destroyed")] == [1, 1]


@pytest.mark.needs(SERVER)
def test_a_session_that_validate_ends_takes_no_other_with_it(make_site: MakeSite) -> None:
    site = make_site(validate=lambda session: session["user"]["id"] != 1)
    first, second = site.browser(), site.browser()
    first.do(log_in(ANN))
    second.do(log_in(BOB))
    site.browser().do(read, HTTP_COOKIE=f"{first.header}; {second.header}")
    assert second.do(state).result == "live"


# How the header is read.


@pytest.mark.parametrize(
    "header",
    [
        "sid={}",
        " sid={}",
        "\tsid={} ",
        ";;sid={};",
        "a=b;sid={}",
        'a="x;sid={}',
        "a=1,b=2;\t sid={}\t;c",
        "sid={};sid=other",
        "=;sid={}",
        "ü=ö; sid={}",
        "\x00;\x7f; sid={}",
        "SID=x; sid={}",
        "sidsid=1; sid={}",
    ],
)
def test_the_header_is_split_at_semicolons_and_trimmed_of_spaces_and_tabs(
    site: Site, ann: Browser, header: str
) -> None:
    assert site.browser().do(state, HTTP_COOKIE=header.format(ann.token)).result == "live"


@pytest.mark.parametrize(
    "header",
    [
        'sid="{}"',
        "lang=en,sid={}",
        "SID={}",
        "Sid={}",
        "xsid={}",
        "sid ={}",
        "sid\xa0={}",
        "\xa0sid={}",
        "sid={}\n",
        "a=b sid={}",
        "$sid={}",
        "sid%3D{}",
        "__Host-sid={}",
        "__Secure-sid={}",
        "sid\x00={}",
        "sid=={}",
        "\x0bsid={}",
        "s\u00edd={}",
    ],
)
def test_nothing_else_is_a_cookie_of_ours(site: Site, ann: Browser, header: str) -> None:
    result = site.browser().do(lambda session: (session.state, session.copy()), HTTP_COOKIE=header.format(ann.token))
    assert result.result in (("new", {}), ("tampered", {})), header


def test_a_header_over_64_kb_is_ignored(site: Site, ann: Browser) -> None:
    def of(size: int) -> Any:
        padding = "a=" + "b" * (size - len(ann.header) - 4)
        header = f"{padding}; {ann.header}"
        assert len(header) == size
        return site.browser().do(state, HTTP_COOKIE=header).result

    assert [of(64 * KB), of(64 * KB + 1)] == ["live", "new"]


LATIN = st.text(st.characters(max_codepoint=255), max_size=300)
PIECES = st.one_of(
    LATIN,
    st.sampled_from(["sid=", "sid", ";", "; ", "=", '"', ",", "\t", "__Host-sid=", "\\073", "$Version=1"]),
    st.sampled_from([forged(), issued_to_nobody(), "sid=" + forged(), "sid=" + issued_to_nobody()]),
)


@MANY
@given(pieces=st.lists(PIECES, max_size=30))
def test_any_cookie_header_gives_an_empty_session(site: Site, pieces: list[str]) -> None:
    def look(session: Session) -> Any:
        return session.copy(), session.flashes(), session.handle, session.owner

    answer = site.browser().do(look, HTTP_COOKIE="".join(pieces))
    assert (answer.code, answer.result, answer.cookie) == (200, ({}, [], None, None), None)
    assert site.happened("created") == []


@MANY
@given(header=LATIN, value=LATIN)
def test_any_cookie_header_can_be_written_and_logged_out_of(site: Site, header: str, value: str) -> None:
    sent = f"{header};sid={value}"
    assert site.browser().do(put(a=1), HTTP_COOKIE=sent).cookie is not None
    answer = site.browser().do(log_out, HTTP_COOKIE=sent)
    assert answer.code == 200
    assert answer.cookie is None or answer.cookie.removes


SIZES = [1, 16, 64, 256]
FLOODS = {
    "one long value": lambda size: "sid=" + "x" * size,
    "one long name": lambda size: "x" * size,
    "semicolons": lambda size: ";" * size,
    "our name": lambda size: "sid=;" * (size // 5),
    "spaces": lambda size: " " * size + ";sid=",
    "tabs between": lambda size: "\t; " * (size // 3) + "sid=x",
    "quotes": lambda size: 'sid="' * (size // 5),
    "backslashes": lambda size: 'sid="' + "\\" * size,
    "forged ones": lambda size: f"sid={forged()};" * (size // 92),
    "high bytes": lambda size: "\xff" * size,
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size}KB")
def test_a_header_of_any_size_is_an_empty_session_and_no_log_flood(site: Site, flood: str, size: int) -> None:
    answer = site.browser().do(read, HTTP_COOKIE=FLOODS[flood](size * KB))
    assert (answer.code, answer.result, answer.cookie) == (200, {}, None)
    names = [name for name, _ in site.events]
    assert names in ([], ["tampered"], ["tampered", "foreign_cookie"])
    assert site.calls.counts() == {}


@pytest.mark.parametrize("flood", FLOODS)
def test_the_time_a_header_takes_is_linear_in_its_size(site: Site, flood: str) -> None:
    def seconds(size: int) -> float:
        request = site.browser().request(_reads, HTTP_COOKIE=FLOODS[flood](size))
        best = float("inf")
        for _ in range(5):
            started = time.thread_time()
            site.middleware(dict(request), lambda status, headers: lambda data: None)
            best = min(best, time.thread_time() - started)
        return best

    small, large = seconds(2 * KB), seconds(64 * KB)
    # 32 times the size; quadratic would be 1024 times the time.
    assert large < 200 * max(small, 0.00002), (small, large)


def _reads(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["session"].get("user")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]
