"""Which paths stay on this site, compared with how browsers resolve them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given

from tests.support.attacks import PAYLOADS, PIECES, hostile, leaves
from tests.support.requests import make_environ
from tests.support.url_parser import SITE, follow, needs_a_browsers_parser
from wsgi_session.helpers.paths import MAX_PATH, local_path_or_none, requested_target, with_mount_point


def test_no_known_open_redirect_gets_through() -> None:
    assert len(PAYLOADS) >= 250
    through = [payload for payload in PAYLOADS if local_path_or_none(payload) is not None]
    assert through == []


@needs_a_browsers_parser
def test_the_known_open_redirects_are_known_to_browsers() -> None:
    """Shows that the payloads of the test above are not harmless."""
    away = [payload for payload, found in zip(PAYLOADS, follow(PAYLOADS), strict=True) if found.origin != SITE]
    assert len(away) >= 100, away


@needs_a_browsers_parser
def test_a_browser_stays_on_the_site_whatever_was_asked_for() -> None:
    draw = random.Random(55)
    asked = ["/" * draw.randrange(2) + "".join(draw.choices(PIECES, k=draw.randrange(9))) for _ in range(40_000)]
    paths = [path for path in map(local_path_or_none, asked) if path is not None]
    assert len(paths) > 1000
    strays = [
        (path, found)
        for path, found in zip(paths, follow(paths), strict=True)
        if found.origin != SITE or found.path.startswith("//")
    ]
    assert strays == []


@given(hostile)
def test_what_comes_back_is_a_path_or_nothing(text: str) -> None:
    path = local_path_or_none(text)
    assert path is None or leaves(path) == "", path


@given(hostile)
def test_a_path_that_was_let_through_is_let_through_as_it_is_ever_after(text: str) -> None:
    path = local_path_or_none(text)
    if path is not None:
        assert local_path_or_none(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/profile",
        "/a/b/../c/./d",
        "/a//b",
        "/@ann",
        "/~ann/",
        "/a;v=1/b",
        "/100%25",
        "/100%2525",
        "/a%20b",
        "/caf%C3%A9",
        "/search?q=a+b&page=2",
        "/?q=//evil.example",
        "/?url=https://evil.example/%0d%0a",
        "/a#//evil.example",
        "/wiki/https://example.com",
        "/.well-known/x",
        "/...",
        "/;",
        "/.",
        "/..",
    ],
)
def test_an_ordinary_path_comes_back_as_it_is(path: str) -> None:
    assert local_path_or_none(path) == path


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/café?ü=é#ö", "/caf%C3%A9?%C3%BC=%C3%A9#%C3%B6"),
        ("/می\u200cشود", "/%D9%85%DB%8C%E2%80%8C%D8%B4%D9%88%D8%AF"),
        ('/a"b<c>', "/a%22b%3Cc%3E"),
        ("/\uff052f", "/%EF%BC%852f"),
    ],
)
def test_what_a_header_cannot_hold_is_encoded(path: str, sent: str) -> None:
    assert local_path_or_none(path) == sent


@pytest.mark.parametrize(
    "path", ["/.//..;@evil.example", "/x/..//..;@evil.example", "/.//..%3b@evil.example", "/%2e//%2E%2e;a@evil.example"]
)
def test_a_path_that_leads_to_two_slashes_where_parameters_are_part_of_a_name_is_refused(path: str) -> None:
    """Browsers have no path parameters: they resolve ``/.//..;@host`` to ``//..;@host``, which leads to that host."""
    assert local_path_or_none(path) is None


def test_a_path_that_no_decoding_comes_to_the_end_of_is_refused() -> None:
    assert local_path_or_none("/100%252525") is None


def test_a_path_may_have_two_thousand_bytes_and_no_more() -> None:
    longest = "/" + "x" * (MAX_PATH - 1)
    assert local_path_or_none(longest) == longest
    assert local_path_or_none(longest + "x") is None
    assert local_path_or_none("/" + "é" * 333) is not None
    assert local_path_or_none("/" + "é" * 334) is None


@pytest.mark.parametrize(
    ("path", "query", "script", "target"),
    [
        ("/profile", "", "", "/profile"),
        ("", "", "", "/"),
        ("", "", "/app", "/app"),
        ("/a b", "x=1&y=%20", "/app", "/app/a%20b?x=1&y=%20"),
        ("/caf\xc3\xa9", "q=\xc3\xa9", "", "/caf%C3%A9?q=%C3%A9"),
        ("/what?#%", "a#b", "", "/what%3F%23%25?a%23b"),
        ("//evil.example", "", "", "/evil.example"),
        ("///evil.example", "", "", "/evil.example"),
        ("/\\evil.example", "", "", "/evil.example"),
        ("\\\\\\evil.example", "", "", "/evil.example"),
        ("https:evil.example", "", "", "/https:evil.example"),
        ("/evil.example", "", "//", "/evil.example"),
        ("/x", "", "//evil.example/", "/evil.example/x"),
        ("/.//evil.example", "", "", None),
        ("/%2f%2fevil.example", "", "", None),
        ("/\t/evil.example", "", "", None),
        ("/\r\n/evil.example", "", "", None),
        ("/" + "x" * 1000, "y" * 1000, "", None),
    ],
)
def test_the_path_of_a_request_is_rebuilt_with_one_slash_in_front(
    path: str, query: str, script: str, target: str | None
) -> None:
    assert requested_target(make_environ(path, query=query, script=script)) == target


@given(hostile, hostile, hostile)
def test_whatever_was_requested_the_rebuilt_path_stays_on_the_site(path: str, query: str, script: str) -> None:
    environ = make_environ(path, query=query, script=script, HTTP_HOST="evil.example", HTTP_REFERER="//evil.example")
    target = requested_target(environ)
    assert target is None or (leaves(target) == "" and local_path_or_none(target) == target), target


@pytest.mark.parametrize(
    ("script", "path", "mounted"),
    [
        ("", "/login", "/login"),
        ("/app", "/login", "/app/login"),
        ("/app", "/app/login", "/app/login"),
        ("/app", "/app", "/app"),
        ("/app", "/app?x", "/app?x"),
        ("/app", "/app#x", "/app#x"),
        ("/app", "/application", "/app/application"),
        ("/app", "/", "/app/"),
        ("/app/", "/login", "/app/login"),
        ("/", "/login", "/login"),
        ("//evil.example", "/login", "/evil.example/login"),
        ("/\\evil.example", "/login", "/evil.example/login"),
        ("/caf\xc3\xa9", "/login", "/caf%C3%A9/login"),
        ("/caf\xc3\xa9", "/caf%C3%A9/login", "/caf%C3%A9/login"),
        ("/a\r\nb", "/login", "/login"),
        ("/.//evil.example", "/login", "/login"),
    ],
)
def test_the_mount_point_goes_in_front_unless_it_is_there(script: str, path: str, mounted: str) -> None:
    assert with_mount_point(make_environ(script=script), path) == mounted
