"""RedisStore when a primary dies and its replica takes over, and while a cluster's slots move."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from tests.support.records import NOW, OWNER, make_record
from tests.support.servers.process import wait_until
from tests.support.servers.valkey import DURABLE, SERVICE, Valkey, ValkeyCluster, ValkeySentinel
from wsgi_session.backends.base import Credential
from wsgi_session.backends.revocation import end_sessions
from wsgi_session.backends.server import StoreBackend
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import ListsOwners, Outcome, Record, Store, owned_session, tombstone_of
from wsgi_session.stores.redis import sentinel as redis_sentinel

KEY = b"s" * 32
#: Seconds until the store must work again. The timeout of the cluster or of Sentinel is one second.
PATIENCE = 30.0


def changed(before: Record, data: bytes = b"changed") -> Record:
    return before._replace(data=data, version=os.urandom(16))


def open_store(url: str, wait: int = 1) -> Store:
    from wsgi_session.stores.redis.urls import open_url

    return open_url(url + ("&" if "?" in url else "?") + "wait=1" if wait else url)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    cluster = ValkeyCluster(*DURABLE)
    cluster.start()
    yield cluster
    cluster.remove()


@pytest.fixture
def store(cluster: ValkeyCluster) -> Iterator[Store]:
    cluster.wait_until_whole()
    with open_store(cluster.url) as store:
        yield store


def slot_of(key: bytes) -> int:
    from redis.crc import key_slot

    return key_slot(b"session:" + key)


def key_in(first: int, last: int) -> bytes:
    """Return a key in one of these slots."""
    return next(key for key in (b"%032d" % number for number in count()) if first <= slot_of(key) <= last)


def key_on(cluster: ValkeyCluster, number: int) -> bytes:
    """Return a key that is on the primary ``nodes[number]`` when the cluster starts."""
    return key_in(16384 * number // cluster.PRIMARIES, 16384 * (number + 1) // cluster.PRIMARIES - 1)


def again_and_again(call: Callable[[], object], what: str) -> None:
    """Repeat ``call`` until it returns. Until then it may only raise ``StoreUnavailable``."""

    def works() -> bool:
        try:
            call()
        except StoreUnavailable:
            return False
        return True

    wait_until(works, what, PATIENCE)


def test_a_cluster_whose_primary_dies_goes_on_with_its_replica_and_every_acknowledged_write(
    cluster: ValkeyCluster, store: Store
) -> None:
    keys = [key_on(cluster, number) for number in range(cluster.PRIMARIES)]
    records = [make_record() for _ in keys]
    for key, kept in zip(keys, records, strict=True):
        store.create(key, kept, NOW)
    cluster.nodes[0].kill()
    with pytest.raises(StoreUnavailable):
        store.load(keys[0], NOW)
    assert [store.load(key, NOW) for key in keys[1:]] == records[1:], "the others are not concerned"
    again_and_again(lambda: store.load(keys[0], NOW), "the replica has taken over")
    assert [store.load(key, NOW) for key in keys] == records
    cluster.nodes[0].start()
    cluster.wait_until_whole()
    write = changed(records[0])
    again_and_again(lambda: store.replace(keys[0], write, records[0].version, NOW), "it has a replica again")
    assert store.load(keys[0], NOW) == write
    assert isinstance(store, ListsOwners)
    listed = {session.key: session for session in store.of_owner(OWNER, NOW)}
    assert listed == {key: owned_session(key, each) for key, each in zip(keys, [write, *records[1:]], strict=True)}


def test_a_key_is_found_while_its_slot_moves_and_after(cluster: ValkeyCluster, store: Store) -> None:
    def node_of(slot: int) -> tuple[Valkey, Valkey]:
        """Return the node that serves ``slot``, and another primary."""
        primaries = _primaries(cluster)
        serving = [node for node in primaries if node.execute("CLUSTER", "COUNTKEYSINSLOT", slot)]
        return serving[0], next(node for node in primaries if node is not serving[0])

    key = b"m" * 32
    slot = slot_of(key)
    kept = make_record()
    store.create(key, kept, NOW)
    before, after = node_of(slot)
    names = {node: node.execute("CLUSTER", "MYID") for node in (before, after)}
    after.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", names[before])
    before.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", names[after])
    assert store.load(key, NOW) == kept
    before.execute("MIGRATE", "127.0.0.1", after.port, b"session:" + key, 0, 5000)
    # ASK redirects only this command; the next one goes to the old node again.
    assert store.load(key, NOW) == kept
    assert isinstance(store, ListsOwners)
    assert key in [session.key for session in store.of_owner(OWNER, NOW)]
    write = changed(kept)
    assert store.replace(key, write, kept.version, NOW) is Outcome.SAVED
    for node in (after, before):
        node.execute("CLUSTER", "SETSLOT", slot, "NODE", names[after])
    # From now on the reply is MOVED.
    last = changed(write)
    assert store.replace(key, last, write.version, NOW) is Outcome.SAVED
    assert store.load(key, NOW) == last
    assert key in [session.key for session in store.of_owner(OWNER, NOW)]
    with open_store(cluster.url) as fresh:
        assert fresh.load(key, NOW) == last
    assert store.delete(key)


@contextmanager
def silent(cluster: ValkeyCluster, key: bytes) -> Iterator[None]:
    """Pause the node that serves ``key``."""
    (node,) = [node for node in _primaries(cluster) if _serves_key(node, key)]
    node.pause()
    try:
        yield
    finally:
        node.resume()


def _primaries(cluster: ValkeyCluster) -> list[Valkey]:
    return [node for node in cluster.nodes if "role:master" in node.execute("INFO", "replication")]


def _serves_key(node: Valkey, key: bytes) -> bool:
    return _serves_name(node, b"session:" + key)


def _serves_name(node: Valkey, name: bytes) -> bool:
    from redis.crc import key_slot

    (mine,) = [line for line in node.execute("CLUSTER", "NODES").splitlines() if "myself" in line]
    return _serves(mine, key_slot(name))


@pytest.fixture(scope="module")
def patient() -> Iterator[ValkeyCluster]:
    """A cluster that does not replace a paused primary."""
    cluster = ValkeyCluster(timeout=60_000)
    cluster.start()
    yield cluster
    cluster.remove()


@pytest.fixture
def hasty(patient: ValkeyCluster) -> Iterator[Store]:
    from wsgi_session.stores.redis.urls import open_url

    with open_url(patient.url + "?timeout=0.3") as store:
        yield store


def two_keys_elsewhere(cluster: ValkeyCluster, owner: bytes) -> tuple[bytes, bytes]:
    """Return two keys on two nodes, neither of which has the owner's index."""
    others = [node for node in _primaries(cluster) if not _serves_key(node, b"owner:" + owner)]
    found = [next(key for key in (os.urandom(32) for _ in count()) if _serves_key(node, key)) for node in others]
    return found[0], found[1]


def test_what_is_saved_and_ended_is_so_though_the_owners_index_does_not_answer(
    patient: ValkeyCluster, hasty: Store
) -> None:
    assert isinstance(hasty, ListsOwners)
    owner = os.urandom(32)
    key, new = two_keys_elsewhere(patient, owner)
    kept = make_record(owner=owner)
    hasty.create(key, kept, NOW)
    with silent(patient, b"owner:" + owner):
        write = changed(kept)._replace(expires=NOW + 9999)
        assert hasty.replace(key, write, kept.version, NOW) is Outcome.SAVED
        assert hasty.touch(key, NOW, NOW + 99999, NOW)
        with pytest.raises(StoreUnavailable):
            hasty.create(new, make_record(owner=owner), NOW)
        assert hasty.load(new, NOW) is None, "what cannot be listed is not there"
        assert hasty.delete(key)
        assert hasty.load(key, NOW) is None
        with pytest.raises(StoreUnavailable):
            list(hasty.of_owner(owner, NOW))
    assert list(hasty.of_owner(owner, NOW)) == []


@pytest.mark.parametrize("ended", [False, True])
def test_a_rotation_that_was_cut_in_two_comes_to_its_end_when_it_is_made_again(
    patient: ValkeyCluster, hasty: Store, ended: bool
) -> None:
    assert isinstance(hasty, ListsOwners)
    owner = os.urandom(32)
    old, new = two_keys_elsewhere(patient, owner)
    kept = make_record(owner=owner)
    hasty.create(old, kept, NOW)
    write = changed(kept)
    with silent(patient, old):
        with pytest.raises(StoreUnavailable) as caught:
            hasty.rotate(old, new, write, kept.version, NOW)
        assert caught.value.answer_lost
        with pytest.raises(StoreUnavailable):
            list(hasty.of_owner(owner, NOW))
    if ended:
        # A listing of the owner's sessions, as in revoke_all, ends the sessions.
        for session in hasty.of_owner(owner, NOW):
            hasty.delete(session.key)
    outcome = hasty.rotate(old, new, write, kept.version, NOW)
    assert outcome is (Outcome.GONE if ended else Outcome.SAVED)
    # The second step of the first call may have run when the node continued.
    assert hasty.load(old, NOW) in (tombstone_of(new, write, NOW), *([None] if ended else []))
    assert hasty.load(new, NOW) == (None if ended else write)
    assert [session.key for session in hasty.of_owner(owner, NOW)] == ([] if ended else [new])


@contextmanager
def silent_replicas(cluster: ValkeyCluster) -> Iterator[None]:
    """Pause every replica."""
    replicas = [node for node in cluster.nodes if "role:slave" in node.execute("INFO", "replication")]
    for node in replicas:
        node.pause()
    try:
        yield
    finally:
        for node in replicas:
            node.resume()


@pytest.mark.parametrize("way", ["delete_many", "revoke_all", "rotated cookie"])
def test_a_session_of_a_cluster_that_was_ended_without_a_replica_does_not_count_as_ended_at_the_next_attempt(
    patient: ValkeyCluster, way: str
) -> None:
    """The next attempt may not know the session's key, and so not which node it was on."""
    owner = os.urandom(32)
    old, new = two_keys_elsewhere(patient, owner)
    kept = make_record(owner=owner)
    # The rotation is not a login, so a logout with the old cookie follows it.
    write = changed(kept)._replace(version=os.urandom(15) + b"\0")
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in _primaries(patient))
    url = f"redis+cluster://{hosts}?timeout=2"

    def end() -> object:
        with open_store(url, wait=1) as fresh:
            if way == "delete_many":
                return fresh.delete_many([old, new])
            if way == "revoke_all":
                return end_sessions(fresh, owner, NOW, lambda session: True)
            # This test uses only the backend's store.
            backend = StoreBackend(fresh, None, None, None, None)  # type: ignore[arg-type]
            return backend.end(Credential(b"token", True, old), NOW)

    with open_store(patient.url, wait=0) as store:
        store.create(old, kept, NOW)
        store.rotate(old, new, write, kept.version, NOW)
    with silent_replicas(patient):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
                end()
    patient.wait_until_whole()
    again_and_again(end, "the replicas have it")
    with open_store(patient.url, wait=0) as store:
        assert store.load(new, NOW) is None


def test_every_primary_of_a_cluster_that_has_slots_is_written_to(patient: ValkeyCluster) -> None:
    with open_store(patient.url + "?timeout=30", wait=0) as store:
        store.ping()
        link = store._client  # type: ignore[attr-defined]
        names = link.names(b"any:", link.deadline())
    assert all(name.startswith(b"any:") for name in names)
    nodes = [node for name in names for node in _primaries(patient) if _serves_name(node, name)]
    assert {node.port for node in nodes} == {node.port for node in _primaries(patient)}
    assert len(names) == patient.PRIMARIES


def test_nodes_that_send_us_round_in_a_circle_are_an_outage(cluster: ValkeyCluster, store: Store) -> None:
    key = b"c" * 32
    slot = slot_of(key)
    store.load(key, NOW)
    serving = _primaries(cluster)
    names = [node.execute("CLUSTER", "MYID") for node in serving]
    owner = next(line.split()[0] for line in serving[0].execute("CLUSTER", "NODES").splitlines() if _serves(line, slot))
    first = names.index(owner)
    second = (first + 1) % len(names)
    serving[first].execute("CLUSTER", "SETSLOT", slot, "NODE", names[second])
    try:
        with pytest.raises(StoreUnavailable, match="still being moved after 8 redirections"):
            store.load(key, NOW)
    finally:
        serving[first].execute("CLUSTER", "SETSLOT", slot, "NODE", owner)
    again_and_again(lambda: store.load(key, NOW), "they agree again")


def _serves(line: str, slot: int) -> bool:
    ranges = [part.partition("-") for part in line.split()[8:] if part[0] != "["]
    return any(int(first) <= slot <= int(last or first) for first, _, last in ranges)


def test_a_cluster_that_is_not_there_is_an_outage_until_it_is() -> None:
    cluster = ValkeyCluster()
    with open_store(cluster.url) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="Redis cluster"):
                store.load(b"k" * 32, NOW)
        try:
            cluster.start()
            assert store.load(b"k" * 32, NOW) is None
        finally:
            cluster.remove()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                store.load(b"k" * 32, NOW)


def test_slots_that_nobody_serves_are_an_outage_of_their_sessions_only(cluster: ValkeyCluster, store: Store) -> None:
    keys = [b"%032d" % number for number in range(1000, 1064)]
    slot = slot_of(keys[0])
    # First on the slot's own node, which would otherwise tell the others that it still has the slot.
    (serving,) = [node for node in _primaries(cluster) if _serves_key(node, keys[0])]
    for node in sorted(cluster.nodes, key=lambda node: node is not serving):
        node.execute("CLUSTER", "DELSLOTS", slot)
    try:
        for fresh in (store, open_store(cluster.url)):
            with fresh:
                with pytest.raises(StoreUnavailable):
                    fresh.load(keys[0], NOW)
                others = [key for key in keys if slot_of(key) != slot]
                assert [fresh.load(key, NOW) for key in others] == [None] * len(others)
    finally:
        serving.execute("CLUSTER", "ADDSLOTS", slot)
    cluster.wait_until_whole()


def test_a_process_that_starts_while_a_primary_hangs_serves_what_is_on_the_others(
    cluster: ValkeyCluster, store: Store
) -> None:
    for hanging, other in ((0, 1), (1, 0)):
        cluster.wait_until_whole()
        cluster.nodes[hanging].pause()
        try:
            with open_store(cluster.url) as fresh:
                fresh.load(key_on(cluster, other), NOW)
        finally:
            cluster.nodes[hanging].resume()
    cluster.wait_until_whole()


@pytest.fixture
def group() -> Iterator[ValkeySentinel]:
    group = ValkeySentinel(*DURABLE)
    group.start()
    yield group
    group.primary.resume()
    group.remove()


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_sentinels_new_primary_is_used_with_every_acknowledged_write(group: ValkeySentinel, fault: str) -> None:
    key, kept = b"k" * 32, make_record()
    with open_store(group.url) as store:
        again_and_again(lambda: store.create(key, kept, NOW), "the replica follows")
    with open_store(group.url, wait=0) as store:
        assert store.load(key, NOW) == kept
        getattr(group.primary, fault)()
        with pytest.raises(StoreUnavailable):
            store.load(key, NOW)
        again_and_again(lambda: store.load(key, NOW), "the replica has become the primary")
        # The old primary may believe for a while that it is still the primary, but no request reaches it.
        group.primary.resume()
        write = changed(kept)
        assert store.replace(key, write, kept.version, NOW) is Outcome.SAVED
    with open_store(group.replica.url, wait=0) as store:
        assert store.load(key, NOW) == write


@pytest.fixture(scope="module")
def watched() -> Iterator[ValkeySentinel]:
    """A group whose Sentinels do not replace a paused primary."""
    group = ValkeySentinel(patience=60_000)
    group.start()
    yield group
    group.remove()


def change_primary(group: ValkeySentinel) -> tuple[Valkey, Valkey]:
    """Let the Sentinels change the primary, as for maintenance; return the old one and the new one."""
    servers = group.primary, group.replica
    (old,) = [server for server in servers if server.port == group.primary_port()]
    (new,) = [server for server in servers if server is not old]
    follows = lambda: "master_link_status:up" in new.execute("INFO", "replication")  # noqa: E731
    wait_until(follows, "the replica follows", PATIENCE)
    wait_until(lambda: group.sentinels[0].execute("SENTINEL", "FAILOVER", SERVICE) == "OK", "it is begun", PATIENCE)
    agreed = lambda: all(port_named_by(one) == new.port for one in group.sentinels)  # noqa: E731
    wait_until(agreed, "all Sentinels name the replica", PATIENCE)
    return old, new


def port_named_by(sentinel: Valkey) -> int:
    answer = sentinel.execute("SENTINEL", "MASTER", SERVICE)
    return int(answer[answer.index("port") + 1])


def test_a_primary_that_sentinel_has_replaced_on_command_is_left_though_it_still_takes_writes(
    group: ValkeySentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old primary accepts writes for ten more seconds: a logout there would be undone."""
    monkeypatch.setattr(redis_sentinel, "ASK_EVERY", 0.0)
    key = os.urandom(32)
    with open_store(group.url, wait=0) as store:
        again_and_again(lambda: store.create(key, make_record(), NOW), "the primary is there")
        old, new = change_primary(group)
        assert "role:master" in old.execute("INFO", "replication"), "it does not know"
        assert store.delete(key)
        with open_store(new.url, wait=0) as successor:
            assert successor.load(key, NOW) is None
        # The same primary, even while the other Sentinels do not know of the change yet.
        assert store.load(key, NOW) is None
        assert [place.connection.port for place in store._client._pool.idle] == [new.port]  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_while_no_sentinel_answers_the_primary_is_used_and_nobody_waits_for_long(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    group = ValkeySentinel(patience=60_000)
    group.start()
    monkeypatch.setattr(redis_sentinel, "ASK_EVERY", 0.0)
    asked: list[float] = []
    ask = redis_sentinel.Primary._ask
    monkeypatch.setattr(
        redis_sentinel.Primary, "_ask", lambda self, *args: (asked.append(time.monotonic()), ask(self, *args))
    )
    try:
        with open_store(group.url + "?timeout=8", wait=0) as store:
            store.create(KEY, make_record(), NOW)
            kept = store._client._pool.idle[0].connection  # type: ignore[attr-defined]
            for sentinel in group.sentinels:
                getattr(sentinel, fault)()
            asked.clear()
            times = []
            for _ in range(10):
                begin = time.monotonic()
                assert store.load(KEY, NOW) is not None
                times.append(time.monotonic() - begin)
            assert len(asked) == 3, "each Sentinel once"
            assert max(times) < 4, "half of the time-out is for the operation itself"
            assert store._client._pool.idle[0].connection is kept, "no connection was closed"  # type: ignore[attr-defined]
            assert store.delete(KEY)
    finally:
        for sentinel in group.sentinels:
            sentinel.resume()
        group.remove()


def test_a_sentinel_that_hangs_is_passed_over_for_one_that_answers(
    watched: ValkeySentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_sentinel, "ASK_EVERY", 0.0)
    with open_store(watched.url, wait=0) as store:
        again_and_again(store.ping, "the primary is there")
        watched.sentinels[1].pause()
        try:
            primary = store._client._primary  # type: ignore[attr-defined]
            primary._number = 1
            for _ in range(5):
                store.load(KEY, NOW)
            assert (primary._number, primary._failures) == (2, 0)
        finally:
            watched.sentinels[1].resume()


def test_a_sentinel_that_does_not_know_the_service_changes_nothing(
    watched: ValkeySentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_sentinel, "ASK_EVERY", 0.0)
    with open_store(watched.url, wait=0) as store:
        again_and_again(store.ping, "the primary is there")
        monkeypatch.setattr(store._client._source, "service_name", "unknown")  # type: ignore[attr-defined]
        for _ in range(5):
            store.ping()


def test_a_client_that_translates_addresses_keeps_its_connections(
    watched: ValkeySentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_sentinel, "ASK_EVERY", 0.0)
    monkeypatch.setattr(redis_sentinel, "ASK_LATER", 0.0)
    with open_store(watched.url, wait=0) as store:
        port = watched.primary_port()
        translated = lambda service: ("localhost", port)  # noqa: E731
        monkeypatch.setattr(store._client._source.sentinel_manager, "discover_master", translated)  # type: ignore[attr-defined]
        store.ping()
        kept = store._client._pool.idle[0].connection  # type: ignore[attr-defined]
        for _ in range(5):
            store.ping()
        assert store._client._pool.idle[0].connection is kept  # type: ignore[attr-defined]


def test_a_closed_store_has_no_connection_to_a_sentinel(watched: ValkeySentinel) -> None:
    before = clients(watched)
    store = open_store(watched.url, wait=0)
    again_and_again(store.ping, "the primary is there")
    opened = clients(watched) - before
    assert opened
    store.close()
    wait_until(lambda: not opened & clients(watched), "they are closed")


def test_the_sentinels_are_asked_once_a_second_at_most(
    watched: ValkeySentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_sentinel, "ASK_EVERY", 60.0)
    with open_store(watched.url, wait=0) as store:
        again_and_again(store.ping, "the primary is there")
        store.load(KEY, NOW)
        before = [connections(one) for one in watched.sentinels]
        for _ in range(50):
            store.load(KEY, NOW)
        # The questions of this test itself are connections too.
        assert sum(connections(one) for one in watched.sentinels) - sum(before) < 20


def clients(group: ValkeySentinel) -> set[tuple[int, str]]:
    """Return redis-py's connections to the Sentinels: the port of each Sentinel, and the line about the connection."""
    return {
        (sentinel.port, line.split()[0])
        for sentinel in group.sentinels
        for line in sentinel.execute("CLIENT", "LIST").splitlines()
        if "lib-name=redis-py" in line
    }


def connections(server: Valkey) -> int:
    """Return the number of connections that the server has accepted so far."""
    (line,) = [line for line in server.execute("INFO", "stats").splitlines() if "total_connections_received" in line]
    return int(line.partition(":")[2])
