from __future__ import annotations

import pytest

from tests.system.clients.client import Client
from tests.system.clients.conftest import Served


def test_a_client_logs_in_keeps_its_session_and_loses_it_at_the_logout(client: Client) -> None:
    client.get("/count")
    assert client.get("/count").text == "count 2"
    assert client.get("/profile") == (200, "please log in")
    # The cookie of the login comes with the redirect, and has to go out with the request that follows.
    assert client.post("/login") == (200, "ann@example.com, count 2")
    client.get("/count")
    assert client.get("/profile").text == "ann@example.com, count 3"
    assert client.post("/logout") == (200, "no cookie")
    assert client.get("/profile") == (200, "please log in")
    assert client.get("/count").text == "count 1"


@pytest.mark.parametrize(
    ("form", "profile"),
    [({"remember": "on"}, "ann@example.com, count 0"), ({}, "please log in")],
    ids=["remembered", "for this session"],
)
def test_the_file_of_the_jar_keeps_what_is_remembered_and_nothing_else(
    client: Client, form: dict[str, str], profile: str
) -> None:
    client.post("/login", **form)
    client.end()
    client.start()
    assert client.get("/profile").text == profile


def test_a_client_sends_the_cookie_where_its_path_says_and_nowhere_else(client: Client, served: Served) -> None:
    client.post("/login")
    name = f"{served.place.cookie_name}="
    assert client.get("/cookies").text.startswith(name)
    for beside in ("/cookies", "/shopping"):
        sent = client.ask(served.address + beside, None).text
        assert sent.startswith(name) if served.place.cookie_path == "/" else sent == "no cookie"
