"""The project's own documentation as pages of this site, from the Markdown files that lie beside the demo."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from posixpath import splitext
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

_FOLDER = Path(__file__).parents[1] / "docs"
#: Address and title, in the order in which one reads them.
PAGES = {
    f"/docs/{name}": title
    for name, title in (
        ("manual", "The manual"),
        ("frameworks", "In your framework"),
        ("deploy", "Deploy"),
        ("security", "Security"),
        ("reliability", "What survives what"),
        ("stores-redis", "Redis or Valkey"),
        ("stores-sql", "SQL databases"),
        ("stores-cookie", "In the cookie"),
    )
}

# The files are ours, so HTML in them (comments) may pass.
_markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
# What is wider than a phone scrolls by itself; the keyboard can only scroll what it can reach.
_markdown.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>\n')
_markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")


class Doc(NamedTuple):
    title: str
    html: str


@cache
def doc(path: str) -> Doc:
    """Return the page at one of :data:`PAGES`."""
    tokens = _markdown.parse((_FOLDER / f"{path.removeprefix('/docs/')}.md").read_text("utf-8"))
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(tokens[number + 1].content))
        elif token.type == "fence":
            token.attrSet("tabindex", "0")
        elif token.children:
            token.children = _with_links_of_the_site(token.children)
    html = _markdown.renderer.render(tokens, _markdown.options, {})
    # A corner with no text heads nothing: a screen reader would announce an empty header.
    return Doc(PAGES[path], html.replace("<th></th>", "<td></td>"))


def _anchor(heading: str) -> str:
    """Return the name that a heading can be linked by, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _with_links_of_the_site(inline: list[Token]) -> list[Token]:
    """Let links between the pages lead to their addresses here; of a link to any other file, leave the text."""
    kept, dropped = [], False
    for token in inline:
        if token.type == "link_open":
            target = str(token.attrGet("href"))
            file, hash_mark, anchor = target.partition("#")
            path = f"/docs/{splitext(file)[0]}"
            dropped = not (target.startswith(("https:", "#")) or path in PAGES)
            if path in PAGES:
                token.attrSet("href", path + hash_mark + anchor)
        if not (dropped and token.type in ("link_open", "link_close")):
            kept.append(token)
    return kept
