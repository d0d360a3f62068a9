"""The demo's shop, and visitors who click through it: cookies, forms and their tokens as a browser sends them."""

from __future__ import annotations

from demo.app import Site as Shop
from tests.support.client import Client
from tests.support.site import SECRET
from wsgi_session.cookies.tokens import TokenSigner, csrf_token
from wsgi_session.stores import MemoryStore


def open_shop() -> Shop:
    return Shop(secret=SECRET, store=MemoryStore())


class Visitor:
    """A person with their own browser."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.client = Client(shop)

    @property
    def status(self) -> int:
        """The status code of the last answer."""
        return self.client.answer.code

    def get(self, path: str, **environ: str) -> str:
        """Return a page with its headers, except the cookie."""
        return self._shown(path, environ=environ)

    def post(self, path: str, **form: str) -> str:
        """Send a form as a client that does not say where it comes from: it needs a token."""
        return self._shown(path, POST=form)

    def send(self, page: str, path: str, **form: str) -> str:
        """Open ``page`` and send one of its forms to ``path``, as a browser does."""
        self.get(page)
        return self._shown(path, POST=form, environ={"HTTP_SEC_FETCH_SITE": "same-origin"})

    def log_in(self) -> None:
        self.send("/login", "/login", email="ann@example.com", password="shortbread")
        assert self.is_logged_in()

    def is_logged_in(self) -> bool:
        self.get("/profile")
        return self.status == 200

    def token(self) -> str:
        """Return a form token of this visitor's session. The demo's forms need none, but it accepts them."""
        signed = self.client.header.partition("=")[2]
        verified = TokenSigner([SECRET.encode()], "cookie_jar").verify(signed)
        assert verified is not None
        return csrf_token(verified[0])

    def _shown(self, path: str, **request: object) -> str:
        # Without wsgiref's validator, which requires a Content-Type even for a redirect without a body.
        answer = self.client.open(path, lint=False, **request)
        headers = [header for header in answer.headers if header[0] != "Set-Cookie"]
        return f"{answer.status} {headers} {answer.text}"
