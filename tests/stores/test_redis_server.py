"""RedisStore's keys on the server; and clients, logins, sockets, TLS, forks and many threads."""

from __future__ import annotations

import gc
import logging
import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.forks import fork
from tests.support.interruptions import interrupt_with_signals, interrupted
from tests.support.records import NOW, OWNER, make_record
from tests.support.servers.process import wait_until
from tests.support.servers.proxy import Proxy
from tests.support.servers.shared import valkey_cluster, valkey_sentinel
from tests.support.servers.valkey import Valkey
from wsgi_session.errors import ConfigError, KeyExists, StoreUnavailable
from wsgi_session.stores import Counts, ListsOwners, Outcome, Record, Scans, Store, owned_session
from wsgi_session.stores.redis import map as redis_map
from wsgi_session.stores.redis.lua import DEAD_PER_WRITE, DEAD_PER_WRITE_IN_CLUSTER

KEY, OTHER, NEW = b"k" * 32, b"o" * 32, b"n" * 32
INDEX = b"session:owner:" + OWNER
HOUR, DAY = 3600, 86_400
LATE = 300  # seconds for which the server keeps a dead record


def changed(before: Record, data: bytes = b"changed", **fields: Any) -> Record:
    return before._replace(data=data, version=os.urandom(16), **fields)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def _empty(server: Valkey) -> None:
    server.execute("FLUSHALL")


def open_url(url: str) -> Store:
    from wsgi_session.stores.redis.urls import open_url

    return open_url(url)


@pytest.fixture
def store(server: Valkey) -> Iterator[Any]:
    with open_url(server.url) as store:
        yield store


def seconds_left(server: Valkey, key: bytes) -> float:
    return float(server.execute("PTTL", key)) / 1000


# Expiry and the owner index.


def test_the_server_removes_a_record_soon_after_it_is_dead(server: Valkey, store: Store) -> None:
    name = b"session:" + KEY
    kept = make_record(expires=NOW + HOUR)
    store.create(KEY, kept, NOW)
    assert HOUR + LATE - 10 < seconds_left(server, name) <= HOUR + LATE
    store.touch(KEY, NOW, NOW + 2 * HOUR, NOW)
    assert 2 * HOUR + LATE - 10 < seconds_left(server, name) <= 2 * HOUR + LATE
    write = changed(kept, expires=NOW + 3 * HOUR)
    store.replace(KEY, write, kept.version, NOW)
    assert 3 * HOUR + LATE - 10 < seconds_left(server, name) <= 3 * HOUR + LATE
    store.rotate(KEY, NEW, changed(write, expires=NOW + 60), write.version, NOW)
    assert 50 + LATE < seconds_left(server, b"session:" + NEW) <= 60 + LATE


@pytest.mark.parametrize("expires", [NOW - 1e6, 1e300, float("inf")])
def test_any_time_of_death_makes_a_life_that_the_server_takes(store: Store, expires: float) -> None:
    kept = make_record(expires=expires)
    store.create(KEY, kept, NOW)
    assert store.load(KEY, NOW) == (kept if expires > NOW else None)


def test_an_index_outlives_the_sessions_that_it_lists_and_not_for_ever(server: Valkey, store: Store) -> None:
    kept = make_record(expires=NOW + HOUR)
    store.create(KEY, kept, NOW)
    store.create(OTHER, make_record(expires=NOW + 1), NOW)
    assert HOUR < seconds_left(server, INDEX) < 3 * HOUR + DAY
    store.touch(KEY, NOW, NOW + 30 * DAY, NOW)
    assert 30 * DAY < seconds_left(server, INDEX) < 62 * DAY
    store.replace(KEY, changed(kept, expires=NOW + 60 * DAY), kept.version, NOW)
    assert 60 * DAY < seconds_left(server, INDEX) < 122 * DAY


@pytest.mark.parametrize("url", ["server", "cluster"])
def test_an_entry_that_was_evicted_comes_back_with_the_next_touch(server: Valkey, url: str) -> None:
    with open_url(server.url if url == "server" else valkey_cluster() + "?prefix=evicted:") as store:
        assert isinstance(store, ListsOwners)
        kept = make_record()
        store.create(KEY, kept, NOW)
        link: Any = store._client  # type: ignore[attr-defined]
        name = store._prefix + b"owner:" + OWNER  # type: ignore[attr-defined]
        for renew in (
            lambda: store.touch(KEY, NOW, NOW + 2 * HOUR, NOW),
            lambda: store.replace(KEY, changed(kept, expires=NOW + 3 * HOUR), kept.version, NOW),
        ):
            link.call(name, b"DEL", name)
            assert list(store.of_owner(OWNER, NOW)) == []
            renew()
            assert [session.key for session in store.of_owner(OWNER, NOW)] == [KEY]
        assert store.delete(KEY)


def entries(store: Store, owner: bytes = OWNER) -> set[bytes]:
    """Return the keys in the index of an owner."""
    link: Any = store._client  # type: ignore[attr-defined]
    index = store._prefix + b"owner:" + owner  # type: ignore[attr-defined]
    return set(link.call(index, b"ZRANGE", index, b"0", b"-1"))


def lose(store: Store, *keys: bytes) -> None:
    """Remove records as an expiry or an eviction does, which does not change the index."""
    link: Any = store._client  # type: ignore[attr-defined]
    for key in keys:
        name = store._prefix + key  # type: ignore[attr-defined]
        link.call(name, b"DEL", name)


def test_an_entry_whose_record_was_evicted_goes_when_the_sessions_are_listed(store: Store) -> None:
    assert isinstance(store, ListsOwners)
    store.create(KEY, make_record(), NOW)
    store.create(OTHER, make_record(), NOW)
    lose(store, KEY)
    assert [session.key for session in store.of_owner(OWNER, NOW)] == [OTHER]
    assert entries(store) == {OTHER}
    assert store.delete(OTHER)
    assert entries(store) == set()


def test_an_entry_of_a_cluster_waits_for_its_record_by_any_clock_and_goes_after_its_end() -> None:
    with open_url(valkey_cluster() + "?prefix=healed:") as store:
        assert isinstance(store, ListsOwners)
        store.create(KEY, make_record(expires=NOW + HOUR), NOW)
        store.create(OTHER, make_record(expires=NOW + 3 * HOUR), NOW)
        lose(store, KEY)
        for later in (0, 60, 120, HOUR):
            assert [session.key for session in store.of_owner(OWNER, NOW + later)] == [OTHER]
            assert entries(store) == {KEY, OTHER}, f"{later} s later"
        store.touch(OTHER, NOW, NOW + 4 * HOUR, NOW + 2 * HOUR + 2)
        assert entries(store) == {OTHER}
        assert store.delete(OTHER)
        assert entries(store) == set()


@pytest.mark.parametrize("url", ["server", "cluster"])
def test_an_index_forgets_the_sessions_that_ran_out(server: Valkey, url: str) -> None:
    with open_url(server.url if url == "server" else valkey_cluster() + "?prefix=forgets:") as store:
        assert isinstance(store, ListsOwners)
        for number in range(300):  # a login every two minutes, for sessions of an hour
            now = NOW + 120 * number
            key = number.to_bytes(32, "big")
            store.create(key, make_record(expires=now + HOUR), now)
            lose(store, *(old.to_bytes(32, "big") for old in range(max(number - 33, 0), max(number - 32, 0))))
        assert len(entries(store)) <= 35, "the living, and those that Redis keeps for five minutes more"
        assert len(list(store.of_owner(OWNER, now))) == 30


@pytest.mark.parametrize("url", ["server", "cluster"])
def test_an_index_forgets_thousands_of_sessions_that_ran_out_within_a_few_logins(server: Valkey, url: str) -> None:
    """No login removes more entries than its limit: otherwise its cost would grow with the number of dead entries."""
    most = DEAD_PER_WRITE if url == "server" else DEAD_PER_WRITE_IN_CLUSTER
    with open_url(server.url if url == "server" else valkey_cluster() + "?prefix=thousands:") as store:
        keys = [number.to_bytes(32, "big") for number in range(2001)]
        for key in keys:
            store.create(key, make_record(expires=NOW + HOUR), NOW)
        lose(store, *keys)
        later = NOW + HOUR + LATE + 2
        left, logins = len(keys), 0
        while left:
            store.create(os.urandom(32), make_record(expires=later + HOUR), later)
            logins += 1
            left = max(left - most, 0)
            assert len(entries(store)) == left + logins
        assert logins == {"server": 8, "cluster": 32}[url]


def test_an_index_forgets_the_dead_around_an_entry_whose_record_lives_on(server: Valkey, store: Store) -> None:
    store.create(KEY, make_record(expires=NOW + HOUR), NOW)
    keys = [number.to_bytes(32, "big") for number in range(100)]
    for key in keys:
        store.create(key, make_record(expires=NOW + HOUR), NOW)
    lose(store, *keys)
    later = NOW + HOUR + LATE + 2
    store.create(OTHER, make_record(expires=later + HOUR), later)
    assert entries(store) == {KEY, OTHER}


def test_an_entry_of_a_cluster_that_was_not_told_of_a_renewal_outlives_its_end() -> None:
    with open_url(valkey_cluster() + "?prefix=untold:") as store:
        assert isinstance(store, ListsOwners)
        store.create(KEY, make_record(expires=NOW + HOUR), NOW)
        index: Any = store._index  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(index, "renew", lambda *arguments: None)
            assert store.touch(KEY, NOW, NOW + 9 * HOUR, NOW)
        store.create(OTHER, make_record(expires=NOW + 9 * HOUR), NOW + 3 * HOUR)
        assert {session.key for session in store.of_owner(OWNER, NOW + 3 * HOUR)} == {KEY, OTHER}
        assert store.delete_many([KEY, OTHER]) == 2
        assert entries(store) == set()


@pytest.mark.parametrize("end", ["delete", "delete_many", "rotate"])
@pytest.mark.parametrize("moment", ["before its entry", "after its entry"])
def test_a_session_of_a_cluster_made_while_another_under_its_key_ends_is_listed(end: str, moment: str) -> None:
    """The new session's entry may come before or after the record of the old one is deleted."""
    with open_url(valkey_cluster() + "?prefix=reused:") as store:
        assert isinstance(store, ListsOwners)
        ended, made = make_record(), changed(make_record(expires=NOW + HOUR / 2))
        store.create(KEY, ended, NOW)
        index: Any = store._index  # type: ignore[attr-defined]
        remove, add = index.remove, index.add

        def end_it() -> None:
            if end == "delete":
                assert store.delete(KEY)
            elif end == "delete_many":
                assert store.delete_many([KEY]) == 1
            else:
                assert store.rotate(KEY, NEW, changed(ended), ended.version, NOW) is Outcome.SAVED

        with pytest.MonkeyPatch.context() as patch:

            def make_it_first(*arguments: Any, **options: Any) -> None:
                patch.undo()
                lose(store, KEY)  # The tombstone of a rotation, which would refuse a new session under the old key.
                store.create(KEY, made, NOW)
                remove(*arguments, **options)

            def end_it_first(*arguments: Any) -> None:
                patch.undo()
                add(*arguments)
                end_it()
                lose(store, KEY)

            if moment == "before its entry":
                patch.setattr(index, "remove", make_it_first)
                end_it()
            else:
                patch.setattr(index, "add", end_it_first)
                store.create(KEY, made, NOW)
        assert store.load(KEY, NOW) is not None
        assert KEY in {session.key for session in store.of_owner(OWNER, NOW)}
        store.delete_many([KEY, NEW])
        assert list(store.of_owner(OWNER, NOW)) == []
        lose(store, b"owner:" + OWNER)


def test_a_session_of_a_cluster_made_while_a_dead_entry_of_its_key_is_removed_is_listed() -> None:
    with open_url(valkey_cluster() + "?prefix=dead:") as store:
        assert isinstance(store, ListsOwners)
        store.create(KEY, make_record(expires=NOW + HOUR), NOW)
        lose(store, KEY)
        later = NOW + HOUR + LATE + 2
        index: Any = store._index  # type: ignore[attr-defined]
        heads = index._heads
        with pytest.MonkeyPatch.context() as patch:

            def make_it_next(*arguments: Any) -> Any:
                patch.undo()
                found = heads(*arguments)
                store.create(KEY, make_record(expires=later + HOUR), later - 60)  # by a clock that is a minute late
                return found

            patch.setattr(index, "_heads", make_it_next)
            store.create(OTHER, make_record(expires=later + HOUR), later)
        assert {session.key for session in store.of_owner(OWNER, later)} == {KEY, OTHER}
        lose(store, KEY, OTHER, b"owner:" + OWNER)


def test_prefixes_keep_stores_apart_whatever_is_in_them(server: Valkey) -> None:
    prefixes = ["a:", "a:b:", "*", "[a]:", "ä\\?"]
    from redis import Redis

    from wsgi_session.stores.redis import RedisStore

    stores = [RedisStore(Redis(port=server.port), prefix=prefix, timeout=30) for prefix in prefixes]
    for store, prefix in zip(stores, prefixes, strict=True):
        store.create(KEY, make_record(prefix.encode()), NOW)
    for store, prefix in zip(stores, prefixes, strict=True):
        assert [(key, found.data) for key, found in store.scan(NOW)] == [(KEY, prefix.encode())]
        assert [session.key for session in store.of_owner(OWNER, NOW)] == [KEY]
        store.close()


def test_what_is_not_ours_is_left_as_it_is_and_opens_nothing(
    server: Valkey, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(store, Scans)
    assert isinstance(store, ListsOwners)
    name = b"session:" + KEY
    store.create(KEY, make_record(), NOW)
    for value in (b"", b"\x02" + bytes(60), b"\x01" + bytes(10), b"\x01\x00" + bytes(34) + b"\x00\x01" + b"\xff" * 20):
        server.execute("SET", name, value)
        assert store.load(KEY, NOW) is None
        assert "a record in Redis cannot be read" in caplog.text
        caplog.clear()
        assert list(store.scan(NOW)) == []
        assert list(store.of_owner(OWNER, NOW)) == []
        assert store.replace(KEY, make_record(), b"v" * 16, NOW) is Outcome.GONE
        assert not store.touch(KEY, NOW, NOW + 9, NOW)
        assert server.execute("STRLEN", name) == len(value)
    server.execute("DEL", name)
    server.execute("LPUSH", name, "a list")
    with pytest.raises(StoreUnavailable, match=r"WRONGTYPE|wrong kind"):
        store.load(KEY, NOW)
    assert store.delete(OTHER) is False


def test_a_record_that_cannot_be_read_can_be_deleted(server: Valkey, store: Store) -> None:
    server.execute("SET", b"session:" + KEY, b"\x02")
    assert store.delete(KEY)
    assert store.load(KEY, NOW) is None


def test_a_handle_and_a_namespace_longer_than_a_first_look_are_kept_through_every_write(store: Store) -> None:
    kept = make_record(handle="h" * 300, namespace="n" * 300)
    store.create(KEY, kept, NOW)
    with pytest.raises(KeyExists):
        store.create(KEY, make_record(), NOW)
    write = changed(kept, touched=NOW + 1, expires=NOW + 2 * HOUR)
    assert store.replace(KEY, write, kept.version, NOW) is Outcome.SAVED
    assert store.load(KEY, NOW) == write


# The commands that are sent.


def test_nothing_is_sent_before_the_first_call(server: Valkey) -> None:
    with Proxy(server.port) as proxy, open_url(f"redis://127.0.0.1:{proxy.port}") as store:
        assert proxy.accepted == 0
        assert store.load(KEY, NOW) is None
        assert proxy.accepted == 1


def test_a_load_and_a_save_are_one_command_each_over_one_connection(server: Valkey) -> None:
    def commands() -> dict[str, int]:
        lines = server.execute("INFO", "commandstats").splitlines()
        counts = {line.split(":")[0].removeprefix("cmdstat_"): line for line in lines if line.startswith("cmdstat_")}
        return {name: int(line.partition("calls=")[2].partition(",")[0]) for name, line in counts.items()}

    with open_url(server.url) as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        store.replace(KEY, changed(kept), kept.version, NOW)
        kept = make_record()
        store.create(NEW, kept, NOW)
        server.execute("CONFIG", "RESETSTAT")
        assert store.load(NEW, NOW) == kept
        assert store.replace(NEW, changed(kept), kept.version, NOW) is Outcome.SAVED
        seen = commands()
    assert {name: seen.get(name) for name in ("get", "evalsha", "eval", "ping")} == {
        "get": 1,
        "evalsha": 1,
        "eval": None,
        "ping": None,
    }


def test_ping_warns_once_where_the_server_may_evict_live_sessions(
    server: Valkey, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.ping()
    assert caplog.records == []
    server.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        store.ping()
        store.ping()
    finally:
        server.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
    (line,) = caplog.records
    assert (line.levelno, line.name) == (logging.WARNING, "wsgi_session")
    assert "maxmemory-policy is allkeys-lru. Set it to noeviction" in line.getMessage()


def test_ping_is_content_with_a_server_that_tells_nothing_of_itself(server: Valkey) -> None:
    server.execute("ACL", "SETUSER", "quiet", "on", ">pw", "~*", "+@all", "-info")
    with open_url(f"redis://quiet:pw@127.0.0.1:{server.port}") as store:
        store.ping()


def test_ping_fails_where_nothing_can_be_written(server: Valkey) -> None:
    server.execute("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@all", "-set")
    url = f"redis://reader:pw@127.0.0.1:{server.port}"
    with open_url(url) as store, pytest.raises(StoreUnavailable, match="no permissions"):
        store.ping()


def test_a_count_reads_the_heads_of_the_records_and_not_their_data(server: Valkey, store: Store) -> None:
    for number in range(30):
        record = make_record(bytes(100_000), namespace="sid" if number % 3 else "admin")
        store.create(os.urandom(32), record, NOW)

    def bytes_sent() -> int:
        return int(str(server.execute("INFO", "stats")).split("total_net_output_bytes:")[1].split()[0])

    before = bytes_sent()
    assert isinstance(store, Counts)
    assert [store.count(NOW, name) for name in (None, "sid", "admin")] == [30, 20, 10]
    assert bytes_sent() - before < 300_000


# Clients, logins, sockets, TLS.


def test_a_login_that_is_wrong_is_an_outage_that_shows_no_password(server: Valkey) -> None:
    server.execute("ACL", "SETUSER", "ann", "on", ">s3cr%t/@", "~*", "+@all")
    with open_url(f"redis://ann:s3cr%25t%2F%40@127.0.0.1:{server.port}") as store:
        store.ping()
        assert "s3cr" not in repr(store)
    with open_url(f"redis://ann:hunter2@127.0.0.1:{server.port}") as store:
        with pytest.raises(StoreUnavailable) as caught:
            store.ping()
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__} {store!r}"


def test_the_commands_that_the_manual_names_are_all_that_it_takes(server: Valkey) -> None:
    manual = (ROOT / "docs" / "stores-redis.md").read_text()
    (line,) = [line for line in manual.splitlines() if line.startswith("+get ")]
    server.execute("ACL", "SETUSER", "site", "on", ">pw", "~session:*", *line.split())
    with open_url(f"redis://site:pw@127.0.0.1:{server.port}?wait=1") as waiting:
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
            waiting.create(KEY, make_record(), NOW)
        assert waiting.load(KEY, NOW) is not None
    with open_url(f"redis://site:pw@127.0.0.1:{server.port}") as store:
        assert isinstance(store, ListsOwners)
        assert isinstance(store, Scans)
        store.ping()
        kept = make_record()
        store.create(OTHER, kept, NOW)
        assert store.touch(OTHER, NOW + 1, NOW + DAY, NOW)
        write = changed(kept)
        assert store.replace(OTHER, write, kept.version, NOW) is Outcome.SAVED
        assert store.rotate(OTHER, NEW, changed(write), write.version, NOW) is Outcome.SAVED
        with pytest.raises(KeyExists):
            store.create(NEW, kept, NOW)
        server.execute("DEL", b"session:" + KEY)
        assert [session.key for session in store.of_owner(OWNER, NOW)] == [NEW]
        assert [key for key, _ in store.scan(NOW)] == [NEW]
        assert store.delete(NEW)


def test_two_databases_of_a_server_share_no_session(server: Valkey) -> None:
    with (
        open_url(f"redis://127.0.0.1:{server.port}/0") as first,
        open_url(f"redis://127.0.0.1:{server.port}/3") as other,
    ):
        first.create(KEY, make_record(), NOW)
        assert other.load(KEY, NOW) is None


def test_a_store_connects_through_a_socket_file(server: Valkey) -> None:
    with open_url(f"unix://{server.socket}?db=2") as store:
        store.create(KEY, make_record(), NOW)
        assert store.load(KEY, NOW) is not None
        assert repr(store) == f"RedisStore({server.socket}, prefix='session:')"
    with open_url(f"redis://127.0.0.1:{server.port}/2") as store:
        assert store.load(KEY, NOW) is not None


def test_tls_is_spoken_with_a_server_that_the_authority_vouches_for_and_no_other(
    server: Valkey, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Proxy(server.port, context) as proxy:
        with open_url(f"rediss://localhost:{proxy.port}?ssl_ca_certs={certificate}") as store:
            store.create(KEY, make_record(), NOW)
            assert store.load(KEY, NOW) is not None
        for stranger in (
            f"rediss://localhost:{proxy.port}",
            f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={certificate}",
        ):
            with open_url(stranger) as store, pytest.raises(StoreUnavailable, match=r"certificate|CERTIFICATE"):
                store.load(KEY, NOW)


def test_a_ready_client_is_taken_with_its_settings_also_if_it_decodes(server: Valkey) -> None:
    from redis import Redis

    from wsgi_session.stores.redis import RedisStore

    for settings in ({}, {"decode_responses": True}, {"protocol": 3}, {"socket_timeout": None}):
        client = Redis(port=server.port, db=5, **settings)
        with client, RedisStore(client, prefix="ready:", timeout=30) as store:
            kept = make_record(bytes(range(256)))
            store.create(KEY, kept, NOW)
            assert store.load(KEY, NOW) == kept
            assert [session.key for session in store.of_owner(OWNER, NOW)] == [KEY]
            assert [key for key, _ in store.scan(NOW)] == [KEY]
            store.ping()
            assert store.delete(KEY)
            assert client.ping(), "the client is its owner's, also after close()"


def test_a_ready_cluster_client_is_taken_and_left_open() -> None:
    from redis.cluster import RedisCluster

    from wsgi_session.stores.redis import RedisStore

    host, _, port = valkey_cluster().removeprefix("redis+cluster://").split(",")[0].partition(":")
    client = RedisCluster(host=host, port=int(port), decode_responses=True)
    with RedisStore(client, prefix="ready:", timeout=30) as store:
        kept = make_record(bytes(range(256)))
        store.create(KEY, kept, NOW)
        assert list(store.of_owner(OWNER, NOW)) == [owned_session(KEY, kept)]
        store.ping()
        assert store.delete(KEY)
    assert client.ping()
    client.close()


def test_of_the_clients_that_several_threads_make_at_first_use_one_is_kept_and_the_others_are_closed() -> None:
    from redis.cluster import RedisCluster

    from wsgi_session.stores.redis import RedisStore

    host, _, port = valkey_cluster().removeprefix("redis+cluster://").split(",")[0].partition(":")
    both, closed = threading.Barrier(2), []

    class Client(RedisCluster):
        def close(self) -> None:
            closed.append(self)
            super().close()

    def connect() -> RedisCluster:
        client = Client(host=host, port=int(port))
        both.wait(30)
        return client

    with RedisStore(connect, timeout=5) as store:
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(lambda _: store.load(KEY, NOW), range(2))) == [None, None]
        assert len(closed) == 1
        assert store.load(KEY, NOW) is None
    assert len(set(closed)) == 2


def test_a_cluster_is_asked_as_its_url_says_and_redis_py_sends_nothing_again_by_itself() -> None:
    with open_url(valkey_cluster() + "?timeout=30&connect_timeout=45&pool=4") as store:
        store.ping()
        link: Any = store._client  # type: ignore[attr-defined]
        assert link._map.client(0.0).retry._retries == 0
        for node in link._nodes.values():
            found = node._pool.idle[0].connection
            assert (found.socket_timeout, found.socket_connect_timeout) == (30.0, 30.0), "connecting is a part of it"
            assert (found.retry._retries, node._pool._size) == (0, 4)


def test_an_interrupted_question_where_the_slots_are_is_asked_again() -> None:
    with open_url(valkey_cluster()) as store:
        assert store.load(KEY, NOW) is None
        slots: Any = store._client._map  # type: ignore[attr-defined]
        nodes = slots.client(0.0).nodes_manager
        known, slots.outdated = dict(nodes.startup_nodes), True

        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nodes, "initialize", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.load(KEY, NOW)
        assert (nodes.startup_nodes, slots.outdated) == (known, True)
        assert store.load(KEY, NOW) is None
        assert not slots.outdated


def test_sessions_of_a_cluster_that_end_together_wait_for_their_replicas() -> None:
    with open_url(valkey_cluster() + "?wait=1&prefix=waiting:") as store:
        for key in (KEY, OTHER):
            store.create(key, make_record(), NOW)
        assert store.delete_many([KEY, OTHER]) == 2
        assert entries(store) == set()


@pytest.mark.parametrize("timeout", [0, -1, 3601])
def test_a_time_out_that_is_no_time_is_refused(timeout: float) -> None:
    from redis import Redis

    from wsgi_session.stores.redis import RedisStore

    with pytest.raises(ConfigError, match="give a number of seconds, more than 0 and at most 3600"):
        RedisStore(Redis(), timeout=timeout)


def test_an_object_that_is_not_a_client_is_refused() -> None:
    import redis.asyncio

    from wsgi_session.stores.redis import RedisStore

    for client in ("redis://localhost", None, redis.asyncio.Redis()):
        with pytest.raises(ConfigError, match=r"give a redis\.Redis or a redis\.RedisCluster"):
            RedisStore(client)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"prefix": ""}, {"pool": 0}, {"pool": "8"}, {"pool": True}, {"wait": -1}, {"wait": 1.5}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    from redis import Redis

    from wsgi_session.stores.redis import RedisStore

    with pytest.raises(ConfigError, match=r"give (a whole number|at least one)"):
        RedisStore(Redis(), **options)


def test_a_node_of_a_cluster_that_is_taken_for_a_server_is_told_from_one() -> None:
    def load_many(store: Store) -> None:
        for number in range(64):
            store.load(b"%032d" % number, NOW)

    address = valkey_cluster().removeprefix("redis+cluster://").split(",")[0]
    with open_url(f"redis://{address}") as store:
        with pytest.raises(StoreUnavailable, match=r"part of a cluster: use redis\+cluster://"):
            load_many(store)
        assert len(store._client._pool.idle) == 1, "a refusal costs no connection"  # type: ignore[attr-defined]


# Processes and threads.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("url", ["server", "cluster", "sentinel"])
def test_no_connection_crosses_a_fork(server: Valkey, url: str) -> None:
    urls = {"server": lambda: server.url, "cluster": valkey_cluster, "sentinel": valkey_sentinel}
    with open_url(urls[url]() + "?prefix=forked:") as store:
        link: Any = store._client  # type: ignore[attr-defined]
        mine = link.call(KEY, b"CLIENT", b"ID")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # Ends a child that hangs; its status is then not 0.
            answer = b"it raised"
            try:
                answer = b"%d" % link.call(KEY, b"CLIENT", b"ID")
                store.close()
            finally:
                os.write(writer, answer)
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            its = int(pipe.read())
        assert os.waitpid(child, 0)[1] == 0
        assert its != mine
        assert link.call(KEY, b"CLIENT", b"ID") == mine, "the parent's is still open"


def test_more_threads_than_connections_take_turns(server: Valkey) -> None:
    with Proxy(server.port) as proxy, open_url(f"redis://127.0.0.1:{proxy.port}?pool=2&timeout=30") as store:
        kept = make_record(b"0" * 100)
        store.create(KEY, kept, NOW)
        loaded: list[Record | None] = []

        def load() -> None:
            for _ in range(50):
                loaded.append(store.load(KEY, NOW))  # noqa: PERF401 - what was loaded counts, also before an error

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert loaded == [kept] * 400
        assert proxy.accepted <= 2


def test_who_gets_no_connection_in_time_is_told_how_to_have_more(server: Valkey) -> None:
    with open_url(f"{server.url}?pool=1&timeout=0.3") as store:
        store.ping()
        pool = store._client._pool  # type: ignore[attr-defined]
        taken = pool.acquire()
        with pytest.raises(
            StoreUnavailable, match=r"All 1 connections to Redis were busy for 0\.3 s\. Increase \?pool="
        ):
            store.load(KEY, NOW)
        done: list[object] = []
        waiting = threading.Thread(target=lambda: done.append(store.load(KEY, NOW)))
        waiting.start()
        wait_until(lambda: pool._waiters, "the thread stands in line", 5)
        pool.release(taken)
        waiting.join(5)
        assert done == [None]
        assert store.load(KEY, NOW) is None


def test_a_connection_that_cannot_be_made_takes_no_place(server: Valkey) -> None:
    from redis import ConnectionPool, Redis

    from wsgi_session.stores.redis import RedisStore

    with RedisStore(Redis(connection_pool=ConnectionPool(no_such_setting=1)), pool=1) as store:
        for _ in range(3):
            with pytest.raises(TypeError, match="no_such_setting"):
                store.load(KEY, NOW)


def test_what_is_given_back_after_close_is_closed(server: Valkey) -> None:
    store: Any = open_url(server.url)
    store.ping()
    pool = store._client._pool
    taken = pool.acquire()
    connection = taken.connection
    store.close()
    store.close()
    assert connection._sock is not None
    pool.release(taken)
    assert connection._sock is None
    assert store.load(KEY, NOW) is None, "and a call that comes late opens another"


class SlowQuestion:
    """Holds a cluster client's question about its slots until the test lets it continue."""

    def __init__(self, client: Any) -> None:
        self.asked = 0
        self.under_way, self.answer = threading.Event(), threading.Event()
        self._initialize = client.nodes_manager.initialize
        client.nodes_manager.initialize = self.ask

    def ask(self) -> None:
        self.asked += 1
        self.under_way.set()
        assert self.answer.wait(60)
        self._initialize()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
@pytest.mark.parametrize("in_time", [True, False])
def test_a_fork_while_a_ready_cluster_client_asks_for_its_slots_is_waited_for_or_refused(
    monkeypatch: pytest.MonkeyPatch, in_time: bool
) -> None:
    from redis.cluster import RedisCluster

    from wsgi_session.stores.redis import RedisStore

    host, _, port = valkey_cluster().removeprefix("redis+cluster://").split(",")[0].partition(":")
    client = RedisCluster(host=host, port=int(port))
    store: Any = RedisStore(client, prefix="forked:", timeout=30)
    store.create(KEY, make_record(), NOW)
    monkeypatch.setattr(redis_map, "FORK_CHECKS", 60_000 if in_time else 10)
    question = SlowQuestion(client)
    store._client._map.outdated = True
    asker = threading.Thread(target=store.load, args=(KEY, NOW))
    asker.start()
    assert question.under_way.wait(60)
    if in_time:
        # The fork waits until the question is answered.
        sleep = time.sleep

        def answer(seconds: float) -> None:
            question.answer.set()
            sleep(seconds)

        monkeypatch.setattr(redis_map.time, "sleep", answer)  # type: ignore[attr-defined]

    def child() -> bool:
        store._client._map.outdated = True
        if in_time:
            return store.load(KEY, NOW) is not None and question.asked == 2
        with pytest.raises(StoreUnavailable, match="forked while another thread"):
            store.load(KEY, NOW)
        return True

    try:
        assert fork(child) == 0
    finally:
        question.answer.set()
        asker.join(60)
    store._client._map.outdated = True
    assert store.load(KEY, NOW) is not None
    assert question.asked == 2
    store.delete(KEY)
    store.close()
    client.close()


def test_an_interruption_at_any_moment_of_a_cluster_call_leaves_the_map_to_be_asked_again() -> None:
    with open_url(valkey_cluster() + "?prefix=interrupted:&pool=2") as store:
        store.create(KEY, make_record(), NOW)
        slots = store._client._map  # type: ignore[attr-defined]
        number = 0
        while True:
            slots.outdated = True
            files = "/stores/redis/cluster.py", "/stores/redis/map.py"
            if not interrupted(files, number, lambda: store.load(KEY, NOW)):
                break
            number += 1
            gc.collect(1)
            assert slots._refresh() is None, f"interruption {number}"
        assert number > 10
        assert not slots.outdated
        store.delete(KEY)


def test_a_child_makes_a_pool_and_asks_for_the_slots_by_itself(server: Valkey) -> None:
    """This simulates a child in this process, so that coverage is measured."""
    from redis.cluster import RedisCluster

    from wsgi_session.stores.redis import RedisStore

    with open_url(f"{server.url}?prefix=child:") as store:
        store.create(KEY, make_record(), NOW)
        node: Any = store._client  # type: ignore[attr-defined]
        inherited = node._pool
        inherited.fork_mark = (0,)
        assert store.load(KEY, NOW) is not None
        assert node._pool is not inherited
        assert store.delete(KEY)
    host, _, port = valkey_cluster().removeprefix("redis+cluster://").split(",")[0].partition(":")
    client = RedisCluster(host=host, port=int(port))
    cluster: Any = RedisStore(client, prefix="child:", timeout=30)
    slots = cluster._client._map
    slots._pid, slots._refresh, slots.outdated = 0, lambda: object(), True
    assert cluster.load(KEY, NOW) is None
    assert not slots.outdated
    slots._forked_mid_refresh = True
    with pytest.raises(StoreUnavailable, match="forked while another thread"):
        cluster.load(KEY, NOW)
    client.close()


#: The files whose code is interrupted.
FILES = ("/stores/pool.py", "/stores/redis/node.py", "/stores/redis/exchange.py", "/stores/redis/store.py")


@pytest.mark.parametrize("idle", [True, False], ids=["idle connection", "no connection"])
def test_an_interruption_at_any_moment_of_a_call_costs_no_place_and_crosses_nothing(server: Valkey, idle: bool) -> None:
    with open_url(f"{server.url}?pool=2") as store:
        kept = make_record(b"kept")
        store.create(KEY, kept, NOW)
        pool = store._client._pool  # type: ignore[attr-defined]
        number = 0
        while True:
            if not idle:
                pool.close_idle()
            if not interrupted(FILES, number, lambda: store.touch(KEY, NOW, NOW + 1000.0, NOW)):
                break
            number += 1
            gc.collect(1)  # The traceback of an exception is in a reference cycle.
            assert pool.count() == len(pool.idle), f"interruption {number}"
            assert not pool._lock.locked()
            found = store.load(KEY, NOW)
            assert found is not None
            assert found.data == b"kept"
        assert number > 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_hundreds_of_calls_that_a_signal_interrupts_leave_the_pool_whole(server: Valkey) -> None:
    # If redis-py was interrupted while connecting, the garbage collector closes the socket, with a warning.
    with open_url(f"{server.url}?pool=2") as store:
        interrupt_with_signals(store, 300)
        pool = store._client._pool  # type: ignore[attr-defined]
        gc.collect(1)
        assert pool.count() == len(pool.idle) <= 2
        assert pool.uncontended


def test_what_is_no_string_under_a_session_s_name_is_passed_over_by_a_scan(server: Valkey) -> None:
    with open_url(server.url + "?prefix=odd:") as store:
        store.create(KEY, make_record(), NOW)
        server.execute("HSET", b"odd:" + OTHER, "a", "b")
        assert isinstance(store, Scans)
        assert [key for key, _ in store.scan(NOW)] == [KEY]


def test_many_are_deleted_by_nodes_that_have_forgotten_the_script_and_are_unknown_to_the_map() -> None:
    with open_url(valkey_cluster() + "?prefix=many:") as store:
        keys = [b"%032d" % number for number in range(20)]
        for key in keys:
            store.create(key, make_record(), NOW)
        link = store._client  # type: ignore[attr-defined]
        for node in link._primaries(link._map.deadline()):
            node.call(b"", b"SCRIPT", b"FLUSH")
        assert store.delete_many(keys) == 20


def test_a_node_that_the_map_does_not_have_yet_is_asked_where_a_redirection_names_it(server: Valkey) -> None:
    with open_url(valkey_cluster()) as store:
        store.ping()
        node = store._client._node_at("127.0.0.1", server.port, store._client._map.deadline())  # type: ignore[attr-defined]
        assert node.call(b"", b"PING") == b"PONG"
