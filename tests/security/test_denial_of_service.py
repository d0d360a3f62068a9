"""The cost that clients can cause: memory, function calls and store calls, counted and never timed.

A cost is bounded if it does not grow with the input, and linear if twice the input costs at most about twice as
much. ``python -m tests.security.crowds`` runs crowds at full size.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID
from wsgiref.util import setup_testing_defaults

import msgpack
import pytest

from tests.security.cases import DAY, FLOODS
from tests.security.crowds import (
    size_of,
    strangers_send_forged_tokens,
    strangers_send_signed_tokens,
    strangers_write,
)
from tests.support.site import Browser, Site, put, read
from tests.support.work import Work, calls_of, peak_of, work_of
from wsgi_session import SessionTooLarge, UnsupportedValue, check_csrf, next_url, redirect_if_anonymous, require_login
from wsgi_session.codec.packing import new_packer
from wsgi_session.codec.supported import fits
from wsgi_session.cookies import tokens
from wsgi_session.helpers.forms import MAX_BODY, read_field
from wsgi_session.request.login import log_in
from wsgi_session.session import work_of as unit_of_work
from wsgi_session.stores import MemoryStore, Record, SQLiteStore
from wsgi_session.testing import plant
from wsgi_session.testing.clock import FakeClock

KB = 1024


def request(**environ: Any) -> dict[str, Any]:
    given = {"REQUEST_METHOD": "GET", **environ}
    setup_testing_defaults(given)
    return given


# Headers.


def look_with(site: Site, cookie: str) -> Callable[[], object]:
    """Return a function that reads the session in a request with this Cookie header."""

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        assert environ["session"].get("k") is None
        start_response("200 OK", [])
        return []

    environ = site.browser().request(app, HTTP_COOKIE=cookie)
    return lambda: site.middleware(dict(environ), lambda status, headers: lambda data: None)


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("site_of", ["in_memory", "sealed"])
def test_a_cookie_header_costs_at_most_in_proportion_to_its_length_and_a_huge_one_nothing(
    request: pytest.FixtureRequest, site_of: str, flood: str
) -> None:
    site: Site = request.getfixturevalue(site_of)
    half, whole, huge, nothing = (
        work_of(look_with(site, FLOODS[flood](size * KB)[: size * KB])) for size in (32, 64, 256, 0)
    )
    assert whole.is_at_most(2.2, half), (half, whole)
    assert whole.peak < 40 * 64 * KB, whole
    assert huge.is_at_most(1.1, nothing), (huge, nothing)
    assert site.calls.counts() == {}


def test_ten_thousand_cookies_are_gone_through_once(in_memory: Site) -> None:
    """Our cookie is found after them, unless the header exceeds the limit."""
    ours = plant(in_memory.middleware, {"k": 1})
    in_memory.forget()
    header = "a=1;" * 10_000
    answer = in_memory.browser().do(read, HTTP_COOKIE=header + ours)
    assert (answer.result, in_memory.calls.counts()) == ({"k": 1}, {"load": 1})
    five, ten = (work_of(look_with(in_memory, "a=1;" * number)) for number in (5_000, 10_000))
    assert ten.is_at_most(2.2, five), (five, ten)


def test_of_hundreds_of_well_signed_cookies_three_are_looked_up(in_memory: Site) -> None:
    stranger = in_memory.browser()
    stranger.do(put(k=1))
    stranger.do(lambda session: session.destroy())
    keyring = in_memory.middleware._backend._signer  # type: ignore[attr-defined]
    header = "; ".join(f"sid={keyring.sign(tokens.new_token())}" for _ in range(690))
    in_memory.forget()
    assert in_memory.browser().do(read, HTTP_COOKIE=header).result == {}
    assert in_memory.calls.counts() == {"load": 3}


HELPERS: dict[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "redirect, path": (redirect_if_anonymous, "PATH_INFO", "/a%2f..;x"),
    "redirect, mount point": (redirect_if_anonymous, "SCRIPT_NAME", "/a%2f..;x"),
    "redirect, query": (redirect_if_anonymous, "QUERY_STRING", "&next=%25%32%66"),
    "door": (lambda environ: require_login(lambda e, s: [])(environ, lambda s, h: None), "PATH_INFO", "/login%2f"),  # type: ignore[arg-type,return-value]
    "next": (next_url, "QUERY_STRING", "&nex%74=/%252f"),
    "next, one": (
        lambda environ: next_url({**environ, "QUERY_STRING": "next=" + environ["QUERY_STRING"]}),
        "QUERY_STRING",
        "/%252e%252e",
    ),
    "kind of form": (lambda environ: read_field(environ, "a"), "CONTENT_TYPE", '; a="\\"'),
    "length of form": (lambda environ: read_field(environ, "a"), "CONTENT_LENGTH", "9"),
}


@pytest.mark.parametrize("helper", HELPERS)
def test_what_helpers_read_costs_in_proportion_to_its_length(helper: str) -> None:
    function, name, unit = HELPERS[helper]

    def cost(size: int) -> Work:
        given = {"CONTENT_TYPE": "application/x-www-form-urlencoded", name: unit * (size // len(unit))}
        environ = request(session={}, **given)
        return work_of(lambda: function(environ))

    # Both are above 200,000 bytes, from where on Python 3.12 quotes piece by piece, with more calls and less memory.
    half, whole = cost(256 * KB), cost(512 * KB)
    assert whole.is_at_most(2.2, half), (half, whole)
    assert half.peak < 64 * 256 * KB, half


@pytest.mark.parametrize("name", ["HTTP_X_CSRF_TOKEN", "HTTP_X_FORWARDED_PROTO", "HTTP_HOST", "HTTP_REFERER"])
def test_headers_that_are_compared_cost_nothing_however_long(in_memory: Site, browser: Browser, name: str) -> None:
    browser = in_memory.browser()
    browser.do(put(k=1))

    def cost(size: int) -> Work:
        def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
            assert not check_csrf(environ)
            redirect_if_anonymous(environ)
            start_response("200 OK", [])
            return []

        environ = browser.request(app, REQUEST_METHOD="POST", **{name: "A" * size})
        return work_of(lambda: in_memory.middleware(dict(environ), lambda status, headers: lambda data: None))

    small, huge = cost(86), cost(256 * KB)
    assert huge.calls <= small.calls + 5, (small, huge)
    assert huge.peak <= small.peak + 2.5 * 256 * KB, (small, huge)


def test_a_media_type_with_very_many_parameters_costs_no_more_than_one_with_a_few() -> None:
    def cost(parameters: int) -> Work:
        environ = {"HTTP_ACCEPT": "text/plain" + ";q=1" * parameters, "session": {}}
        return work_of(lambda: redirect_if_anonymous(environ))

    assert cost(60_000).calls <= cost(10).calls + 5


# Bodies.

BODIES = {
    "fields": ("application/x-www-form-urlencoded", "a{0}=1&"),
    "the same field": ("application/x-www-form-urlencoded", "a=%41&"),
    "parts": ("multipart/form-data; boundary=XyZ", '--XyZ\r\nContent-Disposition: form-data; name="a{0}"\r\n\r\n1\r\n'),
    "boundaries": ("multipart/form-data; boundary=XyZ", "--XyZ\r\n"),
    "percent signs": ("application/x-www-form-urlencoded", "%&"),
    "almost boundaries": ("multipart/form-data; boundary=XyZ", "\r\n--XyY"),
    "parameters": ("multipart/form-data; boundary=XyZ", '\r\n--XyZ\r\ncontent-disposition:x;{0}="\\"'),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_forms_body_costs_in_proportion_to_its_length_and_no_more_than_a_mebibyte_of_a_huge_one(body: str) -> None:
    """Fields are not put into a dictionary, so names with colliding hashes cost no more than others."""
    kind, unit = BODIES[body]

    def cost(size: int) -> Work:
        filled = "".join(unit.format(number) for number in range(size // len(unit) + 1)).encode()[:size]
        environ = request(
            REQUEST_METHOD="POST", CONTENT_TYPE=kind, CONTENT_LENGTH=str(size), **{"wsgi.input": BytesIO(filled)}
        )
        return work_of(lambda: read_field(environ, "csrf_token"))

    half, whole, most, huge = cost(MAX_BODY // 8), cost(MAX_BODY // 4), cost(MAX_BODY), cost(4 * MAX_BODY)
    assert whole.is_at_most(2.2, half), (half, whole)
    assert whole.peak < 40 * MAX_BODY // 4, whole
    # Cutting the body copies it.
    assert huge.is_at_most(1.1, most._replace(peak=most.peak + 2 * MAX_BODY)), (most, huge)


# Crowds.


def test_visitors_who_write_take_what_a_store_in_memory_may_have_and_no_more() -> None:
    store = MemoryStore(max_sessions=500)

    def crowd(number: int) -> None:
        for _ in range(number):
            handle, version = tokens.new_handle_and_version()
            store.create(os.urandom(32), Record(b"\x81\xa1k\x01", version, handle, 0.0, 0.0, 100.0), 1.0)

    crowd(4_000)  # The dictionaries have reached their final size.
    once, twice = peak_of(lambda: crowd(1_000)), peak_of(lambda: crowd(2_000))
    assert twice < 1.2 * once, (once, twice)
    assert store.count(1.0) == 500


def test_visitors_who_write_make_a_file_grow_in_proportion_and_give_it_back(clock: FakeClock, tmp_path: Path) -> None:
    """Expired sessions make room: after they are swept, a second crowd fits into the same file."""
    with SQLiteStore(tmp_path / "sessions.db") as store:
        site = Site(store, clock)
        strangers_write(site, 1_000)
        half = size_of(tmp_path)
        strangers_write(site, 1_000)
        whole = size_of(tmp_path)
        assert site.middleware.sessions.count() == 2_000
        assert whole < 2.5 * half, (half, whole)
        clock.advance(31 * DAY)
        strangers_write(site, 2_000)
        assert site.middleware.sessions.count() == 2_000
        assert size_of(tmp_path) < 1.5 * whole, (whole, size_of(tmp_path))


def test_forged_tokens_cost_no_store_call_and_well_signed_ones_one_each(clock: FakeClock) -> None:
    site = Site(MemoryStore(), clock)
    strangers_send_forged_tokens(site, 1_000)
    assert site.calls.counts() == {}
    strangers_send_signed_tokens(site, 1_000)
    assert site.calls.counts() == {"load": 1_000}
    assert site.middleware.sessions.count() == 0
    site.forget()
    site.calls.seen.clear()
    # Nothing about these visitors is stored.
    assert peak_of(lambda: strangers_send_forged_tokens(site, 200)) < 500 * KB


# Data.


def test_a_record_of_the_largest_size_costs_in_proportion(clock: FakeClock) -> None:
    def costs(size: int) -> list[Work]:
        site = Site(MemoryStore(), clock)
        browser = site.browser()
        browser.do(put(big="x" * (size - 40), small=1))
        return [
            work_of(lambda: browser.do(lambda session: session["small"])),
            work_of(lambda: browser.do(lambda session: len(session["big"]))),
            work_of(lambda: browser.do(lambda session: session.update(small=session["small"] + 1))),
        ]

    whole, half = costs(1_048_576), costs(524_288)
    for more, less in zip(whole, half, strict=True):
        assert more.is_at_most(2.2, less), (less, more)
        assert more.peak < 6 * 1_048_576, more
    # Reading one of many values does not decode the others; only the bytes are copied.
    assert whole[0].peak < 2.5 * 1_048_576, whole[0]


def test_more_than_the_largest_size_is_refused_and_nothing_kept(clock: FakeClock) -> None:
    site = Site(MemoryStore(), clock)
    browser = site.browser()
    browser.do(put(k=1))

    def too_much() -> None:
        with pytest.raises(SessionTooLarge):
            browser.do(put(big="x" * 10_000_000))

    # One of these copies is the application's own text.
    assert peak_of(too_much) < 6 * 10_000_000
    assert browser.do(read).result == {"k": 1}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_deeply_nested_values_are_refused_at_the_64th_step(clock: FakeClock) -> None:
    browser = Site(MemoryStore(), clock).browser()

    def assign(depth: int) -> Callable[[], object]:
        value = nested(depth)

        def refused(session: Any) -> None:
            with pytest.raises(UnsupportedValue, match="64 levels deep"):
                session["k"] = value

        return lambda: browser.do(refused)

    hundred, many = work_of(assign(100)), work_of(assign(100_000))
    assert many.is_at_most(1.1, hundred), (hundred, many)


def sharing(levels: int, wrap: Callable[[Any], Any]) -> Any:
    """Return a value of a few hundred bytes that packs to 2 ** levels."""
    value: Any = wrap(("ab",))
    for _ in range(levels):
        value = wrap((value, value))
    return value


# They are small, because this suite's search for secrets makes the `repr` of all local variables of an error's frames.
SHARING: dict[str, Any] = {
    "lists": sharing(13, list),
    "tuples": sharing(13, tuple),
    "dicts": sharing(13, lambda pair: {str(number): item for number, item in enumerate(pair)}),
    "one long text": ["x" * 1_000] * 500,
    "one long int": [1 << 8_000] * 500,
    "one long decimal": [Decimal("7" * 1_000)] * 500,
    "one list of many": [list(range(1_000))] * 100,
    "one dict with long keys": [{"x" * 500: 1, 1 << 4_000: 2, b"x": 3}] * 500,
}


@pytest.mark.parametrize("value", SHARING.values(), ids=SHARING)
def test_a_value_that_shares_its_parts_is_refused_before_it_is_packed(clock: FakeClock, value: Any) -> None:
    """A few lines of YAML can create such values: with twice as many levels, they would pack to gigabytes."""
    site = Site(MemoryStore(), clock, max_size=10_000)
    browser = site.browser()
    browser.do(put(k=[], d={"list": []}))

    def assign(session: Any) -> None:
        with pytest.raises(SessionTooLarge, match=r"^k: a value of type (list|tuple|dict) .* 10,000") as caught:
            session["k"] = value
        assert (caught.value.size, caught.value.limit, caught.value.largest) == (10_001, 10_000, (("k", 10_001),))
        with pytest.raises(SessionTooLarge, match=r"^k: a"):
            session.update(k=value)
        with pytest.raises(SessionTooLarge, match=r"^k: a"):
            session.atomic(lambda data: data.update(k=value))
        with pytest.raises(SessionTooLarge, match=r"^user: a"):
            log_in(unit_of_work(session), {"id": 1, "data": value}, remember=None, idle=None)

    browser.do(assign)
    with pytest.raises(SessionTooLarge, match=r"^k: a value of type list"):
        browser.do(lambda session: session["k"].append(value))
    with pytest.raises(SessionTooLarge, match=r"^d: a value of type dict"):
        browser.do(lambda session: session["d"]["list"].append(value))
    assert browser.do(read).result == {"k": [], "d": {"list": []}}


@pytest.mark.parametrize("wrap", [list, tuple], ids=["lists", "tuples"])
def test_another_level_of_sharing_costs_no_more(wrap: Callable[[Any], Any]) -> None:
    def look(levels: int) -> Callable[[], object]:
        value = sharing(levels, wrap)
        return lambda: fits([value], 10_000)

    assert calls_of(look(60)) <= calls_of(look(20)) + 1_000


class Moment(datetime):
    """A subclass like those of freezegun and pendulum. It is stored as a datetime."""


def test_of_a_value_that_shares_its_parts_the_path_to_what_is_not_supported_is_found(clock: FakeClock) -> None:
    value = sharing(8, list)
    browser = Site(MemoryStore(), clock).browser()

    def assign(session: Any) -> None:
        with pytest.raises(UnsupportedValue, match=r"^k\[1\]\[2\]: object"):
            session["k"] = [value, [value, Moment(2026, 1, 1), object()]]

    browser.do(assign)


def test_a_value_larger_than_is_allowed_today_can_still_be_read_as_long_as_nobody_changes_it(clock: FakeClock) -> None:
    store = MemoryStore()
    browser = Site(store, clock).browser()
    numbers = [list(range(100)) for _ in range(30)]
    browser.do(put(numbers=numbers))
    later = Site(store, clock, max_size=2_000).browser()
    later.jar.update(browser.jar)
    assert later.do(lambda session: session["numbers"]).result == numbers
    with pytest.raises(SessionTooLarge):
        later.do(lambda session: session["numbers"].pop())


# One after the other.


def pop_all(session: Any) -> None:
    while session:
        session.popitem()


def assign_and_count(session: Any) -> None:
    for number in range(len(session)):
        session[f"new{number}"] = len(session)
        session.update({f"newer{number}": len(session)})


def delete_all(session: Any) -> None:
    for key in list(session):
        del session[key]
        assert key not in session


def delete_the_first(session: Any) -> None:
    for _ in range(min(20, len(session))):
        del session[next(iter(session))]


def flash_for_each(session: Any) -> None:
    for key in list(session):
        session.flash(key)
        session.pop(key)


def set_defaults(session: Any) -> None:
    for key in list(session):
        session.setdefault(key, 1)


ONE_BY_ONE = [
    set_defaults,
    pop_all,
    assign_and_count,
    delete_all,
    delete_the_first,
    flash_for_each,
    lambda session: session.flashes(),
    lambda session: session.copy() | session,
    lambda session: session == {},
]


@pytest.mark.parametrize("use", ONE_BY_ONE, ids=lambda use: use.__name__)
def test_what_is_done_to_each_key_of_many_costs_in_proportion_to_their_number(
    clock: FakeClock, use: Callable[[Any], object]
) -> None:
    def calls(keys: int) -> int:
        browser = Site(MemoryStore(), clock).browser()

        def fill(session: Any) -> None:
            for number in range(keys):
                session[str(number)] = number
                session.flash("x")

        browser.do(fill)
        return calls_of(lambda: browser.do(use))

    calls(1)
    few, many, most = calls(250), calls(500), calls(1_000)
    assert most - many <= 2.2 * (many - few) + 100, (few, many, most)


def colliding_entry(number: int) -> bytes:
    """Return an entry of a map whose key is one of the numbers that all have the hash 0."""
    return msgpack.packb(msgpack.ExtType(10, (number * (2**61 - 1)).to_bytes(12, "big"))) + b"\xc0"  # type: ignore[no-any-return]


HOSTILE = {
    "lists in lists": b"\x91" * 100_000,
    "maps in maps": b"\x81\xc0" * 100_000,
    "a map of a billion": b"\xdf\xff\xff\xff\xff",
    "a list of a billion": b"\xdd\xff\xff\xff\xff",
    "text of a gigabyte": b"\xdb\xff\xff\xff\xff",
    "tuples in tuples": b"\xc7\x03\x01" * 20_000,
    "an int of 100 kB": b"\xc8\xff\xff\x0a" + b"\x7f" * 0xFFFF,
    "keys that collide": b"\xdf\x00\x00\x03\xe8" + b"".join(map(colliding_entry, range(1_000))),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_stored_data_costs_no_more_than_its_size(clock: FakeClock, hostile: str) -> None:
    """As a whole record, and as one value of a record: a read gives an empty session, or a value, at a linear cost."""
    packer = peak_of(new_packer)  # A mebibyte before msgpack 1.1, which has no buf_size.
    for data in (HOSTILE[hostile], msgpack.packb({"k": HOSTILE[hostile]})):
        site = Site(MemoryStore(), clock)
        browser = site.browser()
        browser.do(put(k=1))
        key = tokens.store_key(browser.token.partition(".")[0].encode())
        record = site.calls.inner.load(key, clock())
        assert isinstance(record, Record)
        site.calls.inner.replace(key, record._replace(data=data, version=b"v" * 16), record.version, clock())
        answer = browser.do(lambda session: session.get("k"))
        assert answer.code == 200
        cost = work_of(lambda browser=browser: browser.do(lambda session: session.get("k")))  # type: ignore[misc]
        assert cost.peak < 40 * len(data) + 100 * KB + packer, cost
        assert cost.calls < 3 * len(data) + 2_000, cost


def test_values_whose_hashes_collide_cost_what_it_cost_to_make_them(clock: FakeClock) -> None:
    """The hashes of text and bytes depend on a secret of the process, those of numbers and UUIDs do not. Colliding ones
    in a set cost each reader as many comparisons as they cost the application that made the set; see docs/security.md.
    """
    browser = Site(MemoryStore(), clock).browser()
    colliding = [UUID(int=number * (2**61 - 1)) for number in range(200)]
    others = [UUID(int=number * (2**61 + 1)) for number in range(200)]

    def cost(values: list[UUID]) -> Work:
        browser.do(put(k=set(values)))
        return work_of(lambda: browser.do(lambda session: len(session["k"])))

    making = calls_of(lambda: set(colliding))
    reading, usual = cost(colliding), cost(others)
    assert reading.calls - usual.calls < 1.5 * making, (reading, usual, making)
    assert reading.peak < 1.1 * usual.peak + 16 * KB, (reading, usual)
