"""Every page, light and dark, at a desk and on a phone: it fits, everybody can read it, and nothing complains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demo import users
from demo.app import Site
from demo.cart import SHELF
from tests.support.serving import serving_http
from tests.system.browser.chromium import Axe, Image, Page, expect
from tests.system.browser.pictures import FOLDER, MANUAL
from tests.system.browser.views import DESK, KINDS, NARROW, PHONE, VIEWS, View, every_view
from tests.system.browser.visitor import log_in, put_in_cart
from wsgi_session.config.keygen import new_secret
from wsgi_session.stores.memory import MemoryStore

#: All of WCAG 2.2 AA, and what is good practice besides.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
#: What axe says of the buttons + and −: their colours are those of others, but it does not judge signs.
NO_TEXT = "Element content contains only non-text characters"

Look = Callable[..., Page]


@every_view
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_that_keeps_anybody_out(look: Look, view: View, kind: str) -> None:
    page = look(view, **KINDS[kind])
    # The bar at the bottom covers half of some elements until the page is scrolled; axe would measure half of them.
    page.evaluate("document.querySelector('.cost').style.position = 'static'")
    found = Axe().run(page, options={**RULES, "resultTypes": ["violations", "incomplete"]}).response
    assert [
        (rule["id"], node["html"], node["failureSummary"])
        for rule in (*found["violations"], *found["incomplete"])
        for node in rule["nodes"]
        if NO_TEXT not in node["failureSummary"]
    ] == []
    assert len(found["passes"]) > 20


@every_view
def test_a_page_fits_a_phone_and_the_narrowest_screen(look: Look, view: View) -> None:
    page = look(view, **NARROW)
    for size in (NARROW, PHONE):
        page.set_viewport_size(size["viewport"])
        assert too_wide(page) == [], size


def too_wide(page: Page) -> list[str]:
    """Return elements that reach beyond the window and do not scroll by themselves; and the page if it scrolls so."""
    return list(
        page.evaluate(
            """() => [document.documentElement, ...document.querySelectorAll("body *")]
                .filter((element) => element.getBoundingClientRect().right > innerWidth + 1
                    || element.getBoundingClientRect().left < -1
                    || element === document.documentElement && element.scrollWidth > innerWidth)
                .filter((element) => !element.closest("pre, .wide, .unseen, .skip"))
                .map((element) => element.outerHTML.slice(0, 120))"""
        )
    )


def test_nothing_in_a_full_cart_sticks_out_of_its_place(
    shop_of_ann: tuple[str, Any], device: Callable[..., Page]
) -> None:
    page = device(shop_of_ann[0], **NARROW)
    put_in_cart(page, *(cookie.name for cookie in SHELF.values()), *["Shortbread"] * 9)
    for width in (320, 340, 359, 360, 390, 740, 800, 1280):
        page.set_viewport_size({"width": width, "height": 640})
        # The pixels by which each text or box overlaps its neighbour, or extends beyond its container.
        sticking_out = page.evaluate(
            """() => [...document.querySelectorAll(".shelf :is(li, h3, p, button), .lines li > *")]
                .map((element) => {
                    const text = document.createRange();
                    text.selectNodeContents(element);
                    const boxes = element.children.length ? [] : [...text.getClientRects()];
                    const own = element.getBoundingClientRect();
                    const right = Math.max(...[own, ...boxes].map((box) => box.right));
                    const around = element.parentElement.closest("li, .panel, main");
                    const next = element.closest(".lines") && element.nextElementSibling?.getBoundingClientRect();
                    const end = next && next.top < own.bottom
                        ? next.left
                        : around.getBoundingClientRect().right - parseFloat(getComputedStyle(around).paddingRight);
                    return [Math.round(right - end), element.outerHTML.slice(0, 120)];
                })
                .filter(([beyond]) => beyond > 1)"""
        )
        assert sticking_out == [], width


#: Names that cannot be broken; from right to left, with a mark that turns the direction of the next text; empty.
NAMES = ["W" * 120, "\u202e\u0634\u0647\u0631\u0632\u0627\u062f \u0628\u0646\u062a", ""]


@pytest.mark.parametrize("name", NAMES, ids=["unbroken", "right to left", "empty"])
def test_no_user_name_breaks_a_page(device: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    email = f"{name[:60] or 'x'}@example.com"
    monkeypatch.setattr(users, "check", lambda *_: {"id": 7, "name": name, "email": email})
    with serving_http(Site(secret=new_secret(), store=MemoryStore())) as address:
        page = device(address, **NARROW)
        page.goto("/login?next=/profile")
        log_in(page)
        # The text after the name is to the right of it, or below, as in any English sentence.
        expect(page.get_by_role("status")).to_have_text(f"Hello {name}, you are logged in.")
        assert reads_on(page, ".flash")
        for path in ("/profile", "/devices", "/live", "/"):
            page.goto(path)
            for size in (NARROW, PHONE, DESK):
                page.set_viewport_size(size["viewport"])
                assert too_wide(page) == [], (path, size)
                assert reads_on(page, "main :has(> bdi)"), (path, size)


def reads_on(page: Page, selector: str) -> bool:
    """Whether the text after each name begins where the name ends, or on a later line."""
    return bool(
        page.evaluate(
            """(selector) => [...document.querySelectorAll(selector)].every((element) => {
                const name = element.querySelector("bdi").getBoundingClientRect();
                const after = document.createRange();
                const following = element.querySelector("bdi").nextSibling;
                if (!following) return true;
                after.selectNodeContents(following);
                const next = after.getClientRects()[0];
                const below = next && next.top >= name.bottom - 1;
                const beside = next && next.left >= name.left - 1 && next.bottom >= name.bottom - 1;
                return !next || below || beside;
            })""",
            selector,
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_as_light_or_dark_as_the_system(look: Look, scheme: str) -> None:
    page = look(VIEWS[0], color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    text = page.evaluate("getComputedStyle(document.body).color.match(/\\d+/g).slice(0, 3).map(Number)")
    darker, lighter = (text, ground) if scheme == "light" else (ground, text)
    assert max(darker) < 60, (text, ground)
    assert min(lighter) > 200, (text, ground)


def test_there_is_a_picture_of_every_view_and_none_of_what_is_no_more() -> None:
    names = [*(view.name for view in VIEWS), *MANUAL]
    wanted = {f"{name}-{kind}.png": options["viewport"] for name in names for kind, options in KINDS.items()}
    assert {path.name for path in FOLDER.iterdir()} == set(wanted)
    for name, viewport in wanted.items():
        with Image.open(FOLDER / name) as picture:
            assert picture.size == (viewport["width"], viewport["height"]), name
        assert (FOLDER / name).stat().st_size < 80_000, name
