"""Django's users over real HTTP: two processes of one site, users and sessions in one SQLite file each."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from functools import partial
from http.cookiejar import CookieJar
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from django.test import override_settings

from tests.frameworks.django_site import DjangoServer, set_up
from wsgi_session.integrations.django import sessions
from wsgi_session.testing.harness import run_concurrently

Site = tuple[DjangoServer, DjangoServer]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("django-site")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    one, other = DjangoServer(folder), DjangoServer(folder)
    # One after the other: the first makes the tables.
    one.start()
    other.start()
    yield one, other
    for server in (one, other):
        server.remove(os.getpid())


class Visitor:
    """A browser, for which both processes are one site."""

    def __init__(self, jar: CookieJar | None = None) -> None:
        self.jar = CookieJar() if jar is None else jar
        self._opener = build_opener(HTTPCookieProcessor(self.jar))

    def get(self, server: DjangoServer, path: str, **query: str) -> tuple[int, str]:
        try:
            url = f"http://127.0.0.1:{server.port}{path}?{urlencode(query)}"
            with self._opener.open(url, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def page(self, server: DjangoServer) -> dict[str, Any]:
        status, text = self.get(server, "/")
        assert status == 200, text
        page: dict[str, Any] = json.loads(text)
        return page

    def log_in(self, server: DjangoServer, name: str) -> Visitor:
        assert self.get(server, "/login", name=name)[0] == 200
        return self

    def twin(self) -> Visitor:
        """The same browser, in another of its requests: it shares the cookies that are there by now."""
        jar = CookieJar()
        for cookie in self.jar:
            jar.set_cookie(cookie)
        return Visitor(jar)


def test_a_login_at_one_process_holds_at_the_other_and_so_does_a_logout(site: Site) -> None:
    one, other = site
    visitor = Visitor()
    visitor.get(other, "/put", key="cart", value="tea")
    visitor.log_in(one, "ann")
    page = visitor.page(other)
    assert (page["user"], page["session"]) == ("ann", {"cart": "tea"})
    thief = visitor.twin()
    visitor.get(other, "/logout")
    assert list(visitor.jar) == []
    assert thief.page(one)["user"] == ""


def test_parallel_requests_at_both_processes_lose_nothing(site: Site) -> None:
    visitor = Visitor().log_in(site[0], "ann")
    twins = [visitor.twin() for _ in range(8)]

    def write(number: int) -> list[int]:
        return [twins[number].get(site[number % 2], "/put", key=f"{number}.{turn}")[0] for turn in range(4)]

    assert run_concurrently([partial(write, number) for number in range(8)]) == [[200] * 4] * 8
    kept = set(visitor.page(site[0])["session"])
    assert kept == {f"{number}.{turn}" for number in range(8) for turn in range(4)}


def test_a_slow_request_does_not_bring_back_who_has_logged_out_elsewhere(site: Site) -> None:
    one, other = site
    visitor = Visitor().log_in(one, "ann")
    slow, thief = visitor.twin(), visitor.twin()
    answers: list[tuple[int, str]] = []
    with socket.create_server(("127.0.0.1", 0)) as gate:
        gate.settimeout(30)
        port = str(gate.getsockname()[1])
        request = Thread(target=lambda: answers.append(slow.get(one, "/put", key="late", value="1", gate=port)))
        request.start()
        waiting, _ = gate.accept()  # It has looked at its session, and goes on when we say so.
        with waiting:
            visitor.get(other, "/logout")
        request.join(30)
    ((status, _),) = answers
    assert status == 400, answers
    assert [thief.page(server)["user"] for server in site] == ["", ""]
    assert slow.page(one)["session"] == {}


def test_a_new_password_at_one_process_logs_the_other_device_out_at_the_other(site: Site) -> None:
    one, other = site
    phone, laptop = Visitor().log_in(one, "bob"), Visitor().log_in(other, "bob")
    phone.get(one, "/password", password="bob")
    assert phone.page(other)["user"] == "bob"
    assert laptop.page(other)["user"] == ""


def test_an_administrator_logs_a_user_out_of_all_processes(site: Site, folder: Path) -> None:
    devices = [Visitor().log_in(server, "ann") for server in site]
    kept = devices[0].page(site[0])
    set_up()
    with override_settings(WSGI_SESSION_STORE=f"sqlite:///{folder}/sessions.db"):
        user, _ = kept["helpers"]
        assert kept["handle"] in {info.handle for info in sessions().of(user)}
        sessions().revoke_all(user, keep=kept["handle"])
    assert [visitor.page(server)["user"] for visitor in devices for server in site] == ["ann", "ann", "", ""]


def test_messages_said_at_one_process_are_shown_at_the_other(site: Site) -> None:
    visitor = Visitor().log_in(site[0], "ann")
    assert visitor.get(site[0], "/say", text="Saved.") == (200, '["Saved."]')
    assert visitor.get(site[1], "/said") == (200, "[]")


def test_no_key_is_in_the_file(site: Site, folder: Path) -> None:
    visitor = Visitor().log_in(site[0], "ann")
    handle = visitor.page(site[0])["handle"]
    (cookie,) = visitor.jar
    assert cookie.value is not None
    written = b"".join(path.read_bytes() for path in folder.glob("sessions.db*"))
    assert handle.encode() in written
    for part in cookie.value.split("."):
        assert part.encode() not in written
