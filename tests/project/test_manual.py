"""Every example of the manual runs as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from tests.support import ROOT
from tests.support.client import Client
from tests.support.pages import python_of
from wsgi_session import SessionMiddleware
from wsgi_session.config.keygen import new_secret
from wsgi_session.events import _LEVELS

PAGE = ROOT / "docs" / "manual.md"
TEXT = PAGE.read_text("utf-8")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the examples leave behind, run in one request, as the page says."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"SECRET": new_secret()}

    def site(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if names.get("environ") is None:
            names.update(environ=environ, site=site)
            exec(compile(python_of(TEXT), str(PAGE), "exec"), names)
        start_response("200 OK", [])
        return []

    environ: dict[str, Any] = {"QUERY_STRING": "next=/cart"}
    setup_testing_defaults(environ)
    with SessionMiddleware(site, secret=names["SECRET"], store="sqlite:///sessions.db") as app:
        app(environ, lambda status, headers: lambda data: None)
    names["app"].close()
    names["middleware"].close()
    names["store"].close()
    return names


def test_the_examples_run_and_do_what_the_page_says(names: dict[str, Any]) -> None:
    assert names["left"] == 9
    assert names["shown"] == [("success", "Saved.")]
    assert names["response"] is None
    assert names["after_login"] == "/cart"
    assert names["refusal"] == {"error": "login_required", "login_url": "/login"}
    assert names["allowed"] is True
    assert names["answer"].status_int == 200


def test_the_login_at_another_site_takes_the_cart_along(names: dict[str, Any]) -> None:
    def site(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        page = names["finish_login" if environ["REQUEST_METHOD"] == "POST" else "start_login"]
        if environ["REQUEST_METHOD"] == "GET":
            environ["session"]["cart"] = ["tea"]
        body: Iterable[bytes] = page(environ, start_response)
        return body

    with SessionMiddleware(site, secret=names["SECRET"], store="memory://") as app:
        visitor = Client(app)
        state = str(visitor.open("/login", lint=False).header("Location")).partition("RelayState=")[2]
        del visitor.jar["sid"]
        form = {"RelayState": state}
        answer = visitor.open("/answer", lint=False, POST=form, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.header("Location") == "/cart"
        assert app.sessions.of("id:5")[0].data["cart"] == ["tea"]
        assert visitor.open("/answer", lint=False, POST=form).header("Location") == "/login"


def test_the_manual_names_every_event() -> None:
    table = TEXT.partition("## Logs and events")[2].partition("\n## ")[0]
    named = {name for cell in re.findall(r"^\| (`[^|]+) \|", table, re.M) for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(_LEVELS)
