"""The shop that every file of examples/ is, and a visit to it: cart, login, profile, logout."""

from __future__ import annotations

import re

from tests.support import ROOT
from tests.system.servers.client import Client, Seen

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.stem.removesuffix("_app") for path in EXAMPLES.glob("*_app.py"))


class Shopper:
    """A visitor of the example ``name`` on a server that serves all of them."""

    def __init__(self, port: int, name: str) -> None:
        self.client = Client(port, headers={"X-Example": name})

    def visit(self) -> None:
        """Fill a cart, log in, look at the profile, log out; raise ``AssertionError`` over what is wrong."""
        assert "stranger" in self.read("/")
        assert self.client.jar == {}, "a cookie for nothing"
        self.is_sent_to_login()

        self.post("/cart", item="apple")
        assert "apple x 1" in self.read("/")
        before = dict(self.client.jar)
        self.post("/login", name="ann", password="ann")
        after = dict(self.client.jar)
        assert before.values() != after.values(), "the login kept the old token"

        assert "ann@example.com" in self.read("/profile")
        assert "Ann" in self.read("/")
        self.post("/cart", item="apple")
        assert "apple x 2" in self.read("/"), "the cart was lost at the login"

        self.post("/logout")
        for jar in (before, after, {}):
            self.client.jar.clear()
            self.client.jar.update(jar)
            self.is_sent_to_login()

    def read(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status == 200, answer
        return answer.body.decode()

    def post(self, path: str, **fields: str) -> Seen:
        found = re.search(r"""name=["']?(csrf\w+)["']? value=["']?([\w-]+)""", self.read("/login"))
        assert found, "the login page has no token"
        answer = self.client.post(path, **{found[1]: found[2]}, **fields)
        assert answer.status in (302, 303), answer
        return answer

    def is_sent_to_login(self) -> None:
        answer = self.client.get("/profile")
        assert answer.status in (302, 303), answer
        assert "/login?next=" in answer.all("Location")[0], answer

    def close(self) -> None:
        self.client.close()
