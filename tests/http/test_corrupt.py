"""A record that cannot be read: an empty session, one event, and the record is left as it is."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage import damage, key_of
from tests.support.site import ANN, Browser, Site, log_in, log_out, put, read
from tests.support.stores import SERVER, Kind
from wsgi_session import Session, begin_transaction, end_transaction, user_email_or_none, user_or_none
from wsgi_session.codec.packing import join
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import Record, SQLiteStore, has_sound_times

pytestmark = pytest.mark.needs(SERVER)
#: A value of every supported type.
RICH: dict[str, Any] = {
    "text": "ä",
    "int": -5,
    "huge": 2**70,
    "float": 0.5,
    "none": None,
    "bytes": b"\xff",
    "list": [1, [2, {"x": ()}]],
    "tuple": (1, "2"),
    "set": {1, 2, 3},
    "frozen": frozenset({"a"}),
    "dict": {2: "int", None: 0, b"b": 1, True: 2},
    "moment": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    "naive": datetime(2026, 1, 2),
    "span": timedelta(1, 2),
    "day": datetime(2026, 1, 2).date(),
    "time": datetime(2026, 1, 2).time(),
    "id": UUID(int=7),
    "price": Decimal("1.50"),
}


def record_of(browser: Browser) -> Record:
    record = browser.site.calls.inner.load(key_of(browser), browser.site.clock())
    assert record is not None
    return record


def if_there(session: Session) -> Any:
    return session["a"] if "a" in session else {}  # noqa: SIM401 - not the same here


def each(session: Session) -> dict[str, Any]:
    return {key: session[key] for key in session}


def each_of_a_list(session: Session) -> dict[str, Any]:
    keys = list(session)
    return {key: session[key] for key in keys}


def pops(session: Session) -> dict[str, Any]:
    return dict(session.popitem() for _ in range(len(list(session))))


#: Each way in which an application may read all values.
READERS: dict[str, Callable[[Session], Any]] = {
    "copy": lambda session: session.copy(),
    "dict": dict,
    "unpacking": lambda session: {**session},
    "items": lambda session: dict(session.items()),
    "values": lambda session: dict(enumerate(session.values())),
    "keys": lambda session: {key: session[key] for key in session.keys()},  # noqa: SIM118
    "each": each,
    "each of a list": each_of_a_list,
    "reversed": lambda session: {key: session[key] for key in reversed(session)},
    "get": lambda session: {} if session.get("a") is None else {"a": session["a"]},
    "if there": if_there,
    "or": lambda session: session | {},
    "equals": lambda session: {} if session == {} else {"a": 1},
    "popitem": pops,
}
#: The packed values of a map that no application could have stored under its key.
BAD_VALUES = {
    "no MessagePack": b"\xc1",
    "nothing": b"",
    "cut": b"\x92\x01",
    "two values": b"\x01\x02",
    "unknown extension": b"\xd4\x63\x00",
    "bad date": b"\xc7\x03\x05abc",
    "a list as dict key": b"\x81\x90\x01",
    "bad text": b"\xa2\xff\xfe",
    "set of lists": b"\xc7\x02\x02\x91\x90",
    "nan as Decimal of nonsense": b"\xc7\x03\x09xyz",
    "too deep": b"\x91" * 70 + b"\x90",
}
BAD_DATA = {
    "nothing": b"",
    "no MessagePack": b"\xc1",
    "text": b"hello",
    "JSON": b'{"a": 1}',
    "pickle": b"\x80\x04}\x94\x8c\x01a\x94K\x01s.",
    "a list": b"\x91\x01",
    "a map of numbers": b"\x81\x01\x02",
    "cut": b"\x82\xa1a\xc4\x01\x01",
    "a bomb": b"\x91" * 5000,
    "a length of 4 GB": b"\xdf\xff\xff\xff\xff",
    "bytes of 4 GB": b"\x81\xa1a\xc6\xff\xff\xff\xff",
}


@pytest.fixture
def visitor(browser: Browser) -> Browser:
    browser.do(put(a={"n": 1}, b=2))
    browser.site.forget()
    return browser


@pytest.mark.parametrize("bad", BAD_DATA)
def test_a_record_that_cannot_be_read_is_an_empty_session_and_one_event(visitor: Browser, bad: str) -> None:
    damage(visitor, data=BAD_DATA[bad])
    answer = visitor.do(lambda session: (session.state, session.copy(), len(session), session.get("a"), session.is_new))
    assert (answer.code, answer.result, answer.cookie) == (200, ("unknown", {}, 0, None, True), None)
    assert len(visitor.site.happened("corrupt")) == 1


@pytest.mark.parametrize("bad", BAD_DATA)
def test_a_record_that_cannot_be_read_is_left_as_it_is(visitor: Browser, bad: str) -> None:
    damage(visitor, data=BAD_DATA[bad])
    before, held = record_of(visitor), visitor.copy()
    visitor.site.clock.advance(2 * 86_400)
    visitor.do(put(fresh=1))
    assert visitor.token != held.token
    assert visitor.do(read).result == {"fresh": 1}
    assert record_of(held) == before


@pytest.mark.parametrize("column", ["created", "touched", "expires", "idle"])
@pytest.mark.parametrize("time", [math.nan, math.inf, 1e300])
def test_a_record_with_an_invalid_time_is_corrupt(kind: Kind, site: Site, column: str, time: float) -> None:
    if "redis" in kind.name and column == "expires" and math.isnan(time):
        return  # Redis removes such a record immediately.
    visitor = site.browser()
    visitor.do(log_in(ANN))
    store, record = site.calls.inner, record_of(visitor)
    store.delete(key_of(visitor))
    try:
        store.create(key_of(visitor), record._replace(**{column: time}), site.clock())  # type: ignore[arg-type]
    except StoreUnavailable:
        return  # This engine cannot store such a number.
    stored = store.load(key_of(visitor), site.clock())
    assert stored is not None
    if has_sound_times(stored):
        return  # This engine stores NULL in place of NaN.
    site.forget()
    answer = visitor.do(lambda session: (session.state, session.copy(), session.created, session.expires))
    assert (answer.code, answer.result, answer.cookie) == (200, ("unknown", {}, None, None), None)
    assert len(site.happened("corrupt")) == 1
    assert site.middleware.sessions.of(ANN) == []
    site.middleware.sessions.revoke_all(ANN)
    assert store.load(key_of(visitor), site.clock()) is None


@pytest.mark.parametrize("bad", BAD_VALUES)
@pytest.mark.parametrize("key", ["a", "b"])
def test_a_value_that_cannot_be_read_makes_the_session_unknown(visitor: Browser, bad: str, key: str) -> None:
    damage(visitor, value=BAD_VALUES[bad], key=key)
    _expect_an_empty_session(visitor, {name for name in READERS if key == "a" or name not in ("get", "if there")})


def test_a_key_whose_value_cannot_be_read_is_not_there(visitor: Browser) -> None:
    damage(visitor, value=b"\xc1")

    def look(session: Session) -> str:
        with pytest.raises(KeyError):
            session["a"]
        return session.state

    assert visitor.do(look).result == "unknown"


def test_popitem_of_a_record_that_cannot_be_read_says_that_the_session_is_empty(visitor: Browser) -> None:
    damage(visitor, data=b"\x81\xa1a\xc4\x01\xc1")

    def pop(session: Session) -> str:
        with pytest.raises(KeyError, match="the session is empty"):
            session.popitem()
        return session.state

    assert visitor.do(pop).result == "unknown"


def test_values_that_are_no_bytes_make_the_session_unknown(visitor: Browser) -> None:
    damage(visitor, data=b"\x81\xa1a\x01")
    _expect_an_empty_session(visitor, set(READERS))


def _expect_an_empty_session(visitor: Browser, readers: set[str]) -> None:
    before = record_of(visitor)
    for name in readers:
        visitor.site.forget()
        answer = visitor.copy().do(lambda session: (READERS[name](session), session.state, session.copy()))  # noqa: B023
        assert (answer.code, answer.result, answer.cookie) == (200, ({}, "unknown", {}), None), name
        assert len(visitor.site.happened("corrupt")) == 1, (name, visitor.site.events)
    assert record_of(visitor) == before


@pytest.mark.parametrize(
    "look",
    [
        lambda session: session.flashes(),
        lambda session: session.owner,
        lambda session: session.csrf_token,
        lambda session: user_or_none({"session": session}),
        lambda session: user_email_or_none({"session": session}),
        lambda session: session.rotate(),
        lambda session: session.no_touch(),
        lambda session: session.expires,
        lambda session: log_in(ANN)(session),
        lambda session: log_out(session),
        lambda session: session.clear(),
        put(a=1),
    ],
)
@pytest.mark.parametrize("key", ["user", b"owner", b"flash:x"])
def test_no_damage_makes_anything_raise(site: Site, look: Any, key: str | bytes) -> None:
    for bad in (*BAD_VALUES.values(), b"\x01", b"\x92\x01\x02", b"\x91\x01", b"\xc0"):
        visitor = site.browser()
        visitor.do(put(a=1))
        damage(visitor, value=bad, key=key)
        assert visitor.do(look).code == 200, bad


def test_what_was_written_before_the_damage_was_met_goes_into_a_new_session(visitor: Browser) -> None:
    damage(visitor, value=b"\xc1")
    held, before = visitor.copy(), record_of(visitor)
    visitor.do(lambda session: (session.update(fresh=1), session.get("a")))
    assert visitor.do(read).result == {"fresh": 1}
    assert record_of(held) == before


def test_a_login_ends_a_session_with_a_value_that_cannot_be_read(visitor: Browser) -> None:
    held = visitor.copy()
    damage(visitor, value=b"\xc1")
    visitor.do(lambda session: (session.get("a"), log_in(ANN)(session)))
    assert visitor.do(lambda session: session.owner).result == "id:1"
    assert held.do(lambda session: (session.state, session.get("b"))).result == ("unknown", None)


def test_a_damaged_value_that_nobody_reads_harms_nothing(visitor: Browser) -> None:
    damage(visitor, value=b"\xc1")
    assert visitor.do(lambda session: (session["b"], session.update(c=3))).result[0] == 2
    assert visitor.do(lambda session: (session["c"], session.state)).result == (3, "live")
    assert visitor.site.happened("corrupt") == []


def test_the_next_live_cookie_counts_where_the_first_one_is_damaged(site: Site, visitor: Browser) -> None:
    other = site.browser()
    other.do(put(other=1))
    damage(visitor, data=b"\xc1")
    header = f"{visitor.header}; {other.header}"
    assert site.browser().do(read, HTTP_COOKIE=header).result == {"other": 1}


FUZZ = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def everything(session: Session) -> Any:
    """Read all values in every way."""
    first = [READERS[name](session) for name in ("if there", "each", "items", "dict", "copy", "reversed")]
    flashes = session.flashes()
    rest = (session.owner, session.csrf_token, session.state, session.handle, session.expires, len(session))
    return first, flashes, rest, user_or_none({"session": session}), user_email_or_none({"session": session})


@FUZZ
@given(data=st.binary(max_size=200))
def test_any_bytes_in_a_store_give_an_answer(visitor: Browser, data: bytes) -> None:
    browser = visitor.copy()
    damage(browser, data=data)
    before = record_of(browser)
    browser.site.forget()
    assert browser.do(everything).code == 200
    assert len(browser.site.happened("corrupt")) <= 1
    if browser.site.happened("corrupt"):
        assert record_of(visitor) == before


MSGPACK = st.recursive(
    st.one_of(st.integers(-(2**63), 2**64 - 1), st.text(max_size=9), st.binary(max_size=9), st.none(), st.booleans()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
).map(msgpack.packb)
KEYS = st.sampled_from(["a", "b", "user", b"owner", b"flash:1", b"flash:", b"other"]) | st.text(max_size=4)


@FUZZ
@given(values=st.dictionaries(KEYS, MSGPACK | st.binary(max_size=20), max_size=5), cut=st.integers(0, 3))
def test_any_values_in_a_record_give_an_answer(visitor: Browser, values: dict[str | bytes, bytes], cut: int) -> None:
    browser = visitor.copy()
    data = join(values)
    damage(browser, data=data[: len(data) - cut])
    browser.site.forget()
    assert browser.do(everything).code == 200
    assert len(browser.site.happened("corrupt")) <= 1


@FUZZ
@given(places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=3))
def test_flipped_bits_in_a_record_give_an_answer(site: Site, places: list[tuple[int, int]]) -> None:
    browser = site.browser()
    browser.do(log_in(ANN))
    browser.do(lambda session: (session.flash("one"), session.update(RICH)))
    data = bytearray(record_of(browser).data)
    for place, mask in places:
        data[place % len(data)] ^= mask
    damage(browser, data=bytes(data))
    site.forget()
    assert browser.copy().do(everything).code == 200
    assert len(site.happened("corrupt")) <= 1
    for change in (log_in(ANN), put(a=1), log_out):
        assert browser.copy().do(change).code == 200


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def on_file(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    with SQLiteStore(tmp_path / "sessions.db") as store:
        yield Site(store, encrypt=request.param)


def edit(site: Site, namespace: str, column: str, value: object) -> None:
    """Change the records of ``namespace`` as an administrator can: SQLite stores any type in any column."""
    store = site.calls.inner
    assert isinstance(store, SQLiteStore)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        sql = f"UPDATE sessions SET {column} = ? WHERE namespace = ?"
        assert connection.execute(sql, (value, namespace)).rowcount


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("version", 7),
        ("version", "text"),
        ("expires", "text"),
        ("created", math.inf),
        ("handle", b"\xff"),
        ("owner", "text"),
    ],
    ids=repr,
)
def test_a_transaction_whose_record_was_edited_is_unknown(on_file: Site, column: str, value: object) -> None:
    browser = on_file.browser()
    state = browser.call(lambda environ: begin_transaction(environ, {"a": 1}))
    edit(on_file, "login sid", column, value)
    assert browser.call(lambda environ: end_transaction(environ, state)) is None
    assert browser.answer.code == 200


@pytest.mark.parametrize(
    ("column", "value"),
    [("data", 7), ("data", 2**62), ("data", "text"), ("namespace", 7), ("namespace", b""), ("namespace", "sid")],
    ids=repr,
)
def test_a_logout_at_the_provider_passes_over_an_entry_that_was_edited(
    on_file: Site, column: str, value: object
) -> None:
    on_file.browser().do(log_in(ANN, provider_session="one"))
    edit(on_file, "sid/provider", column, value)
    browser = on_file.browser()
    browser.do(log_in(ANN, provider_session="one"))
    assert on_file.middleware.sessions.revoke_provider_session("one") == 1
    assert browser.do(lambda session: session.state).result == "unknown"


def test_a_login_counts_a_session_whose_handle_was_edited(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "sessions.db") as store:
        site = Site(store, max_sessions=1)
        site.browser().do(log_in(ANN))
        edit(site, "sid", "handle", b"\xff")
        browser = site.browser()
        assert browser.do(log_in(ANN)).code == 200
        assert browser.do(lambda session: session.owner).result == "id:1"
        assert site.middleware.sessions.count() == 1
