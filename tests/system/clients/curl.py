"""curl and its cookie jar."""

from __future__ import annotations

from tests.support.curl import Curl, need_curl
from tests.system.clients.client import Client, Page


class CurlJar(Client):
    """Each request is a program of its own, and finds the cookies in the jar, those without a date too."""

    def start(self) -> None:
        need_curl()
        self.curl = Curl("", self.file)
        # That is how curl is told that a browser's session has ended: these cookies are forgotten.
        self.first = ["--junk-session-cookies"] if self.file.exists() else []

    def end(self) -> None:
        """Nothing is left to do: the jar was written with the last request."""

    def ask(self, url: str, fields: dict[str, str] | None) -> Page:
        trust = ["--cacert", str(self.authority)] if self.authority else []
        options, self.first = ["--location", *trust, *self.first], []
        answer = self.curl.get(url, *options) if fields is None else self.curl.post(url, *options, **fields)
        return Page(answer.status, answer.html)
