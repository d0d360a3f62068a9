"""Every example of the page on moving runs as it stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from webob import Request

from tests.support import ROOT
from tests.support.foreign import flask_cookie
from tests.support.pages import python_of
from wsgi_session.config.keygen import new_secret

PAGE = ROOT / "docs" / "moving.md"


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(sorted(environ["session"].items())).encode()]


def test_the_examples_run_and_adopt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = python_of(PAGE.read_text("utf-8"))
    rows = {"an id": {"data": {"cart": ["bun"]}, "expires": None, "user": 7}}
    names: dict[str, Any] = {"SECRET": new_secret(), "OLD_SECRET_KEY": "an old key", "OLD_ROWS": rows, "site": site}
    first, last = code.split("from datetime import date")
    exec(compile(first, str(PAGE), "exec"), names)
    import time

    cookie = flask_cookie({"cart": ["pie"]}, time.time(), "an old key")
    answer = Request.blank("/", headers={"Cookie": f"session={cookie}"}).get_response(names["app"])
    assert answer.text == "[('cart', ['pie'])]"
    names["app"].close()
    exec(compile("from datetime import date" + last, str(PAGE), "exec"), names)
    assert names["adopt"].until is not None
    answer = Request.blank("/", headers={"Cookie": "old_session=an id"}).get_response(names["app"])
    assert answer.text == "[('cart', ['bun'])]"
    assert rows == {}
    names["app"].close()
