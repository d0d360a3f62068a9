"""What HTTP makes of a session: connections that are kept, HEAD, streams, files."""

from __future__ import annotations

from functools import partial
from http.client import RemoteDisconnected

import pytest

from tests.support.servers.process import wait_until
from tests.system.servers.client import Client
from tests.system.servers.launchers import Launcher


def test_a_session_is_kept_from_request_to_request(server: Launcher, visitor: Client) -> None:
    first = visitor.get("/put", a="1")
    kept = visitor.connection.sock
    assert (kept is not None) == server.keeps_alive
    assert [cookie.name for cookie in first.cookies] == ["sid"]
    for _ in range(3):
        again = visitor.get("/get")
        assert again.seen["data"] == {"a": "1"}
        assert again.cookies == []
        assert again.all("Vary") == ["Cookie"]
        assert visitor.connection.sock is kept


def test_visitors_who_share_a_connection_share_nothing_else(server: Launcher, visitor: Client) -> None:
    """As behind a proxy, which sends everybody's requests over the same connections."""
    visitor.get("/put", whose="ann")
    other = Client(server.port)
    other.connection = visitor.connection
    assert other.get("/get").seen["state"] == "new"
    other.get("/put", whose="bob")
    assert visitor.get("/get").seen["data"] == {"whose": "ann"}
    assert other.get("/get").seen["data"] == {"whose": "bob"}


def test_a_page_that_looks_at_no_session_gets_no_header_of_ours(visitor: Client) -> None:
    visitor.get("/put", a="1")
    answer = visitor.get("/untouched")
    assert (answer.body, answer.cookies, answer.all("Vary")) == (b"page", [], [])


@pytest.mark.parametrize(("path", "key"), [("/put", "value"), ("/stream", "early")])
def test_head_is_get_without_the_body(server: Launcher, visitor: Client, path: str, key: str) -> None:
    answer = visitor.request("HEAD", path, {"value": "1"})
    assert (answer.status, answer.body) == (200, b"")
    assert [cookie.name for cookie in answer.cookies] == ["sid"]
    assert answer.all("Vary") == ["Cookie"]
    # To the last byte, which a client that knows HEAD would take for the beginning of the next answer.
    raw = visitor.hang_up_on(f"HEAD {path}?value=1 HTTP/1.1\r\nConnection: close".encode(), let=100_000)
    after = raw.partition(b"\r\n\r\n")[2]
    assert after == b"" or (path == "/stream" and not server.ends_heads and after == b"0\r\n\r\n")
    visitor.connection.close()
    assert visitor.get("/get").seen["data"][key] == "1"


@pytest.mark.parametrize("path", ["/stream", "/write"])
def test_what_changes_while_the_body_streams_is_saved(server: Launcher, visitor: Client, path: str) -> None:
    for value in ("1", "2"):
        answer = visitor.get(path, value=value)
        if path == "/write" and not server.writes:
            assert answer.status == 500
            return
        assert (answer.status, answer.body) == (200, b"one,two,three")
        wanted = dict.fromkeys(("early", "late", "last"), value)
        # The end of the answer may come before close() does.
        wait_until(partial(has, visitor, wanted), f"the session has {wanted}")


def test_a_file_is_sent_as_the_server_sends_files(server: Launcher, visitor: Client) -> None:
    expected = (server.folder / "download").read_bytes()
    for number in ("1", "2"):
        answer = visitor.get("/download", name=f"download-{number}")
        assert answer.body == expected
        closed = server.folder / f"download-{number}"
        wait_until(closed.exists, "the file is closed")
        reads = int(closed.read_text().split()[2])
        assert (reads == 0) == server.sends_files, closed.read_text()
    assert visitor.get("/get").seen["data"] == {"downloads": 2}


def test_a_request_that_fails_saves_nothing(server: Launcher, visitor: Client) -> None:
    visitor.get("/put", a="1")
    for _ in range(2 * server.processes):
        try:
            answer = visitor.twin().request("GET", "/fail", {"a": "2", "b": "2"}, headers={"Connection": "close"})
        except RemoteDisconnected:
            assert not server.answers_failures
        else:
            assert (answer.status, answer.cookies) == (500, [])
    assert visitor.twin().get("/get").seen["data"] == {"a": "1"}


def test_a_visit_ends_with_the_logout(visitor: Client) -> None:
    visitor.get("/put", cart="pie")
    before = visitor.twin()
    before.jar = dict(visitor.jar)
    assert visitor.get("/profile").status == 302
    visitor.get("/login", **{"as": "ann"})
    assert visitor.jar != before.jar
    assert visitor.get("/profile").seen["data"] == {"cart": "pie", "user": {"id": "ann"}}
    assert visitor.post("/form", csrf_token=visitor.get("/get").seen["csrf"]).seen["data"]["posted"] is True
    left = dict(visitor.jar)
    visitor.get("/logout")
    assert visitor.jar == {}
    for jar in (before.jar, left):
        visitor.jar.update(jar)
        assert visitor.get("/get").seen["data"] == {}


def has(visitor: Client, wanted: dict[str, str]) -> bool:
    """Return whether this is all that the visitor's session holds."""
    return bool(visitor.get("/get").seen["data"] == wanted)
