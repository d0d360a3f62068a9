"""curl as a browser: one cookie jar, one User-Agent, and forms filled in from the page that shows them."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import NamedTuple

import pytest

#: The name of the demo's cookie over http.
COOKIE = "cookie_jar"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)


def need_curl() -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: apt-get install curl")


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def html(self) -> str:
        return self.body.decode()

    @property
    def words(self) -> str:
        """The visible text of the page, with each white space as one space."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", re.sub(r"</?bdi[^>]*>", "", self.html))).split())

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def parsed(output: bytes) -> Answer:
    head, _, body = output.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Answer(int(first.split()[1]), headers, body)


class Curl:
    """One visitor."""

    def __init__(self, address: str, jar: Path, agent: str = FIREFOX) -> None:
        self.address = address
        self.jar = jar
        self.agent = agent

    def get(self, path: str, *options: str) -> Answer:
        jar = ["-b", str(self.jar), "-c", str(self.jar)]
        done = subprocess.run(
            [
                "curl",
                "-sS",
                "-i",
                "--path-as-is",
                "--max-time",
                "20",
                "-A",
                self.agent,
                *jar,
                *options,
                self.address + path,
            ],
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode()
        answer = parsed(done.stdout)
        while "--location" in options and answer.status in (302, 303):
            answer = parsed(answer.body)  # For a redirect that it follows, curl prints only the headers.
        return answer

    def post(self, path: str, *options: str, site: str = "same-origin", **fields: str) -> Answer:
        """Send a form, as from a page of this site; ``site`` is what browsers send as ``Sec-Fetch-Site``."""
        options = ("-H", f"Sec-Fetch-Site: {site}", *options)
        form = [option for name, value in fields.items() for option in ("--data-urlencode", f"{name}={value}")]
        return self.get(path, *options, *(form or ["--data", ""]))

    def submit(self, page: str, path: str, **fields: str) -> Answer:
        """Open ``page``, and send one of its forms to ``path``; the response must redirect to a page."""
        assert f'action="{path}"' in self.get(page, "--location").html
        answer = self.post(path, **fields)
        assert answer.status == 303, f"{answer.status}: {answer.words}"
        return answer

    def log_in(self, email: str = "ann@example.com", password: str = "shortbread", **fields: str) -> Answer:
        return self.submit("/login", "/login", email=email, password=password, **fields)

    @property
    def cookie(self) -> str | None:
        """The session's cookie in the jar."""
        found = re.search(rf"\t{COOKIE}\t(\S+)$", self.jar.read_text(), re.MULTILINE) if self.jar.exists() else None
        return found[1] if found else None
