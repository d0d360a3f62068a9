"""Real identity providers from npm, each with the shop of a page of the manual, which signs visitors in with it.

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
from tests.support.npm import modules
from tests.support.servers.process import Server
from tests.support.serving import serving_http, serving_https
from wsgi_session.config.keygen import new_secret


class Provider(Server):
    """A provider as a process of Node's, on ``http://localhost`` with a port of its own."""

    #: What npm installs, and the script beside this file that runs it.
    packages: Sequence[str] = ()
    script = ""
    #: The page of ``docs/howto/`` whose shop signs visitors in with it.
    page = ""

    def __init__(self, cache: pytest.Cache) -> None:
        self.modules = modules(cache, *self.packages)
        super().__init__()
        self.address = f"http://localhost:{self.port}"
        #: The site that it signs visitors in for; set it before ``start()``.
        self.shop = ""

    def settings(self) -> dict[str, str]:
        """The environment variables in which the shop finds the provider."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        script = Path(__file__).with_name(self.script)
        return ["node", str(script), str(self.modules), str(self.port), self.shop, str(self.folder)]

    def answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/", headers={"Host": f"localhost:{self.port}"})
            connection.getresponse()
        except OSError:
            return False
        else:
            return True
        finally:
            connection.close()


def program_of(page: str) -> str:
    """The program of a how-to page: ``shop.py`` with what the page adds to it."""
    text = text_of(page)
    return "\n\n".join(re.findall(r"^```python\n(# shop\.py.*?)^```$", text, re.M | re.S))


def openid_by_transaction() -> str:
    """The program of the page on OpenID, with what it writes in place of two views."""
    program = program_of("openid")
    before, _, rest = program.partition('@app.get("/login")')
    after = rest.partition('@app.post("/logout")')[2]
    (views,) = re.findall(r"^```python\n# in place of log_in and callback\n(.*?)^```$", text_of("openid"), re.M | re.S)
    return f'{before}{views}\n\n@app.post("/logout"){after}'


def text_of(page: str) -> str:
    return (ROOT / "docs" / "howto" / f"{page}.md").read_text("utf-8")


@contextmanager
def serving_shop(
    program: str, provider: Provider, folder: Path, patch: pytest.MonkeyPatch, scheme: str = "http"
) -> Iterator[Any]:
    """Run the program in ``folder``, start the provider for it, and serve it at ``provider.shop``; yield its app."""
    patch.chdir(folder)
    apps: list[Any] = []
    with _serving(lambda environ, start_response: apps[0](environ, start_response), folder, scheme) as provider.shop:
        for name, value in {"SECRET_KEY": new_secret(), "SITE": provider.shop, **provider.settings()}.items():
            patch.setenv(name, value)
        Path("shop.py").write_text(program, "utf-8")
        app = runpy.run_path("shop.py")["app"]
        apps.append(app)
        provider.start()
        yield app
    app.extensions["wsgi_session"].close()


@contextmanager
def _serving(app: Any, folder: Path, scheme: str) -> Iterator[str]:
    if scheme == "http":
        with serving_http(app) as address:
            yield address
    else:
        with serving_https(app, folder) as (address, _):
            yield address
