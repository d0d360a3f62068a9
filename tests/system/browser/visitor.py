"""What a visitor does, by the labels and names on the pages."""

from __future__ import annotations

from tests.system.browser.chromium import Page, expect


def log_in(page: Page, name: str = "ann", *, remember: bool = False) -> None:
    """Fill in the login page that is open, and send it."""
    email, password = {
        "ann": ("ann@example.com", "shortbread"),
        "bjorn": ("bjorn@example.com", "gingersnap"),
    }[name]
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_label("Remember me").set_checked(remember)
    page.get_by_role("main").get_by_role("button", name="Log in").click()


def log_out(page: Page) -> None:
    page.get_by_role("banner").get_by_role("button", name="Log out").click()


def put_in_cart(page: Page, *names: str) -> None:
    page.goto("/cart")
    for name in names:
        page.get_by_role("button", name=f"Add {name}").click()
        expect(page.get_by_role("status")).to_have_text(f"{name}: added to your cart.")


def cookie(page: Page) -> dict[str, object] | None:
    """The one cookie that the browser holds, as it holds it."""
    held = page.context.cookies()
    assert len(held) <= 1, held
    return dict(held[0]) if held else None
