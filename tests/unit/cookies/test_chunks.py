from __future__ import annotations

import itertools
import random
import time
from typing import Any

import pytest

from tests.support.client import parse_cookie
from wsgi_session.cookies.chunks import MAX_CHUNKS, MAX_COOKIE, CookieChunks
from wsgi_session.cookies.cookie import MAX_HEADER, SchemeCookies, SessionCookie
from wsgi_session.events import Events

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "plain": {},
    "domain": {"domain": "www.shop.example.com"},
    "path": {"path": "/" + "a" * 300},
    "all": {"domain": "a" * 200 + ".example", "path": "/app", "samesite": "None", "secure": True, "partitioned": True},
}
MARK = slice(8, 14)
RANDOM = random.Random(1)


def text_of(length: int) -> str:
    """Return a text like a seal, with random characters at MARK."""
    return "".join(RANDOM.choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=length))


def make(secure: object = "auto", **attributes: Any) -> tuple[CookieChunks, SchemeCookies]:
    http = SessionCookie("sid", **{"secure": secure is True, **attributes})
    https = SessionCookie("sid", **{**attributes, "secure": True}) if secure == "auto" else http
    cookies = SchemeCookies(http, https, Events(None))
    return CookieChunks(cookies, MARK), cookies


PIECES, COOKIES = make()
SID = COOKIES.http


def jar_of(values: list[str], jar: dict[str, str] | None = None) -> dict[str, str]:
    """Return the cookies of a browser after these Set-Cookie values."""
    jar = {} if jar is None else dict(jar)
    for cookie in map(parse_cookie, values):
        if cookie.removes:
            jar.pop(cookie.name, None)
        else:
            jar[cookie.name] = cookie.value
    return jar


def header_of(jar: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in jar.items())


def written(text: str) -> dict[str, str]:
    return jar_of(PIECES.write(SID, text, 60, ""))


@pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=ATTRIBUTES)
@pytest.mark.parametrize("https", [False, True])
@pytest.mark.parametrize("max_age", [None, 5.0, 1e12])
@pytest.mark.parametrize("count", range(1, MAX_CHUNKS + 1))
def test_each_cookie_stays_within_what_browsers_take(
    attributes: dict[str, Any], https: bool, max_age: float | None, count: int
) -> None:
    pieces, cookies = make(**attributes)
    cookie = cookies.https if https else cookies.http
    text = text_of(count * pieces.chunk_size)
    values = pieces.write(cookie, text, max_age, "")
    assert len(values) == count
    assert max(len(value.encode()) for value in values) <= MAX_COOKIE
    assert pieces.read(cookie, header_of(jar_of(values))) == [text]
    one, *others = [parse_cookie(value).attributes for value in values]
    assert all(other == one for other in others), "the cookies of one text differ in their attributes"


def test_what_fits_into_one_cookie_is_in_one() -> None:
    room = MAX_COOKIE - len(SID.write("", 60))
    assert written(text := text_of(room)) == {"sid": text}
    assert list(written(text_of(room + 1))) == ["sid.1", "sid"]


def test_the_head_comes_after_its_pieces_and_before_what_is_removed() -> None:
    values = PIECES.write(SID, text_of(2 * PIECES.chunk_size), 60, "sid.1=a; sid.2=b; sid.3=c")
    assert [(cookie.name, cookie.removes) for cookie in map(parse_cookie, values)] == [
        ("sid.1", False),
        ("sid", False),
        ("sid.2", True),
        ("sid.3", True),
    ]


@pytest.mark.parametrize("count", range(2, MAX_CHUNKS + 1))
def test_the_order_in_which_a_browser_sends_them_makes_no_difference(count: int) -> None:
    text = text_of(count * PIECES.chunk_size)
    jar = written(text)
    for order in itertools.permutations(jar):
        assert PIECES.read(SID, header_of({name: jar[name] for name in order})) == [text]


@pytest.mark.parametrize("missing", ["sid.1", "sid.2", "sid.3", "sid.4"])
def test_a_text_of_which_a_piece_is_missing_is_another(missing: str) -> None:
    text = text_of(MAX_CHUNKS * PIECES.chunk_size)
    jar = written(text)
    del jar[missing]
    (found,) = PIECES.read(SID, header_of(jar))
    assert found != text


def test_pieces_without_a_head_are_nothing() -> None:
    jar = written(text_of(3 * PIECES.chunk_size))
    del jar["sid"]
    assert PIECES.read(SID, header_of(jar)) == []


def test_pieces_of_two_texts_are_never_put_together() -> None:
    one, two = (written(text_of(3 * PIECES.chunk_size)) for _ in range(2))
    (found,) = PIECES.read(SID, header_of({**one, "sid.2": two["sid.2"]}))
    assert two["sid.2"].partition(".")[2] not in found


@pytest.mark.parametrize("head", ["1.", "0.", "6.", "-1.", "x.", ".", "2", "02.", "99999999999999999999.", "²."])
def test_only_a_count_as_we_write_it_counts_as_one(head: str) -> None:
    text = text_of(100)
    assert PIECES.read(SID, f"sid={head}{text}") == [""] if "." in head else [head + text]


def test_a_crowd_of_foreign_pieces_hides_nothing() -> None:
    """A neighbouring host can set cookies of any name (over http there is no __Host-), and they may come first."""
    text = text_of(4 * PIECES.chunk_size)
    crowd = [f"sid.{number}={text_of(6)}.{text_of(9)}" for number in range(9) for _ in range(50)]
    crowd += ["sid.1=", "sid.2=x", "sid.3=.", "sid.1", "sid.=1", "sid.1.2=3", "sid=2.", "sid=5." + text_of(40)]
    RANDOM.shuffle(crowd)
    assert text in PIECES.read(SID, "; ".join([*crowd, header_of(written(text)), *crowd]))


def test_what_overlapping_requests_write_never_piles_up() -> None:
    """Ten overlapping requests send no cookie or the same old one; the browser keeps those of the last response."""
    before = written(text_of(5 * PIECES.chunk_size))
    for sent in ({}, before):
        jar, texts = dict(sent), [text_of(count * PIECES.chunk_size) for count in (2, 5, 3, 1, 4, 2, 1, 5, 1, 3)]
        for text in texts:
            jar = jar_of(PIECES.write(SID, text, 60, header_of(sent)), jar)
            assert PIECES.read(SID, header_of(jar)) == [text]
            assert len(jar) <= MAX_CHUNKS
    assert set(jar_of(PIECES.write(SID, text_of(9), 60, header_of(jar)), jar)) == {"sid"}


def test_only_what_was_sent_and_is_ours_is_removed() -> None:
    assert PIECES.remove(SID, "") == PIECES.remove(SID, "a=sid; b=sid.1; sid.5=x; sid.1a=y; xsid.1=z") == []
    assert [parse_cookie(value).name for value in PIECES.remove(SID, "sid.3=x; sid.1=y; sid.1=z")] == ["sid.1", "sid.3"]
    assert PIECES.remove(SID, "sid=x; sid.4=y") == [SID.remove(), SID.with_suffix(".4").remove()]


def test_each_scheme_has_pieces_of_its_own() -> None:
    text = text_of(3 * PIECES.chunk_size)
    jar = jar_of(PIECES.write(COOKIES.https, text, 60, header_of(written(text))))
    assert set(jar) == {"__Host-sid", "__Host-sid.1", "__Host-sid.2"}
    assert PIECES.read(SID, header_of(jar)) == []


@pytest.mark.parametrize("part", ["sid=5.aaaaaaaammmmmm;", "sid=2.;sid.1=;", "sid.1=mmmmmm.x;", "sid=5.x;sid.1=y;;"])
def test_reading_takes_time_in_proportion_to_the_header(part: str) -> None:
    """CVE-2024-7592: quadratic cookie parsing. Here, many first cookies refer to the same very long chunk."""

    def seconds(length: int) -> float:
        header = part * (length // 2 // len(part)) + "sid.1=mmmmmm." + "x" * (length // 2 - 100)
        best = 1e9
        for _ in range(5):
            # The CPU time of this thread, which does not depend on other load.
            begin = time.thread_time()
            PIECES.read(SID, header)
            best = min(best, time.thread_time() - begin)
        return best

    planted = "sid=5.aaaaaaaammmmmm; " * 100 + "sid.1=mmmmmm." + "x" * 9000
    assert sum(map(len, PIECES.read(SID, planted))) < len(planted), "a piece was taken more than once"
    short, long = seconds(MAX_HEADER // 8), seconds(MAX_HEADER)
    assert long < 0.25, f"{long:.3f} s for 64 KB"
    # 8 times the length; quadratic would be 64 times the time.
    assert long < short * 30, f"{short:.4f} s for 8 KB, {long:.4f} s for 64 KB"
