"""Every page of the demo, in every state that looks different: what is looked at, checked and photographed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.support.curl import IPHONE
from tests.system.browser.chromium import Browser, Page
from tests.system.browser.visitor import log_in, put_in_cart

DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
#: To what width a page must fold without a scroll bar: 1280 pixels at a zoom of 400 % (WCAG 1.4.10).
NARROW: dict[str, Any] = {"viewport": {"width": 320, "height": 640}}
#: Each view is photographed and checked twice, so that both widths and both schemes are seen.
KINDS = {"desk": {**DESK, "color_scheme": "light"}, "phone": {**PHONE, "color_scheme": "dark"}}


class View(NamedTuple):
    name: str
    path: str
    #: Whether Ann is logged in, with a cart and a second device; else it is a stranger who has done nothing.
    ann: bool = False
    status: int = 200
    #: What to do on the page, if something is to be seen after that.
    then: Callable[[Page], None] = lambda page: None

    def open(self, page: Page) -> None:
        page.goto(self.path)
        self.then(page)


def refuse(page: Page) -> None:
    page.get_by_label("E-mail").fill("ann@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()


def send_from_elsewhere(page: Page) -> None:
    """Send the login from a page of another site."""
    page.goto(f"data:text/html,<form method=post action='{page.url}'><button>Win a prize</button></form>")
    page.get_by_role("button", name="Win a prize").click()
    page.get_by_role("link", name="Back to the login").wait_for()


def take_one_more(page: Page) -> None:
    page.get_by_role("button", name="Add Shortbread").click()
    page.get_by_role("status").wait_for()


def asked(page: Page) -> None:
    page.get_by_text("the page was opened").wait_for()


VIEWS = [
    View("home", "/"),
    View("home-ann", "/", ann=True),
    View("login", "/login?next=/profile"),
    View("login-refused", "/login", status=422, then=refuse),
    View("cart-empty", "/cart"),
    View("cart", "/cart", ann=True, then=take_one_more),
    View("profile", "/profile", ann=True),
    View("devices", "/devices", ann=True),
    View("live", "/live", ann=True, then=asked),
    View("live-nobody", "/live", then=asked),
    View("how", "/how"),
    View("docs", "/docs/frameworks"),
    View("confirm", "/confirm", ann=True),
    View("form-refused", "/login", status=403, then=send_from_elsewhere),
    View("error", "/no-such-cookie", status=404),
]


every_view = pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])


def ann_at(address: str, chromium: Browser) -> Any:
    """Log Ann in on a phone and, after filling the cart, at a desk; give what the browser at the desk then holds."""
    phone = chromium.new_page(base_url=address, user_agent=IPHONE)
    phone.goto("/login")
    log_in(phone, remember=True)
    desk = chromium.new_page(base_url=address)
    put_in_cart(desk, "Ginger snap", "Jam ring", "Jam ring")
    desk.goto("/login?next=/profile")
    log_in(desk)
    desk.wait_for_url("/profile")
    held = desk.context.storage_state()
    for page in (phone, desk):
        page.close()
    return held
