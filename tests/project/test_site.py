"""The manual's site: built without a warning, with a sitemap and cards, and everything public is found in it."""

from __future__ import annotations

import inspect
import json
import re
import zlib
from pathlib import Path

import pytest

import wsgi_session
import wsgi_session.stores
import wsgi_session.testing
from tests.support.manual import ADDRESS, build_site
from wsgi_session.cli import cli
from wsgi_session.events import EVENTS


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


def test_an_option_of_a_command_can_be_copied_from_every_page(site: Path) -> None:
    dashes = {name: re.findall(r"[–—][a-z][\w-]+", (site / name).read_text("utf-8")) for name in names(site)}
    assert {name: found for name, found in dashes.items() if found} == {}


@pytest.fixture(scope="module")
def inventory(site: Path) -> set[str]:
    """Each entry of ``objects.inv``, as ``domain:role name``: what other sites link to, and what the search knows."""
    compressed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(compressed).decode().splitlines()
    return {f"{role} {name}" for name, role, *_ in map(str.split, lines)}


def test_every_public_name_is_in_the_reference(inventory: set[str]) -> None:
    names = {entry.partition(" ")[2] for entry in inventory if entry.startswith("py:")}
    public = {f"wsgi_session.{name}" for name in wsgi_session.__all__}
    public |= {f"wsgi_session.testing.{name}" for name in wsgi_session.testing.__all__}
    for owner in (wsgi_session.Session, wsgi_session.SessionMiddleware, wsgi_session.SessionInfo):
        public |= {f"wsgi_session.{owner.__name__}.{member}" for member in members(owner)}
    public |= {f"wsgi_session.admin.Sessions.{member}" for member in members(wsgi_session.admin.Sessions)}
    public |= {
        f"wsgi_session.stores.{name}"
        for name, thing in vars(wsgi_session.stores).items()
        if not name.startswith("_") and not inspect.ismodule(thing)
    }
    public |= {f"wsgi_session.stores.Store.{member}" for member in members(wsgi_session.stores.Store)}
    assert sorted(public - names) == []


def members(owner: type) -> set[str]:
    """The public names that a class adds to those of a mapping."""
    return {name for name in dir(owner) if not name.startswith("_")} - set(dir(dict))


def test_every_option_and_every_event_is_in_the_reference(inventory: set[str]) -> None:
    options = {name for name in inspect.signature(wsgi_session.SessionMiddleware).parameters if name != "app"}
    assert {f"std:confval {name}" for name in options} <= inventory
    assert {f"std:event {name}" for name in EVENTS} <= inventory


def test_every_command_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "command-line.html").read_text("utf-8")
    for command, parameters in ((name, command.params) for name, command in cli.commands.items()):
        assert f'id="python-m-wsgi_session-{command}"'.replace("_", "-") in page, command
        for option in (option for parameter in parameters for option in parameter.opts if option.startswith("--")):
            assert option in page, option


def test_the_search_finds_every_public_name_option_event_and_error(site: Path) -> None:
    """Sphinx's search looks in titles, in the names of objects, and in the words of the pages."""
    index = json.loads((site / "searchindex.js").read_text("utf-8").removeprefix("Search.setIndex(").removesuffix(")"))
    found = {entry[4] for objects in index["objects"].values() for entry in objects}
    wanted = {name for name in inspect.signature(wsgi_session.SessionMiddleware).parameters if name != "app"}
    wanted |= {*wsgi_session.__all__, *EVENTS}
    assert sorted(wanted - found) == []
