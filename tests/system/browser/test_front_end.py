"""The scripts of the how-to page on JSON APIs, in a page of another site: the browser itself judges CORS."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.support import ROOT
from tests.support.pages import run_page
from tests.support.serving import serving_http
from tests.system.browser.chromium import Page
from tests.system.browser.conftest import Complaints
from wsgi_session import SessionMiddleware
from wsgi_session.config.keygen import new_secret
from wsgi_session.testing import FakeClock

HOWTO = ROOT / "docs" / "howto" / "json-api.md"


class FrontEnd(NamedTuple):
    address: str
    app: SessionMiddleware
    clock: FakeClock


@pytest.fixture
def front_end(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontEnd]:
    """A page of ``localhost`` with the scripts, and the API at ``127.0.0.1``, which is another site."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", new_secret())
    names, clock = run_page(HOWTO), FakeClock(time.time())
    options: dict[str, Any] = {"transport": "header", "clock": clock, "idle_timeout": 110}
    scripts = re.findall(r"^```js\n(.*?)^```$", HOWTO.read_text("utf-8"), re.M | re.S)
    app = SessionMiddleware(names["api"], secret=new_secret(), store="memory://", **options)
    with app, serving_http(names["allow_front_end"](app)) as api:
        page = "".join(scripts).replace("https://api.example.com", api)

        def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/html")])
            return [f"<!doctype html><link rel=icon href=data:,><script>{page}</script>".encode()]

        with serving_http(site) as address:
            address = names["FRONT_END"] = address.replace("127.0.0.1", "localhost")
            yield FrontEnd(address, app, clock)


def test_a_page_of_another_site_logs_in_stays_and_logs_out(
    front_end: FrontEnd, device: Callable[..., Page], complaints: Complaints
) -> None:
    complaints.expected.append("status of 401")
    page = device(front_end.address)
    page.goto("/")

    def call(path: str, body: str = "undefined") -> Any:
        options = "" if body == "undefined" else f", {{method: 'POST', body: JSON.stringify({body})}}"
        return page.evaluate(
            f"call({path!r}{options}).then(async (response) => [response.status, await response.json()])"
        )

    assert call("/cart")[0] == 401
    assert call("/login", "{name: 'ann'}") == [200, {"ok": True}]
    assert call("/cart", "['tea']") == [200, ["tea"]]
    # The token outlives the page, and no cookie is there.
    page.reload()
    assert call("/cart") == [200, ["tea"]]
    assert page.context.cookies() == []
    (before,) = front_end.app.sessions.of("id:ann")
    front_end.clock.advance(60)
    assert page.evaluate("new Promise((done) => watch((left) => (done(left), true)))") < 120_000
    page.wait_for_function("call('/session').then((response) => response.json()).then((told) => told.expires)")
    assert call("/session")[1]["user"] == {"id": "ann"}
    for _ in range(100):
        (after,) = front_end.app.sessions.of("id:ann")
        if after.expires > before.expires:
            break
        page.wait_for_timeout(50)
    assert after.expires > before.expires
    page.evaluate("logOut()")
    assert call("/session") == [200, {}]
    assert call("/cart")[0] == 401
    assert front_end.app.sessions.count() == 0


def test_the_page_does_not_ask_all_the_time_when_the_session_ends_in_a_month(
    front_end: FrontEnd, device: Callable[..., Page]
) -> None:
    page = device(front_end.address)
    page.goto("/")
    pause = page.evaluate(
        """new Promise((done) => {
            const expires = new Date(Date.now() + 30 * 86_400_000);
            call = async () => ({json: async () => ({expires})});
            window.setTimeout = (again, pause) => done(pause);
            watch();
        })"""
    )
    assert 30_000 <= pause < 2**31  # Browsers call back at once after a longer time.
