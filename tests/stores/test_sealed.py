"""The store behind ``encrypt``: it keeps the contract, and offers what the inner store offers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.bare import Bare
from tests.support.records import NOW, make_record
from wsgi_session import ConfigError, SessionMiddleware, Unsupported
from wsgi_session.codec.packing import CorruptData, Packed, join, pack, split, unpack
from wsgi_session.codec.sealed import is_outdated, looks_sealed, opened, same_value, size_of
from wsgi_session.codec.sealing import Sealing
from wsgi_session.stores import Counts, ListsOwners, MemoryStore, Outcome, Record, Scans, Store, Sweeps
from wsgi_session.stores.sealed import SealedStore
from wsgi_session.testing import StoreConformance, plant, read

SECRET = b"d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
KEY, OTHER_KEY = b"k" * 32, b"K" * 32


def sealing(*secrets: bytes, accept_plain: bool = False) -> Sealing:
    return Sealing(secrets or [SECRET], accept_plain=accept_plain)


class AnyData(SealedStore):
    """The suite stores any bytes: here, each is the value of a session with one key."""

    def load(self, key: bytes, now: float) -> Record | None:
        record = super().load(key, now)
        return record if record is None or not record.handle else as_given(record)

    def create(self, key: bytes, record: Record, now: float) -> None:
        super().create(key, as_session(record), now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return super().replace(key, as_session(record), version, now)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return super().rotate(old, new, as_session(record), version, now)

    def _scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        for key, record in super()._scan(now):
            yield key, as_given(record)


def as_session(record: Record) -> Record:
    return record._replace(data=join({"data": record.data})) if record.handle else record


def as_given(record: Record) -> Record:
    return record._replace(data=opened(split(record.data)["data"]))


class TestSealedStore(StoreConformance):
    def make_store(self) -> Store:
        return AnyData(MemoryStore(), sealing())

    # The data is bound to owner and namespace, so that only a record with those that are stored can be replaced. The
    # package writes no other.

    def test_a_listed_session_is_still_listed_after_replace_and_touch(self) -> None:
        """Not with another owner."""

    def test_replace_keeps_the_fields_that_only_create_and_rotate_set(self) -> None:
        """Not with another owner or namespace."""


def test_it_offers_what_the_inner_store_offers_and_is_like_it() -> None:
    protocols = (Sweeps, ListsOwners, Counts, Scans)
    inner = Bare()
    inner.multiprocess, inner.delete_pause, inner.system = False, 0.5, "bare"
    with SealedStore(inner, sealing()) as store:
        assert [isinstance(store, protocol) for protocol in protocols] == [False] * 4
        assert (store.multiprocess, store.delete_pause, store.system) == (False, 0.5, "bare")
        store.ping()
        store.await_replicas()
        assert store.delete_many([KEY, OTHER_KEY]) == 0
    assert inner.closed
    full = SealedStore(MemoryStore(), sealing())
    assert [isinstance(full, protocol) for protocol in protocols] == [True] * 4
    full.sweep_due = True
    assert (full.sweep_due, full.inner.sweep_due) == (True, True)


def test_what_the_inner_store_cannot_do_is_told_with_its_name() -> None:
    site = SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=Bare(), encrypt=True)
    with pytest.raises(Unsupported, match=r"Bare does not support of\(\)"):
        site.sessions.of("id:5")


def test_records_that_are_no_sessions_are_stored_as_they_are() -> None:
    inner = MemoryStore()
    store = SealedStore(inner, sealing())
    entry = make_record(b"\xc1 any bytes", namespace="sid/provider")
    store.create(KEY, entry, NOW)
    loaded = store.load(KEY, NOW)
    assert (loaded, inner.load(KEY, NOW)) == (entry, entry)
    assert loaded is not None
    with pytest.raises(CorruptData):
        split(loaded.data)
    assert store.replace(KEY, loaded._replace(version=bytes(16)), entry.version, NOW) is Outcome.SAVED
    written = inner.load(KEY, NOW)
    assert written == entry._replace(version=bytes(16))
    assert written is not None
    assert type(written.data) is bytes


@pytest.mark.parametrize("data", ["text", 5, 10**12, None, 1.5])
def test_data_of_another_type_is_corrupt_like_other_data(data: object) -> None:
    with pytest.raises(CorruptData):
        split(sealing().stored(data, KEY, "handle", None, "sid"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"handle": b"handle"},
        {"handle": 5},
        {"owner": "o" * 32},
        {"owner": 5},
        {"namespace": b"sid"},
        {"namespace": None},
    ],
    ids=repr,
)
def test_a_record_with_another_type_in_a_column_is_corrupt(wrong: dict[str, Any]) -> None:
    its = sealing(accept_plain=True)
    for data in (its.bind(its.join({"a": b"\x01"}), KEY, "handle", None, "sid"), join({"a": b"\x01"})):
        place: dict[str, Any] = {"key": KEY, "handle": "handle", "owner": None, "namespace": "sid"}
        assert split(its.stored(data, **place))
        with pytest.raises(CorruptData):
            split(its.stored(data, **{**place, **wrong}))


def test_parts_of_a_records_place_cannot_be_moved_to_another_part() -> None:
    its = sealing()
    data = its.bind(its.join({"a": b"\x01"}), KEY, "handle", b"o" * 32, "sid")
    assert split(its.stored(data, KEY, "handle", b"o" * 32, "sid"))
    moved: list[Any] = [
        (KEY + b"o", "handle", b"o" * 31, "sid"),
        (KEY, "ohandle", b"o" * 31, "sid"),
        (KEY, "handles", b"o" * 32, "id"),
        (KEY, "handl", b"o" * 32, "esid"),
        (KEY + b"o" * 32, "handle", b"", "sid"),
    ]
    for place in moved:
        with pytest.raises(CorruptData):
            split(its.stored(data, *place))


def test_no_two_seals_have_the_same_nonce_and_the_keys_take_turns() -> None:
    its = sealing()
    packed: Packed = {"a": pack(1, "a"), "b": pack(1, "b")}
    seals = [its.bind(its.join(packed), KEY, "handle", None, "sid") for _ in range(500)]
    nonces: set[bytes] = set()
    for data in seals:
        stored = its.stored(data, KEY, "handle", None, "sid")
        split(stored)
        nonces |= {stored.opened[1][:12], stored.opened[1][12:], data[12:24]}  # type: ignore[attr-defined]
    assert len(nonces) == 1500
    assert len({data[8] for data in seals}) > 32


def test_a_save_copies_the_seals_of_unchanged_values_and_makes_a_new_one_for_each_other() -> None:
    its = sealing()
    packed: Packed = {"a": pack("x" * 50, "a"), "b": pack("y" * 50, "b")}
    first = its.bind(its.join(packed), KEY, "handle", None, "sid")
    values = split(its.stored(first, KEY, "handle", None, "sid"))
    second = its.bind(its.join({**values, "b": pack("z" * 50, "b")}), KEY, "handle", None, "sid")
    before, after = (its.stored(data, KEY, "handle", None, "sid") for data in (first, second))
    for data in (before, after):
        split(data)
    a, b = (data.opened[2] for data in (before, after))  # type: ignore[attr-defined]
    assert (a[0] == b[0], a[1] == b[1]) == (True, False)
    assert unpack(split(after)["b"]) == "z" * 50
    assert unpack(split(its.join(packed))["a"]) == "x" * 50


def test_sealed_values_are_compared_by_what_they_contain() -> None:
    its = sealing()
    packed: Packed = {"a": pack(1, "a"), "b": pack(2, "b")}
    one, other = (
        split(its.stored(its.bind(its.join(packed), KEY, "handle", None, "sid"), KEY, "handle", None, "sid"))
        for _ in range(2)
    )
    assert same_value(one["a"], other["a"])
    assert same_value(one["a"], packed["a"])
    assert same_value(packed["a"], one["a"])
    assert not same_value(one["a"], one["b"])
    assert not same_value(one["a"], None)
    assert same_value(None, None)
    data = its.bind(its.join(packed), KEY, "handle", None, "sid")
    broken = split(its.stored(data[:-1] + bytes([data[-1] ^ 1]), KEY, "handle", None, "sid"))
    assert not same_value(broken["b"], packed["b"])
    assert (size_of(broken["a"]), size_of(broken["b"])) == (1, 0)


def test_only_what_the_newest_secret_sealed_is_up_to_date() -> None:
    old, new = b"an older secret: " + bytes(32), SECRET
    packed: Packed = {"a": pack(1, "a")}
    data = sealing(old).bind(join(packed), KEY, "handle", None, "sid")
    rotated = sealing(new, old)
    stored = rotated.stored(data, KEY, "handle", None, "sid")
    assert unpack(split(stored)["a"]) == 1
    assert is_outdated(stored)
    again = rotated.stored(rotated.bind(stored, KEY, "handle", None, "sid"), KEY, "handle", None, "sid")
    assert unpack(split(again)["a"]) == 1
    assert not is_outdated(again)
    assert not is_outdated(rotated.join(packed))
    assert not is_outdated(join(packed))
    assert is_outdated(sealing(accept_plain=True).stored(join(packed), KEY, "handle", None, "sid"))
    assert looks_sealed(data)
    assert not looks_sealed(join(packed))


def test_plain_data_that_is_no_sessions_is_not_accepted() -> None:
    its = sealing(accept_plain=True)
    assert split(its.stored(join({"a": pack(1, "a")}), KEY, "handle", None, "sid")) == {"a": pack(1, "a")}
    for plain in (b"\x81\xa1a\x05", b"\x81\xa1a\xc0", b"\xc0", b""):
        with pytest.raises(CorruptData):
            split(its.stored(plain, KEY, "handle", None, "sid"))


def test_the_secret_is_in_no_repr() -> None:
    its = sealing()
    data = its.bind(its.join({"a": pack(1, "a")}), KEY, "handle", None, "sid")
    shown = repr([its, its.ciphers, SealedStore(MemoryStore(), its), data])
    assert SECRET.decode() not in shown


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wsgi_session.codec.sealing", None)
    with pytest.raises(ConfigError, match=r"encrypt needs the package cryptography .*'wsgi-session\[crypto\]'"):
        SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=MemoryStore(), encrypt=True)
    SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=MemoryStore())


def test_a_session_in_the_cookie_is_sealed_already() -> None:
    with SessionMiddleware(
        lambda environ, start_response: [], secret=SECRET, store="cookie://", encrypt=True
    ) as middleware:
        assert read(middleware, plant(middleware, {"cart": [1]})) == {"cart": [1]}
