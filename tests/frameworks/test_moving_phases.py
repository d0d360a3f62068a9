"""Processes of the old and the new kind serve one site: what each mixture does, with real processes of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

pytest.importorskip("flask_session", reason="pip install Flask-Session cachelib")
pytest.importorskip("waitress", reason="pip install waitress")

from tests.frameworks.moving_shop import ShopServer

Browser = requests.Session


class Shops:
    """One site's processes."""

    def __init__(self, peer: str, folder: Path) -> None:
        self._peer, self._folder = peer, folder
        self.started: list[ShopServer] = []
        self.old = self.start("old")
        self.first = self.start("first")

    def start(self, kind: str) -> str:
        server = ShopServer(kind, self._peer, self._folder)
        server.start()
        self.started.append(server)
        return server.url


@pytest.fixture(params=["cookie", "folder"])
def shops(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shops]:
    shops = Shops(request.param, tmp_path)
    yield shops
    for server in shops.started:
        server.stop()


def user(browser: Browser, shop: str) -> Any:
    answer = browser.get(shop)
    assert answer.status_code == 200, answer.text
    return answer.json()["user"]


def test_each_mixture_of_old_and_new_processes_does_what_the_page_says(shops: Shops) -> None:
    old, first = shops.old, shops.first
    with Browser() as browser:
        assert browser.get(f"{old}/login").text == "in"
        # From one kind to the other and back, as a load balancer does it.
        assert [user(browser, shop) for shop in (first, old, first, old)] == ["7"] * 4
        assert set(browser.cookies.keys()) == {"session", "sid"}
        # A logout on either side.
        browser.get(f"{first}/logout")
        assert [user(browser, shop) for shop in (first, old, first)] == [None] * 3
    with Browser() as browser:
        browser.get(f"{old}/login?user=10")
        assert user(browser, first) == "10"
        stolen = dict(browser.cookies)
        browser.get(f"{old}/logout")
        assert [user(browser, shop) for shop in (old, first, old)] == [None] * 3
        # The cookie of the new kind that was copied before does not open the session either.
        assert requests.get(first, cookies={"sid": str(stolen["sid"])}).json()["user"] is None
    with Browser() as browser:
        browser.get(f"{old}/login?user=11")
        assert user(browser, first) == "11"
        browser.get(f"{old}/login?user=8")
        assert [user(browser, shop) for shop in (first, old)] == ["8", "8"]
    with Browser() as browser:
        # A visitor who logs in at a new process only is unknown to the old ones.
        browser.get(f"{first}/login?user=9")
        assert [user(browser, shop) for shop in (first, old, first)] == ["9", None, "9"]


def test_the_second_phase_keeps_everybody_logged_in_and_takes_the_old_cookies_away(shops: Shops) -> None:
    with Browser() as adopted, Browser() as late:
        adopted.get(f"{shops.old}/login")
        late.get(f"{shops.old}/login?user=8")
        assert user(adopted, shops.first) == "7"
        cookies = {"session": str(late.cookies["session"])}
        second = shops.start("second")
        for browser, name in ((adopted, "7"), (late, "8")):
            assert user(browser, second) == name
            assert list(browser.cookies.keys()) == ["sid"]
            assert user(browser, second) == name
            browser.get(f"{second}/logout")
            assert user(browser, second) is None
        assert requests.get(second, cookies=cookies).json()["user"] is None
