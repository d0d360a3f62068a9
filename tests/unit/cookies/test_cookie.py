"""The session's cookie: strict reading, and safe attributes when it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.names import name_of
from wsgi_session.cookies.cookie import MAX_AGE, MAX_HEADER, SchemeCookies, SessionCookie, check_cookie_options
from wsgi_session.errors import ConfigError
from wsgi_session.events import Events

SID = SessionCookie("sid")
HOST = SessionCookie("sid", secure=True)


def by_the_book(name: str, header: str) -> list[str]:
    """Read the header literally as rule 12 says."""
    found = []
    for part in header.split(";"):
        name_found, equals, value = part.strip(" \t").partition("=")
        if equals and name_found == name:
            found.append(value.strip(" \t"))
    return found


# Reading.

pieces = st.lists(st.sampled_from(["sid", "=", ";", "; ", " ", "\t", "x", '"', ",", "\\", "\n", "sid=", "Sid", "\xe9"]))


@given(pieces.map("".join) | st.text(st.characters(max_codepoint=255)))
@example(";sid=a")
@example("x;sid=a")
@example(" sid=a")
@example("sid=a; sid=b;\tsid=c ;xsid=d")
@example("sid=sid=a")
@example("=sid=a")
@example("x;sid=a\xa0")
@example("x;sid=\x0ba")
def test_a_header_is_split_at_semicolons_trimmed_of_spaces_and_tabs_and_compared_byte_for_byte(header: str) -> None:
    assert SID.read(header) == by_the_book("sid", header)


JUNK = [
    "null",
    '{"a":1}',
    "",
    "x y=1",
    "caf\xe9=\xff",
    "=",
    "=empty-name",
    "empty-value=",
    'a="x',
    "a=]sid=evil",
    "a=1,sid=evil",
    "\x00=\x01",
    "$Version=1",
    "a=b=c==",
    '"',
    "\\",
    "expires=Thu, 01 Jan 1970",
]


@given(st.lists(st.sampled_from(JUNK)), st.lists(st.sampled_from(JUNK)), st.sampled_from([";", "; ", " ;\t"]))
def test_no_neighbour_hides_the_cookie_or_plants_another(before: list[str], after: list[str], separator: str) -> None:
    """Beaker #231, CVE-2015-2156, CVE-2016-7401: invalid cookies stopped parsers, or were read as other cookies."""
    header = separator.join([*before, "sid=good", *after])
    assert SID.read(header) == ["good"], header


@pytest.mark.parametrize(
    "header",
    [
        "%5F%5FHost-sid=evil",
        '"__Host-sid"=evil',
        "..Host-sid=evil",
        "[_Host-sid=evil",
        "__host-sid=evil",
        "__HOST-SID=evil",
        "__Host-sid =evil",
        "__Host-sid\t=evil",
        "__Host-sid\x00=evil",
        "__Host-sid\xa0=evil",
        "x__Host-sid=evil",
        "__Secure-sid=evil",
        "sid=evil",
        "=__Host-sid=evil",
        "__Host-sid",
        "__Host-sid: evil",
        "\u2028__Host-sid=evil",
        "\x0b__Host-sid=evil",
        "\n__Host-sid=evil",
    ],
    ids=ascii,
)
def test_only_the_very_name_is_the_name(header: str) -> None:
    """CVE-2023-23934, CVE-2020-8184, CVE-2022-31629: decoding turned other names into the session cookie's."""
    assert HOST.read(header) == []
    assert HOST.read(f"{header}; __Host-sid=good") == ["good"]
    assert HOST.read(f"__Host-sid=good; {header}") == ["good"]


@pytest.mark.parametrize("value", ['"quoted"', "%41", "a=b", "a b", "", '"', "\\073", "a,b"])
def test_a_value_is_taken_as_it_stands(value: str) -> None:
    assert SID.read(f"a=1; sid={value} \t; b=2") == [value]
    assert SID.read(f"sid={value}") == [value]


def test_several_cookies_of_the_name_come_in_the_headers_order() -> None:
    assert SID.read("sid=1;a=b; sid=2;  sid = 3;sid=3") == ["1", "2", "3"]


def test_what_is_over_64_kb_is_ignored() -> None:
    header = "sid=good; a="
    assert SID.read(header + "x" * (MAX_HEADER - len(header))) == ["good"]
    assert SID.read(header + "x" * (MAX_HEADER - len(header) + 1)) == []


class Counting(str):
    """A header that counts how often it is searched."""

    passes = 0

    def find(self, *args: Any) -> int:
        Counting.passes += 1
        return super().find(*args)

    def split(self, *args: Any) -> list[str]:  # type: ignore[override]
        Counting.passes += 1
        return super().split(*args)


@pytest.mark.parametrize("filling", ['sid="\\\\', ";;;;", "a=a; ", "sid=", ";sid=x", " \t", "sid", "=;="])
def test_a_header_is_gone_through_a_few_times_whatever_is_in_it(filling: str) -> None:
    """CVE-2024-7592, CVE-2024-52804: quadratic parsers. Here: a few searches and one split, however many cookies."""
    Counting.passes = 0
    header = Counting((filling * MAX_HEADER)[:MAX_HEADER])
    assert SID.read(header) == by_the_book("sid", str(header))
    assert Counting.passes <= 4


# Further cookies, for a value too long for one.


def test_a_piece_is_a_cookie_of_its_own_with_the_same_attributes() -> None:
    piece = HOST.with_suffix(".1")
    assert piece.name == "__Host-sid.1"
    assert piece.write("v", 60) == HOST.write("v", 60).replace("__Host-sid=", "__Host-sid.1=")
    assert piece.remove() == HOST.remove().replace("__Host-sid=", "__Host-sid.1=")
    header = "__Host-sid=0; __Host-sid.1=1; __Host-sid.11=2; sid.1=3"
    assert (HOST.read(header), piece.read(header)) == (["0"], ["1"])
    assert HOST.name == "__Host-sid"


# Writing.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "sid=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"),
        ({"secure": True}, "__Host-sid=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure"),
        ({"secure": True, "path": "/a"}, "__Secure-sid=v; Max-Age=60; Path=/a; HttpOnly; SameSite=Lax; Secure"),
        (
            {"secure": True, "domain": "example.com"},
            "__Secure-sid=v; Max-Age=60; Domain=example.com; Path=/; HttpOnly; SameSite=Lax; Secure",
        ),
        (
            {"secure": True, "samesite": "None", "partitioned": True},
            "__Host-sid=v; Max-Age=60; Path=/; HttpOnly; SameSite=None; Secure; Partitioned",
        ),
        ({"samesite": "Strict", "path": "/a"}, "sid=v; Max-Age=60; Path=/a; HttpOnly; SameSite=Strict"),
    ],
    ids=repr,
)
def test_a_cookie_is_written_and_removed_with_the_same_attributes(options: dict[str, Any], expected: str) -> None:
    """A removal with another path, domain or prefix would have no effect."""
    cookie = SessionCookie("sid", **options)
    assert cookie.write("v", 60) == expected
    name, _, attributes = expected.partition("=v; Max-Age=60")
    assert cookie.remove() == f"{name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{attributes}"


@pytest.mark.parametrize(("prefix", "path"), [("__Host-", "/"), ("__Secure-", "/a")])
def test_a_prefix_that_is_spelt_out_is_not_added_again(prefix: str, path: str) -> None:
    assert SessionCookie(prefix + "sid", secure=True, path=path).name == prefix + "sid"


def test_a_cookie_without_a_life_ends_with_the_browser() -> None:
    assert SID.write("v", None) == "sid=v; Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, 1), (59.5, 60), (MAX_AGE, MAX_AGE), (MAX_AGE + 1, MAX_AGE), (1e9, MAX_AGE)]
)
def test_a_life_is_told_in_whole_seconds_and_at_most_400_days(seconds: float, said: int) -> None:
    """Rounded up, because a record must not outlive its cookie. RFC 6265bis has the limit of 400 days."""
    assert f"; Max-Age={said};" in SID.write("v", seconds)


# Which name for which scheme.


def scheme_cookies(*, same: bool = False) -> tuple[SchemeCookies, list[str]]:
    told: list[str] = []
    events = Events(lambda name, data: told.append(name))
    return SchemeCookies(SID, SID if same else HOST, events), told


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"wsgi.url_scheme": "https"}, HOST),
        ({"wsgi.url_scheme": "http"}, SID),
        ({}, SID),
        ({"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "https"}, SID),
        ({"wsgi.url_scheme": "https", "HTTP_X_FORWARDED_PROTO": "http"}, HOST),
    ],
    ids=name_of,
)
def test_the_servers_scheme_decides_and_no_header_of_a_client(environ: Mapping[str, Any], expected: Any) -> None:
    cookies, _ = scheme_cookies()
    assert cookies.of(environ) is expected


def test_https_at_the_proxy_and_http_here_is_told_once() -> None:
    cookies, told = scheme_cookies()
    cookies.of({"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "http"})
    cookies.of({"wsgi.url_scheme": "https", "HTTP_X_FORWARDED_PROTO": "https"})
    assert told == []
    for said in ("https", " HTTPS ", "https"):
        cookies.of({"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": said})
    assert told == ["behind_proxy"]


def test_a_scheme_that_changes_nothing_is_not_told() -> None:
    cookies, told = scheme_cookies(same=True)
    cookies.of({"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "https"})
    assert told == []


# Options.

GOOD: dict[str, Any] = {
    "name": "sid",
    "path": "/",
    "domain": None,
    "secure": True,
    "samesite": "Lax",
    "partitioned": False,
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": "a.b-c_d!#$%&'*+^`|~9"},
        {"path": "/a/b%20c/~x"},
        {"domain": "example.com"},
        {"domain": ".example.com"},
        {"domain": "localhost"},
        {"domain": "xn--bcher-kva.example"},
        {"secure": "auto"},
        {"secure": False, "samesite": "Strict"},
        {"samesite": "None", "partitioned": True},
        {"name": "__Host-sid"},
        {"name": "__Secure-sid", "path": "/a", "domain": "example.com"},
    ],
    ids=repr,
)
def test_a_cookie_option_that_browsers_accept_is_accepted(change: dict[str, Any]) -> None:
    check_cookie_options(**{**GOOD, **change})


_INJECTIONS = ["a;b", "a,b", "a\rb", "a\nb", "a b", "caf\xe9", "a\n", "a; Domain=evil.example", "a\x00", 5, None, b"a"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("name", value) for value in [*_INJECTIONS, "", "a=b", '"a"', "a[0]", "a(b)", "a/b", "a\x7f"]],
        *[("path", value) for value in [*(f"/{value}" for value in _INJECTIONS[:9]), 5, None, b"/", "", "a"]],
        *[("domain", value) for value in [*_INJECTIONS[:9], 5, b"a", "", "-a", "a-", "a/b", "a:80", "..", "*.a"]],
        *[("secure", value) for value in ["Auto", "true", 1, 0, None, []]],
        *(("samesite", value) for value in ("lax", "none", "", None, True)),
        ("samesite", []),
        *[("partitioned", value) for value in ["true", 1, None]],
    ],
    ids=repr,
)
def test_what_would_add_attributes_or_be_refused_by_browsers_is_refused(option: str, value: Any) -> None:
    """CVE-2024-47764: a cookie's name, path or domain injected attributes."""
    with pytest.raises(ConfigError) as caught:
        check_cookie_options(**{**GOOD, option: value})
    said = str(caught.value)
    assert said.startswith(f"cookie_{option}={value!r}: give "), said


@pytest.mark.parametrize("secure", ["auto", False])
@pytest.mark.parametrize(
    ("change", "said"),
    [({"samesite": "None"}, "cookie_samesite='None'"), ({"partitioned": True}, "cookie_partitioned=True")],
)
def test_what_only_secure_cookies_have_wants_secure(secure: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(
        ConfigError, match=f"{said}: browsers accept this only for Secure cookies. Add cookie_secure=True"
    ):
        check_cookie_options(**{**GOOD, "secure": secure, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"name": "__Host-sid", "secure": "auto"},
        {"name": "__Secure-sid", "secure": False},
        {"name": "__host-sid"},
        {"name": "__SECURE-sid"},
    ],
    ids=repr,
)
def test_a_prefix_that_the_cookie_would_not_keep_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the prefix is added automatically over https"):
        check_cookie_options(**{**GOOD, **change})


@pytest.mark.parametrize("change", [{"path": "/a"}, {"domain": "example.com"}], ids=repr)
def test_a_host_cookie_has_neither_path_nor_domain(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a __Host- cookie needs cookie_path='/' and no cookie_domain"):
        check_cookie_options(**{**GOOD, "name": "__Host-sid", **change})
