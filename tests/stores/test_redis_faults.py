"""RedisStore when the server or the network fails: nothing is done twice or mixed up, and the store recovers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import pytest

from tests.support.records import NOW, OWNER, make_record
from tests.support.servers.process import wait_until
from tests.support.servers.proxy import Proxy
from tests.support.servers.valkey import DURABLE, Valkey
from wsgi_session.backends.revocation import end_sessions
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import Outcome, Record, Store

KEY, OTHER, NEW = b"k" * 32, b"o" * 32, b"n" * 32


def changed(before: Record, data: bytes = b"changed") -> Record:
    return before._replace(data=data, version=os.urandom(16))


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    server = Valkey(*DURABLE)
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def _empty(server: Valkey) -> None:
    server.execute("FLUSHALL")


@pytest.fixture
def proxy(server: Valkey) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def open_store(port: int, options: str = "") -> Store:
    from wsgi_session.stores.redis.urls import open_url

    return open_url(f"redis://127.0.0.1:{port}?{options}")


@pytest.fixture
def store(proxy: Proxy) -> Iterator[Store]:
    """A store behind the proxy, with an open idle connection to a server that has cached its scripts."""
    with open_store(proxy.port, "timeout=5") as store:
        for call in every_call(store).values():
            call()
        for key in (KEY, OTHER, NEW):
            there = store.load(key, NOW)
            assert there is None or store.delete(key, there.version)
        yield store


def unavailable(call: Callable[[], object]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        call()
    assert caught.value.__cause__ is not None
    return caught.value


def every_call(store: Store) -> dict[str, Callable[[], object]]:
    """Return a call of each method, on the records of ``prepared``. No call affects the others."""
    kept = prepared(store)
    return {
        "load": lambda: store.load(KEY, NOW),
        "create": lambda: store.create(os.urandom(32), make_record(), NOW),
        "replace": lambda: store.replace(KEY, changed(kept), kept.version, NOW),
        "rotate": lambda: store.rotate(OTHER, NEW, changed(kept), kept.version, NOW),
        "touch": lambda: store.touch(KEY, NOW + 1, NOW + 9999, NOW),
        "of_owner": lambda: list(store.of_owner(OWNER, NOW)),  # type: ignore[attr-defined]
        "ping": store.ping,
        "delete": lambda: store.delete(KEY),
    }


def prepared(store: Store) -> Record:
    kept = make_record()
    store.create(KEY, kept, NOW)
    store.create(OTHER, kept, NOW)
    return kept


CALLS = ["load", "create", "replace", "rotate", "touch", "of_owner", "ping", "delete"]


@pytest.mark.parametrize("name", CALLS)
def test_a_server_that_forgot_its_scripts_learns_them_again(server: Valkey, store: Store, name: str) -> None:
    call = every_call(store)[name]
    server.execute("SCRIPT", "FLUSH")
    call()


@pytest.mark.parametrize("name", [name for name in CALLS if name != "replace"])
def test_the_first_call_after_idle_connections_were_closed_succeeds(proxy: Proxy, store: Store, name: str) -> None:
    call = every_call(store)[name]
    proxy.sever()
    call()


def test_a_replace_over_a_closed_connection_says_that_it_may_have_been_applied(proxy: Proxy, store: Store) -> None:
    # If it were sent again, CONFLICT could mean that it was applied and then overwritten: a counter would count twice.
    kept = prepared(store)
    write = changed(kept)
    proxy.sever()
    assert unavailable(lambda: store.replace(KEY, write, kept.version, NOW)).answer_lost
    assert store.replace(KEY, write, kept.version, NOW) is Outcome.SAVED


def test_a_restarted_server_is_used_again_at_once(server: Valkey) -> None:
    with open_store(server.port) as store:
        kept = prepared(store)
        server.stop()
        server.start()
        assert store.load(KEY, NOW) == kept


def test_what_was_acknowledged_survives_the_death_of_a_server_that_flushes(server: Valkey) -> None:
    with open_store(server.port) as store:
        kept = prepared(store)
        server.kill()
        assert not unavailable(lambda: store.load(KEY, NOW)).answer_lost
        assert not unavailable(lambda: store.create(NEW, make_record(), NOW)).answer_lost
        server.start()
        assert store.load(KEY, NOW) == kept


#: A call that writes; its result; the key that it writes under; and the record that is then there.
WRITES: dict[
    str, tuple[Callable[[Store, Record, Record], object], object, bytes, Callable[[Record, Record], Record]]
] = {
    "create": (lambda store, kept, write: store.create(NEW, write, NOW), None, NEW, lambda kept, write: write),
    "rotate": (
        lambda store, kept, write: store.rotate(KEY, NEW, write, kept.version, NOW),
        Outcome.SAVED,
        NEW,
        lambda kept, write: write,
    ),
    "touch": (
        lambda store, kept, write: store.touch(KEY, NOW, NOW + 9999, NOW),
        True,
        KEY,
        lambda kept, write: kept._replace(expires=NOW + 9999),
    ),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("let", [0, 1])
def test_a_write_whose_answer_was_lost_on_an_idle_connection_is_known_again(
    proxy: Proxy, store: Store, name: str, let: int
) -> None:
    kept = prepared(store)
    write = changed(kept)
    call, answer, key, stored = WRITES[name]
    proxy.lose_answer(b"EVALSHA", let)
    assert call(store, kept, write) == answer
    assert proxy.pending == 0
    assert store.load(key, NOW) == stored(kept, write)


def test_a_replace_whose_answer_was_lost_is_saved_once(proxy: Proxy, store: Store) -> None:
    kept = prepared(store)
    write = changed(kept)
    proxy.lose_answer(b"EVALSHA")
    assert unavailable(lambda: store.replace(KEY, write, kept.version, NOW)).answer_lost
    assert store.load(KEY, NOW) == write
    assert store.replace(KEY, write, kept.version, NOW) is Outcome.SAVED
    assert store.replace(KEY, changed(kept), kept.version, NOW) is Outcome.CONFLICT


def test_a_delete_whose_answer_was_lost_has_deleted(proxy: Proxy, store: Store) -> None:
    prepared(store)
    proxy.lose_answer(b"EVALSHA")
    store.delete(KEY)
    assert proxy.pending == 0
    assert store.load(KEY, NOW) is None


def test_a_write_that_is_lost_again_and_again_says_that_it_may_have_been_applied(proxy: Proxy, store: Store) -> None:
    prepared(store)
    proxy.lose_answer(b"EVALSHA", times=2)
    assert unavailable(lambda: store.touch(KEY, NOW, NOW + 9999, NOW)).answer_lost
    proxy.close()
    assert not unavailable(lambda: store.touch(KEY, NOW, NOW + 9999, NOW)).answer_lost


def test_a_write_that_was_lost_says_so_though_the_server_is_gone_the_second_time(proxy: Proxy, store: Store) -> None:
    prepared(store)
    proxy.lose_answer(b"EVALSHA")
    proxy.refuse()
    assert unavailable(lambda: store.touch(KEY, NOW, NOW + 9999, NOW)).answer_lost


def test_a_request_that_never_arrived_changes_nothing(proxy: Proxy, store: Store) -> None:
    kept = prepared(store)
    proxy.lose_request(b"EVALSHA")
    assert unavailable(lambda: store.replace(KEY, changed(kept), kept.version, NOW)).answer_lost
    assert store.load(KEY, NOW) == kept


def test_the_rest_of_an_answer_that_was_cut_is_no_answer_to_anybody(proxy: Proxy, store: Store) -> None:
    store.create(KEY, make_record(b"one" * 1000), NOW)
    other = make_record(b"two")
    store.create(OTHER, other, NOW)
    proxy.lose_answer(KEY, let=100, times=2)
    assert not unavailable(lambda: store.load(KEY, NOW)).answer_lost
    assert store.load(OTHER, NOW) == other


def test_a_paused_server_is_an_outage_within_the_time_out_and_no_longer(server: Valkey) -> None:
    with open_store(server.port, "timeout=0.2&connect_timeout=0.2") as store:
        kept = prepared(store)
        server.pause()
        try:
            for idle in (True, False):
                begin = time.monotonic()
                error = unavailable(lambda: store.replace(KEY, changed(kept), kept.version, NOW))
                assert time.monotonic() - begin < 2, f"waited, with an idle connection: {idle}"
                # The second call sent nothing, because it could not connect.
                assert error.answer_lost is idle
        finally:
            server.resume()
        wait_until(lambda: answers(store), "the store answers again", 5)


def answers(store: Store) -> bool:
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True


class Killed(BaseException):
    """Like what gevent raises in a greenlet that is killed, or Ctrl-C in the main thread."""


@pytest.mark.parametrize("connected", [True, False])
def test_nobody_gets_the_answer_to_a_command_that_was_killed_while_it_waited(server: Valkey, connected: bool) -> None:
    def kill(number: int, frame: FrameType | None) -> None:
        server.resume()
        raise Killed

    with open_store(server.port, "timeout=60&pool=1") as store:
        prepared(store)
        other = make_record(b"other's")
        store.create(NEW, other, NOW)
        if not connected:
            store.close()
        previous = signal.signal(signal.SIGALRM, kill)
        try:
            server.pause()
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Killed):
                store.load(KEY, NOW)
        finally:
            signal.signal(signal.SIGALRM, previous)
            server.resume()
        assert store.load(NEW, NOW) == other


def test_a_server_that_has_become_a_replica_is_an_outage_for_writers(server: Valkey) -> None:
    with open_store(server.port) as store:
        kept = prepared(store)
        server.execute("REPLICAOF", "127.0.0.1", 1)
        try:
            for name, call in WRITES.items():
                error = unavailable(lambda call=call: call[0](store, kept, changed(kept)))  # type: ignore[misc]
                assert "read only replica" in str(error), name
                assert not error.answer_lost, name
            unavailable(store.ping)
            assert store.load(KEY, NOW) == kept
        finally:
            server.execute("REPLICAOF", "NO", "ONE")
        assert store.delete(KEY)


def test_a_full_server_refuses_and_leaves_everything_as_it_was(server: Valkey) -> None:
    with open_store(server.port) as store:
        kept = prepared(store)
        server.execute("CONFIG", "SET", "maxmemory", "1")
        try:
            for call in (
                lambda: store.create(NEW, make_record(), NOW),
                lambda: store.replace(KEY, changed(kept), kept.version, NOW),
                lambda: store.rotate(KEY, NEW, changed(kept), kept.version, NOW),
                store.ping,
            ):
                error = unavailable(call)
                assert "'maxmemory'" in str(error)
                assert not error.answer_lost
            assert store.load(KEY, NOW) == kept
            assert store.load(NEW, NOW) is None
        finally:
            server.execute("CONFIG", "SET", "maxmemory", "0")
        assert store.rotate(KEY, NEW, changed(kept), kept.version, NOW) is Outcome.SAVED


def test_a_server_that_refuses_to_wait_for_replicas_is_an_outage_that_may_have_written(server: Valkey) -> None:
    server.execute("ACL", "SETUSER", "site", "on", ">pw", "~*", "+@all", "-wait")
    from wsgi_session.stores.redis.urls import open_url

    with open_url(f"redis://site:pw@127.0.0.1:{server.port}?wait=1") as store:
        for call in (lambda: store.create(KEY, make_record(), NOW), store.ping, lambda: store.delete(KEY)):
            with pytest.raises(StoreUnavailable, match=r"WAIT, which \?wait=1 needs:") as caught:
                call()
            assert caught.value.answer_lost
        with pytest.raises(StoreUnavailable, match="WAIT"):
            store.replace(KEY, make_record(), b"v" * 16, NOW)


@pytest.mark.parametrize("method", ["create", "replace", "rotate"])
def test_a_write_that_is_sent_again_leaves_a_record_that_has_no_time_to_live(
    server: Valkey, store: Store, method: str
) -> None:
    kept = make_record()
    store.create(KEY, kept, NOW)
    write = changed(kept)
    calls = {
        "create": lambda: store.create(KEY, kept, NOW),
        "replace": lambda: store.replace(KEY, write, kept.version, NOW),
        "rotate": lambda: store.rotate(KEY, NEW, write, kept.version, NOW),
    }
    calls[method]()
    place = NEW if method == "rotate" else KEY
    expected = store.load(place, NOW)
    server.execute("PERSIST", b"session:" + place)
    calls[method]()
    assert store.load(place, NOW) == expected is not None


def test_a_write_counts_when_as_many_replicas_have_it_as_were_asked_for(server: Valkey) -> None:
    replica = Valkey("--replicaof", f"127.0.0.1 {server.port}")
    with open_store(server.port, "wait=1&timeout=5") as store:
        replica.start()
        wait_until(lambda: "master_link_status:up" in replica.execute("INFO", "replication"), "the replica follows")
        kept = prepared(store)
        write = changed(kept)
        assert store.replace(KEY, write, kept.version, NOW) is Outcome.SAVED
        with open_store(replica.port) as copy:
            assert copy.load(KEY, NOW) == write
        assert store.replace(KEY, changed(kept), kept.version, NOW) is Outcome.CONFLICT
        server.execute("SCRIPT", "FLUSH")
        assert store.delete(OTHER)
    replica.kill()
    with open_store(server.port, "wait=1") as store:
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas") as caught:
            store.replace(KEY, changed(write, b"late"), write.version, NOW)
        assert caught.value.answer_lost
        # The write is recognised, but the replica still does not have it.
        late = store.load(KEY, NOW)
        assert late is not None
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
            store.replace(KEY, late, write.version, NOW)
        assert store.replace(KEY, changed(write), write.version, NOW) is Outcome.CONFLICT


def test_a_record_that_another_request_deleted_is_gone_once_a_replica_knows_it(server: Valkey) -> None:
    """The first logout fails, because no replica has it, and so does a second one on the same connection."""
    with Proxy(server.port) as proxy:
        replica = Valkey("--replicaof", f"127.0.0.1 {proxy.port}")
        replica.start()
        try:
            follows = lambda: "master_link_status:up" in replica.execute("INFO", "replication")  # noqa: E731
            wait_until(follows, "the replica follows")
            with open_store(server.port, "wait=1&timeout=2") as store:
                prepared(store)
                proxy.close()
                for _ in range(2):
                    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
                        store.delete(KEY)
        finally:
            replica.kill()


@contextmanager
def hanging_replica(server: Valkey) -> Iterator[Valkey]:
    """Pause the only replica of ``server``."""
    replica = Valkey()
    replica.start()
    try:
        follow(replica, server)
        replica.pause()
        yield replica
    finally:
        replica.resume()
        replica.kill()


def _revoke_all(store: Store) -> None:
    end_sessions(store, OWNER, NOW, lambda session: True)


@pytest.mark.parametrize(
    "end",
    [
        lambda store, kept: store.delete(KEY),
        lambda store, kept: store.delete(KEY, kept.version),
        lambda store, kept: store.delete_many([KEY, NEW]),
        lambda store, kept: _revoke_all(store),
    ],
    ids=["delete", "delete of a version", "delete_many", "revoke_all"],
)
def test_a_session_that_was_ended_without_a_replica_does_not_count_as_ended_when_that_is_tried_again(
    server: Valkey, end: Callable[[Store, Record], object]
) -> None:
    """WAIT counts only the writes of its own connection, and the second attempt has nothing to write."""
    with open_store(server.port) as store:
        kept = make_record(owner=OWNER)
        store.create(KEY, kept, NOW)
    with hanging_replica(server) as replica:
        for _ in range(2):
            with (
                open_store(server.port, "wait=1&timeout=0.5") as store,
                pytest.raises(StoreUnavailable, match="0 of 1 replicas"),
            ):
                end(store, kept)
        # No key is left.
        assert server.execute("KEYS", "*") == []
        replica.resume()
        with open_store(server.port, "wait=1&timeout=5") as store:
            end(store, kept)
        with open_store(replica.port) as copy:
            assert copy.load(KEY, NOW) is None


@pytest.mark.parametrize("attempt", ["create", "replace", "rotate", "delete"])
def test_what_finds_its_own_earlier_success_or_a_tombstone_waits_for_the_replica_too(
    server: Valkey, attempt: str
) -> None:
    kept = make_record()
    write = changed(kept)
    calls: dict[str, Callable[[Store], object]] = {
        "create": lambda store: store.create(KEY, kept, NOW),
        "replace": lambda store: store.replace(KEY, write, kept.version, NOW),
        "rotate": lambda store: store.rotate(KEY, NEW, write, kept.version, NOW),
        "delete": lambda store: store.delete(KEY),
    }
    with hanging_replica(server) as replica:
        with open_store(server.port) as store:
            store.create(KEY, kept, NOW)
            if attempt == "delete":
                calls["rotate"](store)
            elif attempt != "create":
                calls[attempt](store)
            before = store.load(KEY, NOW), store.load(NEW, NOW)
        with open_store(server.port, "wait=1&timeout=0.5") as store:
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
                calls[attempt](store)
            assert (store.load(KEY, NOW), store.load(NEW, NOW)) == before
        replica.resume()
        with open_store(server.port, "wait=1&timeout=5") as store:
            assert calls[attempt](store) in (None, Outcome.SAVED, False)
            assert (store.load(KEY, NOW), store.load(NEW, NOW)) == before


class Deposed:
    """A connection whose server becomes a replica after the first of several commands."""

    socket_timeout = 1.0

    def __init__(self, answers: list[object], **settings: object) -> None:
        self._answers = iter(answers)

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def pack_commands(self, commands: object) -> list[bytes]:
        return []

    def send_packed_command(self, command: object, check_health: bool) -> None: ...

    def can_read(self, timeout: float) -> bool:
        return True

    def read_response(self, disable_decoding: bool) -> object:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("first_was_taken", [False, True])
def test_a_batch_that_a_server_took_in_part_before_it_became_a_replica_may_have_been_applied(
    first_was_taken: bool,
) -> None:
    from redis.connection import ConnectionPool
    from redis.exceptions import NoScriptError, ReadOnlyError

    from wsgi_session.stores.redis.node import Node

    answers = [1 if first_was_taken else NoScriptError(), ReadOnlyError("You can't write against a read only replica.")]
    node = Node(ConnectionPool(connection_class=partial(Deposed, answers)), 1, 0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable, match="read only") as caught:
        node.call_many([KEY, OTHER], [(b"DEL", KEY), (b"DEL", OTHER)], writes=True)
    assert caught.value.answer_lost is first_was_taken


def test_a_full_server_that_waits_for_no_replica_still_says_that_there_is_nothing_to_end(server: Valkey) -> None:
    with open_store(server.port) as store:
        store.create(KEY, make_record(), NOW)
        server.execute("CONFIG", "SET", "maxmemory", "1")
        try:
            assert [store.delete(KEY), store.delete(KEY), store.delete_many([KEY, NEW])] == [True, False, 0]
            store.await_replicas()
        finally:
            server.execute("CONFIG", "SET", "maxmemory", "0")


def test_a_primary_that_became_a_replica_is_left_also_where_writes_wait_for_replicas() -> None:
    old, new, third = servers = Valkey(), Valkey(), Valkey()
    for one in servers:
        one.start()
    try:
        with Proxy(old.port) as proxy, open_store(proxy.port, "wait=1&timeout=5") as store:
            follow(new, old)
            prepared(store)
            new.execute("REPLICAOF", "NO", "ONE")
            follow(third, new)
            proxy.target = new.port
            # There is no such primary, so the server closes no connection of its clients.
            old.execute("REPLICAOF", "127.0.0.1", "1")
            assert store.delete(KEY)
            assert store.load(KEY, NOW) is None
    finally:
        for one in servers:
            one.kill()


def follow(replica: Valkey, primary: Valkey) -> None:
    replica.execute("REPLICAOF", "127.0.0.1", str(primary.port))
    wait_until(lambda: "master_link_status:up" in replica.execute("INFO", "replication"), "the replica follows")
