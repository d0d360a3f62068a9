"""How long a Cookie header each server takes: as docs/stores-cookie.md says, and with the setting that it names."""

from __future__ import annotations

import shlex
from http.client import RemoteDisconnected

import pytest

from tests.system.servers.client import Client
from tests.system.servers.launchers import UWSGI, GunicornThreads, Launcher
from tests.system.servers.limits import limits
from wsgi_session.cookies.cookie import MAX_HEADER

#: Bytes around a documented limit, for what else counts: the header's name, and the other headers.
SLACK = {"the line": 16, "all headers": 800}


def test_a_long_cookie_header_is_read_up_to_the_servers_limit(server: Launcher, visitor: Client) -> None:
    visitor.get("/put", a="1")
    if server.documented not in limits():
        assert server.name == "cheroot"  # which has none
        return
    limit = limits()[server.documented]
    slack = SLACK[limit.counts]
    # Of what the server lets through, more than 64 KB is as good as no cookie.
    assert padded(visitor, limit.bytes - slack) == (200, {"a": "1"} if limit.bytes <= MAX_HEADER else {})
    assert padded(visitor, limit.bytes + slack) == (limit.status, None)
    assert visitor.twin().get("/get").seen["data"] == {"a": "1"}


def padded(visitor: Client, length: int) -> tuple[int | None, dict[str, str] | None]:
    """Send a Cookie line of ``length`` bytes; return status and session, ``None`` where there is none."""
    cookies = visitor.headers()["Cookie"] + "; pad="
    long = visitor.twin()
    try:
        cookie = cookies + "x" * (length - len("Cookie: ") - len(cookies))
        answer = long.request("GET", "/get", headers={"Cookie": cookie, "Connection": "close"})
    except (RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        return None, None
    return answer.status, answer.seen["data"] if answer.status == 200 else None


# Apache and nginx: in test_deploy.py.
@pytest.mark.parametrize("launcher", [GunicornThreads, UWSGI], ids=lambda launcher: launcher.name)
def test_with_the_setting_that_the_page_names_a_session_in_cookies_has_room(launcher: type[Launcher]) -> None:
    server = launcher(store="cookie://", options=shlex.split(limits()[launcher.documented].setting))
    with server.running():
        visitor = Client(server.port)
        visitor.get("/fill", size="14000")
        assert len(visitor.jar) == 5
        assert len(visitor.get("/get").seen["data"]["filling"]) == 14_000
        visitor.close()
