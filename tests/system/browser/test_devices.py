"""Two browsers of one user: each a device of its own, and each can sign the other out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.curl import IPHONE
from tests.system.browser.chromium import Page, expect
from tests.system.browser.visitor import cookie, log_in

Device = Callable[..., Page]

#: What is tried here is the same over http: test_visit.py tells the two apart.
pytestmark = pytest.mark.parametrize("shop", ["https"], indirect=True)


@pytest.fixture
def laptop(shop: str, device: Device) -> Page:
    page = device(shop)
    page.goto("/login?next=/devices")
    log_in(page)
    return page


@pytest.fixture
def phone(shop: str, device: Device) -> Page:
    page = device(shop, user_agent=IPHONE, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.goto("/login?next=/profile")
    log_in(page, remember=True)
    return page


def test_each_browser_is_a_device_and_knows_which_it_is(laptop: Page, phone: Page) -> None:
    for page, own in ((laptop, "Chrome on Linux, IPv4"), (phone, "Safari on iPhone, IPv4")):
        page.goto("/devices")
        names = page.get_by_role("main").get_by_role("heading", level=2)
        expect(names).to_have_count(2)
        expect(names.filter(has_text="this device")).to_have_text(f"{own} this device")


def test_signing_the_other_out_ends_it_there_and_not_here(laptop: Page, phone: Page, shop: str) -> None:
    laptop.reload()
    laptop.get_by_role("button", name="Sign out Safari on iPhone").click()
    expect(laptop.get_by_role("status")).to_have_text("That device is signed out.")
    phone.reload()
    expect(phone).to_have_url(f"{shop}/login?next=/profile")
    laptop.reload()
    expect(laptop.get_by_role("heading", level=1)).to_have_text("Your devices")


def test_signing_out_everywhere_else_leaves_this_browser_alone(
    laptop: Page, phone: Page, shop: str, device: Device
) -> None:
    tablet = device(shop)
    tablet.goto("/login?next=/profile")
    log_in(tablet)
    laptop.reload()
    laptop.get_by_role("button", name="Sign out everywhere else").click()
    expect(laptop.get_by_role("status")).to_have_text("Signed out everywhere else (2 devices).")
    expect(laptop.get_by_role("main").get_by_role("heading", level=2)).to_have_count(1)
    for other in (phone, tablet):
        other.reload()
        expect(other).to_have_url(f"{shop}/login?next=/profile")
    assert cookie(laptop)


def test_another_user_is_not_among_them(laptop: Page, shop: str, device: Device) -> None:
    bjorn = device(shop)
    bjorn.goto("/login?next=/devices")
    log_in(bjorn, "bjorn")
    expect(bjorn.get_by_role("main").get_by_role("heading", level=2)).to_have_text(
        ["Chrome on Linux, IPv4 this device"]
    )
    expect(bjorn.get_by_role("button", name="Sign out everywhere else")).to_have_count(0)
