"""What the README and the quick start show is what happens: their programs run, the headers are the real ones.

The links of all pages lead somewhere.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from wsgiref import simple_server
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest

from tests.support import ROOT
from wsgi_session import SessionMiddleware
from wsgi_session.config.keygen import new_secret

README = (ROOT / "README.md").read_text("utf-8")
QUICK_START = (ROOT / "docs" / "start" / "quickstart.md").read_text("utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def program(name: str) -> str:
    """The program that begins with ``# name``, of the README or the quick start."""
    (found,) = re.findall(rf"^```python\n(# {re.escape(name)}\n.*?)^```$", README + QUICK_START, re.M | re.S)
    return str(found)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a secret made as the README says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", new_secret())
    return tmp_path


@contextmanager
def serving(folder: Path, name: str, wrap: Callable[[Any], Any] = validator) -> Iterator[Browser]:
    """Serve the program's ``app`` on a free port."""
    (folder / name).write_text(program(name), "utf-8")
    with runpy.run_path(str(folder / name))["app"] as app:
        server = make_server("127.0.0.1", 0, wrap(app), handler_class=Quiet)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Browser(server.server_port)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A test's output is about the test."""


class Browser:
    """Keeps one cookie, follows nothing."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.cookie = ""
        self.body = ""

    def request(self, method: str, path: str, body: str = "", site: str = "same-origin") -> HTTPResponse:
        headers = {"Host": self.host, "Sec-Fetch-Site": site}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if self.cookie:
            headers["Cookie"] = self.cookie
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            self.body = response.read().decode()
        finally:
            connection.close()
        if cookie := response.getheader("Set-Cookie"):
            self.cookie = cookie.split(";")[0]
        return response


def test_the_complete_program_is_complete_and_short_and_counts(folder: Path) -> None:
    assert len(program("visits.py").splitlines()) <= 30
    with serving(folder, "visits.py") as browser:
        for visit in (1, 2, 3):
            browser.request("GET", "/")
            assert browser.body == f"This is visit {visit}.\n"


def test_the_complete_program_counts_its_page_and_nothing_else(folder: Path) -> None:
    with serving(folder, "visits.py") as browser:
        browser.request("GET", "/")
        assert browser.request("GET", "/favicon.ico").status == 404
        browser.request("GET", "/")
        assert browser.body == "This is visit 2.\n"


SERVE = """
import runpy
from wsgiref.simple_server import WSGIRequestHandler, make_server
WSGIRequestHandler.log_message = lambda *_: None
server = make_server("127.0.0.1", 0, runpy.run_path("visits.py")["app"])
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_the_complete_program_counts_every_visit_under_four_workers(folder: Path) -> None:
    (folder / "visits.py").write_text(program("visits.py"), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [
        subprocess.Popen([sys.executable, "-c", SERVE], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        browsers = [Browser(int(worker.stdout.readline())) for worker in workers if worker.stdout]
        browsers[0].request("GET", "/")
        for browser in browsers:
            browser.cookie = browsers[0].cookie
        together = threading.Barrier(4, timeout=60)

        def visit(browser: Browser) -> None:
            together.wait()
            for _ in range(25):
                assert browser.request("GET", "/").status == 200

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(visit, browsers))
        browsers[0].request("GET", "/")
        assert browsers[0].body == "This is visit 102.\n"
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


@pytest.mark.parametrize(("name", "path"), [("visits.py", "/"), ("welcome.py", "/profile")])
def test_each_program_says_its_address_at_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, path: str
) -> None:
    class Server:
        def __init__(self, host: str, port: int, app: object) -> None:
            self.address = f"{host}:{port}"

        def serve_forever(self) -> None:
            print(self.address)

    monkeypatch.setattr(simple_server, "make_server", Server)
    (folder / name).write_text(program(name), "utf-8")
    runpy.run_path(str(folder / name), run_name="__main__")["app"].close()
    said, address = capsys.readouterr().out.splitlines()
    assert said == f"Serving on http://{address}{path}"


def test_the_headers_shown_are_the_real_ones(folder: Path) -> None:
    (shown,) = re.findall(r"^```http\n(.*?)^```$", README, re.M | re.S)
    with serving(folder, "visits.py", wrap=lambda app: app) as browser:
        response = browser.request("GET", "/")
        head = [f"HTTP/1.0 {response.status} {response.reason}", *map(": ".join, response.getheaders())]
        real = "\n".join([*head, "", browser.body])
        assert steady(shown) == steady(real)

        assert "Set-Cookie" not in browser.request("GET", "/").headers


def steady(text: str) -> str:
    """The text without what is another one each time: the token, the clock, the server's version."""
    text = re.sub(r"sid=[\w.-]+", "sid=TOKEN", text)
    return re.sub(r"^(Date|Server): .*", r"\1: SOME", text, flags=re.M)


def test_the_login_example_starts_no_session_for_a_forged_login(folder: Path) -> None:
    """A POST of another site comes without the cookie: a new one would take its place, and log the visitor out."""
    with serving(folder, "welcome.py") as browser:
        for form in ("email=ann%40example.com&password=wonderland", "csrf_token=AAAA&email=&password="):
            answer = browser.request("POST", "/login", form, site="cross-site")
            assert (answer.status, answer.getheader("Set-Cookie")) == (403, None)


def test_the_login_example_logs_in_greets_and_logs_out(folder: Path) -> None:
    with serving(folder, "welcome.py") as browser:
        answer = browser.request("GET", "/profile")
        assert (answer.status, answer.getheader("Location")) == (302, "/login?next=/profile")

        browser.request("GET", "/login?next=/profile")
        assert browser.cookie == ""
        form = "email=ann%40example.com&password="
        assert browser.request("POST", "/login?next=/profile", form + "wrong").status == 200
        answer = browser.request("POST", "/login?next=/profile", form + "wonderland")
        assert (answer.status, answer.getheader("Location")) == (303, "/profile")

        browser.request("GET", "/profile")
        assert "Welcome, Ann! Your email is ann@example.com." in browser.body
        logged_in = browser.cookie
        assert browser.request("POST", "/logout", site="cross-site").status == 403
        assert browser.request("GET", "/logout").status == 405
        assert browser.request("POST", "/logout").status == 303

        browser.cookie = logged_in
        assert browser.request("GET", "/profile").status == 302


def test_the_login_example_sends_nobody_to_the_host_that_the_client_names(folder: Path) -> None:
    """WebOb's own responses complete a path from the Host header; behind a proxy that ends TLS, with ``http://``."""
    with serving(folder, "welcome.py") as browser:
        browser.host = "evil.example"
        assert browser.request("GET", "/profile").getheader("Location") == "/login?next=/profile"
        browser.request("GET", "/login?next=/profile")
        form = "email=ann%40example.com&password=wonderland"
        assert browser.request("POST", "/login?next=/profile", form).getheader("Location") == "/profile"
        browser.request("GET", "/profile")
        answer = browser.request("POST", "/logout")
        assert answer.getheader("Location") == "/login"


def test_the_secret_is_made_by_the_command_shown() -> None:
    command = "python -m wsgi_session keygen"
    for text in (README, QUICK_START):
        assert f"export SESSION_SECRET=$({command})" in text
    made = subprocess.run([sys.executable, *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=True)
    SessionMiddleware(lambda environ, start_response: [], secret=made.stdout.strip(), store="memory://").close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]*)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_the_readme_stands_by_itself() -> None:
    """The package index shows it without the repository, where a relative link or picture leads nowhere."""
    assert re.findall(r"\]\((?!https?:)[^)]*\)", README) == []


def test_every_test_that_is_named_is_there() -> None:
    page = (ROOT / "docs" / "explanation" / "comparison.md").read_text("utf-8")
    files = [(ROOT / path).read_text("utf-8") for path in re.findall(r"`(tests/[\w/]+\.py)`", page)]
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) >= 3
    for name in named:
        assert any(f"\ndef {name}(" in file for file in files), name


def anchors(page: Path) -> set[str]:
    """The names that a Markdown page's headings can be linked by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_two_commands_are_lines_to_paste() -> None:
    for module, extras in (("demo", "demo"), ("pytest", "all,test")):
        line = f"python3 -m venv .venv && .venv/bin/pip install -q -e '.[{extras}]' && .venv/bin/python -m {module}"
        assert f"```sh\n{line}\n```" in README
    assert f"```sh\n{line.replace('all,test', 'demo').replace('pytest', 'demo')}\n```" in QUICK_START


def test_the_documentation_prints_no_secret_that_would_work() -> None:
    for page in PAGES:
        for given in re.findall(r"""secret=["']([^"']*)["']""", page.read_text("utf-8")):
            with pytest.raises(ValueError, match="secret"):
                SessionMiddleware(lambda environ, start_response: [], secret=given, store="memory://")
