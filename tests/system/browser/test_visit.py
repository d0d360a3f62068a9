"""A visit, over http and over https: what the session layer promises, as a browser keeps it."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.curl import COOKIE
from tests.system.browser.chromium import Page, expect
from tests.system.browser.visitor import cookie, log_in, log_out, put_in_cart

Device = Callable[..., Page]


def test_a_visitor_who_only_reads_has_no_cookie(shop: str, device: Device) -> None:
    page = device(shop)
    for path in ("/", "/how", "/live"):
        page.goto(path)
    expect(page.get_by_text("the page was opened")).to_be_visible()  # /session.json has been asked.
    assert cookie(page) is None


def test_the_login_leads_to_the_page_that_was_wanted(shop: str, device: Device) -> None:
    page = device(shop)
    page.goto("/")
    page.get_by_role("link", name="Devices", exact=True).click()
    expect(page).to_have_url(f"{shop}/login?next=/devices")
    expect(page.get_by_role("main")).to_contain_text("You must be logged in to see that page.")
    log_in(page)
    expect(page).to_have_url(f"{shop}/devices")
    expect(page.get_by_role("status")).to_have_text("Hello Ann Archer, you are logged in.")
    page.reload()
    expect(page.get_by_role("status")).to_have_count(0)


def test_the_browser_holds_the_cookie_with_all_its_protection(shop: str, device: Device) -> None:
    page = device(shop)
    page.goto("/login")
    log_in(page)
    held = cookie(page)
    assert held
    secure = shop.startswith("https:")
    # A browser takes "__Host-" only if the cookie is Secure, for this host alone and for the whole of it.
    assert (
        held.items()
        >= {
            "name": f"__Host-{COOKIE}" if secure else COOKIE,
            "secure": secure,
            "httpOnly": True,
            "sameSite": "Lax",
            "domain": "127.0.0.1",
            "path": "/",
            "expires": -1,
        }.items()
    )
    assert page.evaluate("document.cookie") == ""


def test_the_cart_is_kept_through_the_login_and_the_token_is_not(shop: str, device: Device) -> None:
    page = device(shop)
    put_in_cart(page, "Ginger snap", "Jam ring", "Jam ring")
    before = cookie(page)
    page.get_by_role("main").get_by_role("link", name="Log in").click()
    log_in(page)
    expect(page).to_have_url(f"{shop}/cart")
    cart = page.get_by_role("region", name="In your cart")
    expect(cart.get_by_role("listitem")).to_contain_text(["Ginger snap", "Jam ring"])
    expect(cart).to_contain_text("Total €6.40")
    after = cookie(page)
    assert before
    assert after
    assert before["value"] != after["value"]


def test_after_the_logout_the_cookie_is_another_and_back_shows_nothing(shop: str, device: Device) -> None:
    page = device(shop)
    page.goto("/login?next=/profile")
    log_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome, Ann Archer!")
    before = cookie(page)
    log_out(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, stranger.")
    expect(page.get_by_role("status")).to_have_text("You are logged out.")
    after = cookie(page)
    assert before
    assert after
    assert before["value"] != after["value"]
    page.evaluate("history.back()")  # Playwright's go_back() waits for a load, which a kept page does without.
    expect(page).to_have_url(f"{shop}/login?next=/profile")


def test_the_whole_visit_goes_without_scripts(shop: str, device: Device) -> None:
    page = device(shop, java_script_enabled=False)
    put_in_cart(page, "Oat and raisin")
    page.goto("/login?next=/live")
    log_in(page)
    expect(page.get_by_role("main")).to_contain_text("Ann Archer is logged in.")
    expect(page.get_by_text("Last asked")).to_be_hidden()
    log_out(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, stranger.")
