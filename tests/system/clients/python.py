"""Python's own ``http.cookiejar``, and the two libraries that keep their cookies in such a jar."""

from __future__ import annotations

import ssl
from http.cookiejar import MozillaCookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, ProxyHandler, build_opener

import httpx
import requests

from tests.system.clients.client import Client, Page


class Jar(Client):
    """A jar that is a file in Netscape's format: cookies without a date do not go into it."""

    def start(self) -> None:
        self.jar = MozillaCookieJar(self.file)
        if self.file.exists():
            self.jar.load()

    def end(self) -> None:
        self.jar.save()


class Urllib(Jar):
    def start(self) -> None:
        super().start()
        trust = HTTPSHandler(context=ssl.create_default_context(cafile=self.authority))
        self.opener = build_opener(HTTPCookieProcessor(self.jar), trust, ProxyHandler({}))

    def ask(self, url: str, fields: dict[str, str] | None) -> Page:
        form = None if fields is None else urlencode(fields).encode()
        try:
            with self.opener.open(url, form, timeout=30) as response:
                return Page(response.status, response.read().decode())
        except HTTPError as error:
            with error:
                return Page(error.code, error.read().decode())


class Requests(Jar):
    def start(self) -> None:
        super().start()
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy
        self.session.cookies = self.jar  # type: ignore[assignment]  # Documented: any jar will do.
        if self.authority:
            self.session.verify = str(self.authority)

    def end(self) -> None:
        super().end()
        self.session.close()

    def ask(self, url: str, fields: dict[str, str] | None) -> Page:
        response = self.session.request("GET" if fields is None else "POST", url, data=fields, timeout=30)
        return Page(response.status_code, response.text)


class Httpx(Jar):
    def start(self) -> None:
        super().start()
        trust = ssl.create_default_context(cafile=self.authority)
        self.client = httpx.Client(cookies=self.jar, follow_redirects=True, verify=trust, trust_env=False, timeout=30)

    def end(self) -> None:
        super().end()
        self.client.close()

    def ask(self, url: str, fields: dict[str, str] | None) -> Page:
        response = self.client.request("GET" if fields is None else "POST", url, data=fields)
        return Page(response.status_code, response.text)
