"""No mouse is needed: Tab reaches every button and link, and the focus is visible."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.system.browser.chromium import Page, expect
from tests.system.browser.views import DESK, PHONE, View, every_view

Device = Callable[..., Page]
Look = Callable[..., Page]

#: What Tab has to reach, in the page's order.
REACHABLE = """() => {
    window.reachable = [...document.querySelectorAll("a[href], button, input, [tabindex='0']")]
        .filter((element) => element.type !== "hidden" && element.checkVisibility());
    return reachable.map((element) => element.outerHTML.slice(0, 100));
}"""

#: What has the focus now: its number, whether an outline shows it, and whether nothing lies over it.
FOCUSED = """() => {
    const element = document.activeElement;
    // A link may go over two lines: there is nothing of it in the middle of both.
    const box = element.getClientRects()[0];
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return [reachable.indexOf(element), getComputedStyle(element).outlineStyle, element.contains(top)];
}"""


@every_view
def test_tab_reaches_everything_and_shows_where_it_is(look: Look, view: View) -> None:
    page = look(view, **DESK)
    reachable = page.evaluate(REACHABLE)
    assert len(reachable) >= 6
    reached = set()
    # Round once, from wherever the page has put the focus; between the last and the first is the browser's own part.
    for _ in range(len(reachable) + 2):
        page.keyboard.press("Tab")
        number, outline, uncovered = page.evaluate(FOCUSED)
        if number < 0:
            continue
        reached.add(number)
        assert outline == "solid", reachable[number]
        assert uncovered, f"something covers {reachable[number]}"
    assert [html for number, html in enumerate(reachable) if number not in reached] == []


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called so."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText.trim()") == name:
            return
    raise AssertionError(f"Tab does not lead to {name!r}")


def test_the_keyboard_stays_where_it_is_in_the_cart(shop: str, device: Device) -> None:
    page = device(shop)
    page.goto("/cart")
    cart = page.get_by_role("region", name="In your cart")
    lemon = cart.get_by_role("listitem").filter(has_text="Lemon thin")
    add = page.get_by_role("button", name="Add Lemon thin")
    more = page.get_by_role("button", name="Add one Lemon thin")
    add.focus()
    page.keyboard.press("Enter")
    expect(lemon).to_contain_text("€1.90")
    expect(add).to_be_focused()
    page.keyboard.press("Enter")
    expect(lemon).to_contain_text("€3.80")
    more.focus()
    page.keyboard.press("Enter")
    expect(lemon).to_contain_text("€5.70")
    expect(more).to_be_focused()
    page.keyboard.press("Enter")
    expect(lemon).to_contain_text("€7.60")
    expect(more).to_be_focused()
    page.keyboard.press("Shift+Tab")
    for left in ("€5.70", "€3.80", "€1.90"):
        page.keyboard.press("Enter")
        expect(lemon).to_contain_text(left)
        expect(page.get_by_role("button", name="Remove one Lemon thin")).to_be_focused()
    # With the last one goes the button: next to it is the heading.
    page.keyboard.press("Enter")
    expect(cart).to_contain_text("Nothing yet.")
    expect(cart.get_by_role("heading", name="In your cart")).to_be_focused()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_message_is_in_sight_wherever_something_was_added(
    shop: str, device: Device, size: dict[str, object]
) -> None:
    page = device(shop, **size)
    page.goto("/cart")
    for name in ("Chocolate chip", "Jam ring"):
        page.get_by_role("button", name=f"Add {name}").click()
        expect(page.get_by_role("status")).to_have_text(f"{name}: added to your cart.")
        expect(page.get_by_role("status")).to_be_in_viewport(ratio=1)
        expect(page.get_by_role("button", name=f"Add {name}")).to_be_in_viewport(ratio=1)


def test_a_visit_with_nothing_but_the_keyboard(shop: str, device: Device) -> None:
    page = device(shop)
    page.goto("/cart")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Add Chocolate chip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Chocolate chip: added to your cart.")
    expect(page.get_by_role("button", name="Add Chocolate chip")).to_be_focused()

    tab_to(page, "Profile")
    page.keyboard.press("Enter")
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.type("ann@example.com")
    page.keyboard.press("Tab")
    page.keyboard.type("shortbread")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_label("Remember me")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome, Ann Archer!")

    tab_to(page, "Log out")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, stranger.")
