"""A real OpenID provider, npm's oidc-provider, and the shop of the page on OpenID, which signs visitors in with it.

The shop is at ``127.0.0.1`` and the provider at ``localhost``: for a browser, each is another site.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.servers.process import Server
from tests.support.serving import serving_http
from wsgi_session.config.keygen import new_secret

PACKAGE = "oidc-provider@9.13.3"
SCRIPT = Path(__file__).with_suffix(".cjs")
PAGE = ROOT / "docs" / "howto" / "openid.md"


class OpenIDProvider(Server):
    name = "oidc-provider"

    def __init__(self, modules: Path) -> None:
        super().__init__()
        self.modules = modules
        self.address = f"http://localhost:{self.port}"
        #: The site that it signs visitors in for; set it before ``start()``.
        self.shop = ""

    def command(self) -> Sequence[str]:
        return ["node", str(SCRIPT), str(self.modules), str(self.port), self.shop]

    def answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/.well-known/openid-configuration", headers={"Host": f"localhost:{self.port}"})
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def page_program() -> str:
    """The program of the page: ``shop.py`` with what the page adds to it."""
    parts = re.findall(r"^```python\n(# shop\.py.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    return "\n\n".join(parts)


@contextmanager
def serving_shop(program: str, provider: OpenIDProvider, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run the program in ``folder``, start the provider for it, and serve it at ``provider.shop``; yield its app."""
    patch.chdir(folder)
    settings = {
        "SECRET_KEY": new_secret(),
        "PROVIDER": provider.address,
        "CLIENT_ID": "shop",
        "CLIENT_SECRET": "theirs",
    }
    for name, value in settings.items():
        patch.setenv(name, value)
    Path("shop.py").write_text(program, "utf-8")
    app = runpy.run_path("shop.py")["app"]
    with serving_http(app) as provider.shop:
        provider.start()
        yield app
    app.extensions["wsgi_session"].close()
