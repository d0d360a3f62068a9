"""The manual's site: built without a warning, with a sitemap and cards, and everything public is found in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.manual import ADDRESS, build_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("manual"))


def names(site: Path) -> set[str]:
    """The site's pages, without those that Sphinx adds."""
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    return pages - {"genindex.html", "py-modindex.html", "search.html"}


def test_the_sitemap_has_every_page_at_its_address(site: Path) -> None:
    sitemap = (site / "sitemap.xml").read_text("utf-8")
    assert [name for name in names(site) if f"<loc>{ADDRESS}{name}</loc>" not in sitemap] == []


def test_every_page_has_a_card_for_social_networks(site: Path) -> None:
    assert (site / "_static" / "card.png").is_file()
    for name in names(site):
        html = (site / name).read_text("utf-8")
        assert f'content="{ADDRESS}_static/card.png"' in html, name
        assert 'property="og:title"' in html, name
        assert 'property="og:description"' in html, name
