"""A visitor of the shop and of the provider, who sends cookies from one site to another as browsers do."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

requests = pytest.importorskip("requests", reason="pip install requests")


class Visitor:
    """Keeps cookies, follows redirects and fills forms in. The shop and the provider are two sites, by their hosts."""

    def __init__(self, shop: str) -> None:
        self.shop = shop
        self.jar = requests.cookies.RequestsCookieJar()
        #: The response that is shown.
        self.page: Any = None

    def open(self, address: str, fields: dict[str, str] | None = None, *, follow: bool = True) -> str:
        """Open an address, or a path of the shop, as if it were typed in; return the page's text."""
        return self._go(urljoin(self.shop, address), fields, follow, asked_by=None)

    def submit(self, **fields: str) -> str:
        """Send the form of the page, with its hidden fields and these."""
        action = re.findall(r'<form [^>]*action="([^"]+)"', self.page.text)[0]
        found = re.findall(r'<input type="hidden"\s+name="(\w+)"\s+value="([^"]*)"', self.page.text)
        hidden = {name: html.unescape(value) for name, value in found}
        return self._go(urljoin(self.page.url, action), {**hidden, **fields}, True, asked_by=self.page.url)

    def token(self) -> str | None:
        """The value of the shop's session cookie."""
        return self.jar.get("session", domain="127.0.0.1")

    def _go(self, address: str, fields: dict[str, str] | None, follow: bool, asked_by: str | None) -> str:
        cross_site = False
        while True:
            cross_site = cross_site or (asked_by is not None and _host(asked_by) != _host(address))
            method = "GET" if fields is None else "POST"
            headers = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
            headers["Sec-Fetch-Site"] = "cross-site" if cross_site else "same-origin"
            sent = requests.cookies.RequestsCookieJar()
            for cookie in self.jar:
                if (
                    method == "GET"
                    or not cross_site
                    or cookie.get_nonstandard_attr("SameSite") not in {"Lax", "Strict"}
                ):
                    sent.set_cookie(cookie)
            options = {"data": fields, "headers": headers, "cookies": sent, "allow_redirects": False, "timeout": 30}
            self.page = requests.request(method, address, **options)
            self._keep()
            if not (follow and self.page.is_redirect):
                return str(self.page.text)
            asked_by, address, fields = address, urljoin(address, self.page.headers["Location"]), None

    def _keep(self) -> None:
        requests.cookies.extract_cookies_to_jar(self.jar, self.page.request, self.page.raw)


def _host(address: str) -> str | None:
    return urlsplit(address).hostname
