"""The manual's site in the browser: each page fits three screens, light and dark, and keeps nobody out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.support.manual import build_site
from tests.system.browser.chromium import Axe, Page, expect

Device = Callable[..., Page]

PHONE, TABLET, DESK = ({"width": 390, "height": 844}, {"width": 820, "height": 1180}, {"width": 1400, "height": 900})
SCREENS = {"phone": PHONE, "tablet": TABLET, "desk": DESK}
SCHEMES = ("light", "dark")
#: All of WCAG 2.2 AA.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
#: Between them they have all that looks different: tables, code, lists, signatures, docstrings.
TYPICAL = ("frameworks", "reference/session")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("manual"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A test's output is about the test."""


@pytest.fixture(scope="module")
def address(built: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(built)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def read(address: str, device: Device) -> Callable[..., Page]:
    """Open a page of the site in a browser of its own."""

    def open_it(screen: str, scheme: str, name: str = "index") -> Page:
        page = device(address, viewport=SCREENS[screen], color_scheme=scheme)
        page.goto(f"/{name}.html")
        return page

    return open_it


def pages(built: Path) -> list[str]:
    return sorted(path.relative_to(built).as_posix().removesuffix(".html") for path in built.rglob("*.html"))


def problems(page: Page, part: str | None = None) -> list[Any]:
    """Return what axe finds on the page, or in a part of it, given as a selector."""
    found = Axe().run(page, part, options=RULES).response
    return [(rule["id"], node["html"][:200]) for rule in found["violations"] for node in rule["nodes"]]


def too_wide(page: Page) -> list[str]:
    """Return elements that reach beyond the window and do not scroll in a box; and the page, if it scrolls sideways."""
    return list(
        page.evaluate(
            """() => [document.documentElement, ...document.querySelectorAll("article *")]
                .filter((element) => element.getBoundingClientRect().right > innerWidth + 1
                    || element === document.documentElement && element.scrollWidth > innerWidth)
                .filter((element) => !element.closest("pre, .table-wrapper"))
                .map((element) => element.outerHTML.slice(0, 160))"""
        )
    )


def test_no_page_is_wider_than_any_of_three_screens(read: Callable[..., Page], built: Path) -> None:
    page = read("phone", "light")
    sticking_out = {}
    for name in pages(built):
        page.goto(f"/{name}.html")
        for screen, size in SCREENS.items():
            page.set_viewport_size(size)
            if found := too_wide(page):
                sticking_out[name, screen] = found
    assert sticking_out == {}


def test_axe_finds_nothing_on_any_page(read: Callable[..., Page], built: Path) -> None:
    """Each page in one of the six ways by turns: on each screen, light and dark. The typical ones are tried in all, and
    with what is around the text, which is the same on every page.
    """
    found = {}
    readers = [read(screen, scheme) for screen in SCREENS for scheme in SCHEMES]
    for number, name in enumerate(pages(built)):
        page = readers[number % len(readers)]
        page.goto(f"/{name}.html")
        if problem := problems(page, "article"):
            found[name] = problem
    assert found == {}


@pytest.mark.parametrize("name", TYPICAL)
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_on_a_typical_page_on_any_screen(
    read: Callable[..., Page], name: str, screen: str, scheme: str
) -> None:
    assert problems(read(screen, scheme, name)) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_page_is_as_light_or_dark_as_the_system(read: Callable[..., Page], scheme: str) -> None:
    page = read("desk", scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert (max(ground) < 60) == (scheme == "dark"), ground


def test_a_box_that_scrolls_is_reached_with_the_keyboard(read: Callable[..., Page]) -> None:
    page = read("phone", "light", "frameworks")
    unreached = page.evaluate(
        """() => [...document.querySelectorAll("pre, .table-wrapper")]
            .filter((box) => box.scrollWidth > box.clientWidth && box.tabIndex !== 0)
            .map((box) => box.outerHTML.slice(0, 120))"""
    )
    assert unreached == []


def test_the_search_in_a_phones_menu_finds_an_option(read: Callable[..., Page]) -> None:
    page = read("phone", "light")
    page.locator("label.nav-overlay-icon").click()
    page.get_by_role("search").get_by_role("textbox").fill("idle_timeout")
    page.keyboard.press("Enter")
    expect(page.locator("#search-results a").first).to_be_visible()


#: What Read the Docs tells the pages of a site with three versions.
VERSIONS = """address => document.dispatchEvent(new CustomEvent("readthedocs-addons-data-ready", {detail: {data: () => {
    const active = ["latest", "stable", "v0.1.0"].map((slug) => ({
        slug, urls: {documentation: slug === "latest" ? `${address}/` : `https://manual.example/en/${slug}/`}
    }));
    return {versions: {active, current: active[0]}};
}}}))"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_menu_leads_to_the_same_page_of_another_version(
    read: Callable[..., Page], address: str, scheme: str
) -> None:
    page = read("phone", scheme, "reference/options")
    page.locator("label.nav-overlay-icon").click()
    expect(page.locator(".site-versions")).to_have_text(f"Version {version('wsgi-session')}")
    page.evaluate(VERSIONS, address)
    page.get_by_text("Version: latest").click()
    stable = page.get_by_role("link", name="stable")
    expect(stable).to_have_attribute("href", "https://manual.example/en/stable/reference/options.html")
    expect(stable).to_be_in_viewport()
    assert problems(page, ".site-versions") == []
    assert too_wide(page) == []
