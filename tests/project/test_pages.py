"""Every example of the manual's pages runs as it stands there, page by page, and does what the page says."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from webob import Request

from tests.support import ROOT
from tests.support.pages import run_page
from wsgi_session import Session, SessionMiddleware, login, logout
from wsgi_session.config.keygen import new_secret
from wsgi_session.stores import open_store
from wsgi_session.testing import plant

DOCS = ROOT / "docs"
#: The tutorial, the page that consists of tests, and those that need a provider or a platform have tests of their own;
#: those of the other pages are in ``tests/frameworks`` and ``tests/system``.
PAGES = sorted(
    {DOCS / "faq.md", DOCS / "stores.md"}
    | {page for folder in ("start", "howto", "explanation") for page in (DOCS / folder).glob("*.md")}
    - {DOCS / "start" / "tutorial.md"}
    - {DOCS / "howto" / f"{name}.md" for name in ("testing-tools", "openid", "saml", "lambda")}
)


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The default registry of Prometheus, in which a page's metrics stay for one test only."""
    prometheus_client = pytest.importorskip("prometheus_client", reason="pip install prometheus-client")
    registered = prometheus_client.REGISTRY._collector_to_names
    before = set(registered)
    yield
    for collector in set(registered) - before:
        prometheus_client.REGISTRY.unregister(collector)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and a secret in the environment, as the pages say."""
    monkeypatch.chdir(tmp_path)
    for name in ("SESSION_SECRET", "OLD_SECRET", "NEW_SECRET"):
        monkeypatch.setenv(name, new_secret())


def ask(app: Any, path: str = "/", cookie: str = "") -> tuple[str, str]:
    answer = Request.blank(path, headers={"Cookie": cookie}).get_response(app)
    return answer.status, answer.text


def test_no_line_break_makes_a_list_of_a_sentence() -> None:
    broken = re.compile(r"^(?![*|`\d ]).*\w\n(?:1[.)]|[-+*]) .*", re.MULTILINE)
    found = {page.name: broken.findall(page.read_text("utf-8")) for page in DOCS.rglob("*.md")}
    assert {name: sentences for name, sentences in found.items() if sentences} == {}


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


def test_the_page_on_monitoring_writes_the_lines_that_it_shows(caplog: pytest.LogCaptureFixture) -> None:
    page = DOCS / "howto" / "monitor.md"
    names = run_page(page)
    caplog.set_level(logging.INFO, "audit")
    environ: dict[str, Any] = {}

    def site(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if "login" in environ:
            login(environ, {"id": 5})
        else:
            logout(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    with SessionMiddleware(site, secret=new_secret(), store="memory://", on_event=names["audit_events"]) as app:
        environ = Request.blank("/").environ
        answer = Request({**environ, "login": ""}).get_response(app)
        Request({**environ, "HTTP_COOKIE": answer.headers["Set-Cookie"].partition(";")[0]}).get_response(app)
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    without_handles = [re.sub(r'"handle": "[^"]{16}"', "", text) for text in (shown, caplog.text)]
    assert [json.loads(line)["event"] for line in shown.splitlines()] == ["logged_in", "destroyed"]
    assert all(line in without_handles[1] for line in without_handles[0].splitlines())


def test_every_how_to_is_listed() -> None:
    index = (DOCS / "howto" / "index.md").read_text("utf-8")
    sidebar = (DOCS / "index.md").read_text("utf-8")
    pages = {page.stem for page in (DOCS / "howto").glob("*.md")} - {"index"}
    assert {name for name in pages if f"({name}.md)" not in index or f"\nhowto/{name}\n" not in sidebar} == set()


def test_every_url_of_the_page_on_scale_opens_a_store() -> None:
    text = (DOCS / "scale.md").read_text("utf-8")
    urls = re.findall(r"`((?:memory|sqlite|redis|postgresql)[+a-z]*://[^`\s]+)`", text)
    assert len(urls) == 6, urls
    for url in urls:
        open_store(url.replace("/var/lib/shop", str(Path.cwd()))).close()
