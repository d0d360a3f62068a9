"""Take the pictures in ``docs/images/`` and the manual's card anew: ``python -m tests.system.browser.pictures``.

Look at them before you commit.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from tests.support import ROOT
from tests.support.demo import Demo
from tests.support.manual import build_site
from tests.system.browser.chromium import ARGUMENTS, Browser, Image, executable, sync_playwright
from tests.system.browser.views import KINDS, VIEWS, ann_at

FOLDER = ROOT / "docs" / "images"
#: Pages of the manual's site that are photographed, by the name of the picture.
MANUAL = {"manual": "index.html"}
#: What social networks show beside a link to the manual.
CARD = ROOT / "docs" / "_static" / "card.png"
CARD_SIZE = {"width": 1200, "height": 630}
CARD_PAGE = """<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; padding: 90px; background: #10243d; color: #fff; font: 40px/1.4 "DejaVu Sans", sans-serif }
    svg { width: 120px; height: 120px } h1 { font-size: 84px; margin: 30px 0 20px } p { margin: 0; color: #c8dcf5 }
</style>%s<h1>wsgi-session</h1>
<p>Sessions for any WSGI application.<br>No lost updates. No logins that come back.</p>"""


def save(png: bytes, path: Path) -> None:
    """Save with 256 colours: no difference is visible, and the file in the repository is a third as large."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        demo = Demo(Path(folder), "--port", "0")
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        try:
            ann = ann_at(demo.address, browser)
            for view in VIEWS:
                for kind, options in KINDS.items():
                    page = browser.new_page(
                        base_url=demo.address,
                        storage_state=ann if view.ann else None,
                        reduced_motion="reduce",
                        **options,
                    )
                    view.open(page)
                    save(page.screenshot(), FOLDER / f"{view.name}-{kind}.png")
                    page.close()
            take_manual(browser, Path(folder))
        finally:
            browser.close()
            demo.end()


def take_manual(browser: Browser, folder: Path) -> None:
    """Photograph the manual's site, and paint its card."""
    site = build_site(folder)
    for name, path in MANUAL.items():
        for kind, options in KINDS.items():
            page = browser.new_page(reduced_motion="reduce", **options)
            page.goto((site / path).as_uri())
            save(page.screenshot(), FOLDER / f"{name}-{kind}.png")
            page.close()
    page = browser.new_page(viewport=CARD_SIZE)
    page.set_content(CARD_PAGE % (ROOT / "docs" / "_static" / "logo.svg").read_text("utf-8"))
    save(page.screenshot(), CARD)
    page.close()


if __name__ == "__main__":
    main()
