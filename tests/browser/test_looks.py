"""Every page, light and dark, at a desk and on a phone: it fits, everybody can read it, and nothing complains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demo.cart import SHELF
from tests.browser.chromium import Axe, Image, Page
from tests.browser.pictures import FOLDER
from tests.browser.views import KINDS, NARROW, PHONE, VIEWS, View, every_view
from tests.browser.visitor import put_in_cart

#: All of WCAG 2.2 AA, and what is good practice besides.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
#: What axe says of the buttons + and −: their colours are those of others, but it does not judge signs.
NO_TEXT = "Element content contains only non-text characters"

Look = Callable[..., Page]


@every_view
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_that_keeps_anybody_out(look: Look, view: View, kind: str) -> None:
    page = look(view, **KINDS[kind])
    # What lies half under the bar at the foot, until one scrolls, axe takes for half as large.
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
        too_wide = page.evaluate(
            """() => [...document.querySelectorAll("body *")]
                .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
                .filter((element) => !element.closest("pre, .unseen"))
                .map((element) => element.outerHTML.slice(0, 120))"""
        )
        assert too_wide == [], size
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size


def test_nothing_in_a_full_cart_sticks_out_of_its_place(
    shop_of_ann: tuple[str, Any], device: Callable[..., Page]
) -> None:
    page = device(shop_of_ann[0], **NARROW)
    put_in_cart(page, *(cookie.name for cookie in SHELF.values()), *["Shortbread"] * 9)
    for width in (320, 340, 359, 360, 390):
        page.set_viewport_size({"width": width, "height": 640})
        # How far each text or box goes beyond the content of what it stands in, or into what stands beside it.
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_as_light_or_dark_as_the_system(look: Look, scheme: str) -> None:
    page = look(VIEWS[0], color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    text = page.evaluate("getComputedStyle(document.body).color.match(/\\d+/g).slice(0, 3).map(Number)")
    darker, lighter = (text, ground) if scheme == "light" else (ground, text)
    assert max(darker) < 60, (text, ground)
    assert min(lighter) > 200, (text, ground)


def test_there_is_a_picture_of_every_view_and_none_of_what_is_no_more() -> None:
    wanted = {f"{view.name}-{kind}.png": options["viewport"] for view in VIEWS for kind, options in KINDS.items()}
    assert {path.name for path in FOLDER.iterdir()} == set(wanted)
    for name, viewport in wanted.items():
        with Image.open(FOLDER / name) as picture:
            assert picture.size == (viewport["width"], viewport["height"]), name
        assert (FOLDER / name).stat().st_size < 80_000, name
