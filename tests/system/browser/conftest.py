from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.app import Site
from tests.support.demo import Demo
from wsgi_session.config.keygen import new_secret
from wsgi_session.stores.memory import MemoryStore

# Optional packages are imported where they are used, so that each test file skips by itself if one is missing.
if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

    from tests.system.browser.views import View


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    from tests.system.browser.chromium import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    from tests.system.browser.chromium import ARGUMENTS, executable

    browser = playwright.chromium.launch(
        executable_path=executable(),
        args=ARGUMENTS,
        # As people's browsers do, keep pages as they are for "back"; Playwright turns that off.
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield browser
    browser.close()


@pytest.fixture(params=["http", "https"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a demo for this test alone, which is run over http and over https."""
    if request.param == "https":
        from tests.support.serving import serving_https

        with serving_https(Site(secret=new_secret(), store=MemoryStore()), tmp_path) as (address, _):
            yield address
        return

    demo = Demo(tmp_path, "--port", "0")
    yield demo.address
    demo.end()
    # Nothing that the browser sends may make the server raise, warn or complain.
    assert demo.complaints() == ""


class Complaints:
    """What the browser's console shows and what scripts throw. Of both, there must be nothing but what is expected."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        # A test types faster than a browser shows the page, and then keeps the focus where it types.
        self.expected = ["Autofocus processing was blocked because a document already has a focused element."]

    def watch(self, context: BrowserContext) -> None:
        context.on("console", lambda message: self.heard.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: self.heard.append(f"thrown: {error.error}"))

    def unexpected(self) -> list[str]:
        return [line for line in self.heard if not any(text in line for text in self.expected)]


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    complaints = Complaints()
    yield complaints
    assert complaints.unexpected() == []


@pytest.fixture
def device(chromium: Browser, complaints: Complaints) -> Iterator[Callable[..., Page]]:
    """Open a browser that shares nothing with those opened before: another device."""
    contexts: list[BrowserContext] = []

    def open_one(address: str, **options: Any) -> Page:
        context = chromium.new_context(base_url=address, ignore_https_errors=True, **options)
        contexts.append(context)
        complaints.watch(context)
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="package")
def shop_of_ann(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """A demo's address, and what a browser of Ann's holds."""
    from tests.system.browser.views import ann_at

    demo = Demo(tmp_path_factory.mktemp("demo"), "--port", "0")
    yield demo.address, ann_at(demo.address, chromium)
    demo.end()
    assert demo.complaints() == ""


@pytest.fixture
def look(shop_of_ann: tuple[str, Any], device: Callable[..., Page], complaints: Complaints) -> Callable[..., Page]:
    """Open a view in a browser with these options; the browser may complain of its status, and of nothing else."""
    address, ann = shop_of_ann

    def open_it(view: View, **options: Any) -> Page:
        if view.status >= 400:
            complaints.expected.append(f"status of {view.status}")
        page = device(address, storage_state=ann if view.ann else None, **options)
        view.open(page)
        return page

    return open_it
