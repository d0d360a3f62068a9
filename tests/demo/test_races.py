"""What overlaps in a way that only a store can arrange."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from webob import Request, Response

from demo.app import Site
from wsgi_session.config.keygen import new_secret
from wsgi_session.stores import Outcome, Record
from wsgi_session.stores.memory import MemoryStore


class LoggedOutJustBefore(MemoryStore):
    """Each session ends right before it is written."""

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        self.delete(key)
        return super().replace(key, record, version, now)


class LoadedTogether(MemoryStore):
    """Once ``together`` is set, so many requests have all loaded the session before any of them goes on."""

    together: threading.Barrier | None = None

    def load(self, key: bytes, now: float) -> Record | None:
        record = super().load(key, now)
        if self.together and not getattr(threading.current_thread(), "has_loaded", False):
            threading.current_thread().has_loaded = True  # type: ignore[attr-defined]
            self.together.wait(20)
        return record


class Shelf:
    """The page of the cart, and its buttons."""

    def __init__(self, store: MemoryStore) -> None:
        self.site: Any = Site(secret=new_secret(), store=store)
        self.cookie = ""
        # A session to begin with.
        self.keep(self.send("/cart/empty"))

    def send(self, path: str, **form: str) -> Response:
        """Send a form, as a browser does from a page of this site."""
        headers = {"Cookie": self.cookie, "Sec-Fetch-Site": "same-origin"}
        return Request.blank(path, headers=headers, POST=form).get_response(self.site)

    def keep(self, answer: Response) -> None:
        """Keep the cookie."""
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]

    def add(self, sku: str) -> Response:
        return self.send("/cart/add", sku=sku)

    def look(self) -> str:
        page = Request.blank("/cart", headers={"Cookie": self.cookie}).get_response(self.site)
        return " ".join(re.sub("<[^>]*>", " ", page.text).split())


class LongAgo(MemoryStore):
    """Every login was 80 of its 90 days ago."""

    ago = 80 * 86_400

    def load(self, key: bytes, now: float) -> Record | None:
        record = super().load(key, now)
        return record and record._replace(created=record.created - self.ago)


class AnHourAgo(LongAgo):
    ago = 3600


def test_the_profile_does_not_promise_that_coming_back_helps_where_it_does_not() -> None:
    with LongAgo() as store:
        shelf = Shelf(store)
        shelf.keep(shelf.send("/login", email="ann@example.com", password="shortbread"))
        profile = Request.blank("/profile", headers={"Cookie": shelf.cookie}).get_response(shelf.site).text
        assert "Ends in any case" in profile
        assert "unless you return" not in profile


def test_clicks_at_the_same_moment_all_count() -> None:
    with LoadedTogether() as store, ThreadPoolExecutor(4) as pool:
        shelf = Shelf(store)
        store.together = threading.Barrier(4)
        answers = list(pool.map(shelf.add, ["oat", "oat", "oat", "jam"]))
        store.together = None
        assert [answer.status_int for answer in answers] == [303] * 4
        page = shelf.look()
        assert "Oat and raisin − 3 + €6.30" in page
        assert "Jam ring − 1 + €2.30" in page


def test_a_click_that_meets_a_logout_gets_a_page_and_brings_nothing_back() -> None:
    with LoggedOutJustBefore() as store:
        answer = Shelf(store).add("jam")
        assert answer.status_int == 403
        assert "its session has just ended" in answer.text
        assert "Set-Cookie" not in answer.headers
        assert store.count(0) == 0


@pytest.mark.parametrize("path", ["/devices/sign-out", "/devices/sign-out-others"])
def test_a_login_of_long_ago_signs_no_device_out_until_the_password_is_given_again(path: str) -> None:
    with AnHourAgo() as store:
        shelf = Shelf(store)
        shelf.keep(shelf.send("/login", email="ann@example.com", password="shortbread"))
        answer = shelf.send(path, handle="x")
        assert (answer.status_int, answer.location) == (303, "/confirm")
        shelf.keep(shelf.send("/confirm", password="shortbread"))
        answer = shelf.send(path, handle="x")
        assert (answer.status_int, answer.location) == (303, "/devices")
