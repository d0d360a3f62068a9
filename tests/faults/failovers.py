"""Primaries that die, and replicas that take their place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.crew import Crew
from tests.faults.scene import Harm, Scene
from tests.support.servers.process import wait_until
from tests.support.servers.valkey import SERVICE, Valkey, ValkeyCluster, ValkeySentinel

#: Seconds that a replica is behind; seconds after which a server that does not answer counts as dead.
LAG, PATIENCE = 0.5, 2.0


@contextmanager
def cluster_failover(options: str = "") -> Iterator[Scene]:
    """The primaries of a cluster are killed, one after another; each comes back as a replica of its successor."""
    cluster = ValkeyCluster(timeout=int(PATIENCE * 1000))
    try:
        cluster.start()
        yield Scene(cluster.url + options, _kill_primaries(cluster, waits="wait=" in options))
    finally:
        cluster.remove()


@contextmanager
def sentinel_failover(options: str = "") -> Iterator[Scene]:
    """The primary under Sentinels is killed, and later its successor."""
    group = ValkeySentinel(patience=int(PATIENCE * 1000))
    try:
        group.start()
        yield Scene(group.url + options, _kill_primary(group, waits="wait=" in options))
    finally:
        group.remove()


def _kill_primaries(cluster: ValkeyCluster, waits: bool) -> Harm:
    turn = 0

    def harm(crew: Crew, seconds: float) -> float:
        nonlocal turn
        pair = cluster.nodes[turn % cluster.PRIMARIES :: cluster.PRIMARIES]
        turn += 1
        primary, replica = sorted(pair, key=_is_replica)
        _kill_with_a_late_replica(primary, replica)
        others = [node for node in cluster.nodes if node is not primary]
        wait_until(lambda: all(_serves_all(node) for node in others) and not _is_replica(replica), "a failover")
        promoted = time.monotonic()
        primary.start()
        cluster.wait_until_whole()
        return _with_copies(replica) if waits else promoted

    return harm


def _kill_primary(group: ValkeySentinel, waits: bool) -> Harm:
    def harm(crew: Crew, seconds: float) -> float:
        primary, replica = _roles(group)
        _kill_with_a_late_replica(primary, replica)
        wait_until(lambda: group.primary_port() == replica.port and _takes_writes(replica), "a failover")
        promoted = time.monotonic()
        primary.start()
        # Sentinel would do so itself, but ten seconds later.
        primary.execute("REPLICAOF", "127.0.0.1", replica.port)
        back = _with_copies(replica) if waits else promoted
        wait_until(lambda: _is_settled(group), "the Sentinels agree, and are ready for another failover")
        return back

    return harm


def _roles(group: ValkeySentinel) -> tuple[Valkey, Valkey]:
    """Return the primary according to the first Sentinel, and the other server."""
    port = group.primary_port()
    primary, replica = sorted((group.primary, group.replica), key=lambda server: server.port != port)
    return primary, replica


def _is_settled(group: ValkeySentinel) -> bool:
    primary, replica = _roles(group)
    if replica.execute("ROLE")[:4] != ["slave", "127.0.0.1", primary.port, "connected"]:
        return False
    return all(_healthy_replicas(one) == [str(replica.port)] for one in group.sentinels)


def _kill_with_a_late_replica(primary: Valkey, replica: Valkey) -> None:
    """Kill the primary while the replica is ``LAG`` behind, as can happen with a slow network or a busy machine."""
    replica.pause()
    time.sleep(LAG)
    primary.kill()
    replica.resume()


def _is_replica(node: Valkey) -> bool:
    return bool(node.execute("ROLE")[0] == "slave")


def _serves_all(node: Valkey) -> bool:
    state = node.execute("CLUSTER", "INFO") or ""
    return "cluster_state:ok" in state and "cluster_slots_ok:16384" in state


def _takes_writes(node: Valkey) -> bool:
    from redis.exceptions import ResponseError

    try:
        return bool(node.execute("SET", "bare", "client") == "OK")
    except ResponseError:
        return False


def _with_copies(primary: Valkey) -> float:
    """Wait until the primary has a replica that is up to date, and return the time."""
    wait_until(lambda: "state=online" in (primary.execute("INFO", "replication") or ""), "a replica has it all")
    return time.monotonic()


def _healthy_replicas(sentinel: Valkey) -> list[str]:
    """Return the ports of the replicas that a Sentinel could promote."""
    answers: list[Any] = sentinel.execute("SENTINEL", "REPLICAS", SERVICE) or []
    states = [dict(zip(answer[::2], answer[1::2], strict=True)) for answer in answers]
    return [state["port"] for state in states if state["flags"] == "slave"]
