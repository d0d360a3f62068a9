"""The tutorial is built step by step, as its page says, and each step does what the page promises."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.client import Client
from wsgi_session.config.keygen import new_secret

PAGE = (ROOT / "docs" / "start" / "tutorial.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", new_secret())
    monkeypatch.delenv("STORE", raising=False)
    return tmp_path


def build(folder: Path, step: int) -> None:
    """Write the files as they are after this step: each block of code goes to the end of the file that it names."""
    for number, text in re.findall(r"^## Step (\d): .*?\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S):
        for name, code in re.findall(r"^```python\n# ([\w.]+)\n(.*?)^```$", text, re.M | re.S):
            if int(number) <= step:
                with (folder / name).open("a", encoding="utf-8") as file:
                    file.write(code)


@contextmanager
def serving(folder: Path) -> Iterator[Client]:
    """The first visitor of the shop as it is now."""
    with runpy.run_path(str(folder / "shop.py"))["app"] as app:
        yield Client(app)


def post(visitor: Client, page: str, path: str, **fields: str) -> str | None:
    """Fill in the form of ``page`` and send it to ``path``; return where it leads."""
    (token,) = re.findall('name="csrf_token" value="([^"]+)"', visitor.open(page).text)
    return visitor.open(path, POST={"csrf_token": token, **fields}).header("Location")


def log_in(visitor: Client) -> str | None:
    path = visitor.open("/account").header("Location")
    assert path == "/login?next=/account"
    return post(visitor, path, path, email="ann@example.com", password="wonderland")


def test_step_1_keeps_a_cart_over_a_restart(folder: Path) -> None:
    build(folder, 1)
    with serving(folder) as visitor:
        for _ in range(2):
            assert post(visitor, "/", "/add", item="Tea") == "/"
    with serving(folder) as again:
        again.jar = visitor.jar
        assert "<li>2 Tea</li>" in again.open("/").text
        assert again.open("/add", POST={"item": "Tea"}).code == 403


def test_step_2_logs_in_keeps_the_cart_and_logs_out(folder: Path) -> None:
    build(folder, 2)
    with serving(folder) as visitor:
        post(visitor, "/", "/add", item="Tea")
        assert log_in(visitor) == "/account"
        assert "Hello, Ann" in visitor.open("/account").text
        assert "<li>1 Tea</li>" in visitor.open("/").text
        assert post(visitor, "/account", "/logout") == "/"
        assert visitor.open("/account").code == 302


def test_step_3_lists_two_devices_and_ends_the_other(folder: Path) -> None:
    build(folder, 3)
    with serving(folder) as here:
        there = Client(here.app)
        for visitor in (here, there):
            log_in(visitor)
        html = here.open("/devices").text
        assert (html.count("<li>"), html.count(", this one")) == (2, 1)
        assert post(here, "/devices", "/devices/end") == "/devices"
        assert here.open("/devices").text.count("<li>") == 1
        assert there.open("/devices").code == 302


def test_step_4_has_tests_that_pass(folder: Path) -> None:
    build(folder, 4)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_step_5_takes_the_store_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(folder, 5)
    monkeypatch.setenv("STORE", "redis://localhost/0")
    with runpy.run_path(str(folder / "shop.py"))["app"] as app:
        assert type(app.store).__name__ == "RedisStore"
