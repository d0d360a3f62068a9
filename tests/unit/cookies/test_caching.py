"""The cache headers of responses that use the session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_session.cookies.caching import Headers, add_vary, is_public, make_private

TYPE = ("Content-Type", "text/plain")


def cache_control(*values: str) -> Headers:
    return [("Cache-Control", value) for value in values]


# Vary.


@pytest.mark.parametrize(
    ("given_values", "expected"),
    [
        ([], ["Cookie"]),
        (["Accept"], ["Accept, Cookie"]),
        (["Accept, Accept-Encoding"], ["Accept, Accept-Encoding, Cookie"]),
        (["cookie"], ["cookie"]),
        (["Accept ,COOKIE"], ["Accept ,COOKIE"]),
        (["*"], ["*"]),
        (["Accept, *"], ["Accept, *"]),
        (["Accept", "Origin"], ["Accept", "Origin, Cookie"]),
        (["Cookie", "Origin"], ["Cookie", "Origin"]),
        (["Origin", "*"], ["Origin", "*"]),
        ([""], ["Cookie"]),
        ([" "], ["Cookie"]),
        (["X-Cookie"], ["X-Cookie, Cookie"]),
    ],
    ids=repr,
)
def test_vary_names_cookie_once_whatever_it_named_before(given_values: list[str], expected: list[str]) -> None:
    """CVE-2023-30861: a shared cache sent a stored page, with its Set-Cookie, to other visitors."""
    headers = [TYPE, *(("vARY", value) for value in given_values)]
    add_vary(headers, "Cookie")
    assert headers[0] == TYPE
    assert [value for _, value in headers[1:]] == expected
    before = list(headers)
    add_vary(headers, "Cookie")
    assert headers == before


# Whether shared caches may store the response.


@pytest.mark.parametrize(
    "headers",
    [
        cache_control("public"),
        cache_control("Public, max-age=60"),
        cache_control("max-age=60,PUBLIC"),
        cache_control("s-maxage=60"),
        cache_control("max-age=0, S-MaxAge=0"),
        cache_control('max-age="60" , public'),
        cache_control('no-cache="a, b", public'),
        cache_control('x="a \\" b", public'),
        cache_control("no-store", "public"),
        cache_control("public=1"),
        [("CDN-Cache-Control", "max-age=60")],
        [("Cloudflare-CDN-Cache-Control", "max-age=60")],
        [("vercel-cdn-cache-control", "max-age=60")],
        [("Akamai-Cache-Control", "max-age=60")],
        [("X-LiteSpeed-Cache-Control", "public, max-age=60")],
        [("Surrogate-Control", "max-age=60")],
        [("Edge-Control", "cache-maxage=60")],
        [("X-Accel-Expires", "60")],
    ],
    ids=repr,
)
def test_what_lets_shared_caches_keep_a_response_is_public(headers: Headers) -> None:
    assert is_public([TYPE, *headers])
    assert make_private([TYPE, *headers])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        cache_control(""),
        cache_control("private"),
        cache_control("max-age=60"),
        cache_control("no-store, no-cache"),
        cache_control('no-cache="Set-Cookie, public"'),
        cache_control('private="x, s-maxage=5"'),
        cache_control('x="a \\", public, b"'),
        cache_control("max-age=60, x-public, publicly, s-maxage-not"),
        cache_control("x=public"),
        [("Expires", "Thu, 01 Jan 2099 00:00:00 GMT"), ("X-Public", "public"), ("Pragma", "public")],
        [("Access-Control-Allow-Origin", "*"), ("X-Cache", "public")],
    ],
    ids=repr,
)
def test_nothing_else_is_public(headers: Headers) -> None:
    assert not is_public([TYPE, *headers])
    assert make_private([TYPE, *headers]) == []


# With our Set-Cookie.


@pytest.mark.parametrize(
    ("headers", "expected", "dropped"),
    [
        ([], "private", []),
        (cache_control("max-age=60"), "max-age=60, private", []),
        (cache_control("no-store"), "no-store, private", []),
        (cache_control("private, max-age=60"), "private, max-age=60", []),
        (cache_control("PRIVATE"), "PRIVATE", []),
        (cache_control('private="X-Name"'), 'private="X-Name", private', []),
        (cache_control("public, max-age=60, immutable"), "max-age=60, private", ["public", "immutable"]),
        (cache_control("public"), "private", ["public"]),
        (cache_control("s-maxage = 60, stale-if-error=5"), "stale-if-error=5, private", ["s-maxage = 60"]),
        (cache_control("max-age=60", "public, no-transform"), "max-age=60, no-transform, private", ["public"]),
        (cache_control('no-cache="a, public", public'), 'no-cache="a, public", private', ["public"]),
        (cache_control('x="a \\", public", immutable'), 'x="a \\", public", private', ["immutable"]),
        (cache_control(",, ,max-age=1,"), "max-age=1, private", []),
        ([("Surrogate-Control", "max-age=60")], "private", ["Surrogate-Control"]),
        ([("X-Accel-Expires", "60"), *cache_control("max-age=5")], "max-age=5, private", ["X-Accel-Expires"]),
        ([("CACHE-CONTROL", "public, max-age=5")], "max-age=5, private", ["public"]),
        ([("X-ACCEL-EXPIRES", "60")], "private", ["X-ACCEL-EXPIRES"]),
        ([("", "a header without a name")], "private", []),
    ],
    ids=repr,
)
def test_a_response_with_our_cookie_is_private_and_tells_what_was_dropped(
    headers: Headers, expected: str, dropped: list[str]
) -> None:
    made = [TYPE, *headers, ("Set-Cookie", "a=b")]
    assert make_private(made) == dropped
    assert [value for name, value in made if name.lower() == "cache-control"] == [expected]
    assert [pair for pair in made if pair[0].lower() not in ("cache-control", "")] == [TYPE, ("Set-Cookie", "a=b")]
    assert not is_public(made)


def test_expires_and_other_headers_stay() -> None:
    others = [("Expires", "0"), ("Set-Cookie", "a=1"), ("ETag", '"x"'), ("Set-Cookie", "b=2")]
    made = [*others, *cache_control("public")]
    make_private(made)
    assert made == [*others, ("Cache-Control", "private")]


@pytest.mark.parametrize(
    "header", [("Surrogate-Control", "no-store"), ("CDN-Cache-Control", "private"), ("X-Accel-Expires", "0")], ids=repr
)
def test_what_keeps_a_shared_cache_out_stays(header: tuple[str, str]) -> None:
    made = [header]
    assert make_private(made) == []
    assert made == [header, ("Cache-Control", "private")]


directive = st.sampled_from(
    [
        "public",
        "PUBLIC",
        "private",
        "max-age=5",
        "s-maxage=1",
        's-maxage="1"',
        "immutable",
        'no-cache="a, public"',
        "",
        " ",
    ]
)
header = st.one_of(
    st.tuples(st.sampled_from(["Cache-Control", "cache-control"]), st.lists(directive).map(",".join)),
    st.tuples(st.sampled_from(["CDN-Cache-Control", "Vary", "Expires", "X"]), st.just("public")),
)


@given(st.lists(header))
def test_whatever_it_was_it_is_private_afterwards_and_stays_so(headers: Headers) -> None:
    made = list(headers)
    make_private(made)
    assert not is_public(made)
    (only,) = [value for name, value in made if name.lower() == "cache-control"]
    assert "private" in only
    again = list(made)
    assert make_private(again) == []
    assert sorted(again) == sorted(made)
