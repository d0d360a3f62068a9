"""Servers that load the site, with a connection open, and then fork."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.servers.valkey import Valkey
from tests.system.servers.client import Client
from tests.system.servers.launchers import LAUNCHERS, Gunicorn, GunicornGevent, Launcher
from tests.system.servers.parallel import WRITTEN, write_in_parallel


class GunicornGeventLate(GunicornGevent):
    """As people start it: gevent takes over in the workers, when the site has made its locks and its connections."""

    name = "gunicorn-gevent-late"
    python = Gunicorn.python  # type: ignore[assignment]


PRELOADING = [*(launcher for launcher in LAUNCHERS if launcher.preloads), GunicornGeventLate]


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    valkey = Valkey()
    valkey.start()
    yield valkey
    valkey.remove(os.getpid())


@pytest.fixture(params=PRELOADING, ids=lambda launcher: launcher.name)
def server(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[Launcher]:
    """Each such server in turn, with the sessions in Valkey."""
    with request.param(store=valkey.url).running() as server:
        yield server


def test_no_connection_crosses_the_fork_and_an_outage_logs_nobody_out(
    server: Launcher, visitor: Client, valkey: Valkey
) -> None:
    inherited = commands_by_connection(valkey)
    assert inherited, "the site has asked the store before the fork"
    visitor.get("/login", **{"as": "ann"})
    write_in_parallel(visitor)
    wanted = {"user": {"id": "ann"}, **WRITTEN}
    assert visitor.get("/get").seen["data"] == wanted
    after = commands_by_connection(valkey)
    assert len(after.keys() - inherited.keys()) >= 1
    assert {name: after[name] for name in inherited.keys() & after.keys()} == inherited

    valkey.pause()
    try:
        assert visitor.get("/put", a="1").status == 503
    finally:
        valkey.resume()
    assert visitor.get("/get").seen["data"] == wanted


def commands_by_connection(valkey: Valkey) -> dict[str, str]:
    """Return the number of commands of each connection to Valkey, except the one that asks."""
    lines = valkey.execute("CLIENT", "LIST").splitlines()
    clients = [dict(field.split("=", 1) for field in line.split()) for line in lines]
    return {client["id"]: client["tot-cmds"] for client in clients if client["cmd"] != "client|list"}
