"""Every example of the manual's pages runs as it stands there, page by page, and does what the page says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from webob import Request

from tests.support import ROOT
from tests.support.pages import python_of
from wsgi_session import Session, SessionMiddleware, login
from wsgi_session.config.keygen import new_secret
from wsgi_session.stores import Store
from wsgi_session.testing import plant

DOCS = ROOT / "docs"
#: The tutorial has tests of its own; those of the other pages are in ``tests/frameworks`` and ``tests/system/servers``.
PAGES = sorted(
    {DOCS / "faq.md", DOCS / "stores.md"}
    | {page for folder in ("start", "howto", "explanation") for page in (DOCS / folder).glob("*.md")}
    - {DOCS / "start" / "tutorial.md"}
)


def run(page: Path) -> dict[str, Any]:
    """Run a page's Python within one request, as its examples do, and return what they leave behind.

    Given are ``environ`` and ``session``, as in a request of Ann's; ``SECRET``; ``site``, an application; and
    ``middleware``.
    """
    names: dict[str, Any] = {"__name__": page.stem, "SECRET": new_secret()}

    def site(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if "environ" not in names:
            login(environ, {"id": 5, "name": "Ann", "email": "ann@example.com"})
            names.update(environ=environ, session=environ["session"], site=site)
            exec(compile(python_of(page.read_text("utf-8")), str(page), "exec"), names)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"site"]

    environ: dict[str, Any] = {"QUERY_STRING": "next=/cart"}
    setup_testing_defaults(environ)
    with SessionMiddleware(site, secret=names["SECRET"], store="sqlite:///given.db") as middleware:
        names["middleware"] = middleware
        list(middleware(environ, lambda status, headers: lambda data: None))
    for thing in names.values():
        if isinstance(thing, (SessionMiddleware, Store)):
            thing.close()
    return names


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and a secret in the environment, as the pages say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", new_secret())


def ask(app: Any, path: str = "/", cookie: str = "") -> tuple[str, str]:
    answer = Request.blank(path, headers={"Cookie": cookie}).get_response(app)
    return answer.status, answer.text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_examples_of_a_page_run(page: Path) -> None:
    names = run(page)
    assert isinstance(names["session"], Session)


def test_the_quick_start_counts_visits() -> None:
    visits = run(DOCS / "start" / "quickstart.md")["visits"]
    with SessionMiddleware(visits, secret=new_secret(), store="memory://") as app:
        assert ask(app) == ("200 OK", "This is visit 1.")


def test_the_page_for_people_from_nextjs_redirects_shows_the_email_and_tells_the_front_end() -> None:
    site = run(DOCS / "explanation" / "nextjs.md")["site"]
    with SessionMiddleware(site, secret=new_secret(), store="memory://") as app:
        assert ask(app, "/profile")[0] == "302 Found"
        assert ask(app, "/api/session") == ("200 OK", "{}")
        cookie = plant(app, {"user": {"name": "Ann", "email": "ann@example.com"}})
        assert ask(app, "/profile", cookie) == ("200 OK", "Your email is ann@example.com.")
        assert '"name": "Ann"' in ask(app, "/api/session", cookie)[1]


def test_the_page_on_the_session_takes_one_from_the_stock_and_shows_its_message() -> None:
    names = run(DOCS / "howto" / "session.md")
    assert names["left"] == 9
    assert names["shown"] == [("success", "Saved.")]


def test_the_page_on_protecting_pages_lets_ann_in_and_sends_her_where_she_wanted() -> None:
    names = run(DOCS / "howto" / "protect.md")
    assert names["response"] is None
    assert names["after_login"] == "/cart"
    assert names["refusal"] == {"error": "login_required", "login_url": "/login"}


def test_the_page_on_forms_allows_what_is_safe() -> None:
    assert run(DOCS / "howto" / "forms.md")["allowed"] is True


def test_the_page_on_tests_gets_its_answer() -> None:
    assert run(DOCS / "howto" / "testing.md")["answer"].status_int == 200


def test_every_how_to_is_listed() -> None:
    index = (DOCS / "howto" / "index.md").read_text("utf-8")
    assert [page.name for page in PAGES if page.parent.name == "howto" and f"({page.name})" not in index] == [
        "index.md"
    ]
