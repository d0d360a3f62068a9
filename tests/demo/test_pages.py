"""Pages that everybody can use: on a phone, with a keyboard, with a screen reader, in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from demo import docs
from tests.support.curl import Curl

Visitor = Callable[..., Curl]

PAGES = ["/", "/cart", "/login", "/profile", "/devices", "/how", "/live", "/nowhere", "/logout", "/docs/howto/session"]
KNOWN = {"/", "/cart", "/profile", "/devices", "/live", "/how", "/login", "/session.json", *docs.PAGES}
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """All elements of a page with their attributes; what is opened must be closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {tag} {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> too many"
        assert self.open.pop() == tag

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(params=[False, True], ids=["stranger", "logged in"])
def somebody(request: pytest.FixtureRequest, visitor: Visitor) -> Curl:
    """A visitor with a cart; logged in or not."""
    made = visitor()
    made.submit("/cart", "/cart/add", sku="oat")
    if request.param:
        made.log_in()
    return made


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_read_on_a_phone_and_by_a_screen_reader(somebody: Curl, path: str) -> None:
    answer = somebody.get(path, "--location")
    page = Page(answer.html)
    assert {"lang": "en"} in page.all("html")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    assert all("alt" in image for image in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {label["for"] for label in page.all("label") if "for" in label}
    for field in page.all("input"):
        assert field.get("type") in ("hidden", "checkbox") or field.get("id") in labelled, field
    for button in page.all("button"):
        assert button.get("aria-label") or "round" not in (button.get("class") or ""), button


#: The pages that have a script, which they work without.
SCRIPTS = {"/live": [{"type": "module", "src": "/static/live.js"}]}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_no_script_and_nothing_inline_or_from_elsewhere(somebody: Curl, path: str) -> None:
    answer = somebody.get(path, "--location")
    page = Page(answer.html)
    assert page.all("style", "iframe") == []
    assert page.all("script") == SCRIPTS.get(path, [])
    assert re.findall(r"<script[^>]*>(.*?)</script>", answer.html, re.S) == [""] * len(page.all("script"))
    assert ("script-src" in (answer.header("Content-Security-Policy") or "")) is (path in SCRIPTS)
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}, (tag, attributes)
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), (tag, attributes)


@pytest.mark.parametrize("path", PAGES)
def test_every_form_posts_and_none_carries_a_token(somebody: Curl, path: str) -> None:
    html = somebody.get(path, "--location").html
    forms = re.findall(r"<form.*?</form>", html, re.S)
    for form in forms:
        assert 'method="post"' in form
        assert "csrf" not in form


def test_every_link_and_picture_leads_somewhere(somebody: Curl) -> None:
    found: set[str] = set()
    to_visit = {"/"}
    while to_visit:
        path = to_visit.pop()
        found.add(path)
        assert len(found) < 200, f"the pages have no end: {sorted(found)[:50]}"
        answer = somebody.get(path)
        assert answer.status in (200, 302, 303) or path == "/no-such-cookie", (path, answer.status)
        if (answer.header("Content-Type") or "").startswith("text/html") and answer.status == 200:
            addresses = re.findall(r'(?:href|src)="(/[^"#]*)"', answer.html)
            to_visit |= {address.replace("&amp;", "&") for address in addresses} - found
    assert {"/", "/cart", "/profile", "/devices", "/how", "/live", "/session.json", "/static/site.css"} <= found


@pytest.mark.parametrize("path", PAGES)
def test_every_page_leads_to_the_others_and_to_the_docs(somebody: Curl, path: str) -> None:
    html = somebody.get(path, "--location").html
    for other in ("/", "/cart", "/profile", "/devices", "/live", "/how", "/session.json", *docs.CHAPTERS):
        assert f'href="{other}"' in html, other


@pytest.mark.parametrize("path", docs.PAGES)
def test_a_page_of_the_docs_is_whole_and_each_of_its_links_leads_to_a_heading_or_a_site(
    visitor: Visitor, path: str
) -> None:
    ann = visitor()
    answer = ann.get(path)
    page = Page(answer.html)
    assert len(page.all("h1")) == 1
    assert " style=" not in answer.html, "a browser would report it, because of the Content-Security-Policy"
    assert ann.cookie is None
    for link in page.all("a"):
        target = link["href"] or ""
        if target.startswith("https:"):
            continue
        there, _, anchor = target.partition("#")
        assert there == "" or there in KNOWN
        if anchor:
            html = docs.doc(there or path).html + '<main id="main">'
            assert f'id="{anchor}"' in html, target


def test_every_chapter_is_a_page_of_the_docs_and_leads_to_the_others() -> None:
    assert set(docs.CHAPTERS) <= set(docs.PAGES)
    found, to_visit = set(), set(docs.CHAPTERS)
    while to_visit:
        found |= to_visit
        linked = {path for page in to_visit for path in re.findall(r'href="(/docs/[^"#]*)', docs.doc(page).html)}
        to_visit = linked - found
    assert found == set(docs.PAGES)


def test_a_file_that_the_browser_has_is_not_sent_again(visitor: Visitor) -> None:
    ann = visitor()
    tag = ann.get("/static/site.css").header("ETag")
    again = ann.get("/static/site.css", "-H", f"If-None-Match: {tag}")
    assert (again.status, again.body) == (304, b"")


def test_head_answers_as_get_without_the_page(visitor: Visitor) -> None:
    ann = visitor()
    head = ann.get("/", "-I")
    assert (head.status, head.body) == (200, b"")
    assert head.header("Content-Length") == str(len(ann.get("/").body))
