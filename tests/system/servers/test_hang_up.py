"""Clients that do not wait for the rest."""

from __future__ import annotations

from functools import partial

from tests.support.servers.process import wait_until
from tests.system.servers.client import Client
from tests.system.servers.launchers import Launcher


def test_a_body_that_nobody_reads_to_its_end_is_closed_and_its_changes_are_saved(
    server: Launcher, visitor: Client
) -> None:
    visitor.get("/put", a="1")
    for number in range(server.processes + 1):
        name = f"endless-{number}"
        got = visitor.hang_up_on(f"GET /endless?name={name} HTTP/1.1".encode(), let=100_000)
        assert b"200 OK" in got[:20], got[:200]
        wait_until((server.folder / name).exists, "the body is closed")
        wait_until(partial(has, visitor, name), "what the body wrote is saved")
    assert visitor.get("/get").seen["data"]["a"] == "1"


def test_a_form_that_breaks_off_does_nothing(server: Launcher, visitor: Client) -> None:
    visitor.get("/put", a="1")
    form = f"csrf_token={visitor.get('/get').seen['csrf']}".encode()
    head = b"POST /form HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d" % len(form)
    for _ in range(2 * server.processes):
        visitor.hang_up_on(head, let=0, body=form[:-10])
    for _ in range(2 * server.processes):
        assert visitor.twin().get("/get").seen["data"] == {"a": "1"}


def has(visitor: Client, name: str) -> bool:
    """Return whether the visitor's session holds ``name``."""
    return name in visitor.get("/get").seen["data"]
