"""Take the pictures in ``docs/images/`` anew: ``python -m tests.system.browser.pictures``.

Look at them before you commit.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from tests.support import ROOT
from tests.support.demo import Demo
from tests.system.browser.chromium import ARGUMENTS, Image, executable, sync_playwright
from tests.system.browser.views import KINDS, VIEWS, ann_at

FOLDER = ROOT / "docs" / "images"


def save(png: bytes, path: Path) -> None:
    """Keep 256 colours, which nobody sees and which makes a third of it: it is in the repository for good."""
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
        finally:
            browser.close()
            demo.end()


if __name__ == "__main__":
    main()
