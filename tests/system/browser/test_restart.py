"""What is still there when the browser has been closed and opened again, with its files on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.browser.chromium import ARGUMENTS, Page, executable, expect
from tests.system.browser.conftest import Complaints
from tests.system.browser.visitor import cookie, log_in, put_in_cart

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Playwright


@pytest.fixture
def reopened(shop: str, playwright: Playwright, complaints: Complaints, tmp_path: Path) -> Iterator[Callable[[], Page]]:
    """Close the browser, if it is open, and open it again."""
    browsers: list[BrowserContext] = []

    def reopen() -> Page:
        for browser in browsers:
            browser.close()
        browsers[:] = [
            playwright.chromium.launch_persistent_context(
                tmp_path / "profile",
                executable_path=executable(),
                args=ARGUMENTS,
                base_url=shop,
                ignore_https_errors=True,
            )
        ]
        complaints.watch(browsers[0])
        return browsers[0].new_page()

    yield reopen
    for browser in browsers:
        browser.close()


def test_a_login_that_is_not_remembered_ends_with_the_browser(reopened: Callable[[], Page], shop: str) -> None:
    page = reopened()
    page.goto("/login?next=/profile")
    log_in(page)
    expect(page).to_have_url(f"{shop}/profile")
    page = reopened()
    page.goto("/profile")
    expect(page).to_have_url(f"{shop}/login?next=/profile")


def test_a_remembered_login_is_there_when_the_browser_comes_back(reopened: Callable[[], Page], shop: str) -> None:
    page = reopened()
    page.goto("/login?next=/profile")
    log_in(page, remember=True)
    expect(page).to_have_url(f"{shop}/profile")
    before = cookie(page)
    page = reopened()
    page.goto("/profile")
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome, Ann Archer!")
    after = cookie(page)
    assert before
    assert after
    assert after["value"] == before["value"]


def test_the_cart_of_a_stranger_is_there_when_the_browser_comes_back(reopened: Callable[[], Page]) -> None:
    put_in_cart(reopened(), "Lemon thin")
    page = reopened()
    page.goto("/cart")
    expect(page.get_by_role("region", name="In your cart").get_by_role("listitem")).to_contain_text(["Lemon thin"])
