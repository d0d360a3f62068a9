"""What an attacker gains who can read the store, or write to it, of a site with ``encrypt=True``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgpack import packb, unpackb

from tests.support.damage import key_of
from tests.support.site import ANN, BOB, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import Session
from wsgi_session.codec.packing import Packed, join, pack
from wsgi_session.stores import Record

pytestmark = pytest.mark.needs(SERVER)
#: The parts of sealed data: see ``codec/sealing.py``.
HEAD, NONCE, INDEX, VALUES = range(4)
PRIVATE = {"a_name": "a private value", "another": ["a private value", {"nested_name": b"a private value"}]}


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(encrypt=True)


def state(session: Session) -> str:
    return session.state


def stored(browser: Browser, key: bytes | None = None) -> Record:
    """Return the record as the store has it."""
    record = browser.site.calls.inner.load(key or key_of(browser), browser.site.clock())
    assert record is not None
    return record


def parts_of(record: Record) -> list[Any]:
    parts: list[Any] = unpackb(record.data)
    return parts


def overwrite(browser: Browser, data: bytes | list[Any]) -> None:
    """Put other data into the browser's record, as someone can who may write to the store."""
    before = stored(browser)
    raw = data if isinstance(data, bytes) else packb(data)
    store, version = browser.site.calls.inner, bytes(reversed(before.version))
    store.replace(key_of(browser), before._replace(data=raw, version=version), before.version, browser.site.clock())
    assert stored(browser).data == raw


def looks_corrupt(browser: Browser) -> bool:
    """Return whether the session cannot be read: an empty one, reported once, and the record stays."""
    site, before = browser.site, stored(browser)
    site.events.clear()
    visitor = browser.copy()
    # Each value is read, and then all of it once more.
    answer = visitor.do(lambda session: [(session.owner, session.copy(), session.state) for _ in range(2)][1])
    assert (answer.code, answer.cookies) == (200, [])
    assert stored(browser) == before
    return answer.result == (None, {}, "unknown") and [name for name, _ in site.events] == ["corrupt"]


def test_who_reads_the_store_learns_no_value_and_no_name_of_a_key(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    browser.do(put(**PRIVATE))
    browser.do(lambda session: session.flash("a private value"))
    raw = stored(browser).data
    for text in (b"a_name", b"another", b"nested_name", b"private", b"user", b"ann@example.com", b"id:1", b"flash"):
        assert text not in raw
    assert browser.do(lambda session: (session["a_name"], session["another"], session.flashes())).result == (
        PRIVATE["a_name"],
        PRIVATE["another"],
        ["a private value"],
    )


def test_two_values_of_a_session_cannot_be_swapped(browser: Browser) -> None:
    browser.do(put(role="reader", wish="editor"))
    parts = parts_of(stored(browser))
    parts[VALUES].reverse()
    overwrite(browser, parts)
    assert looks_corrupt(browser)


def test_a_value_of_another_session_does_not_open_even_one_of_the_same_user(site: Site, browser: Browser) -> None:
    mine, other = parts_of_login(browser, "reader"), parts_of_login(site.browser(), "editor")
    for number in range(len(mine[VALUES])):
        parts = [*mine[:VALUES], [*mine[VALUES][:number], other[VALUES][number], *mine[VALUES][number + 1 :]]]
        overwrite(browser, parts)
        assert looks_corrupt(browser)
    overwrite(browser, [*mine[:VALUES], other[VALUES]])
    assert looks_corrupt(browser)
    overwrite(browser, other)
    assert looks_corrupt(browser), "all of it: the index of one session is not that of another"


def parts_of_login(browser: Browser, role: str) -> list[Any]:
    browser.do(log_in(ANN))
    browser.do(put(role=role))
    return parts_of(stored(browser))


def test_an_earlier_value_of_the_same_key_does_not_open(browser: Browser) -> None:
    browser.do(put(role="editor", other=1))
    before = parts_of(stored(browser))
    browser.do(put(role="reader"))
    now = parts_of(stored(browser))
    assert now[VALUES][1] == before[VALUES][1], "a save copies what it does not change"
    overwrite(browser, [*now[:VALUES], [before[VALUES][0], now[VALUES][1]]])
    assert looks_corrupt(browser)


def test_a_value_that_is_replaced_does_no_harm_until_it_is_read(browser: Browser) -> None:
    browser.do(put(a=1, b=2))
    parts = parts_of(stored(browser))
    parts[VALUES][1] = b"x" * 17
    overwrite(browser, parts)
    assert browser.do(lambda session: session["a"]).result == 1
    browser.do(put(c=3))
    assert browser.do(lambda session: (session["a"], session["c"])).result == (1, 3)
    browser.do(put(b=4))
    assert browser.do(read).result == {"a": 1, "b": 4, "c": 3}


def test_a_value_cannot_be_left_out_or_added(browser: Browser) -> None:
    browser.do(put(a=1, banned=True))
    genuine = parts_of(stored(browser))
    wrong: list[Any] = [genuine[VALUES][:1], [*genuine[VALUES], genuine[VALUES][0]], [], None, 5, [None, 5], {}]
    for values in wrong:
        overwrite(browser, [*genuine[:VALUES], values])
        assert looks_corrupt(browser), values


def test_who_copies_a_record_under_the_key_of_their_own_token_does_not_become_its_user(site: Site) -> None:
    ann, thief = site.browser(), site.browser()
    ann.do(log_in(ANN))
    thief.do(log_in(BOB))
    record, theirs = stored(ann), stored(thief)
    store, key = site.calls.inner, key_of(thief)
    assert store.delete(key)
    store.create(key, record._replace(version=bytes(16)), site.clock())
    assert looks_corrupt(thief)
    assert store.delete(key)
    store.create(key, theirs._replace(data=record.data, version=bytes(16)), site.clock())
    assert looks_corrupt(thief)
    assert ann.do(lambda session: session.owner).result == "id:1"


@pytest.mark.parametrize("field", ["owner", "namespace", "handle"])
def test_a_record_that_gets_another_owner_namespace_or_handle_does_not_open(
    site: Site, browser: Browser, field: str
) -> None:
    """With another handle, the login would not be bound to its device any more."""
    browser.do(log_in(ANN))
    record, key, store = stored(browser), key_of(browser), site.calls.inner
    others: dict[str, list[Any]] = {
        "owner": [None, b"o" * 32],
        "namespace": ["other", "", "sid/adopted", "sid/provider"],
        "handle": [record.handle[::-1], record.handle[:-1], f"{record.handle}s"],
    }
    for value in others[field]:
        assert store.delete(key)
        store.create(key, record._replace(**{field: value, "version": bytes(16)}), site.clock())
        assert looks_corrupt(browser), value
    assert store.delete(key)
    store.create(key, record, site.clock())
    assert browser.do(lambda session: session.owner).result == "id:1"


def test_no_changed_byte_gives_other_data_or_makes_anything_raise(browser: Browser) -> None:
    browser.do(put(a=[1], b="2"))
    genuine = stored(browser).data
    changed = [genuine[:place] + bytes([genuine[place] ^ 0x40]) + genuine[place + 1 :] for place in range(len(genuine))]
    cut = [genuine[:place] for place in range(0, len(genuine), 7)]
    for data in (*changed, *cut, genuine + b"\x00", genuine * 2):
        overwrite(browser, data)
        assert looks_corrupt(browser), data
    overwrite(browser, genuine)
    assert browser.do(read).result == {"a": [1], "b": "2"}


def test_who_writes_what_is_not_encrypted_or_not_with_the_secret_makes_nobody_log_in(
    site: Site, browser: Browser, make_site: MakeSite
) -> None:
    browser.do(put(a=1))
    forged: Packed = {"user": pack(BOB, "user"), b"owner": pack("id:2", "owner")}
    foreign = make_site(encrypt=True, secret="another secret: 0f5d2a7c91be4638").browser()
    foreign.do(put(user=BOB))
    good = parts_of(stored(browser))
    for data in (
        join(forged),
        stored(foreign).data,
        packb([good[HEAD], *parts_of(stored(foreign))[1:]]),
        packb([b"\x02" + good[HEAD][1:], *good[1:]]),
        packb([good[HEAD], b"", *good[INDEX:]]),
        packb([good[HEAD], b"\x00", *good[INDEX:]]),
        packb([good[HEAD], None, *good[INDEX:]]),
        packb([good[HEAD], [-1], *good[INDEX:]]),
        packb([b"", *good[1:]]),
        packb([5, *good[1:]]),
        packb([good[HEAD][:5] + bytes([good[HEAD][5] ^ 1]), *good[1:]]),
        packb([[], *good[1:]]),
        packb(good[:VALUES]),
        packb([*good, 5]),
    ):
        overwrite(browser, data)
        assert looks_corrupt(browser), data


def test_an_index_or_a_value_does_not_pass_for_the_other(browser: Browser) -> None:
    browser.do(put(a=1))
    head, nonce, index, values = parts_of(stored(browser))
    overwrite(browser, [head, nonce, values[0], [index]])
    assert looks_corrupt(browser)


def test_a_whole_record_can_be_put_back_under_its_own_key(site: Site, browser: Browser) -> None:
    """The limit: nothing outside of the store says which state is the newest, nor that a session has ended."""
    browser.do(put(role="editor"))
    record = stored(browser)
    browser.do(put(role="reader"))
    overwrite(browser, record.data)
    assert browser.do(read).result == {"role": "editor"}
    thief = browser.copy()
    browser.do(log_out)
    assert thief.do(state).result == "unknown"
    site.calls.inner.create(key_of(thief), record, site.clock())
    assert thief.do(read).result == {"role": "editor"}


@pytest.mark.parametrize("move", [lambda session: session.rotate(), log_in(ANN)], ids=["rotate", "login"])
def test_a_record_from_before_a_rotation_does_not_open_under_the_new_key(
    site: Site, browser: Browser, move: Callable[[Session], Any]
) -> None:
    browser.do(put(cart=[1]))
    before = stored(browser)
    browser.do(move)
    assert browser.do(lambda session: session["cart"]).result == [1]
    overwrite(browser, before.data)
    assert looks_corrupt(browser)
