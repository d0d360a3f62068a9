"""Where the browser comes from. Playwright brings none here: it drives the one that the system has."""

from __future__ import annotations

import shutil

import pytest

# A test file that imports from here skips where one of them is missing.
MISSING = "elsewhere: pip install playwright axe-playwright-python pillow, or tox -e browser"
sync_api = pytest.importorskip("playwright.sync_api", reason=MISSING)
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason=MISSING)
Image = pytest.importorskip("PIL.Image", reason=MISSING)

Browser, Page, expect, sync_playwright = sync_api.Browser, sync_api.Page, sync_api.expect, sync_api.sync_playwright
Axe = axe_api.Axe

expect.set_options(timeout=30_000)  # Milliseconds, as for Playwright's actions: a busy machine is not a failure.

# Nothing that a browser does of its own accord goes on the network. Root, as in a container, has no sandbox.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str:
    """The path of Chromium. Where there is none, the test skips, which is a failure in CI and in ``tox -e browser``."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    return path
