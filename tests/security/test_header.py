"""The token in ``Authorization: Bearer``: what a hostile client, a page's script or another site can send."""

from __future__ import annotations

import time

import pytest

from tests.security.wire import Wire
from tests.support.apps import AppClient
from tests.support.site import ANN, MakeSite, Site, log_in, put, read
from tests.support.stores import SERVER
from wsgi_session.backends.header import HeaderBackend
from wsgi_session.middleware import internals_of
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import FakeClock


def token_of(wire: Wire, who: str) -> bytes:
    reply = wire.get(f"/set?who={who}", b"Authorization: Bearer new")
    assert reply.cookies == []
    (token,) = reply.all("Session-Token")
    return token.encode()


def test_two_headers_over_the_wire_open_nothing_or_one_of_the_two(wire: Wire) -> None:
    """Servers join two headers in different ways; no combination opens a session that neither header names."""
    a, b = token_of(wire, "a"), token_of(wire, "b")
    assert wire.get("/get", b"Authorization: Bearer " + a).data == {"who": "a"}
    for first, second in (
        (b"Bearer " + a, b"Bearer " + b),
        (b"Bearer " + a, b"Bearer " + a),
        (b"Bearer " + a, b"Basic eDp5"),
        (b"Basic eDp5", b"Bearer " + a),
        (b"Bearer", b"Bearer " + a),
        (b"Bearer " + a[:50], a[50:]),
        (b"Bearer ", a),
    ):
        reply = wire.get("/get", b"Authorization: " + first, b"Authorization: " + second)
        assert reply.data in ({}, {"who": "a"}, {"who": "b"}), (first, second)
        assert (reply.cookies, reply.all("Session-Token")) == ([], [])


def test_a_cookie_beside_the_header_over_the_wire_is_not_read(wire: Wire) -> None:
    cookie = f"Cookie: {wire.name}={wire.session(who='c')}".encode()
    a = token_of(wire, "a")
    assert wire.get("/get", cookie, b"Authorization: Bearer " + a).data == {"who": "a"}
    assert wire.get("/get", b"Authorization: Basic eDp5", cookie).data == {"who": "c"}
    for value in (b"new", b"x", a[:-1], b"", a.swapcase()):
        assert wire.get("/get", cookie, b"Authorization: Bearer " + value).data == {}
    assert wire.get("/get", b"authorization: bearer " + a).data == {"who": "a"}


def test_another_site_cannot_use_the_header_of_a_visitor(wire: Wire) -> None:
    """A form of another site cannot have the header, so it is judged by the cookie's rules."""
    cookie = f"Cookie: {wire.name}={wire.session(who='c')}".encode()
    sent = b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 3", b"Sec-Fetch-Site: cross-site"
    assert b'"checked": false' in wire.post(b"/form", b"a=b", cookie, *sent).body
    # Authorization as a field of the form, in the query, or with a name that is only similar.
    for header in (b"Authorization_: Bearer x", b"X-Authorization: Bearer x", b"Proxy-Authorization: Bearer x"):
        assert b'"checked": false' in wire.post(b"/form?Authorization=Bearer+x", b"a=b", cookie, header, *sent).body


@pytest.mark.needs(SERVER)
def test_a_token_of_another_site_of_the_same_secret_is_not_accepted(make_site: MakeSite) -> None:
    shop, forum = (AppClient(make_site(transport="header", cookie_name=name)) for name in ("shop", "forum"))
    shop.do(log_in(ANN))
    forum.bearer = shop.bearer
    assert forum.do(read).result == {}
    assert shop.do(read).result == {"user": ANN}


@pytest.mark.needs(SERVER)
def test_a_name_cannot_make_the_signature_of_a_cookie(make_site: MakeSite) -> None:
    """The header's signatures have a purpose that no cookie's name can spell."""
    site = make_site(transport="both")
    backend = internals_of(site.middleware).backend
    assert isinstance(backend.by_header, HeaderBackend)
    app = AppClient(site)
    app.do(put(cart=1))
    for name in ("sid", "sid-header", "sid_header"):
        other = make_site(cookie_name=name).browser()
        other.jar = {name: app.bearer or ""}
        assert other.do(read).result == {}


def test_a_huge_header_takes_no_longer_than_to_read_it(clock: FakeClock) -> None:
    app = AppClient(Site(MemoryStore(), clock, transport="both"))
    started = time.perf_counter()
    for value in ("Bearer " + "a." * 2_000_000, "Bearer" + " " * 4_000_000, ", ".join(["Bearer x"] * 400_000)):
        assert app.do(read, HTTP_AUTHORIZATION=value).result == {}
    assert time.perf_counter() - started < 5
