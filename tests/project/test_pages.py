"""Every example of the manual's pages runs as it stands there, page by page, and does what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from webob import Request

from tests.support import ROOT
from tests.support.pages import run_page
from wsgi_session import Session, SessionMiddleware
from wsgi_session.config.keygen import new_secret
from wsgi_session.testing import plant

DOCS = ROOT / "docs"
#: The tutorial, the page that consists of tests and the one that needs a provider have tests of their own; those of the
#: other pages are in ``tests/frameworks`` and ``tests/system/servers``.
PAGES = sorted(
    {DOCS / "faq.md", DOCS / "stores.md"}
    | {page for folder in ("start", "howto", "explanation") for page in (DOCS / folder).glob("*.md")}
    - {DOCS / "start" / "tutorial.md", DOCS / "howto" / "testing-tools.md", DOCS / "howto" / "openid.md"}
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and a secret in the environment, as the pages say."""
    monkeypatch.chdir(tmp_path)
    for name in ("SESSION_SECRET", "OLD_SECRET", "NEW_SECRET"):
        monkeypatch.setenv(name, new_secret())


def ask(app: Any, path: str = "/", cookie: str = "") -> tuple[str, str]:
    answer = Request.blank(path, headers={"Cookie": cookie}).get_response(app)
    return answer.status, answer.text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_examples_of_a_page_run(page: Path) -> None:
    names = run_page(page)
    assert isinstance(names["session"], Session)


def test_the_quick_start_counts_visits() -> None:
    visits = run_page(DOCS / "start" / "quickstart.md")["visits"]
    with SessionMiddleware(visits, secret=new_secret(), store="memory://") as app:
        assert ask(app) == ("200 OK", "This is visit 1.")


def test_the_page_for_people_from_nextjs_redirects_shows_the_email_and_tells_the_front_end() -> None:
    site = run_page(DOCS / "explanation" / "nextjs.md")["site"]
    with SessionMiddleware(site, secret=new_secret(), store="memory://") as app:
        assert ask(app, "/profile")[0] == "302 Found"
        assert ask(app, "/api/session") == ("200 OK", "{}")
        cookie = plant(app, {"user": {"name": "Ann", "email": "ann@example.com"}})
        assert ask(app, "/profile", cookie) == ("200 OK", "Your email is ann@example.com.")
        assert '"name": "Ann"' in ask(app, "/api/session", cookie)[1]


def test_the_page_on_the_session_takes_one_from_the_stock_and_shows_its_message() -> None:
    names = run_page(DOCS / "howto" / "session.md")
    assert names["left"] == 9
    assert names["shown"] == [("success", "Saved.")]


def test_the_page_on_protecting_pages_lets_ann_in_and_sends_her_where_she_wanted() -> None:
    names = run_page(DOCS / "howto" / "protect.md")
    assert names["response"] is None
    assert names["after_login"] == "/cart"
    assert names["refusal"] == {"error": "login_required", "login_url": "/login"}


def test_the_page_on_forms_allows_what_is_safe() -> None:
    assert run_page(DOCS / "howto" / "forms.md")["allowed"] is True


def test_the_page_on_tests_gets_its_answer() -> None:
    assert run_page(DOCS / "howto" / "testing.md")["answer"].status_int == 200


def test_every_how_to_is_listed() -> None:
    index = (DOCS / "howto" / "index.md").read_text("utf-8")
    sidebar = (DOCS / "index.md").read_text("utf-8")
    pages = {page.stem for page in (DOCS / "howto").glob("*.md")} - {"index"}
    assert {name for name in pages if f"({name}.md)" not in index or f"\nhowto/{name}\n" not in sidebar} == set()
