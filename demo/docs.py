"""Show the project's documentation as pages of this site, from the Markdown files in ``docs/``."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from posixpath import dirname, join, normpath, splitext
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

_FOLDER = Path(__file__).parents[1] / "docs"
# The reference and the front page are for Sphinx only: their Markdown has its directives.
_FILES = {
    f"/docs/{splitext(file.relative_to(_FOLDER).as_posix())[0]}": file
    for file in sorted(_FOLDER.rglob("*.md"))
    if file != _FOLDER / "index.md" and file.parent.name != "reference"
}
#: The path of each page, and its title, which is the page's first line.
PAGES = {
    path: file.read_text("utf-8").partition("\n")[0].lstrip("# ").replace("`", "") for path, file in _FILES.items()
}
#: The pages that every page links to, in reading order, with short titles.
CHAPTERS = {
    f"/docs/{name}": title
    for name, title in (
        ("start/quickstart", "Quick start"),
        ("howto/index", "How to"),
        ("frameworks", "In your framework"),
        ("moving", "Move from another library"),
        ("compatibility", "Compatibility"),
        ("deploy", "Deploy"),
        ("security", "Security"),
        ("reliability", "Durability and failures"),
        ("stores", "Stores"),
        ("stores-redis", "Redis or Valkey"),
        ("stores-sql", "SQL databases"),
        ("stores-cookie", "In the cookie"),
        ("explanation/how-it-works", "How it works"),
        ("explanation/comparison", "Comparison"),
        ("faq", "Questions"),
    )
}

# HTML (comments) is allowed, because the files are our own.
_markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
# A wide table scrolls inside its box. The box can get the focus, so that the keyboard can scroll it.
_markdown.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>\n')
_markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")


class Doc(NamedTuple):
    title: str
    html: str


@cache
def doc(path: str) -> Doc:
    """Render the page at ``path``, a key of :data:`PAGES`."""
    tokens = _markdown.parse(_FILES[path].read_text("utf-8"))
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(tokens[number + 1].content))
        elif token.type in ("th_open", "td_open") and token.attrs:
            # The alignment of a column is a style attribute, which our Content-Security-Policy forbids.
            token.attrs = {"class": "number"}
        elif token.type == "fence":
            token.attrSet("tabindex", "0")
        elif token.children:
            token.children = [_without_picture(part) for part in _with_links_of_the_site(token.children, dirname(path))]
    html = _markdown.renderer.render(tokens, _markdown.options, {})
    # An empty corner cell must not be a header: a screen reader would announce an empty one.
    return Doc(PAGES[path], html.replace("<th></th>", "<td></td>"))


def _anchor(heading: str) -> str:
    """Return the anchor of a heading, in GitHub's form."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _with_links_of_the_site(inline: list[Token], folder: str) -> list[Token]:
    """Change links between the pages to their paths on this site; replace links to any other file by their text."""
    kept, dropped = [], False
    for token in inline:
        if token.type == "link_open":
            target = str(token.attrGet("href"))
            file, hash_mark, anchor = target.partition("#")
            path = normpath(join(folder, splitext(file)[0]))
            dropped = not (target.startswith(("https:", "#")) or path in PAGES)
            if path in PAGES:
                token.attrSet("href", path + hash_mark + anchor)
        if not (dropped and token.type in ("link_open", "link_close")):
            kept.append(token)
    return kept


def _without_picture(part: Token) -> Token:
    """Return a picture's description in its place, because this site serves no pictures."""
    return Token("text", "", 0, content=part.content) if part.type == "image" else part
