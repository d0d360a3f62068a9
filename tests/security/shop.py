"""The demo's shop, and visitors who click through it: cookies, forms and their tokens as a browser sends them."""

from __future__ import annotations

import re

from webob import Request

from demo.app import Site as Shop
from tests.support.site import SECRET
from wsgi_session.stores import MemoryStore


def open_shop() -> Shop:
    return Shop(secret=SECRET, store=MemoryStore())


class Visitor:
    """Somebody with a browser of his own."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.cookie = ""
        self.status = 0

    def get(self, path: str, **environ: str) -> str:
        """Return a page, with its headers but for the cookie."""
        return self._visit(Request.blank(path, environ=environ))

    def post(self, path: str, **form: str) -> str:
        return self._visit(Request.blank(path, POST=form))

    def send(self, page: str, path: str, **form: str) -> str:
        """Open ``page`` and send one of its forms to ``path``."""
        return self.post(path, csrf_token=self.token_on(page), **form)

    def log_in(self) -> None:
        self.send("/login", "/login", email="ann@example.com", password="shortbread")
        assert self.is_logged_in()

    def is_logged_in(self) -> bool:
        self.get("/profile")
        return self.status == 200

    def token_on(self, page: str) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(page))
        assert found, page
        return found[1]

    def _visit(self, request: Request) -> str:
        if self.cookie:
            request.headers["Cookie"] = self.cookie
        answer = request.get_response(self.shop)
        for value in answer.headers.getall("Set-Cookie"):
            self.cookie = value.partition(";")[0]
        answer.headers.pop("Set-Cookie", None)
        self.status = answer.status_int
        return f"{answer.status} {answer.headers} {answer.text}"
